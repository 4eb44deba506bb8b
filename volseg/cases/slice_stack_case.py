"""A case of 2D images: a file with all channels for each slice."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from volseg.cases.case import Case, SpacingMm
from volseg.config.section import SPACINGS_MM
from volseg.errors import ConfigError, GeometryError
from volseg.images.file_names import is_slice

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from volseg.images.case_images import CaseImages
    from volseg.images.grid import Grid


def checked_spacing(spacing_mm: Sequence[float]) -> SpacingMm:
    """Size of a voxel given by the user; ConfigError if these are not three possible sizes."""
    least, most = SPACINGS_MM
    if len(spacing_mm) == 3 and all(least <= mm <= most for mm in spacing_mm):
        columns, rows, slices = spacing_mm
        return columns, rows, slices
    raise ConfigError(
        f"--spacing is {','.join(f'{mm:g}' for mm in spacing_mm)}, but three sizes of {least:g} to "
        f"{most:g} mm are expected, along columns, rows and slices",
        remedy="give them as 1,1,5",
    )


@dataclass(frozen=True)
class SliceStackCase(Case):
    """A case whose `images` are 2D files (TIFF, PNG, ...), one for each slice along K, in order.

    Its `label` holds a mask for each slice.

    Attributes:
        spacing_mm: Size of a voxel along columns, rows and slices; None: unknown.
    """

    spacing_mm: SpacingMm | None = None

    kind: ClassVar[str] = "slices"
    is_oriented: ClassVar[bool] = False
    grid_remedy: ClassVar[str] = (
        "predict the slices of the reference, as masks or as a NIfTI file by volseg infer"
    )

    @property
    def has_size(self) -> bool:
        return self.spacing_mm is not None

    @property
    def slices(self) -> tuple[Path, ...]:
        return self.images

    @property
    def compared_files(self) -> tuple[tuple[Path, ...], ...]:
        return (self.images,)

    @property
    def inputs(self) -> list[str]:
        return [str(path) for path in self.images]

    def with_spacing(self, spacing_mm: SpacingMm) -> Self:
        return replace(self, spacing_mm=spacing_mm)

    def read_reference_grid(self) -> Grid:
        from volseg.images.slice_masks import read_stack_label_grid

        return read_stack_label_grid(self.label, self.spacing_mm)

    def read_prediction(self, files: Sequence[Path]) -> tuple[npt.NDArray[np.uint8], Grid]:
        if is_slice(files[0].name):
            return self._read_masks(files)
        from volseg.images.nifti_reading import read_label_map

        return read_label_map(files[0])

    def check_prediction_grid(
        self, files: Sequence[Path], prediction: Grid, reference: Grid
    ) -> list[str]:
        if not is_slice(files[0].name):
            return super().check_prediction_grid(files, prediction, reference)
        # Masks are read on the grid of the case, so only their size can differ.
        if prediction.shape == reference.shape:
            return []
        (width, height, _), (columns, rows, _) = prediction.shape, reference.shape
        raise GeometryError(
            f"prediction {files[0]} has {width} x {height} pixels, but reference "
            f"{self.label[0]} has {columns} x {rows}",
            remedy="predict slices of that size",
        )

    def check_sizes(self) -> None:
        size = self.read_grid(self.channels).shape
        if self.label and size != (found := self.read_reference_grid().shape):
            of_images, of_masks = (" x ".join(map(str, shape[:2])) for shape in (size, found))
            raise GeometryError(
                f"images have {of_images} pixels, but their masks {of_masks}",
                remedy="give masks of that size",
            )

    def read_first_slices(self) -> Iterator[npt.NDArray[Any]]:
        return iter(())

    def grey_value_notes(self) -> list[tuple[tuple[str, ...], str]]:
        return []

    def result_folder(self, output: Path) -> Path:
        # A single mask has the name of its image and lies beside those of other cases.
        return output / self.case_id if len(self.images) > 1 else output

    def label_map_files(self, output: Path) -> list[Path]:
        from volseg.images.slice_masks import mask_paths

        return mask_paths(self.result_folder(output), self.images)

    def check_room(self, output: Path) -> None:
        from volseg.images.slice_masks import check_masks_have_room

        check_masks_have_room(self.result_folder(output), self.images)

    def write_label_map(
        self, output: Path, label_map: npt.NDArray[np.uint8], header: Any, *, binary: bool
    ) -> None:
        from volseg.images.slice_masks import write_masks

        write_masks(self.result_folder(output), label_map, self.images, binary=binary)

    def listed_files(self, written: Callable[[Path], str]) -> dict[str, Any]:
        return {
            "image": [written(path) for path in self.images],
            "label": [written(path) for path in self.label],
        }

    @classmethod
    def misfits(
        cls, images: int, labels: int, channels: Sequence[str], *, has_spacing: bool
    ) -> Iterator[str]:
        if labels not in (0, images):
            yield f"has {labels} label maps, but {images} expected; list one for each slice"

    def _read_images(self, channels: Sequence[str]) -> CaseImages:
        from volseg.images.slice_stack import read_stack

        return read_stack(self.images, self.channels, channels, self.spacing_mm)

    def _read_grid(self, channels: Sequence[str]) -> Grid:
        from volseg.images.slice_stack import read_stack_grid

        return read_stack_grid(self.images, self.channels, channels, self.spacing_mm)

    def _read_reference(self) -> tuple[npt.NDArray[np.uint8], Grid]:
        return self._read_masks(self.label)

    def _read_masks(self, files: Sequence[Path]) -> tuple[npt.NDArray[np.uint8], Grid]:
        from volseg.images.slice_masks import read_stack_label_map

        return read_stack_label_map(files, self.spacing_mm)
