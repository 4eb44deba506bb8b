"""Cases whose images are in memory: nibabel images, arrays with an affine, tensors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
import torch
from monai.data.meta_tensor import MetaTensor
from monai.utils.enums import MetaKeys, SpaceKeys

from volseg.cases.channels import channel_among
from volseg.cases.filling import filled, present_channels
from volseg.errors import DataListError, GeometryError, ImageError, of_case
from volseg.images.case_images import CaseImages, check_values
from volseg.images.grid import Grid, check_same_grid, ras_from_lps
from volseg.images.nifti_geometry import check_spacing, grid_of
from volseg.words import shown

_IDENTITY = "the affine is the identity, which MONAI sets if it knows none: 1 mm assumed"
_ARRAY, _NIBABEL = "(C, I, J, K)", "(I, J, K, C)"
_GIVE_AFFINE = (
    "give affine, a matrix (4, 4) from voxel indices to mm in RAS, such as that of a nibabel image"
)


@dataclass(frozen=True, eq=False)
class LoadedCase:
    """A case in memory, with the same interface as a case of files.

    Attributes:
        case_id: Name given by the user.
        volumes: Image (I, J, K) of each channel.
        grid: Grid of all images.
        header: NIfTI header of the first image.
        notes: Assumptions about the images.
    """

    case_id: str
    volumes: Mapping[str, npt.NDArray[Any]]
    grid: Grid
    header: Any
    notes: tuple[str, ...] = ()

    has_size = True
    images: tuple[Path, ...] = ()
    slices: tuple[Path, ...] = ()

    @property
    def channels(self) -> tuple[str, ...]:
        """Channels of the case."""
        return tuple(self.volumes)

    def read_images(
        self, channels: Sequence[str], fill: str | None = None, *, optional: bool = False
    ) -> CaseImages:
        """The images, as from `Case.read_images`; ImageError for unusable values."""
        present = present_channels(self.channels, channels, fill, optional=optional)
        for name in present:
            with of_case(self.case_id):
                check_values(self.volumes[name], name)
        array = np.stack([self.volumes[name] for name in present])
        array = array.astype(np.float32) if array.dtype.kind == "f" else array
        images = CaseImages(array, self.grid, self.header, self.notes)
        return filled(images, present, channels, fill)


def is_in_memory(images: object) -> bool:
    """Whether images are arrays or named arrays, not paths."""
    if isinstance(images, Mapping):
        return any(is_in_memory(image) for image in images.values())
    return isinstance(images, np.ndarray | torch.Tensor | nib.spatialimages.SpatialImage)


def loaded_case(
    images: object, channels: Sequence[str], affine: npt.ArrayLike | None, case_id: str | None
) -> LoadedCase:
    """The case of images in memory.

    Args:
        images: Image (I, J, K) of each channel by name; or one array or tensor (C, I, J, K); or
            one nibabel image (I, J, K) or (I, J, K, C).
        channels: Channels of the model; an image without names has its channels in this order.
        affine: Voxel indices to world (RAS, mm), for arrays and tensors without an affine.
        case_id: Name of the case; None: the name of its file, or `unnamed`.

    Raises:
        DataListError: If a channel is given twice, or the number of channels is wrong.
        GeometryError: If the grid is unknown, given twice, or not the same for all images.
        ImageError: If the values are no numbers.
    """
    if isinstance(images, Mapping):
        named = _by_channel(images, channels)
        read = {name: _read(image, name, affine) for name, image in named.items()}
        notes: tuple[str, ...] = ()
    else:
        values, header = _read(images, "the image", affine)
        read = {name: (part, header) for name, part in _parts(images, values, channels).items()}
        order = f"channels taken as {' '.join(channels)}, in the order of the model"
        notes = (order,) if len(channels) > 1 else ()
    grids = {name: grid_of(header, name) for name, (_, header) in read.items()}
    for name, (_, header) in read.items():
        check_spacing(grids[name], header, name)
    volumes = {name: _volume(values, name) for name, (values, _) in read.items()}
    first = next(iter(grids.values()))
    notes += tuple(dict.fromkeys(note for grid in grids.values() for note in grid.notes))
    notes += tuple(check_same_grid(grids))
    if affine is None and _has_default_affine(images):
        notes += (_IDENTITY,)
    header = next(header for _, header in read.values())
    return LoadedCase(case_id or _name_of(images), volumes, first, header, notes)


def _by_channel(images: Mapping[str, object], channels: Sequence[str]) -> dict[str, object]:
    named = {channel_among(name, channels): image for name, image in images.items()}
    if len(named) < len(images):
        raise DataListError(
            f"{' '.join(images)} are only the channels {' '.join(named)}",
            remedy="give each channel once",
        )
    if not all(map(is_in_memory, images.values())):
        raise DataListError(
            f"of the channels {' '.join(images)}, some are paths and some are images in memory",
            remedy="give only paths or only images in memory",
        )
    return named


def _parts(
    image: object, values: npt.NDArray[Any], channels: Sequence[str]
) -> dict[str, npt.NDArray[Any]]:
    """The channels of one image without names, in the order of the model."""
    is_nibabel = isinstance(image, nib.spatialimages.SpatialImage)
    parts = values
    if is_nibabel:
        parts = np.moveaxis(values if values.ndim > 3 else values[..., None], -1, 0)
    if parts.ndim != 4 or len(parts) != len(channels):
        raise DataListError(
            f"the image has shape {values.shape}, but {_NIBABEL if is_nibabel else _ARRAY} is "
            f"expected, with the channels {' '.join(channels)}",
            remedy="give all these channels, or name the given ones: {'t1c': image, ...}",
        )
    return dict(zip(channels, parts, strict=True))


def _read(image: Any, where: str, affine: npt.ArrayLike | None) -> tuple[npt.NDArray[Any], Any]:
    """Values and header of an image."""
    is_nibabel = isinstance(image, nib.spatialimages.SpatialImage)
    if affine is not None and (is_nibabel or isinstance(image, MetaTensor)):
        raise GeometryError(f"{where} has an affine, but another is given", remedy="leave it out")
    if is_nibabel:
        return np.asanyarray(image.dataobj), _header_of_nibabel(image)
    values = _values(image)
    return values, _header(values.shape[-3:], _affine(image, where, affine))


def _volume(values: npt.NDArray[Any], channel: str) -> npt.NDArray[Any]:
    """Values (I, J, K) of one channel."""
    volume = values[0] if values.ndim == 4 and len(values) == 1 else values
    if volume.ndim != 3 or 0 in volume.shape:
        raise ImageError(
            f"{channel} has shape {values.shape}, but (I, J, K) is expected",
            remedy="give a volume for each channel; a single slice has K = 1",
        )
    if volume.dtype.kind not in "biuf":
        raise ImageError(
            f"{channel} holds values of type {volume.dtype}, but numbers are expected",
            remedy="convert it",
        )
    return volume.astype(np.uint8) if volume.dtype.kind == "b" else volume


def _values(image: Any) -> npt.NDArray[Any]:
    if not isinstance(image, torch.Tensor):
        return np.asarray(image)
    plain = image.as_tensor() if isinstance(image, MetaTensor) else image
    plain = plain.detach().cpu()
    return (plain.float() if plain.is_floating_point() else plain).numpy()


def _header_of_nibabel(image: nib.spatialimages.SpatialImage) -> Any:
    if not isinstance(image.header, nib.Nifti1Header):
        return _header(image.shape[:3], image.affine)
    image.update_header()
    return image.header.copy()


def _affine(image: Any, where: str, affine: npt.ArrayLike | None) -> npt.NDArray[np.float64]:
    """Voxel indices to world (RAS, mm) of an array or a tensor."""
    given = image.affine if isinstance(image, MetaTensor) else affine
    if given is None:
        raise GeometryError(
            f"the grid of {where} is not known, but a result is written on the grid of its images",
            remedy=_GIVE_AFFINE,
        )
    matrix = np.asarray(given, dtype=np.float64)
    is_affine = matrix.shape == (4, 4) and list(matrix[3]) == [0, 0, 0, 1]
    if not is_affine or Grid((1, 1, 1), matrix).is_degenerate:
        raise GeometryError(
            f"the affine of {where} is {shown(matrix.tolist())}, but three axes that span a volume "
            "are expected above a row 0 0 0 1",
            remedy=_GIVE_AFFINE,
        )
    is_lps = isinstance(image, MetaTensor) and str(image.meta.get(MetaKeys.SPACE)) == SpaceKeys.LPS
    return ras_from_lps(matrix) if is_lps else matrix


def _header(shape: Sequence[int], affine: npt.NDArray[np.float64]) -> Any:
    header = nib.Nifti1Image(np.broadcast_to(np.uint8(0), tuple(shape)), affine).header
    header.set_xyzt_units("mm")
    return header


def _has_default_affine(images: object) -> bool:
    named = images.values() if isinstance(images, Mapping) else [images]
    tensors = [image for image in named if isinstance(image, MetaTensor)]
    return any(np.array_equal(np.asarray(tensor.affine), np.eye(4)) for tensor in tensors)


def _name_of(images: Any) -> str:
    """Name of the source file of an image, without its ending, or `unnamed`."""
    first = next(iter(images.values())) if isinstance(images, Mapping) else images
    file = first.get_filename() if isinstance(first, nib.spatialimages.SpatialImage) else None
    return Path(file).name.split(".")[0] if file else "unnamed"
