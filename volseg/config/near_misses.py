"""Which option a word means that names it without its section, or by another name."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel

# As other programs call it, or with a part of the name left out.
_CALLED = {
    "batch": "data.batch_size",
    "dataset": "data.data_list",
    "datalist": "data.data_list",
    "epochs": "training.max_epochs",
    "gpus": "training.devices",
    "learn_rate": "training.learning_rate",
    "lr": "training.learning_rate",
    "max_steps": "training.max_epochs",
    "model": "network.name",
    "num_epochs": "training.max_epochs",
    "num_workers": "data.workers",
    "patience": "training.early_stopping",
    "roi_size": "data.patch_size",
    "root": "data.data_root",
    "wd": "training.weight_decay",
}


def full_key(word: str, root: type[BaseModel]) -> str | None:
    """The option `section.name` that a word means, or None if it is like none.

    Args:
        word: As the user wrote it, such as `batch-size`.
        root: The config.
    """
    name = word.strip("-").replace("-", "_").lower()
    keys = _keys(root)
    if name in keys or name not in _CALLED:
        close = difflib.get_close_matches(name, keys, n=1, cutoff=0.8)
        return keys[close[0]] if close else None
    return _CALLED[name] if _CALLED[name].partition(".")[0] in root.model_fields else None


def _keys(root: type[BaseModel]) -> dict[str, str]:
    """Full key by name, the first section's where several have the name."""
    found: dict[str, str] = {}
    for section, field in root.model_fields.items():
        model: Any = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name in model.model_fields:
                found.setdefault(name, f"{section}.{name}")
    return found
