"""Synthetic brains with tumours, written as a BraTS 2023 cohort, for the demo and the tests.

A head is built in millimetres from smooth random fields. The cortex is folded around sulci, the
sheets on which one of these fields is zero; a tumour grows from seeds, and its oedema follows the
white matter. Four contrasts are rendered from the shares of the tissues in each voxel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from volseg.files.writing import atomic_write
from volseg.images.nifti_writing import write_label_map

Field = npt.NDArray[np.floating[Any]]
Mask = npt.NDArray[np.bool_]

# Axes point to the patient's left, back and top, as in the files of BraTS. A head of any shape and
# spacing is this large inside, so a coarse phantom looks like a fine one.
_HEAD_MM = (240.0, 240.0, 156.0)
_NCR, _ED, _ET = 1, 2, 3

# Brightness of each tissue, white matter of T1 being 1.
_TISSUES = ("csf", "grey", "deep", "white", "vessel", "core", "oedema", "enhancing")
_BRIGHTNESS: Mapping[str, tuple[float, ...]] = {
    "t1n": (0.35, 0.76, 0.86, 1.00, 0.55, 0.58, 0.80, 0.78),
    "t1c": (0.40, 0.80, 0.88, 0.98, 1.90, 0.50, 0.80, 2.10),
    "t2w": (2.20, 1.02, 0.88, 0.76, 1.20, 1.95, 1.50, 1.35),
    "t2f": (0.25, 0.90, 0.82, 0.72, 0.55, 1.00, 1.50, 1.35),
}


@dataclass(frozen=True)
class Phantom:
    """Four contrasts, int16 (I, J, K) with 0 outside the brain, and their label map, uint8."""

    images: Mapping[str, npt.NDArray[np.int16]]
    label_map: npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Lesion:
    centre: tuple[float, float, float]  # mm from the centre of the head
    radius: float  # mm, of the tumour without oedema, were it a ball


def make_cohort(
    folder: Path,
    cases: int = 12,
    shape: tuple[int, int, int] = (120, 120, 78),
    spacing_mm: float = 2.0,
    seed: int = 0,
    without_enhancing: float = 0.2,
    first: int = 1,
) -> list[Path]:
    """Write synthetic cases as `BraTS-GLI-90001-000/BraTS-GLI-90001-000-t1n.nii.gz` and so on.

    The same arguments give the same files, and a case does not depend on how many there are: two
    calls with other numbers give other patients.

    Args:
        folder: Where the case folders are made.
        cases: Number of cases, each of another patient.
        shape: Voxels of every image. The head always fills it as in BraTS, 240 x 240 x 156 mm.
        spacing_mm: Spacing written into the files.
        seed: Another seed gives other patients.
        without_enhancing: Share of the cases that have no enhancing tumour; 0.2: every fifth.
        first: Number of the first case; 1 is `BraTS-GLI-90001-000`.

    Returns:
        The case folders.

    Raises:
        OutputError: If a file cannot be written.
    """
    affine = np.diag([-spacing_mm, -spacing_mm, spacing_mm, 1.0])
    affine[1, 3] = (shape[1] - 1) * spacing_mm
    folders = []
    for number in range(first, first + cases):
        enhancing = int(number * without_enhancing) == int((number - 1) * without_enhancing)
        phantom = make_phantom(np.random.default_rng([seed, number]), shape, enhancing)
        case_id = f"BraTS-GLI-{90000 + number}-000"
        folders.append(folder / case_id)
        _write(phantom, folders[-1], affine)
    return folders


def make_phantom(
    rng: np.random.Generator, shape: tuple[int, int, int], enhancing: bool = True
) -> Phantom:
    """One head with a tumour, or two.

    Args:
        rng: Source of all that is random.
        shape: Voxels (I, J, K), along left, back and top.
        enhancing: Whether the tumour has an enhancing rim.
    """
    space = _Space(rng, shape)
    lesions = _lesions(rng)
    shares, brain, white = _anatomy(space, _deformed(space, lesions))
    label_map = _tumour(space, lesions, brain & (shares["csf"] < 0.5), white, enhancing)
    _replace_by_tumour(space, shares, label_map)
    images = {
        channel: _render(space, shares, brightness, brain)
        for channel, brightness in _BRIGHTNESS.items()
    }
    return Phantom(images, label_map)


class _Space:
    """The voxels of a head, in mm from its centre, and smooth noise on them."""

    def __init__(self, rng: np.random.Generator, shape: Sequence[int]) -> None:
        self.rng = rng
        self.shape = tuple(shape)
        self.steps = [mm / count for mm, count in zip(_HEAD_MM, shape, strict=True)]
        self.axes = [
            (np.arange(count, dtype=np.float32) - (count - 1) / 2) * step
            for count, step in zip(shape, self.steps, strict=True)
        ]
        self.points = np.meshgrid(*self.axes, indexing="ij", sparse=True)
        self.voxel_ml = float(np.prod(self.steps)) / 1000

    def noise(self, length_mm: float) -> Field:
        """Gaussian noise of standard deviation 1 that varies over about `length_mm`."""
        weights = []
        for axis in self.axes:
            knots = np.arange(axis[0] - 2 * length_mm, axis[-1] + 2 * length_mm, length_mm)
            distance = (axis[:, None] - knots.astype(np.float32)) / (0.8 * length_mm)
            weights.append(np.exp(-0.5 * distance**2))
        field = self.rng.standard_normal([w.shape[1] for w in weights], dtype=np.float32)
        for weight in weights:
            # Each product moves the axis it has smoothed to the end, so three restore the order.
            field = np.tensordot(field, weight, axes=(0, 1))
        return field / field.std()

    def at(self, field: Field, points: Sequence[Field]) -> Field:
        """Values of a field at other points."""
        index = [
            p / step + (count - 1) / 2
            for p, step, count in zip(points, self.steps, self.shape, strict=True)
        ]
        return ndimage.map_coordinates(field, index, order=1, mode="nearest")


def _lesions(rng: np.random.Generator) -> list[_Lesion]:
    """One seed in the upper part of a hemisphere, and in some cases a smaller one elsewhere."""
    lesions = []
    for radius in (rng.uniform(10, 20), rng.uniform(6, 10))[: 1 + (rng.random() < 0.2)]:
        side = float(rng.choice((-1, 1)))
        centre = (side * rng.uniform(20, 42), rng.uniform(-45, 45), rng.uniform(-12, 32))
        lesions.append(_Lesion(centre, radius))
    return lesions


def _deformed(space: _Space, lesions: Sequence[_Lesion]) -> list[Field]:
    """Points of a template head that lie at each voxel: people differ, and tumours push."""
    size = space.rng.normal(1.0, 0.03, 3)
    points = [
        (p / scale + 3.5 * space.noise(60) + 1.2 * space.noise(25)).astype(np.float32)
        for p, scale in zip(space.points, size, strict=True)
    ]
    for lesion in lesions:
        push = 0.35 * np.exp(-((_distance(points, lesion.centre) / (2 * lesion.radius)) ** 2))
        points = [p - push * (p - c) for p, c in zip(points, lesion.centre, strict=True)]
    return points


def _distance(points: Sequence[Field], centre: Sequence[float]) -> Field:
    return np.sqrt(sum((p - c) ** 2 for p, c in zip(points, centre, strict=True)))


def _ellipsoid(points: Sequence[Field], centre: Sequence[float], radii: Sequence[Any]) -> Field:
    """About the depth in mm below the surface; negative outside."""
    scaled = [(p - c) / r for p, c, r in zip(points, centre, radii, strict=True)]
    mean_radius = float(np.mean([np.mean(r) for r in radii]))
    return (1 - np.sqrt(sum(s**2 for s in scaled))) * mean_radius


def _both_sides(points: Sequence[Field]) -> list[Field]:
    """The points with left and right folded together."""
    return [np.abs(points[0]), points[1], points[2]]


def _anatomy(space: _Space, points: Sequence[Field]) -> tuple[dict[str, Field], Mask, Field]:
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
    # Contrast agent shows vessels, which run in the sulci and between the hemispheres.
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
    cerebrum = _ellipsoid(points, (0, 0, 0), radii)
    folded = _both_sides(points)
    temporal = _ellipsoid(folded, (42, 0, -26), (24, 50, 26))
    cerebrum = np.maximum(cerebrum, temporal)
    cerebellum = _ellipsoid(folded, (24, 42, -42), (36, 38, 28))
    stem = _ellipsoid(points, (0, 10, -50), (15, 15, 45))
    cistern = _ellipsoid(points, (0, 2, -32), (24, 24, 14))
    return cerebrum, np.maximum(cerebellum, stem), cistern


def _pial_depth(space: _Space, points: Sequence[Field], depth: Field) -> Field:
    """Distance in mm to the nearest outer surface: the hull, a fissure or a sulcus."""
    x, y, z = points
    radius = np.sqrt(
        (x / 66) ** 2 + (y / 88) ** 2 + (z / np.where(z > 0, np.float32(62), np.float32(50))) ** 2
    )
    # Noise that hardly changes along a radius has zeros on sheets that stand on the surface.
    outward = 1 / np.clip(radius, 0.4, None) ** 0.75
    folds = space.at(space.noise(4), [0.8 * p * outward for p in points])
    slopes = np.gradient(folds, *space.steps)
    sheet = np.abs(folds) / np.sqrt(sum(slope**2 for slope in slopes) + 1e-4)
    sulcus_mm = 15 + 5 * space.noise(25)
    sulci = np.hypot(sheet, np.clip(depth - sulcus_mm, 0, None))
    # Below the fissure the hemispheres are joined, by the callosal body and the thalami.
    inner = _ellipsoid(points, (0, 4, -2), (40, 44, 26))
    fissure = np.hypot(np.abs(x), np.clip(inner, 0, None))
    beside = np.clip(38 - np.abs(x), 0, None) + np.clip(np.abs(y) - 32, 0, None)
    lateral = np.hypot(z + 4 + 0.25 * y + 0.3 * (np.abs(x) - 50) + 3 * space.noise(15), beside)
    # Most sulci are closed, so that grey matter touches grey matter; some gape.
    closed = np.clip(0.6 + 0.6 * space.noise(12), -0.4, 1.2)
    return np.minimum.reduce([depth, sulci, fissure, lateral]) + closed


def _ventricles(space: _Space, points: Sequence[Field]) -> Field:
    """Depth below the surface of the ventricles."""
    x, y, z = _both_sides(points)
    width = space.rng.uniform(0.8, 1.5)
    bent = [x - 0.25 * np.clip(y + 10, 0, None), y, z]
    body = _ellipsoid(bent, (9, 0, 14), (5 * width, 36, 7 * width))
    horn = _ellipsoid(bent, (16, 34, 4), (5 * width, 20, 8 * width))
    third = _ellipsoid([x, y, z], (0, 4, -2), (2 * width, 13, 9))
    return np.maximum.reduce([body, horn, third]) + 0.6 * space.noise(12)


def _nuclei(points: Sequence[Field]) -> Field:
    """Depth below the surface of thalamus, lentiform and caudate nuclei."""
    folded = _both_sides(points)
    thalamus = _ellipsoid(folded, (12, 10, 0), (9, 14, 9))
    lentiform = _ellipsoid(folded, (26, -2, 0), (7, 17, 10))
    caudate = _ellipsoid(folded, (14, -20, 8), (5, 11, 9))
    return np.maximum.reduce([thalamus, lentiform, caudate])


def _tumour(
    space: _Space, lesions: Sequence[_Lesion], tissue: Mask, white: Field, enhancing: bool
) -> npt.NDArray[np.uint8]:
    """Label map: necrotic core, enhancing rim, oedema; in brain tissue only."""
    rng = space.rng
    closeness = np.max(
        [1 - _distance(space.points, one.centre) / one.radius for one in lesions], axis=0
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


def _replace_by_tumour(
    space: _Space, shares: dict[str, Field], label_map: npt.NDArray[np.uint8]
) -> None:
    """Add the shares of the tumour's tissues, and take them from those of the healthy ones."""
    names = {"core": _NCR, "oedema": _ED, "enhancing": _ET}
    tumour = {
        name: ndimage.gaussian_filter((label_map == label).astype(np.float32), 0.5)
        for name, label in names.items()
    }
    # Oedema lets the tissue that it swells shine through, here more and there less.
    tumour["oedema"] *= np.clip(0.85 + 0.12 * space.noise(9), 0.6, 1)
    healthy = 1 - np.sum(list(tumour.values()), axis=0)
    shares.update({name: share * healthy for name, share in shares.items()}, **tumour)


