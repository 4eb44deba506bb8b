"""Command `convert`, and the table of what it will write."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from volseg.cli.app import PREPARE, command, fail_if_some_failed
from volseg.cli.jobs import as_words
from volseg.cli.next_steps import line, next_steps
from volseg.cli.options import sizes
from volseg.cli.tables import print_listing, print_table, say
from volseg.words import cases_in_words, number_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from volseg.conversion.channels import Chosen
    from volseg.conversion.plan import Plan, PlannedCase
    from volseg.tasks.convert import ConvertResult

# A longer table of cases is not read, but scrolled past; `--dry-run` shows it.
_MOST_CASES = 20
_FEW = 3
# A channel, and lines on it.
_Row = tuple[str, list[str]]


@command(PREPARE)
def convert(  # noqa: PLR0913, PLR0917  (an option each)
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SOURCE",
            help="Folder with DICOM, MHA, NRRD, Analyze or NIfTI files, TIFF or PNG stacks, in any "
            "order and depth.",
        ),
    ],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FOLDER", help="Folder of the cases.")
    ],
    channels: Annotated[
        list[str] | None,
        typer.Option(
            "--channel",
            metavar="CHANNEL=PATTERN",
            help="Series of a channel, by description, protocol, series number or path, such as "
            "t1c='*mprage*KM*' or adc=12; repeat it for other channels, or for other patterns of a "
            "channel. Where no pattern fits a series, the evidence decides.",
            show_default=False,
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the table of all cases and write nothing.")
    ] = False,
    shift_dates: Annotated[
        bool,
        typer.Option(
            "--shift-dates",
            help="Write time_points.csv for `report --follow-up`: dates moved by a random number "
            "of days for each patient.",
        ),
    ] = False,
    pseudonyms: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.csv",
            help="Table of patients and pseudonyms; it is read again and extended.",
            show_default="FOLDER.pseudonyms.csv, beside FOLDER",
        ),
    ] = None,
    prefix: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="First part of the names of cases.",
            show_default="as before, or PAT",
        ),
    ] = None,
    keep_names: Annotated[
        bool,
        typer.Option("--keep-names", help="Keep the names of cases whose files are not DICOM."),
    ] = False,
    spacing: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,C",
            help="Size of a voxel in mm, for files that do not say it, such as PNG: along columns, "
            "rows and slices.",
            show_default="not known",
        ),
    ] = None,
    orientation: Annotated[
        str | None,
        typer.Option(
            metavar="AXES",
            help="Directions of columns, rows and slices, for files that do not say them: LPS is "
            "to the left, to the back, to the head.",
            show_default="as usual for the format, with a note",
        ),
    ] = None,
    overwrite: Annotated[
        bool,
        typer.Option(
            "--overwrite",
            help="Convert finished cases again, also with fewer channels than before. Files that "
            "volseg did not write, or that were changed since, stay.",
        ),
    ] = False,
) -> None:
    """Convert DICOM and other scans to cases of NIfTI, without names of patients.

    The table of series shows which of them become which channel and by which
    evidence; what is not clear is refused, with the option that decides it.
    Names, ids and dates stay in the table of pseudonyms, which only its owner
    may read. A second call keeps what is there and converts what is new. If a
    series, a channel or a case has a fault, the others are converted and the
    exit code is 3.

    Examples:
      volseg convert hospital -o cases --dry-run
      volseg convert hospital -o cases
      volseg convert hospital -o cases --channel t1c='*mprage*KM*' --shift-dates
      volseg convert png_slices -o cases --spacing 0.5,0.5,3 --orientation LPS
    """
    from volseg.tasks.convert import ConvertOptions
    from volseg.tasks.convert import convert as run_convert

    options = ConvertOptions(
        tuple(channels or ()),
        dry_run,
        shift_dates,
        pseudonyms,
        prefix,
        keep_names,
        sizes(spacing),
        orientation,
        overwrite,
    )
    result = run_convert(source, output, options, lambda plan: print_plan(plan, complete=dry_run))
    _print_outcome(result, shift_dates)
    if dry_run and result.plan.cases:
        flags = {"--shift-dates": shift_dates, "--keep-names": keep_names}
        flags |= {"--overwrite": overwrite}
        named = {"--pseudonyms": pseudonyms, "--prefix": prefix, "--spacing": spacing}
        named |= {"--orientation": orientation}
        words = [*(f"--channel={name}" for name in channels or ()), *as_words(flags, named)]
        next_steps({"write them": [line("volseg", "convert", source, "-o", output, *words)]})
    fail_if_some_failed(result.failures, "item")


def print_plan(plan: Plan, *, complete: bool) -> None:
    """Print which series become which channel, what is left out, and what a case lacks.

    Args:
        plan: The plan.
        complete: Whether each case of many is printed, also those that are kept, instead of one of
            each kind of the others.
    """
    cases = plan.cases if complete else plan.new
    if plan.cases and not cases:
        if plan.left_out:
            say(f"{number_of(len(plan.left_out), 'item')} left out, which --dry-run lists")
        return
    if complete or len(cases) <= _MOST_CASES:
        blocks = [(case.case_id, _rows(case)) for case in cases]
    else:
        blocks = [("", _rows_of_kinds(cases))]
    if cases:
        print_listing("Series", blocks)
    if plan.left_out:
        rows = _few([(one.name, one.reason) for one in plan.left_out])
        print_table("Left out", ("series or file", "reason"), rows)
    for note in (*_assumptions(cases), *plan.notes, *_lacking(cases)):
        say(note)
    say("Paths and descriptions of the source may name patients: do not pass them on")


def _rows(case: PlannedCase) -> list[_Row]:
    rows: list[_Row] = [
        (channel, _lines(chosen.series.name, chosen))
        for channel, chosen in case.assignment.channels.items()
    ]
    return rows + [(one.channel, ["refused"]) for one in case.assignment.refused]


def _lines(name: str, chosen: Chosen) -> list[str]:
    """Name and size of a series, and its evidence."""
    grid = chosen.series.grid
    size = f"{grid.shape_in_words} voxels of {grid.spacing_in_words} mm"
    return [f"{name}, {size}", "; ".join(chosen.reasons)]


def _rows_of_kinds(cases: Iterable[PlannedCase]) -> list[_Row]:
    """A row for all series of a channel with the same description."""
    kinds: dict[tuple[str, str], list[tuple[str, Chosen]]] = defaultdict(list)
    for case in cases:
        for channel, chosen in case.assignment.channels.items():
            description = chosen.series.facts.description or "without description"
            kinds[channel, description].append((case.case_id, chosen))
    order = sorted(kinds.items(), key=lambda item: (item[0][0], -len(item[1])))
    return [
        (
            channel,
            _lines(f"{number_of(len(of), 'case')}, such as {of[0][0]}: {text}", of[0][1]),
        )
        for (channel, text), of in order
    ]


def _assumptions(cases: Iterable[PlannedCase]) -> list[str]:
    """Notes of the readers of files, with the number of cases."""
    notes = [
        (f"{case.case_id} {channel}", note)
        for case in cases
        for channel, chosen in case.assignment.channels.items()
        for note in chosen.series.notes
    ]
    return [f"{names}: {note}" for names, note in _few(notes)]


def _lacking(cases: Iterable[PlannedCase]) -> list[str]:
    """Channels of BraTS that cases with any of them lack."""
    from volseg.config import CHANNELS

    lacking = []
    for case in cases:
        has = set(case.assignment.channels)
        if has & set(CHANNELS) and (lacks := [name for name in CHANNELS if name not in has]):
            lacking.append((case.case_id, f"without {', '.join(lacks)}"))
    return [f"{names}: {lacks}" for names, lacks in _few(lacking)]


def _few(reasons: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
    """Names and reasons; of more than three names with one reason, the first and their number."""
    names: dict[str, list[str]] = defaultdict(list)
    for name, reason in reasons:
        names[reason].append(name)
    rows = []
    for reason, found in names.items():
        more = len(found) - 1 if len(found) > _FEW else 0
        listed = f"{found[0]} and {more} more" if more else ", ".join(found)
        rows.append((listed, reason))
    return rows


def _print_outcome(result: ConvertResult, shift_dates: bool) -> None:
    outcome = result.outcome
    if outcome is None:
        say(
            f"{cases_in_words(len(result.plan.cases))} would be written to {result.folder}; new "
            "patients get random numbers, so names may differ then"
        )
        return
    done = {"written": outcome.written, "rewritten": outcome.rewritten, "kept": outcome.kept}
    parts = [f"{cases_in_words(len(cases))} {what}" for what, cases in done.items() if cases]
    say(f"{', '.join(parts) or 'no case written'}: {result.folder}")
    if not any(done.values()):
        return
    say(f"Patients and pseudonyms: {result.table} (keep it apart from the cases)")
    if result.time_points:
        say(f"Shifted dates: {result.time_points}")
    elif shift_dates:
        say("No date of an examination is known, so there is no table of shifted dates")
    next_steps(
        {
            "register and strip the skull": [
                line("volseg", "prepare", result.folder, "-o", "prepared")
            ]
        }
    )
