"""A case: one examination, with files of any kind.

Readers of images are imported only when a file is read: their import takes longer than reading a
data list.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

from volseg.cases.result_maps import map_file_name
from volseg.errors import DataListError, GeometryError, of_case

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from volseg.images.case_images import CaseImages
    from volseg.images.grid import Grid

#: Size of a voxel along columns, rows and slices.
SpacingMm = tuple[float, float, float]


@dataclass(frozen=True)
class Case(ABC):
    """One examination: its images and at most one label map.

    Attributes:
        case_id: Name of the examination.
        patient_id: Name of the person; all cases of a person share a fold.
        images: Files of the images, in the order of the kind of case.
        channels: Names of the channels in the files.
        label: Files of the label map; empty if there is none.
        labels: Name of the label scheme of `label`; None: that of the config.
        fold: Number of the fold in the cross-validation.
        groups: Groups of the patient, such as `{"institution": "CS"}`.
    """

    case_id: str
    patient_id: str
    images: tuple[Path, ...]
    channels: tuple[str, ...]
    label: tuple[Path, ...] = ()
    labels: str | None = None
    fold: int | None = None
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)

    #: Name of the kind of files, such as `slices`.
    kind: ClassVar[str]
    #: Whether the files record the orientation of the patient.
    is_oriented: ClassVar[bool]
    #: Remedy for a prediction on another grid.
    grid_remedy: ClassVar[str]

    @property
    def place(self) -> Path:
        """The image file, or the folder of several files."""
        return self.images[0] if len(self.images) == 1 else self.images[0].parent

    @property
    def spacing_mm(self) -> SpacingMm | None:
        """Size of a voxel from the data list, for files without one."""
        return None

    @property
    @abstractmethod
    def has_size(self) -> bool:
        """Whether the size of a voxel is known; if not, there are no scores in mm or ml."""

    @property
    @abstractmethod
    def slices(self) -> tuple[Path, ...]:
        """Image of each slice along K, if each slice has a file; else empty."""

    @property
    @abstractmethod
    def compared_files(self) -> tuple[tuple[Path, ...], ...]:
        """Groups of files; two cases with an equal group are one scan."""

    @property
    @abstractmethod
    def inputs(self) -> dict[str, str] | list[str]:
        """Images by channel name, or of each slice, as a manifest records them."""

    def with_spacing(self, spacing_mm: SpacingMm) -> Self:
        """The case with a given size of a voxel, if its files do not record it."""
        return self

    def read_images(
        self, channels: Sequence[str], fill: str | None = None, *, optional: bool = False
    ) -> CaseImages:
        """Read the images.

        Args:
            channels: Channels to read, in this order.
            fill: Channel that replaces missing channels; None: see `optional`. A channel equal to
                `fill` in every voxel counts as missing too, since some data sets are filled in this
                way.
            optional: Whether channels may be missing, but not all; else that is an error.

        Returns:
            The images (C, I, J, K); `missing` names the channels that `fill` replaces or that are
            left out.

        Raises:
            ImageError: If a channel is missing, or its file is missing, damaged, of another kind,
                holds NaN or infinite voxels, or is constant.
            GeometryError: If the files do not lie on one grid.
        """
        from volseg.cases.filling import filled, present_channels

        present = present_channels(self.channels, channels, fill, optional=optional)
        with of_case(self.case_id):
            images = self._read_images(present)
        return filled(images, present, channels, fill)

    def read_grid(
        self, channels: Sequence[str], fill: str | None = None, *, optional: bool = False
    ) -> Grid:
        """Grid that `read_images` would return; raises its errors that the headers show."""
        from volseg.cases.filling import present_channels

        with of_case(self.case_id):
            return self._read_grid(
                present_channels(self.channels, channels, fill, optional=optional)
            )

    def read_reference(self) -> tuple[npt.NDArray[np.uint8], Grid]:
        """Label map (I, J, K) of the case, and its grid.

        Raises:
            DataListError: If the case has no label map.
            ImageError: If a file is missing, damaged or of another kind.
            LabelError: If the label map holds other values than integers from 0 to 255.
        """
        if not self.label:
            raise DataListError("no label map", remedy="move it to 'testing'", case_id=self.case_id)
        with of_case(self.case_id):
            return self._read_reference()

    @abstractmethod
    def read_reference_grid(self) -> Grid:
        """Grid that `read_reference` would return; raises its errors that the headers show."""

    @abstractmethod
    def read_prediction(self, files: Sequence[Path]) -> tuple[npt.NDArray[np.uint8], Grid]:
        """Label map (I, J, K) of a prediction of this case, and its grid; see `read_reference`."""

    def check_prediction_grid(
        self, files: Sequence[Path], prediction: Grid, reference: Grid
    ) -> list[str]:
        """Check that a prediction lies on the grid of the reference.

        Args:
            files: Files of the prediction.
            prediction: Grid of the prediction.
            reference: Grid of the reference.

        Returns:
            Notes on differences that are small enough.

        Raises:
            GeometryError: If the grids differ.
        """
        from volseg.images.grid import check_same_grid

        try:
            return check_same_grid({"reference": reference, "prediction": prediction})
        except GeometryError as error:
            raise GeometryError(error.problem, remedy=self.grid_remedy) from None

    @abstractmethod
    def check_sizes(self) -> None:
        """Raise GeometryError if slices, or slices and masks, differ in size; ignores volumes.

        `volseg check` reads the headers of volumes.
        """

    @abstractmethod
    def read_first_slices(self) -> Iterator[npt.NDArray[Any]]:
        """First slice (J, I) of each volume, without decompressing the rest; none for 2D slices.

        Raises:
            VolsegError: If a file cannot be read.
        """

    @abstractmethod
    def grey_value_notes(self) -> list[tuple[tuple[str, ...], str]]:
        """Notes on an unusual background of volumes: channels, and a clause; none for 2D slices.

        A note without channels is about the whole case.

        Raises:
            VolsegError: If a file cannot be read.
        """

    @abstractmethod
    def result_folder(self, output: Path) -> Path:
        """Folder of the label map in a folder of results."""

    @abstractmethod
    def label_map_files(self, output: Path) -> list[Path]:
        """Files of the label map in a folder of results."""

    def map_files(self, output: Path, maps: Iterable[str]) -> list[Path]:
        """Files, in a folder of results, of maps with the names of `map_names`."""
        return [output / map_file_name(self.case_id, name) for name in maps]

    def result_files(self, output: Path, maps: Iterable[str]) -> list[Path]:
        """All files of a result: the label map, and maps with the names of `map_names`."""
        return [*self.label_map_files(output), *self.map_files(output, maps)]

    @abstractmethod
    def check_room(self, output: Path) -> None:
        """Raise OutputError if other files are in the place of the label map."""

    @abstractmethod
    def write_label_map(
        self, output: Path, label_map: npt.NDArray[np.uint8], header: Any, *, binary: bool
    ) -> None:
        """Write `label_map_files`.

        Args:
            output: Folder of results.
            label_map: (I, J, K).
            header: NIfTI header of the images.
            binary: Whether the only label is 1, so that masks are black and white.

        Raises:
            OutputError: If a file cannot be written.
        """

    @abstractmethod
    def listed_files(self, written: Callable[[Path], str]) -> dict[str, Any]:
        """Values of `image` and `label` in a data list; `written` returns the text of a path."""

    @classmethod
    @abstractmethod
    def misfits(
        cls, images: int, labels: int, channels: Sequence[str], *, has_spacing: bool
    ) -> Iterator[str]:
        """Errors of a case in a data list: clauses that follow its name.

        Args:
            images: Number of images.
            labels: Number of label maps.
            channels: Channels of the images.
            has_spacing: Whether the list holds the size of a voxel.
        """

    @abstractmethod
    def _read_images(self, channels: Sequence[str]) -> CaseImages:
        """Images of channels that must all be present."""

    @abstractmethod
    def _read_grid(self, channels: Sequence[str]) -> Grid:
        """Grid, from headers, of channels that must all be present."""

    @abstractmethod
    def _read_reference(self) -> tuple[npt.NDArray[np.uint8], Grid]:
        """The label map and its grid, for a case with a label map."""
