"""Checkpoints of a run on disk, by name; torch alone can open them."""

from __future__ import annotations

from pathlib import Path

from volseg.files.ownership import is_checkpoint

CHECKPOINTS = "checkpoints"


def checkpoint_path(run: Path, steps: int) -> Path:
    """File of the checkpoint of a run after so many steps."""
    return run / CHECKPOINTS / f"step-{steps:08d}.ckpt"


def find_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, newest first; what else lies in their folder is left alone."""
    return [path for path in _like_checkpoints(run) if path.is_file()]


def odd_checkpoints(run: Path) -> list[Path]:
    """What is called like a checkpoint of a run, but is no file; it is left alone."""
    return [path for path in _like_checkpoints(run) if not path.is_file()]


def _like_checkpoints(run: Path) -> list[Path]:
    paths = (run / CHECKPOINTS).glob("step-*.ckpt")
    return sorted((path for path in paths if is_checkpoint(path.name)), reverse=True)
