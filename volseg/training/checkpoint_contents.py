"""Check of a checkpoint before any part of it is restored.

Lightning and torch restore a checkpoint part by part, without checking it first: a missing part
would raise a traceback, or stay as it was without any message.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import pytorch_lightning as pl
import torch
from packaging.version import InvalidVersion, Version

from volseg.compat.lightning import loader_states, progress
from volseg.files.writing import MODEL_FILE
from volseg.metrics.record import SCORE_FILES

#: Where a checkpoint holds the files of the best model, by name.
KEPT_FILES = "kept_files"

_VERSION = "pytorch-lightning_version"
# Keys that checkpoints of the first versions may lack.
_MAY_LACK = {"loss", "max_epochs", "StopEarly"}
# Entries that an optimizer keeps for each parameter after its first step.
_STATE_KEYS = {
    "adamw": {"step", "exp_avg", "exp_avg_sq"},
    "adam": {"step", "exp_avg", "exp_avg_sq"},
    "sgd": {"momentum_buffer"},
}


def misfit(checkpoint: Mapping[str, Any], trainer: Any) -> str | None:
    """Name of the first part of a checkpoint that this training cannot resume from, or None.

    Args:
        checkpoint: Content of the checkpoint; its weights fit the network.
        trainer: The trainer that will restore the checkpoint, with its module.
    """
    try:
        Version(checkpoint[_VERSION])
    except (KeyError, TypeError, InvalidVersion):
        return _VERSION
    return (
        _mismatch(checkpoint, _expected(trainer))
        or _state_mismatch(checkpoint, trainer.lightning_module)
        or _batches_mismatch(checkpoint)
        or _files_mismatch(checkpoint.get(KEPT_FILES, {}))
    )


def _expected(trainer: Any) -> dict[str, Any]:
    """Content of a checkpoint at the start of this training."""
    module = trainer.lightning_module
    made = module.configure_optimizers()
    states = {callback.state_key: callback.state_dict() for callback in trainer.callbacks}
    return {
        "global_step": 0,
        "processes": 0,
        "max_epochs": 0,
        "epoch_sums": module.sums.state_dict(),
        "loops": progress(trainer),
        "callbacks": {key: state for key, state in states.items() if state},
        "optimizer_states": [{"param_groups": made["optimizer"].state_dict()["param_groups"]}],
        "lr_schedulers": [made["lr_scheduler"]["scheduler"].state_dict()],
    }


def _mismatch(found: Any, expected: Any, place: str = "") -> str | None:
    """Place where `found` has another form than `expected`, or None; further keys are allowed."""
    keys: Sequence[Any] = ()
    if isinstance(expected, Mapping):
        fits = isinstance(found, Mapping) and found.keys() >= expected.keys() - _MAY_LACK
        keys = [key for key in expected if fits and key in found]
    elif isinstance(expected, list | tuple):
        fits = isinstance(found, list | tuple) and len(found) == len(expected)
        keys = range(len(expected))
    else:
        fits = _is_alike(found, expected)
    if not fits:
        return place
    inner = (_mismatch(found[key], expected[key], f"{place}.{key}".lstrip(".")) for key in keys)
    return next(filter(None, inner), None)


def _is_alike(found: Any, expected: Any) -> bool:
    if isinstance(expected, torch.Tensor):
        return _is_tensor(found, expected.shape, floating=expected.is_floating_point())
    if isinstance(expected, bool):
        return isinstance(found, bool)
    if isinstance(expected, int):
        return type(found) is int and found >= 0
    if isinstance(expected, float):
        return isinstance(found, Real)
    return True


def _is_tensor(found: Any, shape: Sequence[int], *, floating: bool) -> bool:
    is_of_shape = isinstance(found, torch.Tensor) and found.shape == torch.Size(shape)
    return is_of_shape and found.is_floating_point() == floating


def _state_mismatch(checkpoint: Mapping[str, Any], module: pl.LightningModule) -> str | None:
    """Place in the optimizer's state that does not fit the parameters, or None."""
    state = checkpoint["optimizer_states"][0].get("state")
    config: Any = module.config
    network: Any = module.network
    name = config.training.optimizer
    parameters = list(network.parameters())
    if not isinstance(state, Mapping) or (checkpoint["global_step"] and not state):
        return "optimizer_states.0.state"
    for number, entries in state.items():
        known = type(number) is int and 0 <= number < len(parameters)
        if not (known and isinstance(entries, Mapping) and entries.keys() >= _STATE_KEYS[name]):
            return f"optimizer_states.0.state.{number}"
        shapes = (torch.Size(), parameters[number].shape)
        for key in _STATE_KEYS[name]:
            value = entries[key]
            if value is None and name == "sgd":
                continue
            if not _is_tensor(value, shapes[key != "step"], floating=True):
                return f"optimizer_states.0.state.{number}.{key}"
    return None


def _batches_mismatch(checkpoint: Mapping[str, Any]) -> str | None:
    """Place where the number of batches done is not as the loader records it, or None."""
    place, loaders = loader_states(checkpoint)
    return _mismatch(loaders, [{"batches": 0}] if loaders else [], place)


def _files_mismatch(files: Any) -> str | None:
    """`KEPT_FILES` if a file of the best model has another name or is no bytes, else None."""
    known = (MODEL_FILE, *SCORE_FILES)
    fits = isinstance(files, Mapping) and all(
        name in known and isinstance(content, torch.Tensor) and content.dtype == torch.uint8
        for name, content in files.items()
    )
    return None if fits else KEPT_FILES
