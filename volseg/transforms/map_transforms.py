"""Reading and preprocessing as MONAI dictionary transforms, with inverse.

They call `Case.read_images` and `preprocess`, like `fit` and `infer`, so their arrays are equal to
the bit. volseg itself calls these functions without MONAI, whose import takes longer than preparing
several cases.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import InvertibleTransform, MapTransform
from monai.utils import ImageMetaKey, TraceKeys, ensure_tuple_rep

from volseg.cases.case import Case
from volseg.config import CHANNELS, PreprocessingConfig
from volseg.errors import DataListError, GeometryError
from volseg.finding.folders import find_scans
from volseg.images.grid import Grid, check_same_grid
from volseg.labels import LabelScheme, get_scheme
from volseg.transforms.meta_tensors import (
    KIND,
    MISSING,
    NOTES,
    array_of,
    case_images_of,
    grid_of,
    meta_tensor,
    scan_of,
)
from volseg.transforms.preprocessing import Preprocessed, preprocess, preprocess_masks
from volseg.transforms.resampling import labels_to_original, to_original

logger = logging.getLogger(__name__)


class LoadCased(MapTransform):
    """Reads cases: the value at each key becomes an image, its label map goes to `label_keys`.

    An image is a `MetaTensor` (C, I, J, K) with the type of the files, a label map a `MetaTensor`
    (1, I, J, K), uint8; both have the affine of the scan. The metadata hold the file, or the folder
    of several files, as `filename_or_obj`, the `missing` channels and the `notes` on the files.

    Args:
        keys: Keys of the cases: each a `Case`, or the folder of one case in any known layout.
        channels: Channels to read, in this order.
        fill_missing: Channel that replaces missing channels; None: a missing channel is an error.
        label_keys: Key for the label map of each case; None: label maps are not read.
        allow_missing_keys: Whether a key may be missing.

    Raises:
        DataListError: If a folder does not hold one case, or a wanted label map is missing.
        ImageError: If a file cannot be read, or a channel is missing.
        GeometryError: If the files of a case do not lie on one grid.

    Examples:
        >>> load = LoadCased("image", label_keys="label")  # doctest: +SKIP
        >>> load({"image": "scans/BraTS2021_00000"})["image"].shape  # doctest: +SKIP
        torch.Size([4, 240, 240, 155])
    """

    def __init__(
        self,
        keys: KeysCollection,
        channels: Sequence[str] = CHANNELS,
        fill_missing: str | None = None,
        label_keys: KeysCollection | None = None,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.channels = tuple(channels)
        self.fill_missing = fill_missing
        self.label_keys = ensure_tuple_rep(label_keys, len(self.keys))

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, label_key in self.key_iterator(result, self.label_keys):
            case = self._case(result[key])
            images = case.read_images(self.channels, self.fill_missing)
            about = {
                KIND: case.kind,
                NOTES: "; ".join(images.notes),
                MISSING: " ".join(images.missing),
            }
            result[key] = meta_tensor(images.array, images.grid, case.place, about)
            if label_key is not None:
                label_map, grid = case.read_reference()
                result[label_key] = meta_tensor(label_map[None], grid, case.label[0], {})
        return result

    def _case(self, given: object) -> Case:
        if isinstance(given, Case):
            return given
        if not isinstance(given, str | os.PathLike):
            raise DataListError(
                f"a {type(given).__name__} is given, but a case or its folder is expected",
                remedy="take cases from volseg.find_cases",
            )
        required = [self.fill_missing] if self.fill_missing else self.channels
        cases = find_scans(Path(given), self.channels, required=required).cases
        if len(cases) != 1:
            raise DataListError(
                f"{given} holds {len(cases)} cases", remedy="give each case, or its folder"
            )
        return cases[0]


class PreprocessCased(MapTransform, InvertibleTransform):
    """Preprocesses images for a network of volseg, as `fit` and `infer` do; see `preprocess`.

    Images are those of `LoadCased`, or (C, I, J, K) of MONAI's `LoadImaged`. Label maps (1, I, J,
    K) become masks (R, I, J, K) of the regions of their label scheme, in its order. The inverse
    brings images, probabilities, masks and label maps from the grid of the network back to exactly
    that of the scan. Floating-point values are interpolated linearly; a voxel of a mask or label
    map takes its most frequent value; voxels outside become 0.

    Args:
        keys: Keys of the images.
        config: Channels, spacing, background, grey values; such as `ExperimentConfig.preprocessing`
            of a model.
        label_keys: Key of the label map of each image; None: no label maps.
        labels: Label scheme of the label maps, or its name.
        dtype: Type of the images: float32, or float16 as in the cache of `fit`.
        allow_missing_keys: Whether a key may be missing.

    Raises:
        ImageError: If the value at a key is not an image, or its grey values are not usable.
        GeometryError: If a label map does not lie on the grid of its image.
        SchemeError: If a label map holds integers that its scheme does not define.

    Examples:
        >>> prepare = PreprocessCased("image", PreprocessingConfig())
        >>> scan = MetaTensor(torch.arange(64.0).reshape(1, 4, 4, 4), affine=torch.eye(4))
        >>> prepare.inverse(prepare({"image": scan}))["image"].shape
        torch.Size([1, 4, 4, 4])
    """

    def __init__(
        self,
        keys: KeysCollection,
        config: PreprocessingConfig | None = None,
        label_keys: KeysCollection | None = None,
        labels: LabelScheme | str | None = None,
        dtype: npt.DTypeLike = np.float32,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.config = config or PreprocessingConfig()
        self.label_keys = ensure_tuple_rep(label_keys, len(self.keys))
        self.labels = get_scheme(labels) if isinstance(labels, str) else labels
        self.dtype = dtype
        if label_keys is not None and labels is None:
            raise ValueError("label maps have a label scheme; name it in labels")

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        result = dict(data)
        for key, label_key in self.key_iterator(result, self.label_keys):
            scan = scan_of(result[key], key)
            done = preprocess(case_images_of(scan), self.config, self.dtype)
            for note in done.notes:
                logger.warning("%s: %s", scan.meta.get(ImageMetaKey.FILENAME_OR_OBJ, key), note)
            result[key] = self._prepared(done.image, scan, done)
            notes = [scan.meta.get(NOTES, ""), *done.notes]
            result[key].meta[NOTES] = "; ".join(filter(None, notes))
            if label_key is not None:
                label_map = scan_of(result[label_key], label_key)
                result[label_key] = self._prepared(self._masks(label_map, done), label_map, done)
        return result

    def inverse(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Bring the value at each key back to the grid of its scan."""
        result = dict(data)
        keys = [key for key in (*self.keys, *self.label_keys) if key is not None]
        for key in keys:
            if key in result:
                result[key] = self._on_scan(result[key], key)
            elif not self.allow_missing_keys:
                raise KeyError(f"key {key!r} is missing, but {keys} are expected")
        return result

    def _masks(self, label_map: MetaTensor, done: Preprocessed) -> npt.NDArray[np.bool_]:
        assert self.labels is not None  # __init__ asks for them
        grid, labels = grid_of(label_map), array_of(label_map)[0]
        check_same_grid({"image": done.scan_grid, "label map": grid})
        self.labels.check(np.unique(labels))
        masks = self.labels.masks(labels)
        return preprocess_masks(np.stack(list(masks.values())), grid, done)

    def _prepared(self, array: npt.NDArray[Any], scan: MetaTensor, done: Preprocessed) -> Any:
        """An array on the grid of the network, with the grids that `inverse` needs."""
        image = MetaTensor(torch.from_numpy(array)).copy_meta_from(scan)
        grids = {
            name: {"shape": grid.shape, "affine": grid.affine}
            for name, grid in {"image": done.image_grid, "scan": done.scan_grid}.items()
        }
        # MONAI's method has no annotations.
        push: Any = self.push_transform
        push(image, orig_size=done.scan_grid.shape, extra_info=grids)
        image.affine = torch.from_numpy(done.image_grid.affine)
        return image

    def _on_scan(self, image: Any, key: Hashable) -> Any:
        grids = self.get_most_recent_transform(image)[TraceKeys.EXTRA_INFO]
        image_grid, scan_grid = (
            Grid(tuple(grids[name]["shape"]), np.asarray(grids[name]["affine"]))
            for name in ("image", "scan")
        )
        if tuple(image.shape[1:]) != image_grid.shape:
            raise GeometryError(
                f"{key} has shape {tuple(image.shape[1:])}, but its preprocessed image has "
                f"{image_grid.shape}",
                remedy="invert first what was applied after PreprocessCased",
            )
        if image.is_floating_point():
            values = to_original(image.as_tensor(), image_grid, scan_grid)
        else:
            values = torch.from_numpy(labels_to_original(array_of(image), image_grid, scan_grid))
        scan = MetaTensor(values).copy_meta_from(image)
        self.pop_transform(scan)
        scan.affine = torch.from_numpy(scan_grid.affine)
        return scan
