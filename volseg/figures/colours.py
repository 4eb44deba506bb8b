"""Colours of regions, and of the errors of a prediction."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

#: Colours for colour-blind readers (Okabe and Ito, "Color Universal Design", 2008). They differ
#: among the regions of each label scheme and of each protocol.
REGION_COLOURS: Mapping[str, str] = MappingProxyType(
    {
        "WT": "#56B4E9",
        "TC": "#F0E442",
        "ET": "#D55E00",
        "RC": "#CC79A7",
        "CC": "#009E73",
        "NETC": "#E69F00",
        "NCR": "#E69F00",
        "SNFH": "#0072B2",
        "ED": "#0072B2",
        "GTV": "#E69F00",
        "foreground": "#E69F00",
    }
)
#: Parts of a region where prediction and reference agree, or one of them has the voxel alone.
AGREED, FALSE_POSITIVE, FALSE_NEGATIVE = "in both", "only predicted", "only in the reference"
#: Colour by part: green, orange and blue of the same set, which differ for colour-blind readers.
ERROR_COLOURS: Mapping[str, str] = MappingProxyType(
    {AGREED: "#009E73", FALSE_POSITIVE: "#E69F00", FALSE_NEGATIVE: "#56B4E9"}
)
#: Colours of the lines in pictures of `prepare`, whatever else is drawn, of the same set.
BRAIN_COLOUR, ANATOMY_COLOUR, ATLAS_COLOUR = "#E69F00", "#009E73", "#CC79A7"
_SPARE_COLOURS = ("#E69F00", "#009E73", "#CC79A7", "#0072B2")


def region_colours(regions: Iterable[str]) -> dict[str, str]:
    """Colour by region: from `REGION_COLOURS`, or else the next spare colour.

    >>> region_colours(["WT", "cyst"])
    {'WT': '#56B4E9', 'cyst': '#E69F00'}
    """
    names = list(dict.fromkeys(regions))
    used = {REGION_COLOURS[name] for name in names if name in REGION_COLOURS}
    spare = [colour for colour in _SPARE_COLOURS if colour not in used] or list(_SPARE_COLOURS)
    others = [name for name in names if name not in REGION_COLOURS]
    drawn = {name: spare[n % len(spare)] for n, name in enumerate(others)}
    return {name: REGION_COLOURS.get(name) or drawn[name] for name in names}
