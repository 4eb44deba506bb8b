"""Paths as users of the Python interface give them."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

PathLike = str | os.PathLike[str]


def paths_of(given: PathLike | Iterable[PathLike]) -> list[Path]:
    """A path, or several, as a list.

    >>> [path.name for path in paths_of("runs/a")], [path.name for path in paths_of(["a", "b"])]
    (['a'], ['a', 'b'])
    """
    return [Path(path) for path in ([given] if isinstance(given, str | os.PathLike) else given)]
