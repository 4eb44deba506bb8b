"""Synthetic heads in CT, in Hounsfield units: a brain with a lesion, in its skull."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy import ndimage

from volseg.phantoms.anatomy import anatomy
from volseg.phantoms.cohort import write_phantom
from volseg.phantoms.head import Phantom
from volseg.phantoms.space import Field, Mask, Space
from volseg.phantoms.tumour import deformed, lesions_of, replace_by_tumour, tumour_of

# Hounsfield units: of a fresh haemorrhage for the core, and of the swelling around it.
_TISSUES = {
    "csf": 8.0,
    "grey": 38.0,
    "deep": 36.0,
    "white": 29.0,
    "vessel": 45.0,
    "core": 68.0,
    "oedema": 18.0,
    "enhancing": 62.0,
}
# Layers around the brain: their outer distance from it in mm, and their value.
_LAYERS = ((2.0, 8.0), (8.0, 900.0), (13.0, 10.0))
_AIR, _CORNER = -1000.0, -1024.0
# The part of the width of a slice that a scanner reconstructs; corners beyond it are padded.
_ROUND = 0.99
_NOISE = 4.0


def make_ct_cohort(
    folder: Path, cases: int, shape: tuple[int, int, int], spacing_mm: float
) -> list[Path]:
    """Write synthetic CT as `CT-90001/CT-90001-ct.nii.gz` and so on; the folders of the cases."""
    folders = [folder / f"CT-{90000 + number}" for number in range(1, cases + 1)]
    for number, case in enumerate(folders, 1):
        write_phantom(make_ct(np.random.default_rng([0, number]), shape), case, spacing_mm)
    return folders


def make_ct(rng: np.random.Generator, shape: tuple[int, int, int]) -> Phantom:
    """One head with skull and one or two lesions; label 1 is a lesion with its swelling.

    Args:
        rng: Source of all random numbers.
        shape: Voxels (I, J, K), along left, back and top.
    """
    space = Space(rng, shape)
    lesions = lesions_of(rng)
    shares, brain, white = anatomy(space, deformed(space, lesions))
    label_map = tumour_of(space, lesions, brain & (shares["csf"] < 0.5), white, enhancing=True)
    replace_by_tumour(space, shares, label_map)
    image = _head(space, shares, brain)
    return Phantom({"ct": image.astype(np.int16)}, (label_map > 0).astype(np.uint8))


def _head(space: Space, shares: dict[str, Field], brain: Mask) -> Field:
    image = np.zeros(space.shape, np.float32)
    for name, value in _TISSUES.items():
        image += np.float32(value) * shares[name]
    from_brain = ndimage.distance_transform_edt(~brain, sampling=space.steps)
    outside = np.full(space.shape, _AIR, np.float32)
    for reach, value in reversed(_LAYERS):
        outside[from_brain <= reach] = value
    image = ndimage.gaussian_filter(np.where(brain, image, outside), 0.45)
    image += space.rng.normal(0, _NOISE, space.shape).astype(np.float32)
    radius = _ROUND * abs(space.points[0]).max()
    image[np.broadcast_to(np.hypot(*space.points[:2]) > radius, space.shape)] = _CORNER
    return np.rint(image)
