"""Prediction of one case: label map, probabilities and volumes on the grid of its images."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from volseg import DISCLAIMER
from volseg.cases.result_maps import MapKind, map_file_name
from volseg.confidence.verdict import CaseConfidence, in_words
from volseg.errors import OutputError
from volseg.files.ownership import check_no_inputs
from volseg.files.paths import PathLike
from volseg.images.boxes import bounding_box, placed
from volseg.images.file_names import is_nifti
from volseg.images.grid import Grid
from volseg.images.nifti_writing import result_header, write_label_map, write_map
from volseg.images.slice_masks import mask_paths, write_masks
from volseg.labels import LabelScheme
from volseg.measures import RegionMeasures, measure
from volseg.words import volume_in_ml

Map = npt.NDArray[np.float32]


class RegionMaps(Mapping[str, Map]):
    """Maps of the regions of a scan; each is computed on access.

    Args:
        regions: Names of the regions.
        part: (R, *) within `box`; outside it, all values are 0.
        box: Part of the scan.
        shape: Voxels of the scan.
        change: Function of a region and its part, which gives the values within `box`; None:
            the part itself.
    """

    def __init__(
        self,
        regions: Sequence[str],
        part: npt.NDArray[np.float32],
        box: tuple[slice, ...],
        shape: tuple[int, ...],
        change: Callable[[str, Map], Map] | None = None,
    ) -> None:
        self._parts = dict(zip(regions, part, strict=True))
        self._box, self._shape, self._change = box, shape, change

    def __getitem__(self, region: str) -> Map:
        part = self._parts[region]
        values = self._change(region, part) if self._change else part
        return placed(values, self._box, self._shape)

    def __contains__(self, region: object) -> bool:
        return region in self._parts  # the method of Mapping would compute the map

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)


@dataclass(frozen=True, eq=False, repr=False)
class Prediction:
    """Prediction of one case, on the grid of its images.

    `print` shows the case, its grid, the volumes, doubts and notes.

    Attributes:
        case_id: The case.
        label_map: uint8 (I, J, K), values of the predictor's scheme.
        probabilities: float32 (I, J, K) for each region, in [0, 1]; computed anew at each access.
            The thresholds of the label map are of the values before `inference.temperature`.
        entropy: Entropy of these probabilities in bits, float32 (I, J, K) for each region, from 0
            (certain) to 1; computed anew at each access.
        disagreement: Standard deviation of the probabilities over mirrored copies and models,
            before `inference.temperature`, float32 (I, J, K) for each region, from 0 to 0.5; None
            with a single copy, or if it was not asked for.
        volumes_ml: Volume of each region, in ml; empty if the size of a voxel is unknown.
        found: Regions of the label map with at least one voxel.
        scheme: Label scheme of the label map.
        grid: Grid of the images: shape, affine, spacing.
        header: NIfTI header of the first image; results are written on its grid.
        notes: Assumptions and oddities of the images, such as small differences of grids.
        doubts: Reasons, in the models' own scores, why the result may be unusable.
        missing: Missing channels; zeros or another channel stand in for them.
        inputs: Files of the images, which no result replaces; empty for images in memory.
        slices: Image of each slice along K for a stack of slices; else empty.
        confidence: Predicted Dice of each region, and reasons to look at the result.
    """

    case_id: str
    label_map: npt.NDArray[np.uint8]
    probabilities: Mapping[str, Map]
    entropy: Mapping[str, Map]
    volumes_ml: Mapping[str, float]
    found: frozenset[str]
    scheme: LabelScheme
    grid: Grid
    header: Any
    notes: tuple[str, ...]
    doubts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    inputs: tuple[Path, ...] = ()
    slices: tuple[Path, ...] = ()
    confidence: CaseConfidence = field(default_factory=CaseConfidence)
    disagreement: Mapping[str, Map] | None = None

    @property
    def binary(self) -> bool:
        """Whether the only label is 1, so that masks are black and white."""
        return set(self.scheme.labels) == {1}

    @cached_property
    def measures(self) -> dict[str, RegionMeasures]:
        """Volume, lesions, largest section and diameters of each region of the label map.

        They are computed at the first access, in about a tenth of a second for a scan of BraTS.
        """
        box = bounding_box(self.label_map)
        masks, grid = self.scheme.masks(self.label_map[box]), self.grid.crop(box)
        first = 1 + box[self.grid.axial_axis].start
        return measure(masks, grid, has_size=bool(self.volumes_ml), first=first)

    def __repr__(self) -> str:
        return f"<Prediction of {self.case_id}: {self._volumes()}>"

    def __str__(self) -> str:
        grid = self.grid
        size = "unknown size"
        if self.volumes_ml:
            size = f"{grid.spacing_in_words} mm, {grid.orientation}"
        return "\n".join(
            [
                f"{self.case_id}: {grid.shape_in_words} voxels of {size}",
                f"  {self._volumes()}",
                *(f"  {line}" for line in in_words(self.confidence, self.notes)),
                *(f"  Doubt: {doubt}" for doubt in self.doubts),
                *(f"  Note: {note}" for note in self.notes),
                DISCLAIMER,
            ]
        )

    def _volumes(self) -> str:
        regions = self.volumes_ml or dict.fromkeys(self.probabilities)
        said = {
            name: "found" if ml is None else f"{volume_in_ml(ml)} ml"
            for name, ml in regions.items()
        }
        return ", ".join(
            f"{name} {what if name in self.found else 'not found'}" for name, what in said.items()
        )

    def as_nifti(self) -> nib.Nifti1Image:
        """The label map as a nibabel image, on the grid of the images."""
        header = result_header(self.label_map, self.header)
        return nib.Nifti1Image(self.label_map, header.get_best_affine(), header)

    def save(self, path: PathLike, *, overwrite: bool = False) -> None:
        """Write the label map as NIfTI.

        Args:
            path: `.nii` or `.nii.gz`.
            overwrite: Whether to replace an existing file; images of the case are never replaced.

        Raises:
            OutputError: If the file exists, its name has another ending, or it cannot be written.
        """
        if not is_nifti(Path(path).name):
            raise OutputError(
                f"{path} is no name of a NIfTI file", remedy="let it end in .nii or .nii.gz"
            )
        self._check_free([Path(path)], overwrite=overwrite)
        write_label_map(Path(path), self.label_map, self.header)

    def save_slices(self, folder: PathLike, *, overwrite: bool = False) -> list[Path]:
        """Write a mask for each slice of a stack, named like its image.

        Args:
            folder: Folder of the masks, made if missing; for several masks, it must hold no other
                files.
            overwrite: Whether to replace existing masks; images of the case are never replaced.

        Returns:
            Path of each mask, in order.

        Raises:
            OutputError: If a mask exists, the folder holds other files, or writing fails.
        """
        self._check_free(mask_paths(Path(folder), self.slices), overwrite=overwrite)
        return write_masks(Path(folder), self.label_map, self.slices, binary=self.binary)

    def save_probabilities(self, folder: PathLike, *, overwrite: bool = False) -> list[Path]:
        """Write a NIfTI for each region, `<case>_<region>.nii.gz`, and return their paths.

        Args:
            folder: An existing folder.
            overwrite: Whether to replace existing files; images of the case are never replaced.

        Raises:
            OutputError: If a file exists or cannot be written.
        """
        return self.save_maps(folder, [MapKind.PROBABILITY], overwrite=overwrite)

    def save_uncertainty(self, folder: PathLike, *, overwrite: bool = False) -> list[Path]:
        """Write entropy and, if there is any, disagreement of each region; return their paths.

        The files are `<case>_<region>_entropy.nii.gz` and `<case>_<region>_disagreement.nii.gz`.

        Args:
            folder: An existing folder.
            overwrite: Whether to replace existing files; images of the case are never replaced.

        Raises:
            OutputError: If a file exists or cannot be written.
        """
        kinds = [MapKind.ENTROPY, MapKind.DISAGREEMENT]
        return self.save_maps(folder, kinds, overwrite=overwrite)

    def save_maps(
        self, folder: PathLike, kinds: Sequence[MapKind], *, overwrite: bool = False
    ) -> list[Path]:
        """Write the maps of these kinds of each region; see `save_probabilities`."""
        paths = {
            Path(folder) / map_file_name(self.case_id, kind.of(region)): (kind, region)
            for kind in kinds
            for region in self.maps_of(kind)
        }
        self._check_free(list(paths), overwrite=overwrite)
        for path, (kind, region) in paths.items():
            write_map(path, self.maps_of(kind)[region], self.header)
        return list(paths)

    def maps_of(self, kind: MapKind) -> Mapping[str, Map]:
        """The map of each region of a kind; empty for disagreement that is not known."""
        known = {
            MapKind.PROBABILITY: self.probabilities,
            MapKind.ENTROPY: self.entropy,
            MapKind.DISAGREEMENT: self.disagreement,
        }
        return known[kind] or {}

    def _check_free(self, paths: Sequence[Path], *, overwrite: bool) -> None:
        check_no_inputs(paths, self.inputs)
        there = next((path for path in paths if os.path.lexists(path)), None)
        if there is not None and not overwrite:
            raise OutputError(
                f"{there} is there already",
                remedy="give another path, or overwrite=True to replace it",
                path=there,
            )
