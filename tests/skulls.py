"""Synthetic heads: a stripped brain, real or a phantom, with a skull around it.

The true brain mask is known, since the brain is the one that was put in. The head has what confuses
methods: fluid and enhancing dura at the border, marrow as bright as white matter, fat, eyes with
their nerves, muscles, a spinal cord, a bias field and noisy air.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from volseg.images.boxes import bounding_box
from volseg.images.grid import Grid, scaling
from volseg.preparation.volume import Volume

# Room for the head around the brain in mm: left and right, back and front, bottom and top.
ROOM_MM = ((28, 28), (28, 40), (55, 28))
# Brightness of tissues, relative to the median of the brain.
TISSUES = ("fluid", "dura", "bone", "marrow", "fat", "muscle", "eye", "cord", "mucosa")
BRIGHTNESS = {
    "t1n": (0.40, 0.75, 0.10, 1.00, 1.50, 0.80, 0.35, 1.05, 0.70),
    "t1c": (0.40, 1.60, 0.10, 1.00, 1.50, 0.90, 0.35, 1.05, 1.80),
    "t2w": (2.30, 0.50, 0.10, 0.80, 1.30, 0.50, 2.40, 0.90, 1.90),
    "t2f": (0.25, 0.60, 0.10, 0.70, 1.20, 0.60, 0.30, 0.95, 1.40),
}


@dataclass(frozen=True)
class Head:
    """A head with its true brain mask; RAS."""

    volumes: dict[str, Volume]
    brain: np.ndarray
    grid: Grid
    label_map: np.ndarray | None = None


def with_skull(volumes, seed, label_map=None, zero_air=False):
    """A head around the brain in stripped volumes, whose background is 0.

    Args:
        volumes: Channels by name, of `BRIGHTNESS`, on one grid.
        seed: Of thicknesses, brightness, bias field, noise and the place of the head.
        label_map: Travels with the brain.
        zero_air: The air is exactly 0, as some scanners and tools for privacy leave it.
    """
    rng = np.random.default_rng(seed)
    source = next(iter(volumes.values())).grid
    turned = {name: source.to_ras(volume.values) for name, volume in volumes.items()}
    brain = np.any([values != 0 for values in turned.values()], axis=0)
    brain = ndimage.binary_fill_holes(brain)
    box = bounding_box(brain)
    spacing = np.array(source.ras.spacing_mm)
    room = [tuple(round(mm / s) for mm in sides) for sides, s in zip(ROOM_MM, spacing, strict=True)]

    def roomy(values):
        return np.pad(values[box], room)

    brain = roomy(brain)
    tissues, inside = _tissues(brain, spacing, rng)
    bias = np.exp(_field(rng, brain.shape, spacing, 90, 0.2))
    head = {
        name: _scan(name, roomy(values).astype(np.float32), tissues, inside, bias, rng, zero_air)
        for name, values in turned.items()
    }
    start = [side.start - before for side, (before, _) in zip(box, room, strict=True)]
    grid = Grid(brain.shape, _placed(rng) @ source.ras.affine @ scaling((1, 1, 1), start))
    labels = None if label_map is None else roomy(source.to_ras(label_map))
    return Head({name: Volume(v, grid) for name, v in head.items()}, brain, grid, labels)


def _placed(rng):
    """A matrix that turns the head by up to 10 degrees and moves it by up to 15 mm."""
    i, j, k = np.radians(rng.uniform(-10, 10, 3))
    turn = np.eye(4)
    for angle, (a, b) in ((i, (1, 2)), (j, (0, 2)), (k, (0, 1))):
        step = np.eye(4)
        step[[a, a, b, b], [a, b, a, b]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        turn = turn @ step
    turn[:3, 3] = rng.uniform(-15, 15, 3)
    return turn


def _field(rng, shape, spacing, length_mm, deviation):
    """A smooth random field with mean 0, whose structures are about `length_mm` long."""
    coarse = [max(3, round(n * s / length_mm) + 2) for n, s in zip(shape, spacing, strict=True)]
    small = rng.normal(0, deviation, coarse).astype(np.float32)
    zoom = [n / c for n, c in zip(shape, coarse, strict=True)]
    return ndimage.zoom(small, zoom, order=1, grid_mode=True, mode="nearest")


def _hull(brain, spacing, radius_mm=18):
    """A brain without its grooves: grown by a radius and shrunk by it."""
    grown = ndimage.distance_transform_edt(~brain, sampling=spacing) < radius_mm
    return (ndimage.distance_transform_edt(grown, sampling=spacing) > radius_mm) | brain


def _tissues(brain, spacing, rng):
    """Number of the tissue of each voxel outside the brain (-1: none), and the head's inside."""
    hull = _hull(brain, spacing)
    away = ndimage.distance_transform_edt(~hull, sampling=spacing).astype(np.float32)
    number = np.full(brain.shape, -1, np.int8)

    def fill(name, where):
        number[where & ~brain] = TISSUES.index(name) if name else -1

    x, y, z = (
        (np.arange(n, dtype=np.float32) * s).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, (n, s) in enumerate(zip(brain.shape, spacing, strict=True))
    )
    box = bounding_box(brain)
    low = [side.start * s for side, s in zip(box, spacing, strict=True)]
    high = [side.stop * s for side, s in zip(box, spacing, strict=True)]
    middle, length = (low[0] + high[0]) / 2, high[1] - low[1]
    brow = brain[:, int((high[1] - 25) / spacing[1])]  # a coronal slice through the frontal lobes
    orbit = np.flatnonzero(brow.any(axis=0))[0] * spacing[2] - 12

    gap = np.clip(1.5 + _field(rng, brain.shape, spacing, 40, 1.0), 0.3, 5)
    bone = np.clip(6 + rng.normal(0, 1) + _field(rng, brain.shape, spacing, 50, 1.2), 3, 11)
    scalp = np.clip(6 + rng.normal(0, 1.5) + _field(rng, brain.shape, spacing, 60, 1.5), 2.5, 13)
    neck = ((x - middle) / 64) ** 2 + ((y - (low[1] + 0.45 * length)) / 75) ** 2 < 1
    face = ((x - middle) / 66) ** 2 + ((y - (high[1] - 40)) / 52) ** 2 < 1
    soft = (neck & (z < low[2] + 45)) | (face & (z < orbit + 14))
    fill("fat", soft | (away < gap + 1 + bone + scalp))
    head = number >= 0
    deep = ndimage.distance_transform_edt(head, sampling=spacing) > 5
    fill("muscle", deep & (soft | (away > gap + 1 + bone)) & (z < low[2] + 75))
    fill("bone", away < gap + 1 + bone)
    fill("marrow", (away > gap + 1 + 0.3 * bone) & (away < gap + 1 + 0.7 * bone))
    fill("dura", away < gap + rng.uniform(0.5, 1.5))
    fill("fluid", away < gap)
    for side in (-1, 1):
        eye = (x - middle - side * 32) ** 2 + (y - high[1] + 2) ** 2 + (z - orbit) ** 2
        fill("fat", (eye < 18**2) & (away > 4))
        fill("eye", (eye < 12**2) & (away > 3))
        nerve = (x - middle - side * (32 - 0.5 * (high[1] - y))) ** 2 + (z - orbit) ** 2
        fill("cord", (nerve < 2.5**2) & (y < high[1] - 12) & (y > high[1] - 40) & (away > 1))
        sinus = (x - middle - side * 16) ** 2 + (y - high[1] + 12) ** 2 + (z - orbit + 26) ** 2
        fill("mucosa", sinus < 15**2)
        fill("", sinus < 13**2)
    # The spinal cord continues the brain stem.
    bottom = np.argwhere(brain[:, :, box[2].start : box[2].start + 2].any(axis=2)).mean(axis=0)
    cord = (x - bottom[0] * spacing[0]) ** 2 + (y - bottom[1] * spacing[1]) ** 2
    below = z < low[2] + 3
    fill("bone", (cord < 17**2) & below & (away > 3))
    fill("fluid", (cord < 10**2) & below)
    fill("cord", (cord < 6**2) & below)
    return number, ndimage.binary_fill_holes(head | brain)


def _scan(name, values, tissues, inside, bias, rng, zero_air):
    """One channel, int16, as a scanner stores it."""
    level = float(np.median(values[values != 0]))
    bright = np.array(BRIGHTNESS[name], np.float32) * rng.normal(1, 0.1, len(TISSUES))
    outside = np.where(tissues >= 0, bright[tissues], 0.0).astype(np.float32)
    outside *= 1 + rng.normal(0, 0.06, values.shape).astype(np.float32)
    outside = ndimage.gaussian_filter(outside, 0.6) * level
    image = np.where(values != 0, values, outside) * bias
    sigma = rng.uniform(0.01, 0.04) * level
    real, imaginary = rng.normal(0, sigma, (2, *values.shape)).astype(np.float32)
    image = np.hypot(image + real, imaginary)
    if zero_air:
        image[~inside] = 0
    return np.clip(image, 0, 32767).astype(np.int16)
