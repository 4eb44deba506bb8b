"""Scans as `MetaTensor`s of MONAI: voxels with affine and facts of the files."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.data import MetaTensor
from monai.utils import ImageMetaKey, MetaKeys, SpaceKeys

from volseg.cases.slice_stack_case import SliceStackCase
from volseg.errors import ImageError
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid

#: Our own metadata keys, beside those of MONAI. Values are strings, which can be collated.
KIND, NOTES, MISSING = "kind", "notes", "missing"


def meta_tensor(
    array: npt.NDArray[Any], grid: Grid, place: Path, about: Mapping[str, str]
) -> MetaTensor:
    """Array (C, I, J, K) of a scan, with the metadata of `LoadImaged` and those of `about`."""
    affine = torch.from_numpy(grid.affine)
    meta = {
        ImageMetaKey.FILENAME_OR_OBJ: str(place),
        MetaKeys.ORIGINAL_AFFINE: affine.clone(),
        MetaKeys.SPATIAL_SHAPE: np.array(grid.shape),
        MetaKeys.SPACE: SpaceKeys.RAS,
        **about,
    }
    return MetaTensor(torch.from_numpy(array), affine=affine, meta=meta)


def scan_of(value: object, key: Hashable) -> MetaTensor:
    """The scan at a key; ImageError if the value is not a scan."""
    if isinstance(value, MetaTensor) and value.ndim == 4:
        return value
    found = f"a {type(value).__name__}"
    if isinstance(value, torch.Tensor):
        found += f" of shape {tuple(value.shape)}"
    raise ImageError(
        f"{key} is {found}, but a MetaTensor (C, I, J, K) with its affine is expected",
        remedy="put LoadCased, or LoadImaged and EnsureChannelFirstd, before",
    )


def array_of(tensor: MetaTensor) -> npt.NDArray[Any]:
    """Voxels of a scan, without a copy if they are in CPU memory."""
    array: npt.NDArray[Any] = tensor.as_tensor().detach().cpu().numpy()
    return array


def grid_of(tensor: MetaTensor) -> Grid:
    """Grid of a scan (C, I, J, K)."""
    i, j, k = tensor.shape[1:]
    return Grid((i, j, k), np.asarray(tensor.affine, np.float64))


def case_images_of(scan: MetaTensor) -> CaseImages:
    """A scan as the input of `preprocess`."""
    place = Path(str(scan.meta.get(ImageMetaKey.FILENAME_OR_OBJ, "")))
    # Slices may show whole heads, whatever their files are called.
    slices = (place,) if scan.meta.get(KIND) == SliceStackCase.kind else ()
    return CaseImages(array_of(scan), grid_of(scan), header=None, notes=(), slices=slices)
