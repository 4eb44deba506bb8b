"""A case, what was found in a folder, and a data list: the values that the other modules pass."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volseg.errors import DataListError


@dataclass(frozen=True)
class Case:
    """One examination: its images and at most one label map.

    Attributes:
        case_id: Name of the examination.
        patient_id: Name of the person; all cases of a person share a fold.
        images: One file for each of `channels`, in that order, or one 4D file that holds them all.
        channels: What the files hold.
        label: Label map, if there is one.
        labels: Name of the label scheme of `label`; None: that of the config.
        fold: Share of the cross-validation.
    """

    case_id: str
    patient_id: str
    images: tuple[Path, ...]
    channels: tuple[str, ...]
    label: Path | None = None
    labels: str | None = None
    fold: int | None = None


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
    """

    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    layouts: Mapping[str, int]
    layout_of: Mapping[str, str]

    @classmethod
    def of(
        cls, cases: Iterable[Case], skipped: Iterable[Skipped], layout_of: Mapping[str, str]
    ) -> Finding:
        """Sort `cases` and count their layouts; `layout_of` may name further cases."""
        ordered = tuple(sorted(cases, key=lambda case: case.case_id))
        kept = {case.case_id: layout_of[case.case_id] for case in ordered}
        layouts = dict(sorted(Counter(kept.values()).items()))
        return cls(ordered, tuple(skipped), layouts, kept)


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
