"""What a conversion will write: cases with their channels, and what is left out or refused."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.identity import unfit_name
from volseg.conversion.by_hand import ByHand
from volseg.conversion.channels import Assignment, assign
from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.conversion.pseudonyms import Examination, Named, named, plain
from volseg.conversion.series import LeftOut, Series, SourceFinding
from volseg.errors import ConfigError
from volseg.finding.name_reading import read_name
from volseg.words import number_of, reason


@dataclass(frozen=True)
class PlannedCase:
    """A case that will be written.

    Attributes:
        case_id: Its name.
        assignment: Its series by channel.
        sources: Digest of grids, and of names, sizes and times of the source files.
        folder: Where the first source file lies, as the table writes it.
        is_elsewhere: Whether an earlier conversion read the examination from another folder, where
            only names say that it is the same one.
        is_patient_elsewhere: Whether the examination is new, and earlier conversions read the
            patient from another source, where only names say that it is the same person.
    """

    case_id: str
    assignment: Assignment
    sources: str
    folder: str = ""
    is_elsewhere: bool = False
    is_patient_elsewhere: bool = False


@dataclass(frozen=True)
class Plan:
    """The cases of a source.

    Attributes:
        cases: In the order of their names.
        table: The table of pseudonyms with all of them.
        left_out: Series and files that are no channel, with reasons.
        failures: Names and reasons of series and channels with faults.
        notes: Assumptions for the user.
        kept: Names of the cases that are there already, from the same sources.
    """

    cases: tuple[PlannedCase, ...]
    table: PseudonymTable
    left_out: tuple[LeftOut, ...] = ()
    failures: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()

    @property
    def new(self) -> tuple[PlannedCase, ...]:
        """The cases that are not there yet, or whose sources have changed."""
        return tuple(case for case in self.cases if case.case_id not in self.kept)


def make_plan(
    finding: SourceFinding,
    by_hand: ByHand,
    table: PseudonymTable,
    source: Path,
    *,
    keep_names: bool = False,
) -> Plan:
    """Plan the conversion of the series of a source.

    Args:
        finding: What the source holds.
        by_hand: Channels by hand.
        table: Pseudonyms of earlier conversions.
        source: The folder in which it was found.
        keep_names: Whether cases of image files keep their names.

    Raises:
        ConfigError: If a pattern by hand fits no series, or two cases would keep one name.
    """
    by_hand.check_used(finding)
    studies = [(series, assign(series, by_hand)) for series in _studies(finding)]
    planned = [
        (_examination(series, keep_names=keep_names), assignment)
        for series, assignment in studies
        if assignment.channels or assignment.refused
    ]
    found = named(table, [one for one, assignment in planned if assignment.channels])
    _check_names(found.table)
    before = {entry.key: entry.facts.get("source", "") for entry in table.entries}
    cases = [
        PlannedCase(
            *(found.case_ids[one.key], assignment, _digest(assignment), plain(one.source)),
            is_elsewhere=_is_elsewhere(assignment, before.get(one.key, "")),
            is_patient_elsewhere=_is_image(assignment)
            and _is_patient_elsewhere(one, before, source),
        )
        for one, assignment in planned
        if assignment.channels and one.key in found.case_ids and one.key not in found.refused
    ]
    cases.sort(key=lambda case: case.case_id)
    failures = [(broken.name, broken.sentence) for broken in finding.broken]
    failures += [failure for one, of in planned for failure in _failures(one, of, found)]
    left_out = [one for _, assignment in studies for one in assignment.left_out]
    return Plan(
        tuple(cases),
        found.table,
        (*finding.left_out, *left_out),
        tuple(failures),
        tuple(_notes(cases, found)),
    )


def _failures(one: Examination, assignment: Assignment, found: Named) -> Iterator[tuple[str, str]]:
    """Names and reasons of channels without clear evidence, and of an examination without name."""
    place = found.case_ids.get(one.key) or one.source
    for refused in assignment.refused:
        yield place, refused.sentence
    if why := found.refused.get(one.key):
        yield place, why


def _studies(finding: SourceFinding) -> Iterable[list[Series]]:
    studies: dict[tuple[str, str], list[Series]] = {}
    for one in finding.series:
        studies.setdefault((one.patient.key, one.study.key), []).append(one)
    return studies.values()


def _examination(series: Sequence[Series], *, keep_names: bool) -> Examination:
    first = series[0]
    name = _kept_name(series) if keep_names and first.kind == "image" else ""
    return Examination(first.patient, first.study, str(first.files[0].absolute().parent), name)


def _kept_name(series: Sequence[Series]) -> str:
    """Name of a case by its files, if they agree, else by its folder.

    Raises:
        ConfigError: If a case cannot have the name.
    """
    cases = {read_name(one.files[0].name, ()).case for one in series}
    agreed = len(cases) == 1 and cases != {""}
    name = cases.pop() if agreed else Path(series[0].study.key).name
    if why := unfit_name(name):
        raise ConfigError(
            f"the name {name!r} of a case {why}", remedy="rename it, or leave --keep-names out"
        )
    return name


def _check_names(table: PseudonymTable) -> None:
    """Refuse a name that a case of this source shares with another case, also of earlier ones."""
    names = [entry.case_id.casefold() for entry in table.entries]
    twice = next(
        (entry.case_id for entry in table.entries if names.count(entry.case_id.casefold()) > 1),
        None,
    )
    if twice is not None:
        raise ConfigError(
            f"two cases would have the name {twice}",
            remedy="leave --keep-names out, or give another --prefix if the name was kept earlier",
        )


def _is_elsewhere(assignment: Assignment, source: str) -> bool:
    """Whether image files lie in other folders than the first file of an earlier conversion."""
    series = [chosen.series for chosen in assignment.channels.values()]
    folders = {plain(str(path.absolute().parent)) for one in series for path in one.files}
    return bool(source) and _is_image(assignment) and source not in folders


def _is_image(assignment: Assignment) -> bool:
    """Whether a case is of image files, whose patients are known by names only."""
    return next(iter(assignment.channels.values())).series.kind == "image"


def _is_patient_elsewhere(
    one: Examination, before: Mapping[tuple[str, str], str], source: Path
) -> bool:
    """Whether a new examination is of a known patient of whom no folder lies in a source."""
    if one.key in before:
        return False
    of_patient = [folder for (patient, _), folder in before.items() if patient == one.key[0]]
    known = [Path(folder) for folder in of_patient if folder]
    top = plain(str(source.absolute()))
    return bool(known) and not any(folder.is_relative_to(top) for folder in known)


def _notes(cases: Sequence[PlannedCase], found: Named) -> list[str]:
    notes = _of_all(
        found.unordered,
        "examinations without a date follow the dated ones; several of them, or of one date and "
        "time, are in the order of their names in the source",
    )
    notes += [
        f"{one} and {other}: ids that differ only in spelling are taken for two patients; give "
        "them one id in the source if they are one person"
        for one, other in found.alike
    ]
    if len({chosen.series.kind for c in cases for chosen in c.assignment.channels.values()}) > 1:
        notes.append(
            "patients of DICOM and of other files are taken for different people; convert one of "
            "both if the files hold the same scans"
        )
    notes += _of_all(
        [case.case_id for case in cases if case.is_elsewhere],
        "taken for the examination of the same name that an earlier conversion read from another "
        "folder",
    )
    notes += _of_all(
        [case.case_id for case in cases if case.is_patient_elsewhere],
        "taken for another examination of the patient of the same name whom an earlier conversion "
        "read from another folder; convert it with another -o and another table if this is another "
        "person",
    )
    notes += [note for case in cases if (note := _note_on_days(case))]
    for channel in dict.fromkeys(name for c in cases for name in c.assignment.by_evidence):
        of_cases = [case for case in cases if channel in case.assignment.by_evidence]
        notes.append(
            f"--channel {channel} fits no series of {number_of(len(of_cases), 'case')}, such as "
            f"{of_cases[0].case_id}, where the evidence decides"
        )
    return notes + _notes_on_hand(cases)


def _of_all(case_ids: Sequence[str], note: str) -> list[str]:
    """A note on several cases, with the first of them and their number; none without a case."""
    if not case_ids:
        return []
    more = f" and {len(case_ids) - 1} more" if len(case_ids) > 1 else ""
    return [f"{case_ids[0]}{more}: {note}"]


def _notes_on_hand(cases: Sequence[PlannedCase]) -> list[str]:
    """Notes on series that are another channel by hand than their evidence says."""
    case_ids = defaultdict[tuple[str, tuple[str, ...]], list[str]](list)
    for case in cases:
        for channel, chosen in case.assignment.channels.items():
            if chosen.instead:
                case_ids[channel, chosen.instead].append(case.case_id)
    return [
        f"--channel {channel} takes a series of {number_of(len(of), 'case')}, such as {of[0]}, "
        f"whose own evidence says {' or '.join(instead)}; check the table, and give a pattern of "
        "the description if this is not meant"
        for (channel, instead), of in case_ids.items()
    ]


def _note_on_days(case: PlannedCase) -> str:
    """Note on a case whose channels were acquired on several days, by days after the first."""
    on = {
        channel: day
        for channel, chosen in case.assignment.channels.items()
        if (day := chosen.series.facts.acquired_on) is not None
    }
    if len({*on.values()}) < 2:
        return ""
    first = min(on.values())
    days = {channel: (day - first).days for channel, day in on.items() if day != first}
    later = ", ".join(f"{channel} {number_of(n, 'day')}" for channel, n in days.items())
    return f"{case.case_id}: one study over several days, taken as one examination: {later} later"


def _state(path: Path) -> str:
    """Size and time of a file; of one that is gone, the reading of its case says it."""
    try:
        found = path.stat()
    except OSError as error:
        return reason(error)
    return f"{found.st_size} {found.st_mtime_ns}"


def _digest(assignment: Assignment) -> str:
    digest = hashlib.sha256()
    for channel, chosen in assignment.channels.items():
        digest.update(repr(chosen.series.grid.affine.tolist()).encode())
        for path in chosen.series.files:
            digest.update(f"{channel} {path.absolute()} ".encode("utf-8", "surrogateescape"))
            digest.update(f"{_state(path)}\n".encode())
    return digest.hexdigest()[:32]
