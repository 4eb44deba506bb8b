"""`volseg report`: one page, or a few, of the scores of `evaluate` or the results of `infer`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.errors import DataListError
from volseg.files.ownership import check_ours
from volseg.files.paths import PathLike
from volseg.reporting.build import build_report
from volseg.reporting.follow_up import (
    NAMES,
    follow_patients,
    follow_up_path,
    follow_up_remarks,
    write_follow_up,
)
from volseg.reporting.follow_up_section import follow_up_section
from volseg.reporting.page_files import check_page
from volseg.reporting.pages import write_report
from volseg.reporting.results import read_results

#: Name of the page in a folder, and number of cases with pictures, by default.
REPORT_FILE, CASES = "report.html", 20


@dataclass(frozen=True)
class ReportResult:
    """Pages of a report.

    Attributes:
        pages: The pages; the first holds the numbers and links to the others.
        failures: Reason of each case that could not be drawn.
        follow_up: Table of the sizes of regions over time; None without follow-up.
        remarks: What the follow-up leaves out, and why.
    """

    pages: tuple[Path, ...]
    failures: Mapping[str, str]
    follow_up: Path | None = None
    remarks: tuple[str, ...] = ()


def report(
    results: PathLike,
    output: PathLike | None = None,
    cases: int | None = CASES,
    follow_up: PathLike | None = None,
) -> ReportResult:
    """Write a report of a folder of scores or results as self-contained HTML.

    Numbers come from `scores.json` or the manifest, pictures from the files that these record. A
    case that cannot be drawn is named with its reason, and the next case is drawn.

    Args:
        results: Folder that `evaluate` or `infer` wrote.
        output: First page; None: `report.html` in the folder. Further pages, of 10 cases each, lie
            beside it.
        cases: Number of cases with pictures, at most, the worst first; None: all.
        follow_up: Source of the time points of patients: `names`, for the names of cases, or a
            table with the columns case, patient, and date or time. The sizes of regions over time
            become a section, and `report_follow_up.csv` beside `report.html`. None: no follow-up.

    Raises:
        DataListError: If the folder holds neither scores nor results, or no patient can be
            followed.
        OutputError: If a page cannot be written, or volseg did not write the file in its place.
    """
    folder = Path(results)
    if not folder.exists():
        raise DataListError(
            f"{folder} does not exist",
            remedy="give a folder that volseg evaluate or volseg infer wrote",
            path=folder,
        )
    home = folder if folder.is_dir() else folder.parent
    path = home / REPORT_FILE if output is None else Path(output)
    check_page(path)
    content = read_results(home)
    if follow_up is None:
        written = write_report(path, build_report(content, cases))
        return ReportResult(written.pages, written.failures)
    table = follow_up_path(path)
    check_ours(table)
    found = follow_patients(content, NAMES if str(follow_up) == NAMES else Path(follow_up))
    built = build_report(content, cases)
    built = replace(built, sections=[follow_up_section(found), *built.sections])
    written = write_report(path, built)
    write_follow_up(table, found)
    remarks = tuple(follow_up_remarks(found))
    return ReportResult(written.pages, written.failures, table, remarks)
