"""Cases that show the same scan in different files: compressed again, another type, mirrored.

Their label maps may differ by corrections. Few cases have label maps of similar size and place, so
only the images of these cases are read and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from volseg.cases.case import Case
from volseg.errors import VolsegError
from volseg.images.background import subsampled
from volseg.survey.label_maps import LabelMap

# Largest differences of similar label maps: logarithm of the volume, centre and spread in voxels.
_TOLERANCE = np.array([0.1, *[4.0] * 3, *[3.0] * 3])
# Correlation of the grey values of the same scan; T1 of two patients: at most 0.91 in eight BraTS
# cases.
_SAME = 0.98


def alike(cases: Iterable[Case], label_maps: Mapping[str, LabelMap]) -> list[tuple[Case, Case]]:
    """Pairs of cases with similar label maps and the same image.

    Args:
        cases: Cases to compare; of cases with the same label map, only the first is compared.
        label_maps: Facts of label maps by case id.
    """
    first = {one.key: case for case in cases if (one := label_maps.get(case.case_id))}
    members = [case for key, case in first.items() if key and label_maps[case.case_id].outline]
    if len(members) < 2:
        return []
    outlines = np.array([label_maps[case.case_id].outline for case in members])
    near = KDTree(outlines / _TOLERANCE).query_pairs(1, p=np.inf)
    seen: dict[tuple[str, str], npt.NDArray[np.float64] | None] = {}
    pairs = ((members[one], members[two]) for one, two in sorted(near))
    return [pair for pair in pairs if _have_same_image(*pair, seen)]


def _have_same_image(
    one: Case, two: Case, seen: dict[tuple[str, str], npt.NDArray[np.float64] | None]
) -> bool:
    """Whether a channel correlates in both cases; `seen` keeps the images that were read."""
    for channel in (name for name in one.channels if name in two.channels):
        for case in (one, two):
            if (case.case_id, channel) not in seen:
                seen[case.case_id, channel] = _sample(case, channel)
        first, second = seen[one.case_id, channel], seen[two.case_id, channel]
        if first is not None and second is not None and _are_same(first, second):
            return True
    return False


def _sample(case: Case, channel: str) -> npt.NDArray[np.float64] | None:
    """Some voxels of a channel in RAS orientation; None if it cannot be read."""
    try:
        images = case.read_images([channel])
    except VolsegError:
        return None
    return np.asarray(subsampled(images.grid.to_ras(images.array[0])), np.float64)


def _are_same(one: npt.NDArray[np.float64], two: npt.NDArray[np.float64]) -> bool:
    if one.shape != two.shape:
        return False
    # Background correlates in all scans, so only tissue counts.
    tissue = (one != _most_frequent(one)) | (two != _most_frequent(two))
    first, second = one[tissue], two[tissue]
    if first.size < 2 or not first.std() or not second.std():
        return False
    return float(np.corrcoef(first, second)[0, 1]) >= _SAME


def _most_frequent(values: npt.NDArray[np.float64]) -> float:
    found, counts = np.unique(values, return_counts=True)
    return float(found[counts.argmax()])
