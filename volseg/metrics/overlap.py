"""Overlap of two masks: counts of voxels, and Dice, IoU, precision and recall from them.

Empty masks score as in BraTS. When both masks are empty every score is 1: the case has no such
tissue and the model rightly found none. When one mask is empty every score is 0, also the precision
of an empty prediction and the recall of an empty reference, which are 0 / 0.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.labels import Masks

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Overlap:
    """Counts of voxels: in both masks (`tp`), only predicted (`fp`), only in the reference (`fn`).

    The counts of the slices of a volume add up to the counts of the volume.

    >>> top, bottom = Overlap(tp=2, fp=1, fn=0), Overlap(tp=1, fp=0, fn=2)
    >>> (top + bottom).dice
    0.6666666666666666
    """

    tp: int
    fp: int
    fn: int

    @classmethod
    def of(cls, prediction: Mask, reference: Mask) -> Overlap:
        """Overlap of two boolean masks of the same shape, with any number of axes.

        Raises:
            ValueError: If a mask is not boolean or the shapes differ.
        """
        check_masks(prediction, reference)
        tp = int(np.count_nonzero(prediction & reference))
        predicted, expected = np.count_nonzero(prediction), np.count_nonzero(reference)
        return cls(tp, int(predicted) - tp, int(expected) - tp)

    def __add__(self, other: Overlap) -> Overlap:
        return Overlap(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn)

    @property
    def prediction_voxels(self) -> int:
        """Number of voxels of the prediction."""
        return self.tp + self.fp

    @property
    def reference_voxels(self) -> int:
        """Number of voxels of the reference."""
        return self.tp + self.fn

    @property
    def dice(self) -> float:
        r"""$2|P \cap R| / (|P| + |R|)$, from 0 (disjoint) to 1 (equal)."""
        return self._ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    @property
    def iou(self) -> float:
        r"""Intersection over union, the Jaccard index: $|P \cap R| / |P \cup R|$."""
        return self._ratio(self.tp, self.tp + self.fp + self.fn)

    @property
    def precision(self) -> float:
        """Share of the predicted voxels that is correct, also called positive predictive value."""
        return self._ratio(self.tp, self.prediction_voxels)

    @property
    def recall(self) -> float:
        """Share of the reference voxels that is found, also called sensitivity."""
        return self._ratio(self.tp, self.reference_voxels)

    def _ratio(self, part: int, whole: int) -> float:
        both_empty = self.tp + self.fp + self.fn == 0
        return part / whole if whole else float(both_empty)


def dice(reference: Mask, prediction: Mask) -> float:
    r"""Dice similarity coefficient of two masks.

    $2|P \cap R| / (|P| + |R|)$, from 0 (disjoint) to 1 (equal). [1] When both masks are empty it
    is 1, as BraTS scores it; see the head of this module.

    Args:
        reference: Reference mask, any shape.
        prediction: Predicted mask, same shape.

    Returns:
        Dice in [0, 1]; the same in either order.

    Raises:
        ValueError: If a mask is not boolean or the shapes differ.

    Examples:
        >>> dice(np.array([True, False, False]), np.array([True, True, False]))
        0.6666666666666666

    References:
        [1] Dice, "Measures of the amount of ecologic association between species",
            Ecology 26(3), 1945. https://doi.org/10.2307/1932409
    """
    return Overlap.of(prediction, reference).dice


def iou(reference: Mask, prediction: Mask) -> float:
    r"""Intersection over union of two masks, the Jaccard index: $|P \cap R| / |P \cup R|$.

    Args:
        reference: Reference mask, any shape.
        prediction: Predicted mask, same shape.

    Returns:
        IoU in [0, 1]; 1 when both masks are empty.

    Raises:
        ValueError: If a mask is not boolean or the shapes differ.

    Examples:
        >>> iou(np.array([True, False, False]), np.array([True, True, False]))
        0.5
    """
    return Overlap.of(prediction, reference).iou


def region_overlaps(prediction: Masks, reference: Masks) -> dict[str, Overlap]:
    """Overlap of each region of one case.

    Args:
        prediction: Predicted mask of each region, by name; all of the same shape.
        reference: Reference masks of the same regions.

    Returns:
        `Overlap` of each region, by name, in the order of `prediction`.

    Raises:
        ValueError: If a mask is not boolean, or the regions or shapes differ.
    """
    check_regions(prediction, reference)
    return {region: Overlap.of(mask, reference[region]) for region, mask in prediction.items()}


def check_regions(prediction: Masks, reference: Masks) -> None:
    """Raise ValueError unless both sides have masks of the same regions."""
    if set(prediction) != set(reference):
        raise ValueError(
            f"masks must be of the same regions, got {list(prediction)} and {list(reference)}"
        )


def check_masks(prediction: Mask, reference: Mask) -> None:
    """Raise ValueError unless both masks are boolean and of the same shape."""
    if prediction.dtype != np.bool_ or reference.dtype != np.bool_:
        raise ValueError(f"masks must be boolean, got {prediction.dtype} and {reference.dtype}")
    if prediction.shape != reference.shape:
        raise ValueError(f"masks must have one shape, got {prediction.shape} and {reference.shape}")
