"""Background and tissue of each channel of a scan, found from the value that fills its border.

The background of a skull-stripped scan is 0, and such a scan stays unchanged. Some tools leave
other values: the lowest value of a normalised scan, -1 from a mask or, after interpolation by cubic
splines, ripples around the tissue that fade out to 1e-12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Volume = npt.NDArray[Any]
Mask = npt.NDArray[np.bool_]

# Size of the samples of a channel, and of its border, from which its values are estimated.
_SAMPLE = 60_000
_SHORT = 16
# A scan that is much shorter along one axis is a slab, which may begin and end inside the head.
_SLAB = 1 / 4

# Shares of the scale of a channel: the 99.5th percentile of the distance from its background.
_EQUAL = 1e-3  # closer values are background, up to rounding
_RIPPLE = 0.03  # reach of ripples around tissue
_OVERSHOOT = 0.15  # reach of ripples on the side without tissue,
_FAINT = 0.01  # many of which stay below this as they fade out

# Shares of the border that background must fill: a single value, or a narrow range of values.
_EXACT, _ROUGH = 0.1, 0.3
# Below this share of the border the background is uncertain, and a note says so.
_CERTAIN = 0.25
# Least share of ripples in the other voxels; scans without ripples have at most 0.1 % (measured).
_SMEARED = 0.01
# A second background value inside the first: its least share of the remaining voxels (a single
# value fills at most 2 % of a brain), the largest share of voxels with almost this value, its least
# share of the outer face, and the largest share of any other single value.
_SECOND, _ALMOST, _FACE, _FLAT = 0.05, 0.1, 0.75, 0.2

#: No brain is larger, in ml.
LARGEST_BRAIN_ML = 2500
UNCERTAIN = (
    "no value fills the border of the scan, so every voxel that is not 0 is taken for tissue; "
    "strip the skull with volseg prepare, or train with data.background"
)

# Air in Hounsfield units, and its least share of a CT; phase images hold less of these values.
_AIR, _OF_CT = (-1100, -900), 0.05
CT_WITHOUT_WINDOW = (
    "air is -1000, as in CT: state the window of tissue in data.windows, such as {ct: [0, 80]} "
    "for a brain"
)


@dataclass(frozen=True)
class Background:
    """The values that fill the outside of a channel.

    Attributes:
        value: Background value; 0 if no value fills the border.
        low: Lowest value that may be background.
        high: Highest value that may be background; both are `value` unless ripples surround the
            tissue.
        share: Share of the border that is background.
        around: Value of the border of a padded scan, around a region of `value`; None: `value`
            fills the border.
    """

    value: float
    low: float
    high: float
    share: float
    around: float | None = None

    @property
    def is_plain(self) -> bool:
        """Whether background is exactly 0."""
        return self.value == self.low == self.high == 0 and self.around is None

    def holds(self, values: Volume) -> Mask:
        """Mask of the values that may be background."""
        if self.is_smeared:
            held = (values >= self.low) & (values <= self.high)
        else:
            held = values == self.value
        return np.asarray(held if self.around is None else held | (values == self.around))

    @property
    def is_smeared(self) -> bool:
        """Whether background is a range of values."""
        return self.low < self.high

    @property
    def is_certain(self) -> bool:
        """Whether background fills enough of the border."""
        return self.share >= _CERTAIN


def background_note(background: Background) -> str:
    """Note for the user on a background; '' if it is certainly 0."""
    if background.is_plain:
        return "" if background.is_certain else UNCERTAIN
    text = f"background is {background.value:.6g}"
    if background.is_smeared:
        text += f", with ripples from {background.low:.3g} to {background.high:.3g}"
    if background.around is not None:
        text += f", and {background.around:.6g} around that"
    return f"{text}: taken as 0"


def unstripped_note(tissue_ml: float) -> str:
    """Note that the tissue is larger than any brain, or ''."""
    if tissue_ml <= LARGEST_BRAIN_ML:
        return ""
    return (
        f"tissue measures {tissue_ml:.0f} ml, but a brain at most {LARGEST_BRAIN_ML} ml: the skull "
        "does not seem to be stripped; strip it with volseg prepare, unless the model was trained "
        "with it"
    )


def is_ct(volume: Volume) -> bool:
    """Whether much of an image has the value of air in Hounsfield units."""
    sample = subsampled(volume)
    low, high = _AIR
    return bool(np.count_nonzero((sample >= low) & (sample <= high)) >= _OF_CT * sample.size)


def background_of(channel: Volume) -> Background:
    """The background of a channel (I, J, K), found from the values on its border."""
    border, sample = subsampled(_border(channel)), subsampled(channel)
    values, counts = np.unique(border, return_counts=True)
    value, share = float(values[counts.argmax()]), float(counts.max() / border.size)
    if share < _EXACT or (value != 0 and _is_noise(border, sample, value)):
        low, value, high = _densest_range(border, sample)
        if low == high:
            return Background(0.0, 0.0, 0.0, float((border == 0).mean()))
    else:
        low, high = value, value
        if (inner := _inner_value(channel, sample, value)) is not None:
            share = float(np.isin(border, (inner, value)).mean())
            return Background(inner, inner, inner, share, around=value)
    low, high = _with_ripples(sample, value, low, high)
    inside = (border >= low) & (border <= high)
    return Background(value, low, high, float(inside.mean()))


def tissue_of(channel: Volume, background: Background) -> Mask:
    """Mask (I, J, K) of the voxels that are not background.

    If tissue may have background values, only voxels connected to the border are background.
    """
    near = background.holds(channel)
    is_one = background.low == background.high and background.around is None
    if is_one and background.value in (0, channel.min(), channel.max()):
        return np.asarray(~near)
    return ~outside(near)


def outside(near: Mask) -> Mask:
    """The part of a mask (I, J, K) that is connected to the border of the volume."""
    parts = cc3d.connected_components(near, connectivity=6)
    outside = np.zeros(int(parts.max()) + 1, np.bool_)
    outside[np.unique(_border(parts))] = True
    outside[0] = False  # voxels outside the mask
    return np.asarray(outside[parts])


def subsampled(volume: Volume) -> Volume:
    """Every n-th voxel along each axis that is long enough, about 60,000 in total."""
    long = [size >= _SHORT for size in volume.shape]
    step = max(1, math.floor((volume.size / _SAMPLE) ** (1 / max(1, sum(long)))))
    return volume[tuple(slice(None, None, step if is_long else 1) for is_long in long)]


def _border(volume: Volume) -> Volume:
    """Voxels on the faces of a volume, flattened; without the first and last slice of a slab."""
    axes = [axis for axis, size in enumerate(volume.shape) if size >= _SLAB * max(volume.shape)]
    faces = [np.moveaxis(volume, axis, 0)[end] for axis in axes for end in (0, -1)]
    return np.concatenate([face.ravel() for face in faces])


def _scale(distances: npt.NDArray[np.float64]) -> float:
    """Distance of tissue from background."""
    return float(np.percentile(abs(distances), 99.5)) if distances.size else 0.0


def _distances(sample: Volume, value: float) -> npt.NDArray[np.float64]:
    """Distances from `value` of all other values."""
    return sample[sample != value].astype(np.float64) - value


def _inner_value(channel: Volume, sample: Volume, first: float) -> float | None:
    """A second background value that fills the region inside the first, or None."""
    rest = sample[sample != first]
    if not rest.size:
        return None
    values, counts = np.unique(rest, return_counts=True)
    value, count = float(values[counts.argmax()]), int(counts.max())
    # In a saturated channel, the largest value is tissue.
    if count < _SECOND * rest.size or value == values[-1]:
        return None
    near = abs(rest.astype(np.float64) - value) <= _RIPPLE * _scale(_distances(rest, value))
    others = counts.sum() - count
    is_flat = np.delete(counts, counts.argmax()).max() > _FLAT * others  # as in a drawing
    if is_flat or np.count_nonzero(near) > (1 + _ALMOST) * count:
        return None
    within = channel != first
    face = within & ~ndimage.binary_erosion(within, border_value=False)
    filled = channel == value
    if np.count_nonzero(face & filled) < _FACE * np.count_nonzero(face):
        return None
    held = np.count_nonzero(outside(~within | filled) & filled)
    return value if held > np.count_nonzero(filled) / 2 else None


def _is_noise(border: Volume, sample: Volume, value: float) -> bool:
    """Whether many border values are similar to this most frequent value, as in noisy air."""
    alike = abs(border.astype(np.float64) - value) <= _RIPPLE * _scale(_distances(sample, value))
    return bool(np.count_nonzero(alike) > 2 * np.count_nonzero(border == value))


def _densest_range(border: Volume, sample: Volume) -> tuple[float, float, float]:
    """The narrow range with most values of a border (low, middle, high); zeros if none has many."""
    ordered = np.sort(border.astype(np.float64))
    width = 2 * _EQUAL * _scale(_distances(sample, float(np.median(ordered))))
    counts = np.searchsorted(ordered, ordered + width, side="right") - np.arange(len(ordered))
    first = int(counts.argmax())
    if counts[first] < _ROUGH * len(ordered):
        return 0.0, 0.0, 0.0
    low, high = float(ordered[first]), float(ordered[first]) + width
    middle = float(np.median(ordered[first : first + counts[first]]))
    return low, 0.0 if low <= 0 <= high else middle, high


def _with_ripples(sample: Volume, value: float, low: float, high: float) -> tuple[float, float]:
    """A range of background, widened if ripples surround the tissue."""
    distances = _distances(sample, value)
    scale = _scale(distances)
    above = 2 * np.count_nonzero(distances > 0) >= distances.size
    beyond = abs(distances[(distances < 0) == above])  # on the side with no or little tissue
    overshot = np.count_nonzero(beyond <= _OVERSHOOT * scale)
    faint = np.count_nonzero(beyond <= _FAINT * scale)
    one_sided = overshot >= 0.9 * beyond.size and faint >= 0.3 * overshot
    ripples = max(np.count_nonzero(abs(distances) <= _EQUAL * scale), overshot * one_sided)
    if ripples <= _SMEARED * distances.size:
        return low, high
    near, far = _RIPPLE * scale, (_OVERSHOOT if one_sided else _RIPPLE) * scale
    return (
        (min(low, value - far), max(high, value + near))
        if above
        else (min(low, value - near), max(high, value + far))
    )
