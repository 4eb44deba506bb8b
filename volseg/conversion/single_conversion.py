"""A lock against a second conversion with the same table, or into the same folder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from volseg import signals
from volseg.errors import OutputError


@contextlib.contextmanager
def only_conversion(path: Path) -> Iterator[None]:
    """Refuse a second conversion with the same table, or into the same folder.

    Args:
        path: The table, or the folder of cases, which must exist.

    Raises:
        OutputError: If another conversion uses it, or its folder cannot be written.
    """
    from filelock import FileLock, Timeout

    lock = path / ".conversion.lock" if path.is_dir() else path.with_name(f".{path.name}.lock")
    try:
        held = FileLock(lock, timeout=0, mode=0o600)
        held.acquire()
    except Timeout:
        raise OutputError(
            f"another volseg convert uses {path}", remedy="wait until it has finished", path=path
        ) from None
    except OSError as error:
        raise OutputError(
            f"{path} cannot be locked ({error.strerror})",
            remedy="give a folder that you may write to with -o, and a table in such a folder with "
            "--pseudonyms",
            path=path,
        ) from None
    try:
        with signals.removing(partial(lock.unlink, missing_ok=True)):
            yield
    finally:
        # Removed while it is held, so that nobody can hold a removed file.
        with contextlib.suppress(OSError):
            lock.unlink()
        held.release()
