"""Keys of options, such as `training.max_epochs`, and the key that a user's word means."""

from __future__ import annotations

import difflib
from typing import Any

from pydantic import BaseModel

# Names in other programs, and shortened names.
_SYNONYMS = {
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
    """The option `section.name` that a word means, or None if no option is similar.

    Args:
        word: Word of the user, such as `batch-size`.
        root: Class of the config.
    """
    name = word.strip("-").replace("-", "_").lower()
    called = _SYNONYMS.get(name, "")
    if called.partition(".")[0] in root.model_fields:
        return called
    keys = {key.partition(".")[2]: key for key in reversed(option_defaults(root))}
    close = difflib.get_close_matches(name, keys, n=1, cutoff=0.8)
    return keys[close[0]] if close else None


def option_defaults(root: type[BaseModel]) -> dict[str, Any]:
    """Default of each option by key, without those of the network; None if it must be given.

    Args:
        root: Class of the config.
    """
    found: dict[str, Any] = {}
    for section, field in root.model_fields.items():
        model: Any = field.annotation
        if isinstance(model, type) and issubclass(model, BaseModel):
            for name, option in model.model_fields.items():
                default = None if option.is_required() else option.get_default()
                found[f"{section}.{name}"] = default
    return found
