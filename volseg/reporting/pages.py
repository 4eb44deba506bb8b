"""Writing of a report as self-contained HTML pages, the first page last."""

from __future__ import annotations

import datetime
import itertools
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from volseg import DISCLAIMER, __version__, memory
from volseg.errors import VolsegError
from volseg.files.writing import atomic_write, make_folder, move_into_place, scratch_folder
from volseg.progress import track
from volseg.reporting.content import Block, CaseEntry, Picture, Report, Table
from volseg.reporting.page_files import (
    CASES_PER_PAGE,
    check_pages,
    page_paths,
    remove_further_pages,
)

logger = logging.getLogger(__name__)

#: Bytes of the pictures of a case, as they stand in the page.
MOST_BYTES_PER_CASE = 2_000_000
# Cells of words with more letters than this may take several lines.
_LONG = 24

_REMEDY = "choose another with -o"


@dataclass(frozen=True)
class DrawnCase:
    """A case with its pictures, or with the reason why it has none."""

    entry: CaseEntry
    anchor: str
    pictures: Sequence[Picture] = ()
    problem: str = ""


@dataclass(frozen=True)
class Written:
    """Pages of a report, and the reasons of cases that were not drawn."""

    pages: tuple[Path, ...]
    failures: Mapping[str, str]


def write_report(path: Path, report: Report) -> Written:
    """Draw the cases and write the pages; a case that cannot be drawn is named on its page.

    The pages are put in their places once all are drawn, so an interrupted call leaves an earlier
    report as it was, or none. Further pages of an earlier report that had more cases are removed.

    Raises:
        OutputError: If a page cannot be written, or volseg did not write the file there.
    """
    paths = page_paths(path, len(report.cases))
    check_pages(paths)
    make_folder(path.parent, _REMEDY)
    with scratch_folder(path.parent, f"{path.stem}-pages") as drawn:
        failures = _draw_pages(report, [drawn / page.name for page in paths])
        # The first page, which links to the others, comes last.
        check_pages(paths)
        for page in reversed(paths):
            move_into_place(drawn / page.name, page)
    remove_further_pages(path, len(paths))
    return Written(tuple(paths), failures)


def _draw_pages(report: Report, paths: Sequence[Path]) -> dict[str, str]:
    """Write pages, the first last, as it names all cases that were not drawn; returns these."""
    write = _Writer(report, [page.name for page in paths])
    failures: dict[str, str] = {}
    numbered = [(number, report.cases[_part(number)]) for number in range(1, len(paths) + 1)]
    waiting = iter(track(_cases_of(numbered), "drawing cases", len(report.cases)))
    for number, entries in reversed(numbered):
        drawn = [_drawn(entry, rank) for rank, entry in itertools.islice(waiting, len(entries))]
        failures |= {case.entry.case_id: case.problem for case in drawn if case.problem}
        text = write.page(number, drawn, failures)
        with atomic_write(paths[number - 1]) as temporary:
            # Names of files that are not UTF-8 hold halves of characters.
            temporary.write_bytes(text.encode("utf-8", "backslashreplace"))
    next(waiting, None)
    return failures


def _part(number: int) -> slice:
    return slice((number - 1) * CASES_PER_PAGE, number * CASES_PER_PAGE)


def _cases_of(
    numbered: Sequence[tuple[int, Sequence[CaseEntry]]],
) -> Iterator[tuple[int, CaseEntry]]:
    """Cases with their ranks, in the order in which pages are written."""
    for number, entries in reversed(numbered):
        yield from enumerate(entries, start=_part(number).start + 1)


def _drawn(entry: CaseEntry, rank: int) -> DrawnCase:
    anchor = f"case-{rank}"
    try:
        with memory.in_words():
            pictures = entry.draw()
    except VolsegError as error:
        problem = f"not drawn: {error.without_case}"
        logger.warning("%s: %s", entry.case_id, problem)
        return DrawnCase(entry, anchor, problem=problem)
    kept: list[Picture] = []
    for picture in pictures:
        if sum(len(one.uri) for one in (*kept, picture)) > MOST_BYTES_PER_CASE:
            logger.warning("%s: %s is too large and left out", entry.case_id, picture.title)
        else:
            kept.append(picture)
    return DrawnCase(entry, anchor, kept)


class _Writer:
    """Writes the pages of a report with one environment and one date."""

    def __init__(self, report: Report, names: Sequence[str]) -> None:
        self.report, self.names = report, names
        environment = jinja2.Environment(
            loader=jinja2.PackageLoader("volseg.reporting"),
            autoescape=True,
            finalize=visible,
            undefined=jinja2.StrictUndefined,
        )
        environment.filters |= {"by_kind": _by_kind, "looks": _column_looks}
        css, _, _ = environment.loader.get_source(environment, "report.css")  # type: ignore[union-attr]
        self.template = environment.get_template("page.html.j2")
        self.always = {
            "report": report,
            "css": Markup(css.strip()),
            "version": __version__,
            "disclaimer": DISCLAIMER,
            "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC"),
            "pages": [quote(name) for name in names],
        }

    def page(self, number: int, cases: Sequence[DrawnCase], failures: Mapping[str, str]) -> str:
        """Text of a page."""
        warnings = [
            *self.report.warnings,
            *(f"{case_id}: {problem}" for case_id, problem in failures.items()),
        ]
        return (
            self.template.render(
                **self.always,
                number=number,
                cases=cases,
                warnings=warnings,
                links=self._links(number),
            )
            + "\n"
        )

    def _links(self, here: int) -> dict[str, str]:
        """Link to each case with pictures, by its id."""
        links = {}
        for rank, entry in enumerate(self.report.cases):
            page = rank // CASES_PER_PAGE + 1
            name = "" if page == here else quote(self.names[page - 1])
            links[entry.case_id] = f"{name}#case-{rank + 1}"
        return links


def visible(value: Any) -> Any:
    r"""A value for a page, with characters escaped that would not be seen.

    >>> visible("case\u202e7")
    'case\\u202e7'
    """
    if isinstance(value, Markup) or not isinstance(value, str) or value.isprintable():
        return value
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in value
    )


def _by_kind(blocks: Sequence[Block]) -> list[tuple[str, list[Block]]]:
    """Blocks in order, those of one kind that follow each other together."""
    groups = itertools.groupby(blocks, lambda block: type(block).__name__)
    return [(kind, list(group)) for kind, group in groups]


def _column_looks(table: Table) -> list[str]:
    """CSS classes of the columns: words stand at the left, long words may take several lines."""
    found = []
    for number in range(len(table.columns)):
        cells = [str(row[number]) for row in table.rows]
        is_long = any(len(cell) > _LONG and _is_words(cell) for cell in cells)
        is_left = not number or any(map(_is_words, cells))
        found.append("words long" if is_long else "words" if is_left else "number")
    return found


def _is_words(text: str) -> bool:
    return re.search(r"[^\W\d]{2}", text) is not None
