"""The traits in which a case is compared with the training cases, and the words for them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

Scale = Literal["plain", "ratio", "correlation"]

# No value on a logarithmic scale is smaller; no correlation is closer to 1 than this.
_LEAST, _CLOSEST = 1e-9, 0.999


def _log(value: float) -> float:
    return math.log(max(value, _LEAST))


def _fisher(value: float) -> float:
    """Fisher's transform, which gives correlations about equal spreads."""
    return math.atanh(min(max(value, -_CLOSEST), _CLOSEST))


_SCALES: Mapping[Scale, Callable[[float], float]] = {
    "plain": float,
    "ratio": _log,
    "correlation": _fisher,
}


@dataclass(frozen=True)
class Trait:
    """A trait of cases.

    Attributes:
        words: The trait in a sentence that continues with `is 5 mm`; `{}` is its part: an axis, a
            channel, or two channels.
        unit: Unit, with a space before it; may be empty.
        spread: Least standard deviation that is expected of further cases from the source of the
            training cases, on the scale of comparison.
        scale: Scale of comparison.
        group: Traits of a group share a sentence: that on the trait and part that differs most.
        above: Remedy for a value above those in training; may be empty.
        below: Remedy for a value below those in training; may be empty.
    """

    words: str
    unit: str
    spread: float
    scale: Scale = "plain"
    group: str = ""
    above: str = ""
    below: str = ""

    def scaled(self, value: float) -> float:
        """A value on the scale of comparison."""
        return _SCALES[self.scale](value)


_SKULL = "is the skull stripped (volseg prepare strips it), and is the spacing in the file in mm?"
_PART = "is a part of the brain missing, or is the spacing in the file not in mm?"
_ZOOM = "were the images enlarged?", "were the images reduced, or is a part missing?"
_SAME = "give the images as those of the training cases were given"
_CONTRAST = "is each file of the contrast that its name says, and prepared as in training?"
_PERCENTILES = {5: 0.25, 25: 0.12, 50: 0.12, 75: 0.15, 95: 0.3}

#: Percentiles of the normalised grey values of a channel; the traits are `p5` and so on.
PERCENTILES = tuple(_PERCENTILES)
#: Trait of stacks of 2D images: the number of their slices.
SLICES = "slices"
#: Traits by the name that stands before the `/` in a profile.
TRAITS: Mapping[str, Trait] = {
    # Compared by `unlike` alone: no number of slices is unusual.
    SLICES: Trait("the number of slices", "", math.inf),
    "spacing_mm": Trait("the spacing along {}", " mm", 0.06, "ratio", "spacing"),
    "tissue_ml": Trait("the volume of the tissue", " ml", 0.12, "ratio", "size", _SKULL, _PART),
    "extent_mm": Trait(
        "the extent of the tissue along {}", " mm", 0.06, "ratio", "size", _SKULL, _PART
    ),
    "area_cm2": Trait(
        "the largest area of tissue in a slice", " cm2", 0.25, "ratio", "size", _SKULL, _PART
    ),
    "area_pixels": Trait(
        "the largest area of tissue in a slice", " pixels", 0.25, "ratio", "size", *_ZOOM
    ),
    "end": Trait(
        "the tissue at its end along {}, as share of its largest section,",
        "",
        0.05,
        group="end",
        above="is a part of the brain cut off?",
    ),
    "scale": Trait(
        "the 99th percentile of {} above background", "", 0.7, "ratio", "source", _SAME, _SAME
    ),
    "below": Trait(
        "the share of {} that is darker than its background",
        "",
        0.03,
        group="source",
        above=f"normalised images have such values; {_SAME}",
    ),
    "at_highest": Trait(
        "the share of {} with the highest value of all",
        "",
        0.001,
        group="source",
        above=f"clipped images have such values; {_SAME}",
    ),
    "covered": Trait(
        "the share of the tissue in which {} is not empty",
        "",
        0.06,
        group="covered",
        below="is this channel empty, or are all channels of one examination?",
    ),
    "roughness": Trait(
        "the difference of neighbouring voxels of {}, as share of its interquartile range,",
        "",
        0.2,
        "ratio",
        "roughness",
        above="is the image noisier than those?",
        below="is the image smoothed, or interpolated from larger voxels?",
    ),
    "correlation": Trait(
        "the correlation of {}", "", 0.3, "correlation", "greys", _CONTRAST, _CONTRAST
    ),
    **{
        f"p{percent}": Trait(
            f"the {percent}th percentile of the normalised grey values of {{}}",
            "",
            spread,
            group="greys",
            above=_CONTRAST,
            below=_CONTRAST,
        )
        for percent, spread in _PERCENTILES.items()
    },
}
