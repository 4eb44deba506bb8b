"""Probabilities of a case on disk, for features once the options of decoding are chosen.

A byte a voxel says in which of 256 equal intervals a value lies, and each interval has the mean of
its values. So the sums are exact, each value is off by less than 0.004, and a case of BraTS takes
about 3 MB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from volseg.tuning.levels import box_of, numbers_of

_CODES = 256
_MOST_DISAGREEMENT = 0.5
_KINDS = ("probabilities", "disagreement")


@dataclass(frozen=True, eq=False)
class CodedMaps:
    """Maps of all regions in few bytes.

    Attributes:
        codes: Interval of each value, (R, *).
        means: Mean of the values in each interval, (R, 256).
    """

    codes: npt.NDArray[np.uint8]
    means: npt.NDArray[np.float32]

    @classmethod
    def of(cls, values: npt.NDArray[np.float32], largest: float) -> Self:
        """Coded maps of values (R, *) from 0 to `largest`."""
        codes = np.rint(values * ((_CODES - 1) / largest)).astype(np.uint8)
        means = np.zeros((len(values), _CODES), np.float32)
        for of_region, found, into in zip(codes, values, means, strict=True):
            number = np.bincount(of_region.ravel(), minlength=_CODES)
            into[:] = np.bincount(of_region.ravel(), found.ravel(), _CODES) / np.maximum(number, 1)
        return cls(codes, means)

    def values(self) -> npt.NDArray[np.float32]:
        """The maps, (R, *)."""
        return np.stack([of[codes] for of, codes in zip(self.means, self.codes, strict=True)])


@dataclass(eq=False)
class CaseMaps:
    """Maps of a case, under True of means over mirrored copies, under False without them.

    Attributes:
        box: Part of the scan that the maps cover; outside it, all probabilities are 0.
        probabilities: Probability of each region.
        disagreement: Standard deviation over the copies, where there are copies.
    """

    box: tuple[slice, ...]
    probabilities: dict[bool, CodedMaps] = field(default_factory=dict)
    disagreement: dict[bool, CodedMaps] = field(default_factory=dict)

    def add(
        self,
        tta: bool,
        probabilities: npt.NDArray[np.float32],
        disagreement: npt.NDArray[np.float32] | None,
    ) -> None:
        """Keep the maps (R, *) with or without mirrored copies."""
        self.probabilities[tta] = CodedMaps.of(probabilities, 1.0)
        if disagreement is not None:
            self.disagreement[tta] = CodedMaps.of(disagreement, _MOST_DISAGREEMENT)


class MapStore:
    """Maps of cases in a folder, a compressed file each.

    Args:
        folder: Folder of the files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, index: int, case: CaseMaps) -> None:
        """Write the maps of the case with an index."""
        arrays: dict[str, Any] = {"box": numbers_of(case.box)}
        for kind in _KINDS:
            for tta, maps in getattr(case, kind).items():
                arrays[f"{kind}{tta:d}"] = maps.codes
                arrays[f"{kind}{tta:d}_means"] = maps.means
        np.savez_compressed(self._file(index), **arrays)

    def read(self, index: int) -> CaseMaps:
        """The maps of the case with an index."""
        with np.load(self._file(index)) as arrays:
            found = (
                {
                    tta: CodedMaps(arrays[name], arrays[f"{name}_means"])
                    for tta in (False, True)
                    if (name := f"{kind}{tta:d}") in arrays
                }
                for kind in _KINDS
            )
            return CaseMaps(box_of(arrays["box"]), *found)

    def _file(self, index: int) -> Path:
        return self.folder / f"maps-{index:06d}.npz"
