"""Keys of options, as `training.max_epochs`: all of them, and the one that a word means."""

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
    called = _CALLED.get(name, "")
    if called.partition(".")[0] in root.model_fields:
        return called
    keys = {key.partition(".")[2]: key for key in reversed(option_defaults(root))}
    close = difflib.get_close_matches(name, keys, n=1, cutoff=0.8)
    return keys[close[0]] if close else None


def option_defaults(root: type[BaseModel]) -> dict[str, Any]:
    """Default of each option by its key, None for one that must be given; without the network's.

    Args:
        root: The config.
    """
    found: dict[str, Any] = {}
    for section, field in root.model_fields.items():
        model: Any = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, option in model.model_fields.items():
                default = None if option.is_required() else option.get_default()
                found[f"{section}.{name}"] = default
    return found
