"""The log of a command: plain lines on stderr."""

from __future__ import annotations

import logging
import sys


class PlainLog(logging.Handler):
    """Messages as plain lines on stderr: ours from INFO on, those of other packages if serious."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.levelno >= logging.WARNING or record.name.split(".")[0] == "volseg"

    def emit(self, record: logging.LogRecord) -> None:
        warning = "Warning: " * (record.levelno == logging.WARNING)
        # Looked up each time: a progress bar replaces stderr, to stay below the lines.
        print(f"{warning}{self.format(record)}", file=sys.stderr)


def configure_logging() -> None:
    """Show the log on stderr; calling it again changes nothing."""
    root = logging.getLogger()
    if not any(isinstance(handler, PlainLog) for handler in root.handlers):
        root.addHandler(PlainLog())
    logging.getLogger("volseg").setLevel(logging.INFO)
