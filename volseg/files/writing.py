"""Atomic writing of files, making of folders, and the names of a run's files."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import shutil
import sys
from collections.abc import Callable, Collection, Iterator
from functools import partial
from pathlib import Path

from volseg import signals
from volseg.errors import OutputError
from volseg.files.ownership import check_names_folder, check_ours, is_ours
from volseg.words import reason, shown

if sys.platform != "win32":
    import fcntl

#: Files of a run folder.
CONFIG_FILE, DATA_LIST_FILE = "config.yaml", "data_list.json"
METRICS_FILE, MODEL_FILE = "metrics.csv", "model.safetensors"
CURVES_FILE, SAMPLES_FILE, WORST_FILE = "curves.png", "samples.png", "worst.png"
#: Picture of the calibration of written probabilities, by `evaluate`.
CALIBRATION_PICTURE = "calibration.png"
#: Inputs and settings of `infer`, beside its results.
MANIFEST_FILE = "manifest.json"
#: Report of `compare`.
COMPARISON_FILE = "comparison.md"

_UNFINISHED = re.compile(r"\.volseg-[0-9a-f]{8}-(?P<name>.+)")
_CHOOSE = "choose another with -o"


@contextlib.contextmanager
def atomic_write(path: Path, *, known: bool = False) -> Iterator[Path]:
    """Temporary path with the suffix of `path`; replaces `path` when the block succeeds.

    Args:
        path: May hold an older file, if volseg wrote it.
        known: The caller has checked that `path` is free or ours; see `volseg.files.ownership`.

    Raises:
        OutputError: If `path` holds another program's file, or an OSError stops the writing; the
            old file stays.

    Examples:
        >>> with atomic_write(Path("scores.csv")) as temporary:  # doctest: +SKIP
        ...     temporary.write_text("case_id,region,dice")
    """
    temporary = unfinished_path(path)
    try:
        with locked(temporary), signals.removing(partial(temporary.unlink, missing_ok=True)):
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # some file systems report only here that they are full
            if not known:
                check_ours(path)
            temporary.replace(path)
    except UnicodeEncodeError as error:
        name = shown(error.object[max(0, error.start - 30) : error.end])
        raise OutputError(
            f"cannot write {path}: {name} in it is not UTF-8", remedy="rename that file or folder"
        ) from None
    except (OSError, ValueError) as error:
        if isinstance(error, ValueError) and "\0" not in str(path):
            raise
        raise cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError, ValueError):
            temporary.unlink(missing_ok=True)


def resume_command(run: Path) -> str:
    """The command that resumes a run, ready to be pasted."""
    return f"volseg fit --resume {shlex.quote(str(run))}"


def cannot_write(path: Path, error: Exception) -> OutputError:
    """Error for a path that cannot be written."""
    return OutputError(
        f"cannot write {path} ({reason(error)})",
        remedy="give a folder that you may write to and that has space",
    )


def unfinished_path(path: Path) -> Path:
    """Temporary name of what becomes `path` when it is complete."""
    # Hidden, so that no search for cases finds it; random, since two jobs may write at once.
    return path.with_name(f".volseg-{secrets.token_hex(4)}-{path.name}")


@contextlib.contextmanager
def locked(unfinished: Path) -> Iterator[None]:
    """Lock an unfinished file or folder, so that no process removes it; makes a missing file."""
    if sys.platform == "win32":  # has no such locks
        yield
        return
    is_folder = unfinished.is_dir()
    number = os.open(unfinished, os.O_RDONLY if is_folder else os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with contextlib.suppress(OSError):  # some file systems of clusters lock nothing
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(number)


def remove_unfinished(folder: Path, is_written: Callable[[str], bool]) -> None:
    """Remove unfinished files that killed processes left in a folder.

    Args:
        folder: Need not exist.
        is_written: Whether the calling command writes a file of this name there; other unfinished
            files stay.
    """
    if not folder.is_dir():
        return
    for name in os.listdir(folder):  # noqa: PTH208  (thousands of names, few of which are paths)
        match = _UNFINISHED.fullmatch(name)
        if match is None or (path := folder / name).is_symlink() or not is_written(match["name"]):
            continue
        # Hidden files in a folder of masks are not ours.
        is_mixed = path.is_dir() and any(inner.name[0] == "." for inner in path.iterdir())
        if not is_mixed and _is_orphan(path):
            with contextlib.suppress(OSError):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_orphan(path: Path) -> bool:
    """Whether no running process is writing it."""
    if sys.platform == "win32":
        return True
    try:
        number = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True  # nothing is locked on this file system
    finally:
        os.close(number)
    return True


@contextlib.contextmanager
def scratch_folder(beside: Path, name: str) -> Iterator[Path]:
    """A hidden folder in `beside` for large intermediate files, removed at the end of the block.

    Folders of this name that killed processes left are removed first.

    Raises:
        OutputError: If it cannot be made, or an OSError stops the block.
    """
    remove_unfinished(beside, name.__eq__)
    folder = unfinished_path(beside / name)
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        folder.mkdir()
        with locked(folder), signals.removing(remove):
            yield folder
    except OSError as error:
        raise cannot_write(folder, error) from None
    finally:
        remove()


def move_into_place(written: Path, path: Path) -> None:
    """Move a finished file, such as one in a `scratch_folder`, to its place.

    Raises:
        OutputError: If volseg did not write the file in that place, or it cannot be replaced.
    """
    check_ours(path)
    try:
        written.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from None


def make_folder(folder: Path, remedy: str) -> None:
    """Make a folder and its missing parents.

    Args:
        folder: May exist.
        remedy: What the user can do, as in "choose another with -o".

    Raises:
        OutputError: If it cannot be made, or is named like a file.
    """
    check_names_folder(folder, remedy)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise OutputError(
            f"folder {folder} cannot be made ({reason(error)})", remedy=remedy
        ) from None


def check_outputs(folder: Path, names: Collection[str]) -> None:
    """Refuse, before any work, a folder in which a command could not write its files.

    Raises:
        OutputError: If one of `names` is there and volseg did not write it, or `folder` is named
            like a file.
    """
    check_names_folder(folder, _CHOOSE)
    for name in names:
        check_ours(folder / name)


def make_output(folder: Path, names: Collection[str]) -> None:
    """Make the folder in which a command writes `names`, and remove unfinished files of them.

    Raises:
        OutputError: As in `check_outputs` and `make_folder`.
    """
    check_outputs(folder, names)
    make_folder(folder, _CHOOSE)
    remove_unfinished(folder, names.__contains__)


def remove(path: Path) -> None:
    """Remove a file, if volseg wrote it.

    Raises:
        OutputError: If it cannot be removed.
    """
    if not is_ours(path):
        return
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path} cannot be removed ({reason(error)})", remedy="remove it", path=path
        ) from None
