"""Work along the axes of arrays: products with matrices, smooth fields between control points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional

# Rows that are multiplied at a time: they fit in a processor's cache.
_ROWS = 32


def empty(shape: Sequence[int], dtype: npt.DTypeLike = np.float32) -> torch.Tensor:
    """Uninitialised tensor from NumPy, which uses large pages: several times as fast."""
    return torch.from_numpy(np.empty(tuple(shape), dtype))


def voxel_lengths(spacing_mm: Sequence[float] | None, spatial_dims: int) -> list[float]:
    """Length of a voxel along each axis, relative to the shortest; all 1 without a spacing."""
    spacing = spacing_mm or [1.0] * spatial_dims
    return [length / min(spacing) for length in spacing]


def control_points(
    random: np.random.RandomState, fields: int, points: Sequence[int]
) -> torch.Tensor:
    """Random values from -1 to 1 at the control points of `fields` fields, (F, *points)."""
    return torch.from_numpy(random.uniform(-1, 1, (fields, *points))).float()


def smooth_field(controls: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Field (*shape) interpolated between control points, axis by axis."""
    field, mode = controls, "bicubic" if len(shape) == 2 else "bilinear"
    for points, size in zip(controls.shape, shape, strict=True):
        field = torch.tensordot(field, weights_between(points, size, mode, True), dims=([0], [0]))
    return field.clamp_(-1, 1)  # cubic splines overshoot


def weights_between(points: int, size: int, mode: str, align_corners: bool) -> torch.Tensor:
    """Weight of each control point at each of `size` positions, (points, size)."""
    single = torch.eye(points)[None, None]
    options: dict[str, Any] = {"mode": mode, "align_corners": align_corners}
    return functional.interpolate(single, size=(points, size), **options)[0, 0]


def multiplied(channel: torch.Tensor, matrices: Sequence[torch.Tensor]) -> torch.Tensor:
    """Multiply along each axis by a matrix (new size, size).

    Band matrices are fast: each block of rows uses only its non-zero columns.
    """
    # The first axis comes last: where sizes grow, its product is the fastest.
    for axis in reversed(range(channel.ndim)):
        shape = (*channel.shape[:axis], len(matrices[axis]), *channel.shape[axis + 1 :])
        target = empty(shape)
        _multiply_axis(channel, matrices[axis], axis, target)
        channel = target
    return channel


def _multiply_axis(
    source: torch.Tensor, matrix: torch.Tensor, axis: int, target: torch.Tensor
) -> None:
    before = math.prod(source.shape[:axis])
    from_, to = (array.view(before, array.shape[axis], -1) for array in (source, target))
    for start in range(0, len(matrix), _ROWS):
        rows = slice(start, start + _ROWS)
        used = matrix[rows].any(dim=0).nonzero()
        if not len(used):
            to[:, rows] = 0
            continue
        columns = slice(int(used[0]), int(used[-1]) + 1)
        block = matrix[rows, columns]
        if axis == source.ndim - 1:
            torch.mm(from_[:, columns, 0], block.T, out=to[:, rows, 0])
        else:
            torch.bmm(block.expand(before, -1, -1), from_[:, columns], out=to[:, rows])
