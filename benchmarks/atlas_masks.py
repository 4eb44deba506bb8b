"""The brain by registration of an atlas whose brain is known, refined by grey values.

A benchmark alone: `brain_masks.py` shows that its masks are no substitute for a network.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from volseg.errors import BrainMaskError, RegistrationError
from volseg.preparation.brain_mask.mask import Mask, Proposal, cleaned, preferred
from volseg.preparation.registration import register
from volseg.preparation.resampling import resample
from volseg.preparation.templates import Template, mni152
from volseg.preparation.volume import Volume

_SPACING_MM = 1.5
# The atlas is compared with the head within its brain and this far around it.
_AROUND_MM = 4.0
# How far the true border may lie inside or outside that of the atlas.
_INSIDE_MM, _OUTSIDE_MM = 9.0, 7.0
# Bridges of tissue that are thinner than twice this do not count, such as vessels and meninges.
_BRIDGE_MM = 3.0
# Grooves narrower than twice this are filled.
_GROOVE_MM = 6.0


def atlas_brain(volumes: Mapping[str, Volume], template: Template | None = None) -> Proposal:
    """The brain that an atlas shows in one channel.

    The atlas is registered to the head by an affine transform. What is deep inside its brain is
    brain; near its border, brain is what is as bright as the inside and connected to it.

    Args:
        volumes: Channels by name, on one grid.
        template: Atlas with a mask; None: MNI152.

    Raises:
        BrainMaskError: If the registration is refused.
    """
    atlas = mni152() if template is None else template
    assert atlas.mask is not None
    channel = preferred(volumes)
    head = volumes[channel]
    try:
        around = _within(atlas.mask, -_AROUND_MM, atlas.volume.grid.spacing_mm)
        found = register(head, atlas.volume, "affine", around, same_head=False)
    except RegistrationError as error:
        raise BrainMaskError(
            f"{atlas.name} cannot be registered to {channel} for a brain mask ({error.problem})",
            remedy="use another method",
        ) from None
    onto = head.grid.resampled((_SPACING_MM,) * 3)
    back = np.linalg.inv(found.matrix)
    rough = resample(Volume(atlas.mask.astype(np.uint8), atlas.volume.grid), onto, back, "label")
    image = resample(head, onto, np.eye(4))
    mask = _refined(rough > 0, image)
    fine = resample(Volume(mask.astype(np.float32), onto), head.grid, np.eye(4)) > 0.5
    return cleaned(Proposal(fine, f"{atlas.name} by registration", (channel,)))


def _refined(rough: Mask, image: np.ndarray) -> Mask:
    """A mask whose border follows the grey values near the border of a rough mask."""
    spacing = (_SPACING_MM,) * 3
    depth = _depth(rough, spacing)
    core, limit = depth > _INSIDE_MM, depth > -_OUTSIDE_MM
    smooth = ndimage.gaussian_filter(image, 0.7)
    low, middle, high = np.percentile(smooth[core], [2, 50, 98])
    tissue = limit & (smooth > 0.6 * middle) & (smooth < high + 0.1 * (high - low))
    opened = (_depth(tissue | core, spacing) > _BRIDGE_MM) | core
    numbers, _ = ndimage.label(opened)
    held = np.bincount(numbers[core])
    held[0] = 0
    inner = numbers == held.argmax()
    brain = (_depth(inner, spacing) > -_BRIDGE_MM) & (tissue | core)
    closed = _depth(_depth(brain, spacing) > -_GROOVE_MM, spacing) > _GROOVE_MM
    return (closed | brain) & limit


def _depth(mask: Mask, spacing) -> np.ndarray:
    """Distance to the border in mm, negative outside."""
    inside = ndimage.distance_transform_edt(mask, sampling=spacing)
    return inside - ndimage.distance_transform_edt(~mask, sampling=spacing)


def _within(mask: Mask, depth_mm: float, spacing) -> Mask:
    return np.asarray(_depth(mask, spacing) > depth_mm)
