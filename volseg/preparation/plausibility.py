"""Refusal of registrations that cannot be right."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from volseg.errors import RegistrationError
from volseg.images.grid import Affine
from volseg.preparation.quality import Quality
from volseg.preparation.volume import Volume

_MOST_DEGREES = 45.0
_MOST_MM = 150.0
_SCALES = (0.7, 1.4)
_LEAST_OVERLAP = 0.3
# The end of a search may be less alike than its start by so much: samples fall between voxels.
_LEAST_OF_START = 0.98
#: Least `Quality.peak` of two images of one head. Measured: 0.53 to 0.63 for 7 right pairs of real
#: contrasts (BraTS, and a head with skull of 26 slices), 0.43 to 0.53 for 8 with one of 2 x 2 x 5
#: mm, 0.21 to 0.38 for 13 pairs of two patients, 0.00 for noise.
LEAST_PEAK = 0.41
#: Below this peak the place found may be off by about 2 mm.
SURE_PEAK = 0.45
#: From this peak on, an image shows the head with its left and right where they are. Measured: 18
#: channels of 6 BraTS cases stored in mirror image had 0.28 to 0.45.
SURE_SIDES_PEAK = 0.50
#: Least peak of a head and an atlas, or of two patients. Measured on t1c of BraTS and MNI152: 0.19
#: to 0.28 for 4 right places, 0.13 upside down and 0.16 turned front to back for one brain. Few
#: brains and a narrow gap: thick slices and heads with a skull are not measured.
LEAST_PEAK_OF_TWO_HEADS = 0.15
_SAME_HEAD = "check that both images show the same head, and the orientation in their headers"


def check_contrast(volume: Volume, name: str) -> None:
    """Raise RegistrationError if an image is constant or holds NaN or infinity."""
    values = volume.values
    low, high = float(values.min()), float(values.max())
    if not math.isfinite(low + high):
        raise RegistrationError(
            f"{name} holds NaN or infinite voxels, but every voxel must be a number",
            remedy="repair the image",
        )
    if low == high:
        raise RegistrationError(
            f"{name} is constant, {low:g} in every voxel, but registration needs contrast",
            remedy="replace the image, or leave it out",
        )


def check_similarity(quality: Quality, *, same_head: bool) -> None:
    """Raise RegistrationError if two images do not resemble each other, or hardly overlap.

    Args:
        quality: Similarity at the result.
        same_head: Whether both must show one patient.
    """
    if quality.overlap < _LEAST_OVERLAP:
        raise RegistrationError(
            f"the images share {quality.overlap:.0%} of the head, but at least "
            f"{_LEAST_OVERLAP:.0%} is expected",
            remedy=_SAME_HEAD,
        )
    if quality.after - 1 < _LEAST_OF_START * (quality.before - 1):
        raise RegistrationError(
            "the registration did not converge: the mutual information is "
            f"{quality.after:.3f} at its end, but {quality.before:.3f} where the headers place "
            "the images",
            remedy=_SAME_HEAD,
        )
    least = LEAST_PEAK if same_head else LEAST_PEAK_OF_TWO_HEADS
    if quality.peak < least:
        raise RegistrationError(
            f"the images do not show the same head: {quality.peak:.0%} of their mutual information "
            f"depends on the place found, but at least {least:.0%} is expected",
            remedy=_SAME_HEAD,
        )


def notes_on_similarity(quality: Quality) -> tuple[str, ...]:
    """What the user should know of an accepted similarity of two images of one head."""
    if quality.peak >= SURE_PEAK:
        return ()
    return (
        f"the images resemble each other little ({quality.peak:.0%} of their mutual information "
        f"depends on the place found, usually {SURE_PEAK:.0%} or more), so the place may be off by "
        "about 2 mm: look at the picture",
    )


def check_mirrored(quality: Quality, mirrored: Quality) -> None:
    """Raise RegistrationError if an image fits better with its left and right exchanged.

    Args:
        quality: Similarity at the result.
        mirrored: Similarity at the result of the mirror image.
    """
    if mirrored.after > quality.after:
        raise RegistrationError(
            "the image fits better with left and right exchanged: its mutual information is "
            f"{mirrored.after:.3f} then, but {quality.after:.3f} as its header says",
            remedy="correct the orientation in its header",
        )


def check_transform(
    matrix: Affine, centre: npt.NDArray[np.float64], of_moving: npt.NDArray[np.float64]
) -> None:
    """Raise RegistrationError if a transform cannot be that of a head.

    Args:
        matrix: (4, 4) from the fixed to the moving world (RAS, mm).
        centre: Centre (3,) of the fixed image's foreground.
        of_moving: Centre (3,) of the moving image's foreground.
    """
    turn, scales = _parts(matrix)
    if turn > _MOST_DEGREES:
        raise RegistrationError(
            f"the registration turns the image by {turn:.0f} degrees, but at most "
            f"{_MOST_DEGREES:.0f} are plausible",
            remedy=_SAME_HEAD,
        )
    shift = float(np.linalg.norm(matrix[:3, :3] @ centre + matrix[:3, 3] - of_moving))
    if shift > _MOST_MM:
        raise RegistrationError(
            f"the registration places the centres of the heads {shift:.0f} mm apart, but at most "
            f"{_MOST_MM:.0f} mm are plausible",
            remedy=_SAME_HEAD,
        )
    low, high = _SCALES
    if not (low <= scales.min() and scales.max() <= high):
        raise RegistrationError(
            f"the registration scales the head by {scales.min():.2f} to {scales.max():.2f}, but "
            f"{low:g} to {high:g} are plausible",
            remedy=_SAME_HEAD,
        )


def _parts(matrix: Affine) -> tuple[float, npt.NDArray[np.float64]]:
    """Angle of the rotation in degrees, and the scales (3,), of a matrix; a mirror has 180."""
    left, scales, right = np.linalg.svd(matrix[:3, :3])
    rotation = left @ right
    if np.linalg.det(rotation) < 0:
        return 180.0, scales
    cosine = (np.trace(rotation) - 1) / 2
    return math.degrees(math.acos(float(np.clip(cosine, -1, 1)))), scales
