"""A case of volumes: a NIfTI file for each channel, or one 4D file of all channels."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from volseg.cases.case import Case
from volseg.cases.channels import channel_of
from volseg.errors import of_case

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from volseg.images.case_images import CaseImages
    from volseg.images.grid import Grid


@dataclass(frozen=True)
class VolumeCase(Case):
    """A case whose `images` are a file for each of `channels`, in that order, or one 4D file."""

    kind: ClassVar[str] = "volumes"
    is_oriented: ClassVar[bool] = True
    grid_remedy: ClassVar[str] = "resample the prediction to the grid of the reference"

    @property
    def has_size(self) -> bool:
        return True

    @property
    def slices(self) -> tuple[Path, ...]:
        return ()

    @property
    def compared_files(self) -> tuple[tuple[Path, ...], ...]:
        return tuple((path,) for path in self.images)

    @property
    def inputs(self) -> dict[str, str]:
        files = self.images if len(self.images) > 1 else self.images * len(self.channels)
        return {name: str(path) for name, path in zip(self.channels, files, strict=True)}

    def read_reference_grid(self) -> Grid:
        from volseg.images.nifti_reading import read_case_grid

        what = ["label map"]
        with of_case(self.case_id):
            return read_case_grid(self.label, what, what)

    def read_prediction(self, files: Sequence[Path]) -> tuple[npt.NDArray[np.uint8], Grid]:
        from volseg.images.nifti_reading import read_label_map

        return read_label_map(files[0])

    def check_sizes(self) -> None:
        pass

    def read_first_slices(self) -> Iterator[npt.NDArray[Any]]:
        from volseg.images.nifti_reading import read_first_slices

        with of_case(self.case_id):
            return iter(read_first_slices(self.images, self.channels))

    def grey_value_notes(self) -> list[tuple[tuple[str, ...], str]]:
        from volseg.images.background import (
            CT_WITHOUT_WINDOW,
            background_note,
            background_of,
            is_ct,
            subsampled,
            unstripped_note,
        )

        images = self.read_images(self.channels)
        about: dict[str, list[str]] = {}
        share = 0.0
        for name, channel in zip(self.channels, images.array, strict=True):
            if channel_of(name) == "ct" and is_ct(channel):  # its skull is no surprise
                about.setdefault(CT_WITHOUT_WINDOW, []).append(name)
                continue
            background = background_of(channel)
            about.setdefault(background_note(background), []).append(name)
            share = max(share, float(1 - background.holds(subsampled(channel)).mean()))
        notes = [(tuple(names), note) for note, names in about.items() if note]
        grid = images.grid
        too_large = unstripped_note(share * math.prod(grid.shape) * grid.voxel_ml)
        return [*notes, ((), too_large)] if too_large else notes

    def result_folder(self, output: Path) -> Path:
        return output

    def label_map_files(self, output: Path) -> list[Path]:
        return [output / f"{self.case_id}.nii.gz"]

    def check_room(self, output: Path) -> None:
        pass

    def write_label_map(
        self, output: Path, label_map: npt.NDArray[np.uint8], header: Any, *, binary: bool
    ) -> None:
        from volseg.images.nifti_writing import write_label_map

        write_label_map(self.label_map_files(output)[0], label_map, header)

    def listed_files(self, written: Callable[[Path], str]) -> dict[str, Any]:
        images = [written(path) for path in self.images]
        # As in the lists of MSD.
        is_4d = len(images) == 1 and len(self.channels) > 1
        label = "".join(written(path) for path in self.label)
        return {"image": images[0] if is_4d else images, "label": label}

    @classmethod
    def misfits(
        cls, images: int, labels: int, channels: Sequence[str], *, has_spacing: bool
    ) -> Iterator[str]:
        if labels > 1:
            yield f"has {labels} label maps, but 1 expected; list one for a volume"
        if images not in (1, len(channels)):
            yield (
                f"has {images} images for the channels {', '.join(channels)}; list one for each, "
                "or one 4D file"
            )
        if has_spacing:
            yield "has spacing_mm, but NIfTI files hold their own; leave it out"

    def _read_images(self, channels: Sequence[str]) -> CaseImages:
        from volseg.images.nifti_reading import read_case

        return read_case(self.images, self.channels, channels)

    def _read_grid(self, channels: Sequence[str]) -> Grid:
        from volseg.images.nifti_reading import read_case_grid

        return read_case_grid(self.images, self.channels, channels)

    def _read_reference(self) -> tuple[npt.NDArray[np.uint8], Grid]:
        return self.read_prediction(self.label)
