"""Progress of long work: a bar on a terminal, lines with the time left in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from volseg.ranks import rank

logger = logging.getLogger(__name__)
Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 15.0


class Steps:
    """The step in work, of items that take minutes: beside the bar, or as lines in the log.

    Of a single item each step has a line, of many a step every `SECONDS_BETWEEN_LINES` at most.
    """

    def __init__(self, total: int) -> None:
        self._show: Callable[[str], object] | None = None
        self._between = SECONDS_BETWEEN_LINES if total > 1 else 0.0
        self._last = time.monotonic()
        self._step = ""

    def begin(self, words: str) -> None:
        """Say which step begins; any thread may call this."""
        self._step = words
        if self._show is not None:
            self._show(words)
        elif not sys.stderr.isatty() and time.monotonic() - self._last >= self._between:
            self._last = time.monotonic()
            logger.info("%s", words)

    def within(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
        """Yield items of a part of the step in work, whose progress is shown beside the bar."""
        for done, item in enumerate(items):
            if self._show is not None:
                self._show(f"{self._step}: {what} {100 * done // max(total, 1)} %")
            yield item

    def bar(self, items: Iterable[Item], what: str, total: int) -> Iterator[Item]:
        """Yield items below a bar on stderr that names the step in work."""
        from rich.console import Console
        from rich.markup import escape
        from rich.progress import (
            BarColumn,
            Progress,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.table import Column

        # An estimate needs a finished item.
        clock_column = TimeRemainingColumn() if total > 1 else TimeElapsedColumn()
        step = Column(no_wrap=True, overflow="ellipsis")
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=15),
            TaskProgressColumn(),
            clock_column,
            TextColumn("{task.fields[step]}", table_column=step),
        )
        with Progress(*columns, console=Console(stderr=True)) as progress:
            task = progress.add_task(what, total=total, step="")
            self._show = lambda words: progress.update(task, step=escape(words))
            _shown.append(self)
            try:
                for item in items:
                    yield item
                    progress.advance(task)
            finally:
                self._show = None
                _shown.remove(self)


#: Steps of the bar on the terminal, which has no room for a second bar.
_shown: list[Steps] = []


def track(
    items: Iterable[Item], what: str, total: int, steps: Steps | None = None
) -> Iterator[Item]:
    """Yield `items` and report progress on stderr, or in the log if stderr is not a terminal.

    Work within a step of other work, whose bar has `steps`, is shown beside that bar.

    Args:
        items: Items of the work.
        what: The work, as a noun or a gerund: "reading label maps".
        total: Number of items.
        steps: Names the steps in work.

    Yields:
        Each item, unchanged.
    """
    if rank() > 0:
        # The first of several processes reports for all.
        yield from items
        return
    if _shown:
        yield from _shown[-1].within(items, what, total)
        return
    if sys.stderr.isatty() and steps is not None:
        yield from steps.bar(items, what, total)
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
