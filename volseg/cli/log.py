"""Log of a command: plain lines on stderr."""

from __future__ import annotations

import logging
import sys
import warnings

from volseg.cli.terminal import put, visible
from volseg.ranks import rank


class _Visible(logging.Formatter):
    """Formats the message, made safe for a terminal, and the traceback, if any."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))


class PlainLog(logging.Handler):
    """Plain lines on stderr: messages of volseg, and warnings of other packages."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Visible())

    def filter(self, record: logging.LogRecord) -> bool:
        if rank() > 0:
            # Rank 0 logs messages that are the same on all ranks.
            return record.levelno >= logging.ERROR
        return record.levelno >= logging.WARNING or record.name.split(".")[0] == "volseg"

    def emit(self, record: logging.LogRecord) -> None:
        warning = "Warning: " * (record.levelno == logging.WARNING)
        # Looked up each time, since a progress bar replaces stderr to stay below the log.
        put(f"{warning}{self.format(record)}", sys.stderr)


def configure_logging() -> None:
    """Show the log on stderr, without warnings of other packages for developers."""
    root = logging.getLogger()
    if not any(isinstance(handler, PlainLog) for handler in root.handlers):
        root.addHandler(PlainLog())
    logging.getLogger("volseg").setLevel(logging.INFO)
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    # Warnings of torch are kept: it warns of a driver that is too old for the GPU.
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|monai")
