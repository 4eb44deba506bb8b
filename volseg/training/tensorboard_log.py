"""The log for TensorBoard, which a thread writes: a full disk in one sentence."""

from __future__ import annotations

import contextlib
import errno
import threading
from collections.abc import Iterator
from pathlib import Path

from volseg.errors import OutputError
from volseg.words import reason

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


@contextlib.contextmanager
def full_disk_in_words(run: Path, resume: str) -> Iterator[None]:
    """Raise OutputError where the log cannot be written; all else that is written says so itself.

    Args:
        run: Folder of the run.
        resume: Command that resumes it.
    """
    before = threading.excepthook

    def quiet(told: threading.ExceptHookArgs) -> None:
        # It comes again at the next write, from where it can be told in words.
        if not isinstance(told.exc_value, OSError) or told.exc_value.errno not in _FULL:
            before(told)

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
