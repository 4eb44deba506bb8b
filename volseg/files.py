"""Files written whole or not at all, folders made or refused in words, names of a run's files."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

from volseg.errors import OutputError

#: Files of a run folder.
CONFIG_FILE, DATA_LIST_FILE = "config.yaml", "data_list.json"
METRICS_FILE, MODEL_FILE = "metrics.csv", "model.safetensors"
CURVES_FILE, SAMPLES_FILE = "curves.png", "samples.png"
#: What `infer` made from what, beside its results.
MANIFEST_FILE = "manifest.json"


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Temporary path beside `path`, same suffix, that takes its place when the block ends well.

    Raises:
        OutputError: If an OSError stops the writing; what was there before stays.

    Examples:
        >>> with atomic_write(Path("scores.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("case_id,region,dice")
    """
    # Hidden, so that no search for cases finds it; random, since two jobs may write at a time.
    temporary = path.with_name(f".{secrets.token_hex(4)}-{path.name}")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # some file systems report only now that they are full
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path} ({error.strerror or error}); "
            "give a folder that you may write to and that has space"
        ) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def remove_unfinished(folder: Path) -> None:
    """Remove what `atomic_write` began in a folder when its process was killed."""
    for path in folder.glob(".*"):
        if re.match(r"\.[0-9a-f]{8}-", path.name) and path.is_file():
            path.unlink(missing_ok=True)


def make_folder(folder: Path, remedy: str) -> None:
    """Make a folder and those above it, if need be.

    Args:
        folder: May exist.
        remedy: What the user can do, as in "choose another with -o".

    Raises:
        OutputError: If it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"folder {folder} cannot be made ({error.strerror or error}); {remedy}"
        ) from None
