"""Which DICOM files and series are scans that may be channels, and why others are left out.

DERIVED in Image Type alone leaves out nothing: the standard asks for it after lossy compression,
and scanners write it after a correction of the coil's sensitivity. What counts is a value that
names a derivation, such as MPR or ADC. dcm2niix, asked to ignore derived images, leaves out all.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from volseg.conversion.dicom.header import known_uid
from volseg.conversion.series import Facts

_STORAGE = "1.2.840.10008.5.1.4.1.1."
# MR, CT and PET: classic, enhanced, and classic converted to enhanced.
_SCANS = {_STORAGE + end for end in ("4", "4.1", "4.4", "2", "2.1", "2.2", "128", "128.1", "130")}
DICOMDIR = "1.2.840.10008.1.3.10"
_NO_IMAGE = {
    DICOMDIR: "a list of files (DICOMDIR), which is not needed",
    _STORAGE + "7": "a screenshot or another secondary capture",
    _STORAGE + "104.1": "a PDF document",
}

# Values of Image Type after the second, by what they say of the image.
_DERIVATIONS = {
    "a reformatted series": ("MPR", "REFORMATTED", "RESAMPLED", "CSA RESAMPLED", "CSA MPR"),
    "a projection": (
        *("MIP", "MINIP", "MNIP", "MAX_IP", "MIN_IP", "CSA MIP", "PROJECTION IMAGE"),
        *("MAXIMUM", "MINIMUM", "VOLUME_RENDER"),
    ),
    "a subtraction": ("SUBTRACT", "SUBTRACTION", "SUB"),
    "a map of diffusion": ("ADC", "EADC", "FA", "ANISO", "TENSOR", "TENSOR_B0", "EXP"),
    "a map of perfusion": (
        *("TTP", "MTT", "CBF", "CBV", "RCBF", "RCBV", "RELCBF", "RELCBV", "RELMTT", "TMAX"),
        *("PBP", "GBP", "PERFUSION_MAP", "KTRANS"),
    ),
    "a map of relaxation": ("T1 MAP", "T2 MAP", "T2_STAR MAP", "R2 MAP", "R2_STAR MAP"),
    "a field map": ("FIELD_MAP",),
    "a statistical map": ("STD_DEVIATION", "T_TEST", "TTEST", "Z_SCORE"),
    "a fat image of Dixon": ("FAT", "F", "FAT_FRACTION", "FF"),
    "opposed phase of Dixon": ("OPP_PHASE", "OUT_PHASE", "OPPOSED_PHASE", "OP"),
    "phase, not magnitude": ("PHASE", "PHASE MAP", "PHASE_MAP", "P"),
    "the real part, not magnitude": ("REAL", "R"),
    "the imaginary part, not magnitude": ("IMAGINARY", "I"),
}
_DERIVATION_OF = {value: what for what, values in _DERIVATIONS.items() for value in values}
_LOCALISER = re.compile(
    r"locali[sz]er|scout|survey|topogram|scanogram|\b(3|three)[- ]?(plane|pl)\b", re.IGNORECASE
)
#: Most slices of each direction in a localiser.
_MOST_OF_LOCALISER = 15


def is_scan(sop_class: str) -> bool:
    """Whether files of a SOP class hold slices of MR, CT or PET."""
    return sop_class in _SCANS


def no_scan(sop_class: str, *, is_list: bool = False) -> str:
    """Why a file of another SOP class is left out; `is_list` if its name is DICOMDIR."""
    if is_list:
        return _NO_IMAGE[DICOMDIR]
    if not sop_class:
        return "does not say what it holds (no SOP Class UID)"
    known = _NO_IMAGE.get(sop_class)
    if known is None and sop_class.startswith(_STORAGE + "7."):
        return _NO_IMAGE[_STORAGE + "7"]
    name = known_uid(sop_class).name.removesuffix(" Storage")
    return known or f"no MR, CT or PET, but {name}"


def no_channel(facts: Facts, samples: int, photometric: str | None) -> str | None:
    """Why slices with these facts are no channel, even by hand; None if they may be a channel."""
    if samples > 1 or photometric in ("RGB", "PALETTE COLOR"):
        return "a colour image"
    return "a localiser" if is_localiser(facts) else None


def derivation(facts: Facts) -> str:
    """What Image Type says a series is derived as: a channel only by hand; "" if it is a scan."""
    for value in facts.image_type[2:]:
        if value in _DERIVATION_OF:
            return f"{_DERIVATION_OF[value]} ({value} in Image Type)"
    return ""


def is_localiser(facts: Facts) -> bool:
    """Whether Image Type or description name a localiser."""
    if {"LOCALIZER", "SCOUT"} & set(facts.image_type):
        return True
    return any(_LOCALISER.search(text or "") for text in (facts.description, facts.protocol))


def are_planes_of_localiser(counts: Sequence[int]) -> bool:
    """Whether slices in several directions, counted, are few enough for a localiser."""
    return len(counts) > 1 and max(counts) <= _MOST_OF_LOCALISER


def derived_note(facts: Facts) -> str | None:
    """A note on DERIVED in Image Type that names no derivation."""
    if "DERIVED" in facts.image_type[:1] and not derivation(facts):
        return "Image Type is DERIVED, but names no derivation: taken for a scan"
    return None
