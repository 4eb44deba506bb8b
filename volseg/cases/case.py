"""A case, what was found in a folder, and a data list: the values that the other modules pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volseg.cases.names import is_slice, patient_key
from volseg.errors import DataListError


@dataclass(frozen=True)
class Case:
    """One examination: its images and at most one label map.

    Attributes:
        case_id: Name of the examination.
        patient_id: Name of the person; all cases of a person share a fold.
        images: One file for each of `channels`, in that order; or one 4D file that holds them all;
            or, in a stack, one 2D image of all channels for each slice, in the order of slices.
        channels: What the files hold.
        label: Label map: one file, in a stack one for each slice; empty if there is none.
        labels: Name of the label scheme of `label`; None: that of the config.
        fold: Share of the cross-validation.
        spacing_mm: Size of a voxel of a stack along columns, rows and slices; None: not known.
        groups: What else is known of the patient, such as `{"institution": "CS"}`.
    """

    case_id: str
    patient_id: str
    images: tuple[Path, ...]
    channels: tuple[str, ...]
    label: tuple[Path, ...] = ()
    labels: str | None = None
    fold: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_stack(self) -> bool:
        """Whether the images are 2D slices (TIFF, PNG, ...) and not volumes."""
        return is_slice(self.images[0].name) if self.images else False

    @property
    def has_size(self) -> bool:
        """Whether the size of a voxel is known; without it, there are no mm and no ml."""
        return not self.is_stack or self.spacing_mm is not None

    @property
    def place(self) -> Path:
        """The image, or the folder of several."""
        return self.images[0] if len(self.images) == 1 else self.images[0].parent


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why.

    Attributes:
        path: The file, or the folder of several.
        reason: A clause without a full stop.
        case_id: The case that is lost by it, if any.
    """

    path: Path
    reason: str
    case_id: str | None = None


@dataclass(frozen=True)
class Finding:
    """What was found in folders.

    Attributes:
        cases: Usable cases, sorted by `case_id`.
        skipped: All that was left out.
        layouts: Number of cases in each layout.
        layout_of: Layout of each case, by `case_id`.
        notes: What is odd about cases that are used, a clause each.
    """

    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    layouts: Mapping[str, int]
    layout_of: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        cases: Iterable[Case],
        skipped: Iterable[Skipped],
        layout_of: Mapping[str, str],
        notes: Iterable[str] = (),
    ) -> Finding:
        """Sort `cases` and count their layouts; `layout_of` may name further cases."""
        ordered = tuple(sorted(cases, key=lambda case: case.case_id))
        kept = {case.case_id: layout_of[case.case_id] for case in ordered}
        layouts = dict(sorted(Counter(kept.values()).items()))
        return cls(ordered, tuple(skipped), layouts, kept, tuple(notes))

    @property
    def lost(self) -> dict[str, str]:
        """Reason of each case that was found and cannot be used, for want of a channel or so."""
        usable = {case.case_id for case in self.cases}
        return {
            skipped.case_id: skipped.reason
            for skipped in self.skipped
            if skipped.case_id is not None and skipped.case_id not in usable
        }


@dataclass(frozen=True)
class DataList:
    """Cases to train and to test on.

    Attributes:
        name: What the list is called.
        channels: What the images of a case hold, unless the case says otherwise.
        training: Cases with a label map.
        testing: Cases without one.
    """

    name: str
    channels: tuple[str, ...]
    training: tuple[Case, ...]
    testing: tuple[Case, ...] = ()

    def split(self, fold: int | None) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
        """Cases to train on and those of `fold` to validate on; None trains on every case."""
        if fold is None:
            return self.training, ()
        validation = tuple(case for case in self.training if case.fold == fold)
        return tuple(case for case in self.training if case.fold != fold), validation

    def cases(self, fold: int | None = None) -> tuple[Case, ...]:
        """Every case, or those of one fold; DataListError if it has none."""
        if fold is None:
            return self.training + self.testing
        cases = self.split(fold)[1]
        if not cases:
            folds = sorted({case.fold for case in self.training if case.fold is not None})
            raise DataListError(
                f"data list {self.name!r} has no fold {fold}, but {folds}; choose one of them"
            )
        return cases


def leaks(training: Iterable[Case], validation: Iterable[Case]) -> Iterator[str]:
    """What is both trained and validated on: patients, and files of cases."""
    patients: dict[str, Case] = {}
    files: dict[Path, Case] = {}
    for case in training:
        patients.setdefault(patient_key(case.patient_id), case)
        files |= dict.fromkeys((*case.images, *case.label), case)
    for case in validation:
        if other := patients.get(patient_key(case.patient_id)):
            yield (
                f"patient {case.patient_id} is on both sides: {other.case_id} is trained on, "
                f"{case.case_id} validated on; give all cases of a patient one fold"
            )
        if shared := [path for path in (*case.images, *case.label) if path in files]:
            yield (
                f"{shared[0]} is on both sides: {files[shared[0]].case_id} is trained on, "
                f"{case.case_id} validated on; list each scan once"
            )
