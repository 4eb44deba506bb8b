"""Preprocessing of a scan: crop to the brain, turn to RAS, resample, normalise.

Training and inference share one function. MONAI's transforms take several times as much time and
memory for the same numbers; `benchmarks/preprocessing.py` compares both.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.config import PreprocessingConfig
from volseg.images.background import UNCERTAIN, Mask, unstripped_note
from volseg.images.boxes import bounding_box
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.images.source_values import SourceValues
from volseg.memory import require
from volseg.ranks import cores, in_threads
from volseg.transforms.cleaning import Channel, cleaned, joined_notes
from volseg.transforms.intensity import standardise, to_unit_range
from volseg.transforms.resampling import on_grid
from volseg.transforms.tissue_size import check_tissue_size

# The weights of a half-covered voxel may add up to slightly less than 0.5.
_HALF = 0.5 - 1e-5
# A larger share of tissue in a scan is unusual.
_FULL = 0.95


@dataclass(frozen=True, eq=False)
class Preprocessed:
    """A case as input of the network.

    Attributes:
        image: float16 or float32 (C, I, J, K), axes pointing to R, A and S; 0 outside the tissue.
        tissue: Mask (I, J, K) of what is tissue in any channel.
        image_grid: Grid of `image`.
        scan_grid: Grid of the source files.
        notes: Unusual grey values and changes of them, a sentence each.
        sources: What the files hold, by channel that the case has and that has no window.
    """

    image: npt.NDArray[np.floating[Any]]
    tissue: Mask
    image_grid: Grid
    scan_grid: Grid
    notes: tuple[str, ...] = ()
    sources: Mapping[str, SourceValues] = field(default_factory=dict)

    @property
    def tissue_ml(self) -> float:
        """Volume of the tissue, in ml."""
        return np.count_nonzero(self.tissue) * self.image_grid.voxel_ml


def preprocess(
    images: CaseImages,
    options: PreprocessingConfig,
    dtype: npt.DTypeLike = np.float16,
) -> Preprocessed:
    """Crop to the brain, turn to RAS, resample, normalise.

    Background is the value that fills the border of a channel or, with `options.background`, all
    voxels that are at most that share of the 99.5th percentile in all channels, or with
    `options.windows` what is below a window around the head. It becomes 0; all other voxels are
    tissue. The mask of tissue is found before resampling and resampled like the
    grey values: a new voxel is tissue if at least half of it is tissue or, if intensities are not
    standardised, if any part is. The crop is the box of the tissue of all channels, with a margin
    of one voxel if values are interpolated. Axes are only exchanged and mirrored, so an oblique
    image stays oblique. An axis whose spacing differs from the wanted one by more than 1 % is
    interpolated linearly, after averaging when it becomes coarser. Finally, grey values of tissue
    are normalised by `options.intensity`. A channel that the case lacks and no other channel
    replaces becomes 0.

    Args:
        images: The case.
        options: Wanted spacing along the axes R, A and S, background, grey values. Only the case
            and these options determine the result, so their digest identifies it.
        dtype: Type of the result: float32, in which it is computed, or float16, to which it is
            rounded.

    Raises:
        ImageError: If grey values lie outside `options.intensity_range`, hardly any lie in a window
            of `options.windows`, or the tissue is larger than any head.
        ResourceError: If memory is too small for the case at the wanted spacing.
    """
    if images.missing and options.fill_missing is None:
        return _without_missing(images, options, dtype)
    wanted = options.spacing_mm, options.spatial_dims
    keeps = bool((images.grid.spacing_ratios(*wanted) == 1).all())
    channels = cleaned(images.array, options, images.missing)
    box, gap = _box(channels, margin=0 if keeps else 1)
    check_tissue_size(images, channels, box)
    crop = images.grid.crop(box)
    ras, image_grid = crop.ras, crop.resampled(*wanted)
    block = [channel.cut(box) for channel in channels]
    _require_memory(len(block), image_grid.shape, np.dtype(dtype).itemsize, options.spacing_mm)
    image = np.empty((len(block), *image_grid.shape), dtype)
    is_scored = options.intensity == "zscore"

    def fill(target: npt.NDArray[Any], channel: Channel) -> Mask:
        upright = crop.to_ras(channel.values)
        alike = keeps and target.dtype == np.float32
        values = target if alike else np.empty(upright.shape, np.float32)
        values[...] = upright
        tissue = values != 0
        if channel.tissue is not None:
            tissue[...] = crop.to_ras(channel.tissue)
        if not keeps:
            share = on_grid(tissue[None], ras, image_grid)[0]
            values = on_grid(values[None], ras, image_grid)[0]
            tissue = share >= _HALF if is_scored else share > 0
            values *= tissue
        if is_scored:
            standardise(values, tissue)
        else:
            to_unit_range(values, tissue, channel.span or options.intensity_range)
        if values is not target:
            target[...] = values
        return tissue

    tissue = np.logical_or.reduce(in_threads(fill, image, block))
    done = Preprocessed(image, tissue, image_grid, images.grid)
    notes = _notes(images, options, channels, done.tissue_ml)
    if gap and not images.slices:
        notes.append(
            f"{gap} empty planes divide its tissue: something beside the brain, such as text, or "
            "missing slices; look at the scan"
        )
    sources = {
        name: channel.source
        for name, channel in zip(options.channels, channels, strict=False)
        if channel.source is not None and name not in images.missing
    }
    return replace(done, notes=tuple(notes), sources=sources)


def _without_missing(
    images: CaseImages, options: PreprocessingConfig, dtype: npt.DTypeLike
) -> Preprocessed:
    """Preprocess the channels that the case has; the others become 0."""
    names = [name for name in options.channels if name not in images.missing]
    held = options.model_copy(update={"channels": tuple(names)})
    done = preprocess(replace(images, missing=()), held, dtype)
    image = np.zeros((len(options.channels), *done.image.shape[1:]), done.image.dtype)
    image[[options.channels.index(name) for name in names]] = done.image
    return replace(done, image=image)


def _require_memory(
    channels: int, shape: Sequence[int], itemsize: int, spacing_mm: Sequence[float]
) -> None:
    """Refuse a grid that needs more memory than is available, before reserving it."""
    # Beside the result, a channel in work needs its values, the shares of tissue, and a mask.
    each = channels * (itemsize + 1) + 9 * min(cores(), channels)
    require(
        math.prod(shape) * each,
        f"{channels} channels of {' x '.join(map(str, shape))} voxels, as many as there are at "
        f"{' x '.join(f'{mm:g}' for mm in spacing_mm)} mm,",
        "train a model of larger voxels, or use a machine or a job with more memory",
    )


def preprocess_masks(
    masks: npt.NDArray[np.bool_], grid: Grid, target: Preprocessed
) -> npt.NDArray[np.bool_]:
    """Region masks on the grid of a preprocessed image.

    Args:
        masks: (R, I, J, K) on `grid`.
        grid: Grid of the label map.
        target: The image that the masks belong to.

    Returns:
        (R, I, J, K) on the grid of `target`; a voxel of a coarser grid belongs to a region if at
        least half of it does.
    """
    return np.asarray(on_grid(masks, grid, target.image_grid) >= _HALF)


def _box(channels: Sequence[Channel], margin: int) -> tuple[tuple[slice, ...], int]:
    """Box of the tissue with a margin (all voxels if no tissue), and the empty planes in it."""
    if channels[0].within is not None:
        return bounding_box(channels[0].within, margin), 0
    profiles = in_threads(_profiles, channels)
    box, gap = [], 0
    shape = channels[0].values.shape
    for lines, size in zip(zip(*profiles, strict=True), shape, strict=True):
        used = np.flatnonzero(np.any(lines, axis=0))
        low, high = (int(used[0]), int(used[-1]) + 1) if used.size else (0, size)
        box.append(slice(max(low - margin, 0), min(high + margin, size)))
        gap = max(gap, high - low - used.size) if used.size else gap
    return tuple(box), gap


def _profiles(channel: Channel) -> list[Mask]:
    """For each axis of (I, J, K), the mask of the planes that hold tissue."""
    volume = channel.values if channel.tissue is None else channel.tissue
    # In the order of the voxels in memory, so that one pass is enough.
    order = np.argsort([-abs(step) for step in volume.strides], kind="stable")
    planes = volume.transpose(order)
    if planes.dtype.kind == "f":
        planes = planes != 0
    outer = np.zeros(len(planes), np.bool_)
    together = np.zeros_like(planes[0])
    for number, plane in enumerate(planes):
        outer[number] = np.bitwise_or.reduce(plane, axis=0).any()
        together |= plane
    found = [outer, together.any(axis=1), together.any(axis=0)]
    return [found[place] for place in np.argsort(order)]


def _notes(
    images: CaseImages, options: PreprocessingConfig, channels: Sequence[Channel], tissue_ml: float
) -> list[str]:
    """Notes on unusual grey values and an unusual volume of the tissue.

    Slices usually show whole heads, in training and in inference.
    """
    if images.slices:
        known = [replace(one, notes=[n for n in one.notes if n != UNCERTAIN]) for one in channels]
        return joined_notes(options.channels, known)
    notes = joined_notes(options.channels, channels)
    if set(options.windows) == set(options.channels):
        return notes  # windows define tissue, with or without a skull
    share = tissue_ml / (math.prod(images.grid.shape) * images.grid.voxel_ml)
    if too_large := unstripped_note(tissue_ml):
        notes.append(too_large)
    elif share > _FULL and not any(UNCERTAIN in note for note in notes):
        notes.append(f"tissue fills {share:.0%} of the scan: its background is cut off or unknown")
    return notes