def _render(
    space: _Space, shares: Mapping[str, Field], brightness: Sequence[float], brain: Mask
) -> npt.NDArray[np.int16]:
    """One contrast, as a scanner would store it: bias field, noise, blur and a gain of its own."""
    rng = space.rng
    image = np.zeros(space.shape, dtype=np.float32)
    uneven = 0.04 + 0.1 * (shares["core"] + shares["enhancing"])
    texture = 1 + uneven * space.noise(5)
    for name, value in zip(_TISSUES, brightness, strict=True):
        image += value * rng.normal(1, 0.04) * shares[name]
    image *= texture * np.exp(0.07 * space.noise(90))
    image = ndimage.gaussian_filter(image, 0.45)
    image += rng.normal(0, 0.025, space.shape).astype(np.float32)
    gain = np.exp(rng.uniform(np.log(250), np.log(1500)))
    return np.where(brain, np.clip(image * gain, 1, 32767), 0).astype(np.int16)


def _write(phantom: Phantom, folder: Path, affine: npt.NDArray[np.float64]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for channel, array in phantom.images.items():
        image = nib.Nifti1Image(array, affine)
        image.set_qform(affine, code=2)
        image.set_sform(affine, code=1)
        image.header.set_xyzt_units("mm")
        with atomic_write(folder / f"{folder.name}-{channel}.nii.gz") as path:
            image.to_filename(path)
    write_label_map(folder / f"{folder.name}-seg.nii.gz", phantom.label_map, image.header)
