"""Probabilities of a case on disk, for features once the options of decoding are chosen.

Numbers below 0.001 are replaced by their mean, and all become float16: the features of the final
masks stay within a thousandth, and a case takes about as much space as its levels.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.tuning.levels import box_of, numbers_of

_LEAST = 1e-3
_KINDS = ("probabilities", "disagreement")

Maps = npt.NDArray[np.float16]


@dataclass(eq=False)
class CaseMaps:
    """Maps of a case, under True of means over mirrored copies, under False without them.

    Attributes:
        box: Part of the scan that the maps cover; outside it, all probabilities are 0.
        probabilities: Probability of each region, (R, *).
        disagreement: Standard deviation over the copies, (R, *), where there are copies.
    """

    box: tuple[slice, ...]
    probabilities: dict[bool, Maps] = field(default_factory=dict)
    disagreement: dict[bool, Maps] = field(default_factory=dict)

    def add(
        self,
        tta: bool,
        probabilities: npt.NDArray[np.float32],
        disagreement: npt.NDArray[np.float32] | None,
    ) -> None:
        """Keep the maps with or without mirrored copies."""
        self.probabilities[tta] = _short(probabilities)
        if disagreement is not None:
            self.disagreement[tta] = _short(disagreement)


def _short(values: npt.NDArray[np.float32]) -> Maps:
    short = values.astype(np.float16)
    for of_region, kept in zip(values, short, strict=True):
        small = of_region < _LEAST
        if small.any():
            kept[small] = of_region[small].mean(dtype=np.float64)
    return short


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
            of_kind: Mapping[bool, Maps] = getattr(case, kind)
            arrays |= {f"{kind}{tta:d}": maps for tta, maps in of_kind.items()}
        np.savez_compressed(self._file(index), **arrays)

    def read(self, index: int) -> CaseMaps:
        """The maps of the case with an index."""
        with np.load(self._file(index)) as arrays:
            found = (
                {tta: arrays[name] for tta in (False, True) if (name := f"{kind}{tta:d}") in arrays}
                for kind in _KINDS
            )
            return CaseMaps(box_of(arrays["box"]), *found)

    def _file(self, index: int) -> Path:
        return self.folder / f"maps-{index:06d}.npz"
