"""A cohort on its way from folders to a data list: completed, read, joined, labelled."""

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
    """Cases that were found, and what became known of them since.

    Attributes:
        found: The cases that are left, and what the search left out.
        label_maps: What was read of each label map, by `case_id`.
        lost: Cases that were left out since.
        notes: Sentences about patients, their table, and odd cases.
        joins: Those of them that say which cases became one patient.
        warnings: What makes scores on these cases doubtful.
        schemes: Label scheme of each labelled case, by `case_id`.
        decisions: A sentence for each group of cases: its label scheme, and the source of it.
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
        """The cases that are left."""
        return self.found.cases

    @property
    def labelled(self) -> tuple[Case, ...]:
        """Cases to train on."""
        return tuple(case for case in self.cases if case.label)

    @property
    def unlabelled(self) -> tuple[Case, ...]:
        """Cases without a label map."""
        return tuple(case for case in self.cases if not case.label)

    @property
    def values(self) -> dict[str, Values]:
        """Values of each label map, by `case_id`."""
        return {name: one.values for name, one in self.label_maps.items()}

    @property
    def tumour_slices(self) -> dict[str, int]:
        """Slices with any label but 0, by `case_id`, where there are stacks; else nothing."""
        if not any(case.slices for case in self.cases):
            return {}
        return {name: one.tumour_slices for name, one in self.label_maps.items()}

    def with_cases(self, cases: Iterable[Case], **changes: Any) -> Self:
        """The cohort with other cases, and other changes by the name of the attribute."""
        return replace(self, found=replace(self.found, cases=tuple(cases)), **changes)

    def _without(self, reasons: Mapping[str, str]) -> Self:
        """The cohort without some cases, each with its reason by `case_id`."""
        lost = [
            _lost(case, reasons[case.case_id]) for case in self.cases if case.case_id in reasons
        ]
        kept = [case for case in self.cases if case.case_id not in reasons]
        return self.with_cases(kept, lost=(*self.lost, *lost))

    def listable(self) -> Self:
        """Only cases whose names can stand in a data list, which is UTF-8."""
        reason = "its name is not UTF-8, as a data list is; rename its files and folders"
        return self._without({case.case_id: reason for case in self.cases if not _is_utf8(case)})

    def completed(
        self,
        folders: Sequence[Path],
        spacing_mm: tuple[float, float, float] | None,
        table: Path | None,
        columns: Sequence[str] | None,
    ) -> Self:
        """Cases with what the user knows of them, and notes about it.

        Args:
            folders: Where the cases were found.
            spacing_mm: Size of a voxel of 2D slices; None: not known.
            table: CSV file of patients; None: one that lies beside the cases is noted.
            columns: Columns of `table` to add; None: those that group patients.

        Raises:
            ConfigError: If there is a spacing, and no case of slices.
            DataListError: If the table cannot be used.
        """
        cases, notes = self.cases, []
        if spacing_mm is not None:
            if not any(case.slices for case in cases):
                raise ConfigError(
                    "--spacing is for 2D slices, and NIfTI files say theirs", remedy="leave it out"
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
        """Cases that can be read, with what their label maps hold."""
        read = read_label_maps(self.cases)
        label_maps = {name: one for name, one in read.items() if isinstance(one, LabelMap)}
        unreadable = {name: one for name, one in read.items() if isinstance(one, str)}
        return replace(self._without(unreadable), label_maps=label_maps)

    def joined(self) -> Self:
        """Cases in which one scan under two names is of one patient."""
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
        """Labelled cases with their label scheme, without those that hold other values.

        Args:
            asked: Name of the scheme of all label maps, or `FROM_CONFIG`; None: names and values.

        Raises:
            LabelError: If the scheme of label maps cannot be decided.
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
        """That no case can be trained on, and all that was left out, each kind with its reason."""
        left_out = [*self.lost, *self.found.skipped]
        also = f" (left out: {in_words(left_out)})" if left_out else ""
        if self.lost:
            number = cases_in_words(len(self.lost))
            first = self.lost[0].sentence
            return f"none of {number} has a usable label map; the first problem: {first}{also}"
        number = cases_in_words(len(self.cases))
        names = "; --label-name says how the names of label maps end" if left_out else ""
        return (
            f"none of {number} has a label map{also}; volseg infer takes folders without a data "
            f"list{names}"
        )


def _lost(case: Case, reason: str) -> Skipped:
    return Skipped(case.place, reason, case.case_id)


def _is_utf8(case: Case) -> bool:
    try:
        "".join([case.case_id, *map(str, (*case.images, *case.label))]).encode()
    except UnicodeError:
        return False
    return True


def _patients_with_a_slice(cases: Iterable[Case]) -> int:
    """Number of patients with a single slice, where others have several."""
    slices: Counter[str] = Counter()
    for case in cases:
        slices[case.patient_id] += len(case.slices)
    single = sum(number == 1 for number in slices.values())
    return single if single and max(slices.values()) > 1 else 0


def _misfit(case: Case, scheme: str, values: Values) -> str:
    """Why the values of a label map are not those of its scheme; "" if they are."""
    if scheme == FROM_CONFIG:
        return ""
    try:
        get_scheme(scheme).check(values, f"label map {case.label[0]}")
    except LabelError as error:
        return error.without_case
    return ""


def _name(scheme: str | None) -> str | None:
    return None if scheme == FROM_CONFIG else scheme
