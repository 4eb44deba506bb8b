"""The official BraTS protocols as data: regions, rules and scores of each scoring program."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from types import MappingProxyType

from volseg.errors import ConfigError
from volseg.metrics.official.protocol import Protocol, RegionRule
from volseg.metrics.official.rules_until_2025 import BRATS_2017_TO_2025
from volseg.metrics.official.scores_2026 import match_scores, size_scores
from volseg.words import shown

__all__ = ["OWN_SCORES", "PROTOCOLS", "Protocol", "RegionRule", "get_protocol"]

#: Name of our own scores, which need no official protocol.
OWN_SCORES = "volseg"


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`; ConfigError, with the nearest names, if there is none."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        close = difflib.get_close_matches(name.lower(), PROTOCOLS, n=3, cutoff=0.6)
        remedy = f"did you mean {' or '.join(close)}?" if close else f"use {', '.join(PROTOCOLS)}"
        raise ConfigError(f"unknown protocol {shown(name)}", remedy=remedy) from None


_LABELS_2026: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "NETC": (1,), "SNFH": (2,), "RC": (4,), "GTV": (1,)}
)
_LABELS_PED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": (1, 2, 3, 4), "TC": (1, 2, 3), "ET": (1,), "NETC": (2,), "CC": (3,), "ED": (4,)}
)


def _in_2026(task: str, cohort: str, scheme: str, *regions: str) -> Protocol:
    by_size = task == "mets"
    labels = _LABELS_PED if task == "ped" else _LABELS_2026
    return Protocol(
        f"brats2026-{task}",
        f"BraTS 2026 {cohort}, brats-evaluation 0.0.10",
        "panoptic by size" if by_size else "panoptic",
        scheme,
        MappingProxyType({region: RegionRule(labels[region]) for region in regions}),
        size_scores() if by_size else match_scores(),
        penalty_mm=373.0,
    )


def _all() -> tuple[Protocol, ...]:
    return (
        *BRATS_2017_TO_2025,
        _in_2026("gli", "glioma", "brats2024-gli", "SNFH", "ET", "NETC", "RC", "TC", "WT"),
        _in_2026("mets", "brain metastases", "brats2024-gli", "ET", "RC", "TC", "WT"),
        _in_2026("ped", "paediatric", "brats2024-ped", "ET", "NETC", "CC", "ED", "TC", "WT"),
        _in_2026("menrt", "meningioma before radiotherapy", "men-rt", "GTV"),
        _in_2026("menpre", "meningioma before surgery", "brats2023", "ET", "TC", "WT"),
        _in_2026("goat", "tumours of all kinds", "brats2023", "ET", "TC", "WT"),
    )


#: All official protocols by name.
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({each.name: each for each in _all()})
