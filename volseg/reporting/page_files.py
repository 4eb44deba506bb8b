"""Files of the pages of a report: their names, and which of them may be replaced or removed."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from volseg.errors import OutputError
from volseg.files.documents import open_regular
from volseg.files.ownership import check_ours, is_ours
from volseg.files.writing import remove

#: Cases with pictures on a page.
CASES_PER_PAGE = 10

_ENDING = ".html"
_REMEDY = "choose another with -o"
# The second line of a further page; see `templates/page.html.j2`.
_FURTHER = re.compile(rb"<!-- Written by volseg [^,]+, (page \d+ of [^ ]+)\. -->")
_MOST_BYTES = 10_000


def page_paths(path: Path, cases: int) -> list[Path]:
    """Paths of the pages of a report with pictures of this number of cases.

    >>> [page.name for page in page_paths(Path("report.html"), 21)]
    ['report.html', 'report-2.html', 'report-3.html']
    """
    count = max(1, -(-cases // CASES_PER_PAGE))
    return [path, *(_further(path, number) for number in range(2, count + 1))]


def _further(path: Path, number: int) -> Path:
    return path.with_name(f"{path.stem}-{number}{_ENDING}")


def check_page(path: Path) -> None:
    """Refuse, before any work, a path that a report cannot have.

    Raises:
        OutputError: If the name does not end in .html, or volseg did not write the file there.
    """
    if path.suffix != _ENDING or path.is_dir():
        what = "is a folder" if path.is_dir() else f"does not end in {_ENDING}"
        raise OutputError(
            f"{path} {what}, but a report is one file", remedy="give -o report.html", path=path
        )
    check_pages([path])


def check_pages(paths: Sequence[Path]) -> None:
    """Refuse pages that would replace a file of another program, or a page of another report.

    Args:
        paths: The pages of a report, in order.

    Raises:
        OutputError: If one of them would.
    """
    for number, path in enumerate(paths, start=1):
        check_ours(path)
        expected = _name(paths[0], number)
        if path.exists() and (found := _name_in(path)) != expected:
            raise OutputError(
                f"{path} is {found or 'the first page of another report'} and would be replaced",
                remedy=_REMEDY,
                path=path,
            )


def remove_further_pages(path: Path, count: int) -> None:
    """Remove the pages of an earlier report at `path` that had more than `count` pages."""
    for number in itertools.count(count + 1):
        page = _further(path, number)
        if not (is_ours(page) and _name_in(page) == _name(path, number)):
            return
        remove(page)


def _name(first: Path, number: int) -> str:
    """Name of a page in its second line, such as `page 2 of report.html`; of the first, empty."""
    return f"page {number} of {quote(first.name)}" if number > 1 else ""


def _name_in(page: Path) -> str:
    """Name that the second line of a page gives."""
    with open_regular(page) as file:
        file.readline(_MOST_BYTES)
        found = _FURTHER.match(file.readline(_MOST_BYTES))
    return found[1].decode() if found else ""
