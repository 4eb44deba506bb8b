"""Steps from the found cases to the cases of a data list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from volseg.cases.case import Case
from volseg.cases.patient_table import add_groups, read_patient_table, table_beside
from volseg.errors import ConfigError, LabelError
from volseg.finding.finding import Finding, Skipped
from volseg.finding.skipped import in_words, notes_in_words
from volseg.labels import get_scheme
from volseg.survey.copies import joined
from volseg.survey.label_maps import LabelMap, read_label_maps
from volseg.survey.schemes import FROM_CONFIG, Values, decide_schemes, decisions_in_words
from volseg.words import cases_in_words


@dataclass(frozen=True)
class Cohort:
    """Found cases, and the facts that each step adds.

    Attributes:
        found: Remaining cases, and files and cases that the search left out.
        label_maps: Facts of each label map by case id.
        lost: Cases that later steps left out.
        notes: Notes on patients, their table, and odd cases.
        joins: The notes on cases that were joined as one patient.
        warnings: Reasons to doubt scores on these cases.
        schemes: Label scheme of each labelled case by case id.
        decisions: A sentence for each group of cases, with its label scheme and the source.
    """

    found: Finding
    label_maps: Mapping[str, LabelMap] = field(default_factory=dict)
    lost: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    schemes: Mapping[str, str] = field(default_factory=dict)
    decisions: tuple[str, ...] = ()

    @property
    def cases(self) -> tuple[Case, ...]:
        """Remaining cases."""
        return self.found.cases

    @property
    def labelled(self) -> tuple[Case, ...]:
        """Cases with a label map, for training."""
        return tuple(case for case in self.cases if case.label)

    @property
    def unlabelled(self) -> tuple[Case, ...]:
        """Cases without a label map."""
        return tuple(case for case in self.cases if not case.label)

    @property
    def values(self) -> dict[str, Values]:
        """Values of each label map by case id."""
        return {name: one.values for name, one in self.label_maps.items()}

    @property
    def tumour_slices(self) -> dict[str, int]:
        """Number of slices with any label but 0 by case id; empty without stacks of slices."""
        if not any(case.slices for case in self.cases):
            return {}
        return {name: one.tumour_slices for name, one in self.label_maps.items()}

    def with_cases(self, cases: Iterable[Case], **changes: Any) -> Self:
        """The cohort with these cases, and with changed attributes."""
        return replace(self, found=replace(self.found, cases=tuple(cases)), **changes)

    def _without(self, reasons: Mapping[str, str]) -> Self:
        """The cohort without the cases of `reasons`, which become `lost`."""
        lost = [
            _lost(case, reasons[case.case_id]) for case in self.cases if case.case_id in reasons
        ]
        kept = [case for case in self.cases if case.case_id not in reasons]
        return self.with_cases(kept, lost=(*self.lost, *lost))

    def listable(self) -> Self:
        """The cohort without cases whose paths cannot be written in a data list, as UTF-8."""
        reason = "its name is not UTF-8, unlike a data list; rename its files and folders"
        return self._without({case.case_id: reason for case in self.cases if not _is_utf8(case)})

    def completed(
        self,
        folders: Sequence[Path],
        spacing_mm: tuple[float, float, float] | None,
        table: Path | None,
        columns: Sequence[str] | None,
    ) -> Self:
        """The cohort with voxel sizes and groups that the user gives, and notes on them.

        Args:
            folders: Folders that were searched.
            spacing_mm: Voxel size of 2D slices; None: not known.
            table: CSV file of patients; None: a table beside the cases is only noted.
            columns: Columns of `table` to add; None: columns that group patients.

        Raises:
            ConfigError: If a spacing is given, but no case consists of slices.
            DataListError: If the table cannot be used.
        """
        cases, notes = self.cases, []
        if spacing_mm is not None:
            if not any(case.slices for case in cases):
                raise ConfigError(
                    "--spacing is for 2D slices, but NIfTI files record theirs",
                    remedy="leave it out",
                )
            cases = tuple(case.with_spacing(spacing_mm) for case in cases)
        if table is not None:
            cases, sentence = add_groups(cases, read_patient_table(table, columns))
            notes.append(sentence)
        elif beside := table_beside(cases, folders):
            notes.append(f"{beside} may hold more on the patients: add it with --table {beside}")
        if single := _patients_with_a_slice(cases):
            notes.append(f"patients with a single slice: {single}")
        return self.with_cases(cases, notes=(*self.notes, *notes))

    def read(self) -> Self:
        """The cohort without cases that cannot be read, with the facts of label maps."""
        read = read_label_maps(self.cases)
        label_maps = {name: one for name, one in read.items() if isinstance(one, LabelMap)}
        unreadable = {name: one for name, one in read.items() if isinstance(one, str)}
        return replace(self._without(unreadable), label_maps=label_maps)

    def joined(self) -> Self:
        """The cohort with cases that show the same scan joined as one patient."""
        cases, joins, warnings = joined(self.cases, self.label_maps)
        odd = notes_in_words({name: one.notes for name, one in self.label_maps.items()})
        of_files = (*self.found.notes, *(f"label map of {note}" for note in odd))
        return self.with_cases(
            cases,
            notes=(*self.notes, *joins, *of_files),
            joins=joins,
            warnings=(*self.warnings, *warnings),
        )

    def with_schemes(self, asked: str | None) -> Self:
        """The cohort with label schemes, without cases whose values contradict their scheme.

        Args:
            asked: Name of the scheme of all label maps, or `FROM_CONFIG`; None: decided by file
                names and values.

        Raises:
            LabelError: If the scheme of a label map cannot be decided.
        """
        values = self.values
        groups, schemes = decide_schemes(self.cases, values, self.found.layout_of, asked)
        misfits = {
            case.case_id: problem
            for case in self.labelled
            if (problem := _misfit(case, schemes[case.case_id], values[case.case_id]))
        }
        fitting = self._without(misfits)
        labelled = {case.case_id: schemes[case.case_id] for case in fitting.labelled}
        named = [replace(c, labels=_name(labelled.get(c.case_id))) for c in fitting.cases]
        decisions = decisions_in_words(groups, labelled)
        return fitting.with_cases(named, schemes=labelled, decisions=decisions)

    def no_label_maps(self) -> str:
        """Message that no case has a usable label map, with the reasons of left-out cases."""
        left_out = [*self.lost, *self.found.skipped]
        also = f" (left out: {in_words(left_out)})" if left_out else ""
        if self.lost:
            number = cases_in_words(len(self.lost))
            first = self.lost[0].sentence
            return f"none of {number} has a usable label map; the first problem: {first}{also}"
        number = cases_in_words(len(self.cases))
        names = "; --label-name gives the ending of label map names" if left_out else ""
        return f"none of {number} has a label map{also}; volseg infer needs no data list{names}"


def _lost(case: Case, reason: str) -> Skipped:
    return Skipped(case.place, reason, case.case_id)


def _is_utf8(case: Case) -> bool:
    try:
        "".join([case.case_id, *map(str, (*case.images, *case.label))]).encode()
    except UnicodeError:
        return False
    return True


def _patients_with_a_slice(cases: Iterable[Case]) -> int:
    """Number of patients with a single slice, if other patients have several; else 0."""
    slices: Counter[str] = Counter()
    for case in cases:
        slices[case.patient_id] += len(case.slices)
    single = sum(number == 1 for number in slices.values())
    return single if single and max(slices.values()) > 1 else 0


def _misfit(case: Case, scheme: str, values: Values) -> str:
    """Why the values of a label map contradict its scheme; "" if they fit."""
    if scheme == FROM_CONFIG:
        return ""
    try:
        get_scheme(scheme).check(values, f"label map {case.label[0]}")
    except LabelError as error:
        return error.without_case
    return ""


def _name(scheme: str | None) -> str | None:
    return None if scheme == FROM_CONFIG else scheme
