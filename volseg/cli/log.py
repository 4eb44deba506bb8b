"""The log of a command: plain lines on stderr."""

from __future__ import annotations

import logging
import sys
import warnings

from volseg.cli.terminal import put, visible
from volseg.ranks import rank


class _Visible(logging.Formatter):
    """The message alone, made safe for a terminal, and the traceback, if there is one."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        return visible(super().formatMessage(record))


class PlainLog(logging.Handler):
    """Messages as plain lines on stderr: ours from INFO on, those of other packages if serious."""

    def __init__(self) -> None:
        super().__init__()
        self.setFormatter(_Visible())

    def filter(self, record: logging.LogRecord) -> bool:
        if rank() > 0:
            # What all processes find, the first tells.
            return record.levelno >= logging.ERROR
        return record.levelno >= logging.WARNING or record.name.split(".")[0] == "volseg"

    def emit(self, record: logging.LogRecord) -> None:
        warning = "Warning: " * (record.levelno == logging.WARNING)
        # Looked up each time: a progress bar replaces stderr, to stay below the lines.
        put(f"{warning}{self.format(record)}", sys.stderr)


def configure_logging() -> None:
    """Show the log on stderr, without what other packages warn their developers of."""
    root = logging.getLogger()
    if not any(isinstance(handler, PlainLog) for handler in root.handlers):
        root.addHandler(PlainLog())
    logging.getLogger("volseg").setLevel(logging.INFO)
    for category in (DeprecationWarning, FutureWarning):
        warnings.simplefilter("ignore", category)
    # torch is not among them: it warns of a driver that is too old for the GPU to be used.
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|monai")
