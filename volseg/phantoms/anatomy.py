"""A healthy head: cerebrum with sulci, cerebellum, ventricles, nuclei."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from volseg.phantoms.space import Field, Mask, Space, ellipsoid


def anatomy(space: Space, points: Sequence[Field]) -> tuple[dict[str, Field], Mask, Field]:
    """Shares of the tissues of a healthy head, the brain mask and the share of white matter."""
    cerebrum, below, cistern = _hull(points)
    brain = np.maximum.reduce([cerebrum, below, cistern]) > 0
    # Leaves of the cerebellum: thin layers of grey and white matter.
    leaves = 1.5 + 0.25 * below + 1.8 * np.cos((points[2] + 0.5 * points[1]) * 0.8)
    depth = np.where(below > 0, leaves, below)
    depth = np.where(cerebrum > below, _pial_depth(space, points, cerebrum), depth)
    ventricles = _ventricles(space, points)
    csf = np.maximum(_share(0.7 - depth, 1.4), _share(ventricles, 2))
    ribbon = 4.0 + 0.5 * space.noise(20)
    grey = _share(ribbon - depth, 1.6) * (1 - csf)
    deep = _share(_nuclei(points), 3) * (1 - csf) * (1 - grey)
    # Vessels, visible with contrast agent, run in the sulci and between the hemispheres.
    vessel = csf * (np.abs(depth) < 1) * np.exp(-((space.noise(6) / 0.25) ** 2)) * (ventricles < -3)
    white = 1 - csf - grey - deep
    shares = {"csf": csf - vessel, "grey": grey, "deep": deep, "white": white, "vessel": vessel}
    return shares, brain, white


def _share(depth: Field, width: float) -> Field:
    """Share of a voxel that a tissue fills: 0 to 1 over `width` mm across its surface."""
    return np.clip(depth / width + 0.5, 0, 1).astype(np.float32)


def _hull(points: Sequence[Field]) -> tuple[Field, Field, Field]:
    """Depth below the surface of the cerebrum, of cerebellum and brain stem, and of the cistern."""
    _, y, z = points
    # Wider at the back, flatter at the base.
    radii = (66 + 0.05 * y, 88, np.where(z > 0, np.float32(62), np.float32(32)))
    cerebrum = ellipsoid(points, (0, 0, 0), radii)
    folded = _both_sides(points)
    temporal = ellipsoid(folded, (42, 0, -26), (24, 50, 26))
    cerebrum = np.maximum(cerebrum, temporal)
    cerebellum = ellipsoid(folded, (24, 42, -42), (36, 38, 28))
    stem = ellipsoid(points, (0, 10, -50), (15, 15, 45))
    cistern = ellipsoid(points, (0, 2, -32), (24, 24, 14))
    return cerebrum, np.maximum(cerebellum, stem), cistern


def _pial_depth(space: Space, points: Sequence[Field], depth: Field) -> Field:
    """Distance in mm to the nearest outer surface: the hull, a fissure or a sulcus."""
    x, y, z = points
    radius = np.sqrt(
        (x / 66) ** 2 + (y / 88) ** 2 + (z / np.where(z > 0, np.float32(62), np.float32(50))) ** 2
    )
    # Noise that hardly changes along a radius is zero on sheets perpendicular to the surface.
    outward = 1 / np.clip(radius, 0.4, None) ** 0.75
    folds = space.at(space.noise(4), [0.8 * p * outward for p in points])
    slopes = np.gradient(folds, *space.steps)
    sheet = np.abs(folds) / np.sqrt(sum(slope**2 for slope in slopes) + 1e-4)
    sulcus_mm = 15 + 5 * space.noise(25)
    sulci = np.hypot(sheet, np.clip(depth - sulcus_mm, 0, None))
    # Below the fissure, the corpus callosum and the thalami join the hemispheres.
    inner = ellipsoid(points, (0, 4, -2), (40, 44, 26))
    fissure = np.hypot(np.abs(x), np.clip(inner, 0, None))
    beside = np.clip(38 - np.abs(x), 0, None) + np.clip(np.abs(y) - 32, 0, None)
    lateral = np.hypot(z + 4 + 0.25 * y + 0.3 * (np.abs(x) - 50) + 3 * space.noise(15), beside)
    # Most sulci are closed, so that grey matter touches grey matter; some are open.
    closed = np.clip(0.6 + 0.6 * space.noise(12), -0.4, 1.2)
    return np.minimum.reduce([depth, sulci, fissure, lateral]) + closed


def _ventricles(space: Space, points: Sequence[Field]) -> Field:
    """Depth below the surface of the ventricles."""
    x, y, z = _both_sides(points)
    width = space.rng.uniform(0.8, 1.5)
    bent = [x - 0.25 * np.clip(y + 10, 0, None), y, z]
    body = ellipsoid(bent, (9, 0, 14), (5 * width, 36, 7 * width))
    horn = ellipsoid(bent, (16, 34, 4), (5 * width, 20, 8 * width))
    third = ellipsoid([x, y, z], (0, 4, -2), (2 * width, 13, 9))
    return np.maximum.reduce([body, horn, third]) + 0.6 * space.noise(12)


def _nuclei(points: Sequence[Field]) -> Field:
    """Depth below the surface of thalamus, lentiform and caudate nuclei."""
    folded = _both_sides(points)
    thalamus = ellipsoid(folded, (12, 10, 0), (9, 14, 9))
    lentiform = ellipsoid(folded, (26, -2, 0), (7, 17, 10))
    caudate = ellipsoid(folded, (14, -20, 8), (5, 11, 9))
    return np.maximum.reduce([thalamus, lentiform, caudate])


def _both_sides(points: Sequence[Field]) -> list[Field]:
    """The points with left and right folded together."""
    return [np.abs(points[0]), points[1], points[2]]
