"""Log for TensorBoard: the cases to draw, the config, and a clear error on a full disk."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from volseg.errors import OutputError
from volseg.files.writing import CONFIG_FILE
from volseg.training.datamodule import VolumeDataModule
from volseg.training.module import SegmentationModule
from volseg.training.tensorboard_cards import layout
from volseg.words import reason

#: Number of cases that are drawn.
_PICTURES = 2
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextlib.contextmanager
def full_disk_in_words(run: Path, resume: str) -> Iterator[None]:
    """Raise OutputError if a thread of TensorBoard cannot write its log because the disk is full.

    Args:
        run: Folder of the run.
        resume: Command that resumes the run.
    """
    before = threading.excepthook

    def quiet(raised: threading.ExceptHookArgs) -> None:
        # The next write of the main thread raises the same error, which is handled below.
        if not isinstance(raised.exc_value, OSError) or raised.exc_value.errno not in _FULL:
            before(raised)

    threading.excepthook = quiet
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise OutputError(
            f"run folder {run} cannot be written ({reason(error)})",
            remedy=f"free some space, then resume with: {resume}",
        ) from None
    finally:
        threading.excepthook = before


def begin_log(
    trainer: pl.Trainer, module: SegmentationModule, data: VolumeDataModule, run: Path
) -> None:
    """Choose the cases that are drawn, and log the config of the run and the layout of charts."""
    # The first cases of rank 0, which alone draws.
    drawn = data.validation[:: trainer.world_size][:_PICTURES]
    module.pictures = tuple(case.case.case_id for case in drawn)
    if trainer.is_global_zero:
        # Only rank 0 can rely on the file, since rank 0 has written it.
        written = (run / CONFIG_FILE).read_text(encoding="utf-8")
        board: Any = trainer.loggers[0]
        board.experiment.add_text("config", f"```yaml\n{written}```")
        board.experiment.add_custom_scalars(layout(module.regions, by_slice=module.config.by_slice))
