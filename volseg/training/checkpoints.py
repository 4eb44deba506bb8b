"""Checkpoints of a run: written whole, checked on reading, the newest good one chosen by rank 0.

A checkpoint is named after the number of steps taken, and the one before it is kept as well, in
case the newest cannot be read.
"""

from __future__ import annotations

import hashlib
import io
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.io.torch_io import TorchCheckpointIO
from pytorch_lightning.callbacks import Checkpoint
from torch import distributed

from volseg.errors import CheckpointError
from volseg.files.documents import open_regular
from volseg.files.writing import atomic_write
from volseg.runs.checkpoint_files import (
    CHECKPOINTS,
    checkpoint_path,
    find_checkpoints,
    odd_checkpoints,
)
from volseg.training.checkpoint_contents import misfit
from volseg.training.finite import StopNotFinite, all_finite
from volseg.words import reason

logger = logging.getLogger(__name__)

_KEPT = 2
_DIGEST_BYTES = hashlib.sha256().digest_size
# What a training needs of a checkpoint, and what it has to be.
_PARTS = {
    "state_dict": Mapping,
    "optimizer_states": list,
    "lr_schedulers": list,
    "loops": Mapping,
    "callbacks": Mapping,
    "epoch_sums": Mapping,
    "global_step": int,
    "processes": int,
}


class WholeCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint whole or not at all; reads the newest good one, running no code.

    Its digest ends the file. What torch wrote holds checksums as well, but not of every byte, and
    torch does not look at them.

    Args:
        shapes: Of the weights that a good one holds, by name; None: any.
    """

    def __init__(self, shapes: Mapping[str, torch.Size] | None = None) -> None:
        super().__init__()
        self.shapes = shapes
        #: The trainer that must be able to resume from it; None: none.
        self.trainer: pl.Trainer | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # In memory first: on a full disk, torch raises no OSError.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path)) as unfinished, unfinished.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> Any:
        """The newest good checkpoint of the run `path`, the same on all ranks.

        Raises:
            CheckpointError: If none can be read.
        """
        # One rank chooses: a file system may show one node what it does not show another yet.
        chosen: list[Path | None] = [None]
        found: Mapping[str, Any] | None = None
        problem = None
        if not distributed.is_initialized() or distributed.get_rank() == 0:
            try:
                chosen[0], found = newest_good(Path(path), self.shapes, self.trainer)
            except CheckpointError as error:
                problem = error
        if distributed.is_initialized():
            distributed.broadcast_object_list(chosen)
        if chosen[0] is None:
            raise problem or CheckpointError(f"rank 0 found no checkpoint in {path} to resume from")
        return read_checkpoint(chosen[0]) if found is None else found


def newest_good(
    run: Path,
    shapes: Mapping[str, torch.Size] | None = None,
    trainer: pl.Trainer | None = None,
) -> tuple[Path, Mapping[str, Any]]:
    """The newest checkpoint of a run that can be read, and what it holds; names those passed over.

    Args:
        run: Folder of the run.
        shapes: Of the weights that it must hold, by name; None: any.
        trainer: The one that will resume from it; None: any.

    Raises:
        CheckpointError: If none can be read.
    """
    problems: list[CheckpointError] = []
    for path in odd_checkpoints(run):
        logger.warning("%s is called like a checkpoint, but is no file; left alone", path)
    for path in find_checkpoints(run):
        try:
            found = read_checkpoint(path)
            if shapes is not None and _shapes(found["state_dict"]) != shapes:
                raise CheckpointError(f"checkpoint {path} holds weights of another network")
            if trainer is not None and (part := misfit(found, trainer)):
                raise CheckpointError(
                    f"checkpoint {path} is not one of this training (its part {part} is another)"
                )
        except CheckpointError as error:
            problems.append(error)
            continue
        for problem in problems:
            logger.warning("%s; passed over", problem)
        logger.info("resuming from %s, after %d steps", path.name, found["global_step"])
        return path, found
    found_none = f"{run / CHECKPOINTS} holds no checkpoint"
    raise CheckpointError(
        ", ".join(problem.problem for problem in problems) or found_none,
        remedy="start a new run with another -o",
        path=run,
    )


def _shapes(weights: Mapping[str, Any]) -> dict[str, Any]:
    return {name: getattr(tensor, "shape", None) for name, tensor in weights.items()}


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """What a checkpoint holds, on the CPU.

    Raises:
        CheckpointError: If it cannot be read, is cut short, has changed in any byte, or is not one
            of a training that can be resumed.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({reason(error)})") from None
    written = memoryview(content)[:-_DIGEST_BYTES]
    if hashlib.sha256(written).digest() != content[-_DIGEST_BYTES:]:
        raise CheckpointError(f"checkpoint {path} is damaged (its digest is another)")
    try:
        # torch finds the end of what it wrote by itself.
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # of many kinds, by what was written there
        raise CheckpointError(f"checkpoint {path} is damaged ({reason(error)})") from None
    if not isinstance(found, Mapping) or not all(
        isinstance(found.get(name), kind) for name, kind in _PARTS.items()
    ):
        raise CheckpointError(f"checkpoint {path} is not one of a training by volseg")
    if not all_finite(found["state_dict"]):
        raise CheckpointError(f"checkpoint {path} holds weights that are not finite")
    return found


class KeepCheckpoints(Checkpoint):
    """Saves after each epoch, and keeps the newest two.

    Args:
        run: Folder of the run.
        finite: Keeps weights from being saved that would take the place of good ones.
    """

    def __init__(self, run: Path, finite: StopNotFinite) -> None:
        self.run = run
        self.finite = finite
        #: Set when this epoch is cut short: the checkpoint in its middle is the one to resume from.
        self.epoch_is_cut = False

    # Lightning runs a `Checkpoint` after all other callbacks, so it knows of what they found.
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.epoch_is_cut:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> Path:
        """Save; all ranks call this together."""
        self.finite.check(trainer)
        path = checkpoint_path(self.run, trainer.global_step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            self._prune(path)
        return path

    def _prune(self, newest: Path) -> None:
        """Remove older ones, and those of steps that are done again since they were passed over."""
        others = [path for path in find_checkpoints(self.run) if path != newest]
        before = [path for path in others if path < newest][: _KEPT - 1]
        for path in set(others) - set(before):
            path.unlink(missing_ok=True)
