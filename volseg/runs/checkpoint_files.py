"""Checkpoints of a run on disk, found by name; only torch can read them."""

from __future__ import annotations

from pathlib import Path

from volseg.files.ownership import is_checkpoint

CHECKPOINTS = "checkpoints"


def checkpoint_path(run: Path, steps: int) -> Path:
    """File of the checkpoint after a number of steps."""
    return run / CHECKPOINTS / f"step-{steps:08d}.ckpt"


def find_checkpoints(run: Path) -> list[Path]:
    """Checkpoints of a run, newest first; other files in the folder are ignored."""
    return [path for path in _like_checkpoints(run) if path.is_file()]


def odd_checkpoints(run: Path) -> list[Path]:
    """Paths with the name of a checkpoint that are no files."""
    return [path for path in _like_checkpoints(run) if not path.is_file()]


def _like_checkpoints(run: Path) -> list[Path]:
    paths = (run / CHECKPOINTS).glob("step-*.ckpt")
    return sorted((path for path in paths if is_checkpoint(path.name)), reverse=True)
