"""The registry of scores: tables, files, TensorBoard and pages show what its entries define."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.metrics.overlap import Mask, Overlap
from volseg.metrics.surface import HD95_PENALTY_MM, hausdorff_95

# Decimals in CSV files, beyond those of tables: enough to rank cases, few enough to read.
_MORE_DIGITS = 2

_UNKNOWN_SIZE = "none if the voxel size is not known"


@dataclass(frozen=True)
class RegionPair:
    """Prediction and reference of one region: counts and, if known, masks and voxel size.

    Attributes:
        overlap: Counts of voxels.
        voxel_ml: Volume of a voxel in ml; None if not known.
        masks: Prediction and reference, of the same shape; None where only counts are kept, as in
            validation and for slices.
        steps_mm: Steps between neighbouring voxels along the axes of `masks` in mm, as in
            `Grid.steps_mm`; None if not known.
    """

    overlap: Overlap
    voxel_ml: float | None = None
    masks: tuple[Mask, Mask] | None = None
    steps_mm: npt.NDArray[np.float64] | None = None

    @property
    def hd95_mm(self) -> float | None:
        """Value of `hausdorff_95`; None without masks or steps."""
        if self.masks is None or self.steps_mm is None:
            return None
        prediction, reference = self.masks
        return hausdorff_95(reference, prediction, self.steps_mm)

    def volume_ml(self, voxels: int) -> float | None:
        """Volume of a number of voxels in ml; None if the voxel size is not known."""
        return None if self.voxel_ml is None else voxels * self.voxel_ml


def _not_of_a_pair(pair: RegionPair) -> None:
    """No value."""


@dataclass(frozen=True)
class Score:
    """Definition of one score of a region of a case.

    Attributes:
        name: Key and column in files, ending with the unit: `hd95_mm`.
        title: Name for readers.
        definition: Definition for files and pages.
        compute: Function from a pair to the value; None if the pair lacks masks or voxel size.
            Without a function: the value comes from an official protocol, not from a pair.
        unit: Unit for readers; empty for a ratio.
        digits: Decimals in tables.
        best: Value of a perfect prediction, also if both masks are empty; None for a size, which
            is neither good nor bad.
        worst: Value if exactly one mask is empty, and of a case without a prediction; None if it
            differs from case to case.
        counted: Whether counts of voxels are enough to compute it. Such scores also exist for
            slices, groups and the validation in training, and are compared between runs.
    """

    name: str
    title: str
    definition: str
    compute: Callable[[RegionPair], float | None] = _not_of_a_pair
    unit: str = ""
    digits: int = 3
    best: float | None = None
    worst: float | None = None
    counted: bool = False

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Functions without a name cannot be pickled, so a score of the registry is its name.
        is_registered = _BY_NAME.get(self.name) is self
        return (get_score, (self.name,)) if is_registered else super().__reduce__()

    @property
    def better(self) -> str:
        """Whether a "higher" or a "lower" value is better; empty for a size."""
        if self.best is None:
            return ""
        return "lower" if self.best == 0 else "higher"

    @property
    def heading(self) -> str:
        """Heading of a table column: title and, if there is one, unit."""
        return f"{self.title} ({self.unit})" if self.unit else self.title

    def text(self, value: float | None) -> str:
        """A value as text for a table; a dash for None.

        >>> get_score("hd95_mm").text(3.14159), get_score("dice").text(None)
        ('3.14', '-')
        """
        return "-" if value is None else f"{value:.{self.digits}f}"

    def rounded(self, value: float | None) -> float | None:
        """A value rounded for a CSV file; JSON files hold all digits.

        >>> get_score("dice").rounded(2 / 3)
        0.66667
        """
        return value if value is None else round(value, self.digits + _MORE_DIGITS)


#: All scores, in the order of columns. New scores go last, so that columns keep their places.
SCORES: tuple[Score, ...] = (
    Score(
        "dice",
        "Dice",
        "2 |P and R| / (|P| + |R|), P the voxels of the prediction, R of the reference",
        lambda pair: pair.overlap.dice,
        best=1,
        worst=0,
        counted=True,
    ),
    Score(
        "iou",
        "IoU",
        "|P and R| / |P or R|",
        lambda pair: pair.overlap.iou,
        best=1,
        worst=0,
        counted=True,
    ),
    Score(
        "precision",
        "precision",
        "|P and R| / |P|",
        lambda pair: pair.overlap.precision,
        best=1,
        worst=0,
        counted=True,
    ),
    Score(
        "recall",
        "recall",
        "|P and R| / |R|, also called sensitivity",
        lambda pair: pair.overlap.recall,
        best=1,
        worst=0,
        counted=True,
    ),
    Score(
        "hd95_mm",
        "HD95",
        "the larger of the two directed 95th percentiles of the distances between surface voxels, "
        f"in mm, as MONAI defines it; {_UNKNOWN_SIZE}",
        lambda pair: pair.hd95_mm,
        unit="mm",
        digits=2,
        best=0,
        worst=HD95_PENALTY_MM,
    ),
    Score(
        "volume_ml",
        "volume",
        f"volume of the prediction in ml; {_UNKNOWN_SIZE}",
        lambda pair: pair.volume_ml(pair.overlap.prediction_voxels),
        unit="ml",
    ),
    Score(
        "reference_volume_ml",
        "volume of the reference",
        f"volume of the reference in ml; {_UNKNOWN_SIZE}",
        lambda pair: pair.volume_ml(pair.overlap.reference_voxels),
        unit="ml",
    ),
    Score(
        "prediction_voxels",
        "voxels of the prediction",
        "voxels of the prediction",
        lambda pair: pair.overlap.prediction_voxels,
        digits=0,
    ),
    Score(
        "reference_voxels",
        "voxels of the reference",
        "voxels of the reference",
        lambda pair: pair.overlap.reference_voxels,
        digits=0,
    ),
)

#: Scores that rate a prediction: all but the sizes.
RATED_SCORES = tuple(score for score in SCORES if score.better)
#: Scores that are computed from counts of voxels alone; see `Score.counted`.
COUNTED_SCORES = tuple(score for score in SCORES if score.counted)


_BY_NAME = {score.name: score for score in SCORES}


def get_score(name: str) -> Score:
    """Score by its name; KeyError if there is none."""
    return _BY_NAME[name]


def _in_words(values: Iterable[tuple[Score, float | None]]) -> str:
    """Scores with their values, equal values joined: `Dice and IoU are 1, HD95 is 0 mm`."""
    titles: dict[str, list[str]] = {}
    for score, value in values:
        titles.setdefault(f"{value:g} {score.unit}".strip(), []).append(score.title)
    return ", ".join(
        f"{' and '.join(filter(None, (', '.join(names[:-1]), names[-1])))} "
        f"{'are' if names[1:] else 'is'} {value}"
        for value, names in titles.items()
    )


EMPTY_MASK_POLICY = (
    "As BraTS 2017 to 2022: when reference and prediction are both empty, "
    f"{_in_words((score, score.best) for score in RATED_SCORES)}; when only one of them is empty, "
    f"{_in_words((score, score.worst) for score in RATED_SCORES)} ({HD95_PENALTY_MM} mm is the "
    "diagonal of 240 x 240 x 155 mm). Each mean includes all scored cases; means in mm or ml only "
    "the cases with a known voxel size."
)
