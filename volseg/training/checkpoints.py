"""Checkpoints of a run: written atomically, checked on reading; rank 0 chooses the newest good one.

The name of a checkpoint holds the number of steps taken. The two newest checkpoints are kept, in
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
# Parts of a checkpoint that a training needs, and their types.
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


class AtomicCheckpointIO(TorchCheckpointIO):
    """Writes a checkpoint completely or not at all; reads the newest good one, running no code.

    The file ends with its digest. The checksums of torch do not cover every byte, and torch does
    not verify them.

    Args:
        shapes: Shapes of the weights that a good checkpoint holds, by name; None: any.
    """

    def __init__(self, shapes: Mapping[str, torch.Size] | None = None) -> None:
        super().__init__()
        self.shapes = shapes
        #: The trainer that will resume from the checkpoint; None: no check for a trainer.
        self.trainer: pl.Trainer | None = None

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None
    ) -> None:
        # Serialised in memory first, since torch raises no OSError on a full disk.
        buffer = io.BytesIO()
        torch.save(checkpoint, buffer)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(Path(path)) as unfinished, unfinished.open("wb") as file:
            file.write(buffer.getbuffer())
            file.write(hashlib.sha256(buffer.getbuffer()).digest())

    def load_checkpoint(self, path: Any, *_: Any, **__: Any) -> Any:
        """Content of the newest good checkpoint of the run `path`, the same on all ranks.

        Raises:
            CheckpointError: If no checkpoint can be read.
        """
        # One rank chooses, since a shared file system may show a new file to some nodes only.
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
    """Path and content of the newest good checkpoint of a run; warns of newer unusable ones.

    Args:
        run: Folder of the run.
        shapes: Shapes of the weights that the checkpoint must hold, by name; None: any.
        trainer: The trainer that will resume from the checkpoint; None: any.

    Raises:
        CheckpointError: If no checkpoint can be read.
    """
    problems: list[CheckpointError] = []
    for path in odd_checkpoints(run):
        logger.warning("%s has the name of a checkpoint, but is no file; ignored", path)
    for path in find_checkpoints(run):
        try:
            found = read_checkpoint(path)
            if shapes is not None and _shapes(found["state_dict"]) != shapes:
                raise CheckpointError(f"checkpoint {path} holds weights of another network")
            if trainer is not None and (part := misfit(found, trainer)):
                raise CheckpointError(
                    f"checkpoint {path} does not fit this training (its part {part} differs)"
                )
        except CheckpointError as error:
            problems.append(error)
            continue
        for problem in problems:
            logger.warning("%s; skipped", problem)
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
    """Content of a checkpoint, on the CPU.

    Raises:
        CheckpointError: If the file cannot be read, is truncated or changed in any byte, or holds
            no training that can be resumed.
    """
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({reason(error)})") from None
    written = memoryview(content)[:-_DIGEST_BYTES]
    if hashlib.sha256(written).digest() != content[-_DIGEST_BYTES:]:
        raise CheckpointError(f"checkpoint {path} is damaged (its digest does not match)")
    try:
        # torch ignores the digest that follows its own data.
        found: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except Exception as error:  # damaged data raises errors of many types
        raise CheckpointError(f"checkpoint {path} is damaged ({reason(error)})") from None
    if not isinstance(found, Mapping) or not all(
        isinstance(found.get(name), kind) for name, kind in _PARTS.items()
    ):
        raise CheckpointError(f"checkpoint {path} was not written by a training of volseg")
    if not all_finite(found["state_dict"]):
        raise CheckpointError(f"checkpoint {path} holds weights that are not finite")
    return found


class KeepCheckpoints(Checkpoint):
    """Saves after each epoch, and keeps the newest two.

    Args:
        run: Folder of the run.
        finite: Check that keeps weights that are not finite from replacing good ones.
    """

    def __init__(self, run: Path, finite: StopNotFinite) -> None:
        self.run = run
        self.finite = finite
        #: Whether this epoch is cut short, so that the run resumes from a checkpoint in its middle.
        self.epoch_is_cut = False

    # Lightning calls a `Checkpoint` after all other callbacks, so their states are up to date.
    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if not self.epoch_is_cut:
            self.save(trainer)

    def save(self, trainer: pl.Trainer) -> Path:
        """Save a checkpoint and return its path; all ranks call this together."""
        self.finite.check(trainer)
        path = checkpoint_path(self.run, trainer.global_step)
        trainer.save_checkpoint(path)
        if trainer.is_global_zero:
            self._prune(path)
        return path

    def _prune(self, newest: Path) -> None:
        """Remove all checkpoints but the newest and the one before it, also those of later steps.

        Checkpoints of later steps were skipped on resume, and their steps are repeated.
        """
        others = [path for path in find_checkpoints(self.run) if path != newest]
        before = [path for path in others if path < newest][: _KEPT - 1]
        for path in set(others) - set(before):
            path.unlink(missing_ok=True)
