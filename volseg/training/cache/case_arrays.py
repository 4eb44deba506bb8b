"""Arrays that the cache holds of a case: image, regions, some voxels of each region.

Regions are stored twice, each time as bits of a byte within their bounding box: on the grid of the
image for training, and on the grid of the scan as the reference for scoring.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.cases.case import Case
from volseg.cases.filling import copies_in_words
from volseg.confidence.case_profile import profile_of
from volseg.config import ExperimentConfig
from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid, check_same_grid
from volseg.runs.schemes import case_scheme
from volseg.training.cache.packed_tissue import pack
from volseg.transforms import Preprocessed, preprocess, preprocess_masks

_FOREGROUND_VOXELS = 5000


def prepare(
    case: Case, config: ExperimentConfig
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, Any]]:
    """Arrays of an entry by name, and the other attributes of `CachedCase` as JSON values.

    Raises:
        VolsegError: If the case cannot be used.
    """
    done, missing = _prepared(case, config)
    masks, grid, start = _reference(case, config, done)
    regions = preprocess_masks(masks, grid, done)
    bits, bits_at = _packed(regions, (0, 0, 0))
    reference, reference_at = _packed(masks, start)
    # Planes along the thinnest axis of a patch, so that a patch needs few planes.
    axis = 2 if config.by_slice else 0
    mask, values = pack(done.image, done.tissue, axis)
    arrays: dict[str, npt.NDArray[Any]] = {
        "image": values,
        "tissue": mask,
        "bits": bits,
        "reference": reference,
        "foreground": _foreground(regions),
    }
    return arrays, {
        "affine": done.image_grid.affine.tolist(),
        "grid_shape": list(done.scan_grid.shape),
        "grid_affine": done.scan_grid.affine.tolist(),
        "shape": list(done.image_grid.shape),
        "axis": axis,
        "bits_at": bits_at,
        "reference_at": reference_at,
        "missing": missing,
        "notes": done.notes,
        "profile": profile_of(
            done, config.data.channels, missing, has_size=case.has_size, of_slices=bool(case.slices)
        ).to_dict(),
    }


def notes_on(case: Case, config: ExperimentConfig) -> tuple[str, ...]:
    """Notes of preprocessing on unusual grey values of a case.

    Raises:
        VolsegError: If the case cannot be used.
    """
    done, _ = _prepared(case, config)
    return done.notes


def read_masks(
    case: Case, config: ExperimentConfig, grid: Grid | None = None
) -> npt.NDArray[np.bool_]:
    """Region masks of the reference of a case, (R, I, J, K), regions in the order of the config.

    Args:
        case: A case with a label map.
        config: The experiment, which names the regions.
        grid: Grid of the images, which the label map must have too; None: no check.

    Raises:
        DataListError: If the case has no label map.
        GeometryError: If the label map lies on another grid.
        LabelError: If the label map holds values that its scheme does not define.
    """
    label_map, label_grid = case.read_reference()
    if grid is not None:
        check_same_grid({"image": grid, f"label map of {case.case_id}": label_grid})
    return _masks(label_map, case, config)


def _masks(
    label_map: npt.NDArray[np.uint8], case: Case, config: ExperimentConfig
) -> npt.NDArray[np.bool_]:
    """Region masks of a label map or a part of it, regions in the order of the config."""
    scheme = case_scheme(case, config)
    scheme.check(np.unique(label_map), where=f"label map {case.label[0].name}")
    masks = scheme.masks(label_map)
    return np.stack([masks[region] for region in config.labels.regions])


def _prepared(case: Case, config: ExperimentConfig) -> tuple[Preprocessed, tuple[str, ...]]:
    """The preprocessed images and the missing channels; the original images are freed."""
    options = config.preprocessing
    images = case.read_images(
        options.channels, options.fill_missing, optional=config.data.channels_optional
    )
    done = preprocess(images, options)
    if config.data.channels_optional:
        copies = copies_in_words(images.own(options.channels))
        done = replace(done, notes=(*done.notes, *copies))
    return done, images.missing


def _reference(
    case: Case, config: ExperimentConfig, done: Preprocessed
) -> tuple[npt.NDArray[np.bool_], Grid, list[int]]:
    """Masks (R, *) of the label map in a box around all labels, the box's grid and first voxel."""
    label_map, grid = case.read_reference()
    check_same_grid({"image": done.scan_grid, f"label map of {case.case_id}": grid})
    # The margin of the box covers a voxel of the image grid, which may be coarser.
    ratio = max(done.image_grid.spacing_mm) / min(grid.spacing_mm)
    box = bounding_box(label_map != 0, margin=math.ceil(ratio) + 2)
    labels = label_map[box]
    return _masks(labels, case, config), grid.crop(box), [part.start for part in box]


def _packed(
    masks: npt.NDArray[np.bool_], start: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], list[int]]:
    """Bits of masks (R, I, J, K) within their bounding box, and the first voxel of the box.

    `start` is the position of the first voxel of the masks.
    """
    bits = np.zeros(masks.shape[1:], np.uint8)
    for number, mask in enumerate(masks):
        bits |= mask.view(np.uint8) << number
    box = bounding_box(bits)
    return bits[box], [first + part.start for first, part in zip(start, box, strict=True)]


def _foreground(regions: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Voxels of each region, drawn with a fixed seed so that all machines draw the same."""
    generator = np.random.default_rng(0)
    result = np.full((len(regions), _FOREGROUND_VOXELS, 3), -1, dtype=np.int16)
    for row, region in zip(result, regions, strict=True):
        voxels = np.flatnonzero(region)
        if len(voxels):
            drawn = voxels[generator.integers(len(voxels), size=_FOREGROUND_VOXELS)]
            row[:] = np.stack(np.unravel_index(drawn, region.shape), axis=1)
    return result
