"""Resampling of arrays to a grid whose axes are parallel to those of the old grid.

NumPy does the work on a CPU: the threads of torch would spin between such small steps and take the
cores of other processes. Unlike MONAI's resampling, it averages where voxels become larger.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from volseg.images.grid import Grid
from volseg.ranks import in_threads

_NEGLIGIBLE = 1e-6  # weights below this are rounding errors of the geometry


def to_original(probabilities: torch.Tensor, image_grid: Grid, scan_grid: Grid) -> torch.Tensor:
    """Bring probabilities from the grid of a preprocessed image back to that of the scan.

    If the spacing was kept, values are only moved; else they are interpolated linearly.

    Args:
        probabilities: (R, I, J, K) on the preprocessed grid, on any device.
        image_grid: Grid of the preprocessed image.
        scan_grid: Grid of the source files.

    Returns:
        float32 (R, *scan_grid.shape) on the same device; 0 outside the preprocessed image.
    """
    values = probabilities.float()
    if values.device.type == "cpu":
        found = on_grid(values.numpy(), image_grid, scan_grid)
        return torch.from_numpy(np.ascontiguousarray(found))
    plans = _plans(image_grid, scan_grid)
    for plan in plans:
        length = plan.taken.stop - plan.taken.start
        values = values.narrow(1 + plan.source, plan.taken.start, length)
    values = values.permute(0, *(1 + plan.source for plan in plans))
    values = values.flip([1 + axis for axis, plan in enumerate(plans) if plan.mirrored])
    for axis, plan in enumerate(plans, start=1):
        if plan.weights is not None:
            weights = torch.from_numpy(plan.weights).to(values.device)
            values = (values.movedim(axis, -1) @ weights.T).movedim(-1, axis)
    result = values.new_zeros((len(values), *scan_grid.shape))
    result[(slice(None), *(plan.written for plan in plans))] = values
    return result


def labels_to_original(
    labels: npt.NDArray[Any], image_grid: Grid, scan_grid: Grid
) -> npt.NDArray[Any]:
    """Bring masks or label maps back like `to_original`; a voxel takes its most frequent value.

    Args:
        labels: Integers or booleans (N, I, J, K) on the preprocessed grid.
        image_grid: Grid of the preprocessed image.
        scan_grid: Grid of the source files.

    Returns:
        (N, *scan_grid.shape) of the same type; 0 outside the preprocessed image. Of two values with
        half of a voxel each, the larger wins.
    """
    result = np.zeros((len(labels), *scan_grid.shape), labels.dtype)
    largest = np.zeros(result.shape, np.float32)
    for value in np.unique(labels)[::-1]:
        share = on_grid(labels == value, image_grid, scan_grid)
        result[share > largest] = value
        np.maximum(largest, share, out=largest)
    return result


def covered(image_grid: Grid, scan_grid: Grid) -> tuple[slice, ...]:
    """The box of a scan that `to_original` fills; outside it gives 0.

    Args:
        image_grid: Grid of the preprocessed image.
        scan_grid: Grid of the source files.
    """
    return tuple(plan.written for plan in _plans(image_grid, scan_grid))


@dataclass(frozen=True)
class _AxisPlan:
    """Plan to fill an axis of the new grid from the axis `source` of the old grid.

    Voxels `taken` of the old axis, reversed if `mirrored`, fill voxels `written` of the new axis:
    unchanged, or multiplied by `weights` (written, taken).
    """

    source: int
    mirrored: bool
    taken: slice
    written: slice
    weights: npt.NDArray[np.float32] | None


def on_grid(array: npt.NDArray[Any], grid: Grid, new_grid: Grid) -> npt.NDArray[Any]:
    """Array (N, *grid.shape) on a new grid whose axes are parallel to the old ones; 0 outside.

    The array keeps its type if values are only moved, and becomes float32 if they are interpolated.
    """
    plans = _plans(grid, new_grid)
    cut = [slice(None)] * 3
    for plan in plans:
        cut[plan.source] = plan.taken
    turned = array[(slice(None), *cut)].transpose(0, *(1 + plan.source for plan in plans))
    turned = turned[(slice(None), *(slice(None, None, -1 if p.mirrored else 1) for p in plans))]
    interpolated = any(plan.weights is not None for plan in plans)
    result = np.zeros((len(array), *new_grid.shape), np.float32 if interpolated else array.dtype)
    written = result[(slice(None), *(plan.written for plan in plans))]

    def fill(target: npt.NDArray[Any], source: npt.NDArray[Any]) -> None:
        for axis, plan in enumerate(plans):
            if plan.weights is not None:
                source = _weighted(source, plan.weights, axis)
        target[...] = source

    in_threads(fill, written, turned)
    return result


def _weighted(
    source: npt.NDArray[Any], weights: npt.NDArray[np.float32], axis: int
) -> npt.NDArray[np.float32]:
    """Product along an axis with a band matrix (new, old), summed over the columns of the band."""
    used = weights != 0
    first = used.argmax(axis=1)
    width = int((weights.shape[1] - used[:, ::-1].argmax(axis=1) - first).max())
    rows = np.arange(len(weights))
    shape = [1] * source.ndim
    shape[axis] = len(weights)
    total = term = None
    for place in range(width):
        columns = np.minimum(first + place, weights.shape[1] - 1)
        # Columns beyond the last count as 0.
        share = np.where(first + place < weights.shape[1], weights[rows, columns], 0)
        share = share.astype(np.float32).reshape(shape)
        part = _planes(source, columns, axis)
        if total is None:
            total = np.multiply(part, share, dtype=np.float32, order="C")
            term = np.empty_like(total)
        else:
            total += np.multiply(part, share, out=term, dtype=np.float32)
    assert total is not None  # a band has a column
    return total


def _planes(source: npt.NDArray[Any], numbers: npt.NDArray[np.intp], axis: int) -> npt.NDArray[Any]:
    """Planes of an array, as a view if they are evenly spaced."""
    steps = np.unique(np.diff(numbers))
    if len(steps) == 1 and steps[0] > 0:
        even = slice(int(numbers[0]), int(numbers[-1]) + 1, int(steps[0]))
        return source[(slice(None),) * axis + (even,)]
    return source.take(numbers, axis)


def _plans(grid: Grid, new_grid: Grid) -> list[_AxisPlan]:
    """A plan for each axis of the new grid."""
    to_old = new_grid.in_voxels_of(grid)
    sources = abs(to_old[:3, :3]).argmax(axis=0)
    return [
        _axis_plan(int(source), grid.shape[source], size, to_old[source, [axis, 3]])
        for axis, (source, size) in enumerate(zip(sources, new_grid.shape, strict=True))
    ]


def _axis_plan(source: int, old: int, new: int, line: npt.NDArray[np.float64]) -> _AxisPlan:
    """Plan for an axis whose new voxel n lies at `line[0] * n + line[1]` on the old axis."""
    step, start = float(line[0]), float(line[1])
    mirrored = step < 0
    if mirrored:
        step, start = -step, old - 1 - start
    weights = None
    if abs(step - 1) < 1e-4 and abs(start - round(start)) < 1e-3:
        shift = round(start)
        first, end = max(0, -shift), min(new, old - shift)
        low, high = first + shift, end + shift
    else:
        # Voxels of the new axis whose centre lies within the old grid, up to rounding.
        first = max(0, math.ceil((-0.5 - start) / step + 1e-3))
        end = min(new, math.floor((old - 0.5 - start) / step - 1e-3) + 1)
        if first < end:
            positions = start + step * np.arange(first, end, dtype=np.float64)
            low, high, weights = _interpolation(positions, old, step)
    if first >= end:  # the grids lie apart
        return _AxisPlan(source, mirrored, slice(0, 0), slice(0, 0), None)
    taken = slice(old - high, old - low) if mirrored else slice(low, high)
    return _AxisPlan(source, mirrored, taken, slice(first, end), weights)


def _interpolation(
    positions: npt.NDArray[np.float64], size: int, step: float
) -> tuple[int, int, npt.NDArray[np.float32]]:
    """First voxel and end of the range that `positions` need, and the weights (positions, voxels).

    The kernel is a triangle (linear interpolation) averaged over a width of `step - 1` voxels, to
    prevent aliasing of details finer than the new voxels; a linear ramp stays exact. Beyond the
    ends, the last voxel is repeated.
    """
    width = step - 1
    reach = math.ceil(1 + max(width, 0) / 2)
    voxels = np.arange(math.floor(positions[0]) - reach, math.ceil(positions[-1]) + reach + 1)
    distance = positions[:, None] - voxels

    def area(x: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x = x.clip(-1, 1)
        return 0.5 + x - x * abs(x) / 2

    if width > _NEGLIGIBLE:
        weights = (area(distance + width / 2) - area(distance - width / 2)) / width
    else:
        weights = (1 - abs(distance)).clip(0)
    weights[weights < _NEGLIGIBLE] = 0
    inside = voxels.clip(0, size - 1)
    low, high = int(inside[0]), int(inside[-1]) + 1
    result = np.zeros((high - low, len(positions)))
    np.add.at(result, inside - low, weights.T)
    return low, high, result.T.astype(np.float32)
