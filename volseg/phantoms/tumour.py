"""Tumours: positions, displacement of the brain, and tissues."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.phantoms.space import Field, Mask, Space, distance

_NCR, _ED, _ET = 1, 2, 3


@dataclass(frozen=True)
class Lesion:
    """Position and size of a tumour."""

    centre: tuple[float, float, float]  # mm from the centre of the head
    radius: float  # mm, of a ball with the volume of the tumour without oedema


def lesions_of(rng: np.random.Generator) -> list[Lesion]:
    """A lesion in the upper part of a hemisphere, and in some cases a second, smaller lesion."""
    lesions = []
    for radius in (rng.uniform(10, 20), rng.uniform(6, 10))[: 1 + (rng.random() < 0.2)]:
        side = float(rng.choice((-1, 1)))
        centre = (side * rng.uniform(20, 42), rng.uniform(-45, 45), rng.uniform(-12, 32))
        lesions.append(Lesion(centre, radius))
    return lesions


def deformed(space: Space, lesions: Sequence[Lesion]) -> list[Field]:
    """Points of the template head at each voxel, after individual variation and tumour pressure."""
    size = space.rng.normal(1.0, 0.03, 3)
    points = [
        (p / scale + 3.5 * space.noise(60) + 1.2 * space.noise(25)).astype(np.float32)
        for p, scale in zip(space.points, size, strict=True)
    ]
    for lesion in lesions:
        push = 0.35 * np.exp(-((distance(points, lesion.centre) / (2 * lesion.radius)) ** 2))
        points = [p - push * (p - c) for p, c in zip(points, lesion.centre, strict=True)]
    return points


def tumour_of(
    space: Space, lesions: Sequence[Lesion], tissue: Mask, white: Field, enhancing: bool
) -> npt.NDArray[np.uint8]:
    """Label map: necrotic core, enhancing rim, oedema; in brain tissue only."""
    rng = space.rng
    closeness = np.max(
        [1 - distance(space.points, one.centre) / one.radius for one in lesions], axis=0
    )
    core_ml = float(sum(4.19e-3 * one.radius**3 for one in lesions))
    ruggedness = 0.28 * space.noise(14) + 0.12 * space.noise(6)
    core = _fullest(closeness + ruggedness, tissue, core_ml / space.voxel_ml)
    spread = 0.6 * closeness + 0.8 * ndimage.gaussian_filter(white, 0.6) + 0.3 * space.noise(15)
    spread += 0.12 * space.noise(6)
    whole_ml = min(max(core_ml * rng.uniform(1.6, 4), 15.0), 120.0)
    whole = core | _fullest(spread, tissue & ~core, (whole_ml - core_ml) / space.voxel_ml)
    label_map = np.where(whole, _ED, 0).astype(np.uint8)
    label_map[core] = _NCR
    if enhancing:
        inside = closeness + 0.7 * ruggedness + 0.15 * space.noise(9)
        necrosis = _fullest(inside, core, core.sum() * rng.uniform(0.15, 0.6))
        label_map[core & ~necrosis] = _ET
    return label_map


def _fullest(score: Field, where: Mask, voxels: float) -> Mask:
    """The given number of voxels of `where` with the highest score."""
    share = 1 - min(1.0, voxels / max(1, int(np.count_nonzero(where))))
    return where & (score > np.quantile(score[where], share))


def replace_by_tumour(
    space: Space, shares: dict[str, Field], label_map: npt.NDArray[np.uint8]
) -> None:
    """Add the shares of the tumour's tissues, and reduce those of healthy tissues."""
    names = {"core": _NCR, "oedema": _ED, "enhancing": _ET}
    tumour = {
        name: ndimage.gaussian_filter((label_map == label).astype(np.float32), 0.5)
        for name, label in names.items()
    }
    # The swollen tissue remains partly visible in oedema, to a varying degree.
    tumour["oedema"] *= np.clip(0.85 + 0.12 * space.noise(9), 0.6, 1)
    healthy = 1 - np.sum(list(tumour.values()), axis=0)
    shares.update({name: share * healthy for name, share in shares.items()}, **tumour)
