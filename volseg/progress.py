"""Progress of long work: a bar on a terminal, lines with the time left in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from volseg.ranks import rank

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0


def track(items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
    """Yield `items` and report progress on stderr, or in the log if stderr is not a terminal.

    Args:
        items: Items of the work.
        what: The work, as a noun or a gerund: "reading label maps".
        total: Number of items.

    Yields:
        Each item, unchanged.
    """
    if rank() > 0:
        # The first of several processes reports for all.
        yield from items
        return
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import track as rich_track

        yield from rich_track(items, what, total=total, console=Console(stderr=True))
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if done < total and now - last >= SECONDS_BETWEEN_LINES:
            left = (now - start) / done * (total - done)
            logger.info("%s: %d of %d, about %s left", what, done, total, clock(left))
            last = now


def clock(seconds: float) -> str:
    """Duration in words that fit a log line.

    >>> clock(42), clock(754), clock(7384)
    ('42 s', '12 min 34 s', '2 h 03 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"
