"""The official BraTS protocols as data: regions, rules and scores of each scoring program."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal

from volseg.errors import ConfigError
from volseg.metrics.panoptic_scores import match_scores, size_scores
from volseg.metrics.protocol_scores import legacy_scores, lesion_scores
from volseg.metrics.scores import Score
from volseg.words import shown

#: Name of our own scores, which need no official protocol.
OWN_SCORES = "volseg"

#: How a program counts; `lesionwise_scores` has a function for each.
Program = Literal["legacy", "lesions", "panoptic", "panoptic by size"]


@dataclass(frozen=True)
class RegionRule:
    """Rule of one region.

    Attributes:
        labels: Label values of the region.
        dilation: Steps of 18-neighbour dilation, within which components are one lesion and a
            predicted component belongs to a lesion.
        threshold_mm3: A lesion counts if its volume is greater.
        joined_by: Regions whose components join the lesions of this region that they touch.
    """

    labels: tuple[int, ...]
    dilation: int = 0
    threshold_mm3: float = 0
    joined_by: tuple[str, ...] = ()


@dataclass(frozen=True)
class Protocol:
    """An official scoring program for one task, with its rules.

    Attributes:
        name: Name in commands and files, such as `brats2023-gli`.
        title: Name for readers, with the program.
        program: How the program counts.
        scheme: Name of the label scheme of the label maps.
        regions: Rule of each region, in the order of the program.
        scores: What the program prints, and F1 and volumes beside it.
        penalty_mm: HD95 of a missed lesion and of a false positive in mm; None: the diagonal of
            the image in voxels.
        merges_prediction: Whether predicted components are joined by dilation like lesions.
        removed_in: Whether predicted components up to the number of `threshold_mm3` are removed,
            and whether that number is compared with `voxels` or with `mm3`; None: they stay.
        false_positives_count: Whether false positives lower the scores.
        reads_pixdim: Whether the program takes the voxel size from pixdim in the header of the
            prediction, and not from its affine.
    """

    name: str
    title: str
    program: Program
    scheme: str
    regions: Mapping[str, RegionRule]
    scores: tuple[Score, ...]
    penalty_mm: float | None = 374.0
    merges_prediction: bool = False
    removed_in: Literal["voxels", "mm3"] | None = None
    false_positives_count: bool = True
    reads_pixdim: bool = False

    def __reduce__(self) -> tuple[Any, ...]:
        # Mapping proxies cannot be pickled, so a protocol is its name.
        return get_protocol, (self.name,)


def get_protocol(name: str) -> Protocol:
    """The protocol called `name`; ConfigError, with the nearest names, if there is none."""
    try:
        return PROTOCOLS[name]
    except KeyError:
        close = difflib.get_close_matches(name.lower(), PROTOCOLS, n=3, cutoff=0.6)
        remedy = f"did you mean {' or '.join(close)}?" if close else f"use {', '.join(PROTOCOLS)}"
        raise ConfigError(f"unknown protocol {shown(name)}", remedy=remedy) from None


_WT, _TC, _ET = (1, 2, 3), (1, 3), (3,)
_LABELS_2026: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": _WT, "TC": _TC, "ET": _ET, "NETC": (1,), "SNFH": (2,), "RC": (4,), "GTV": (1,)}
)
_LABELS_PED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": (1, 2, 3, 4), "TC": (1, 2, 3), "ET": (1,), "NETC": (2,), "CC": (3,), "ED": (4,)}
)


def _nested(dilation: int, threshold_mm3: float) -> dict[str, RegionRule]:
    return {
        region: RegionRule(labels, dilation, threshold_mm3)
        for region, labels in (("WT", _WT), ("TC", _TC), ("ET", _ET))
    }


def _in_2023(task: str, cohort: str, dilation: int, threshold_mm3: float) -> Protocol:
    return Protocol(
        f"brats2023-{task}",
        f"BraTS 2023 {cohort}, rachitsaluja/BraTS-2023-Metrics",
        "lesions",
        "brats2023",
        MappingProxyType(_nested(dilation, threshold_mm3)),
        lesion_scores(374.0, nsd=False),
        reads_pixdim=True,
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
        Protocol(
            "brats2017",
            "BraTS 2017 to 2022",
            "legacy",
            "brats2021",
            MappingProxyType(
                {
                    "WT": RegionRule((1, 2, 4)),
                    "TC": RegionRule((1, 4)),
                    "ET": RegionRule((4,)),
                }
            ),
            legacy_scores(373.13),
            penalty_mm=373.13,
        ),
        _in_2023("gli", "adult glioma", 3, 50),
        _in_2023("ssa", "glioma in Sub-Saharan Africa", 3, 50),
        _in_2023("ped", "paediatric glioma", 3, 50),
        _in_2023("men", "meningioma", 1, 50),
        _in_2023("met", "brain metastases", 1, 2),
        _in_2026("gli", "glioma", "brats2024-gli", "SNFH", "ET", "NETC", "RC", "TC", "WT"),
        _in_2026("mets", "brain metastases", "brats2024-gli", "ET", "RC", "TC", "WT"),
        _in_2026("ped", "paediatric", "brats2024-ped", "ET", "NETC", "CC", "ED", "TC", "WT"),
        _in_2026("menrt", "meningioma before radiotherapy", "men-rt", "GTV"),
        _in_2026("menpre", "meningioma before surgery", "brats2023", "ET", "TC", "WT"),
        _in_2026("goat", "tumours of all kinds", "brats2023", "ET", "TC", "WT"),
    )


#: All official protocols by name.
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({each.name: each for each in _all()})
