"""What the models say about one case: a label map, probabilities and volumes on its grid."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.images.boxes import placed
from volseg.images.nifti_writing import write_label_map, write_probabilities
from volseg.images.slice_masks import write_masks

PathLike = str | os.PathLike[str]


class RegionMaps(Mapping[str, npt.NDArray[np.float32]]):
    """Probabilities of the regions of a scan; each map is made when it is asked for.

    Args:
        regions: Their names.
        part: (R, *) within `box`; all is 0 outside.
        box: Part of the scan.
        shape: Voxels of the scan.
    """

    def __init__(
        self,
        regions: Sequence[str],
        part: npt.NDArray[np.float32],
        box: tuple[slice, ...],
        shape: tuple[int, ...],
    ) -> None:
        self._parts = dict(zip(regions, part, strict=True))
        self._box, self._shape = box, shape

    def __getitem__(self, region: str) -> npt.NDArray[np.float32]:
        return placed(self._parts[region], self._box, self._shape)

    def __contains__(self, region: object) -> bool:
        return region in self._parts  # Mapping would make the map to find out

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(frozen=True, eq=False)
class Prediction:
    """What the models say about one case, on the grid of its images.

    Args:
        case_id: The case.
        label_map: uint8 (I, J, K), values of the predictor's scheme.
        probabilities: float32 (I, J, K) for each region, in [0, 1]; made when it is asked for, and
            anew each time.
        volumes_ml: Volume of each region, in ml; empty where the size of a voxel is not known.
        found: Regions of the label map that hold a voxel, or more.
        header: NIfTI header of the first image; results are written on its grid.
        notes: What a careful reader should know, such as small differences of grids.
        missing: Channels that are missing, and that another channel stands in for.
        slices: Of a stack, the image of each slice along K.
        binary: Whether the only label is 1, so that masks are black and white.
    """

    case_id: str
    label_map: npt.NDArray[np.uint8]
    probabilities: Mapping[str, npt.NDArray[np.float32]]
    volumes_ml: Mapping[str, float]
    found: frozenset[str]
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()
    slices: tuple[Path, ...] = ()
    binary: bool = False

    def save(self, path: PathLike) -> None:
        """Write the label map as NIfTI; OutputError if it cannot be written."""
        write_label_map(Path(path), self.label_map, self.header)

    def save_slices(self, folder: PathLike) -> list[Path]:
        """Write a mask for each slice of a stack, as `volseg.slices.write_masks` says."""
        return write_masks(Path(folder), self.label_map, self.slices, binary=self.binary)

    def save_probabilities(self, folder: PathLike) -> list[Path]:
        """Write a NIfTI for each region, `<case>_<region>.nii.gz`, and return their paths."""
        paths = []
        for region, values in self.probabilities.items():
            paths.append(Path(folder) / f"{self.case_id}_{region}.nii.gz")
            write_probabilities(paths[-1], values, self.header)
        return paths
