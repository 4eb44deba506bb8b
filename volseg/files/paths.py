"""Paths as users of the Python interface give them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

PathLike = str | os.PathLike[str]


def paths_of(given: PathLike | Iterable[PathLike]) -> list[Path]:
    """A path, or several, as a list.

    >>> [path.name for path in paths_of("runs/a")], [path.name for path in paths_of(["a", "b"])]
    (['a'], ['a', 'b'])
    """
    return [Path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given)]


# Entries of a document that `recorded_path` reads.
_FOLDER, _WORKING_FOLDER = "folder", "working_folder"


def places(folder: Path) -> dict[str, str]:
    """Entries of a document in a folder, by which `recorded_path` finds the files it names."""
    return {_FOLDER: str(folder.absolute()), _WORKING_FOLDER: str(Path.cwd())}


def recorded_path(name: str, document: Mapping[str, Any], folder: Path) -> Path:
    """Path of a file that a document names, for callers in any working folder.

    If the file is gone, it may have been moved together with the document: then it lies at the same
    place as before, seen from the folder of the document.

    Args:
        name: Path in the document; a relative path is relative to the recorded working folder.
        document: Content of the document, with the entries of `places`; documents of older versions
            have none.
        folder: Folder where the document lies now.

    Returns:
        The path, whether the file is there or not.
    """
    path = Path(str(document.get(_WORKING_FOLDER, "")), name)
    earlier = document.get(_FOLDER)
    if path.exists() or not isinstance(earlier, str):
        return path
    moved = Path(os.path.normpath(folder.absolute() / os.path.relpath(path, earlier)))
    return moved if moved.exists() else path
