"""Protocols of BraTS 2017 to 2025 as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from volseg.metrics.official.protocol import Protocol, RegionRule
from volseg.metrics.official.scores_until_2025 import legacy_scores, lesion_scores

Rules = Mapping[str, RegionRule]

# Cohorts, as titles name them.
_GLI, _SSA, _PED = "adult glioma", "glioma in Sub-Saharan Africa", "paediatric glioma"
_MEN, _MET = "meningioma", "brain metastases"

_PENALTY_MM = 374.0
_WT, _TC, _ET, _NETC, _SNFH, _RC = (1, 2, 3), (1, 3), (3,), (1,), (2,), (4,)


def _nested(dilation: int, threshold_mm3: float, *joining_et: str) -> dict[str, RegionRule]:
    return {
        "WT": RegionRule(_WT, dilation, threshold_mm3),
        "TC": RegionRule(_TC, dilation, threshold_mm3),
        "ET": RegionRule(_ET, dilation, threshold_mm3, joining_et),
    }


def _in_2023(task: str, cohort: str, regions: Rules) -> Protocol:
    return Protocol(
        f"brats2023-{task}",
        f"BraTS 2023 {cohort}, rachitsaluja/BraTS-2023-Metrics",
        "lesions",
        "brats2023",
        MappingProxyType(regions),
        lesion_scores(_PENALTY_MM, nsd=False, filters=False),
        reads_pixdim=True,
    )


def _in_2025(task: str, cohort: str, scheme: str, regions: Rules, **rules: Any) -> Protocol:
    penalty_mm = rules.get("penalty_mm", _PENALTY_MM)
    return Protocol(
        f"brats2025-{task}",
        f"BraTS 2025 {cohort}, rachitsaluja/BraTS-2024-Metrics of July 2025",
        "lesions",
        scheme,
        MappingProxyType(regions),
        lesion_scores(penalty_mm, nsd=True, filters="filter_unit" in rules),
        **rules,
    )


def _in_2024(of_2025: Protocol, **rules: Any) -> Protocol:
    """The protocol of 2024: that of 2025 without the surface Dice, and with other `rules`."""
    penalty_mm = rules.get("penalty_mm", of_2025.penalty_mm)
    return replace(
        of_2025,
        name=of_2025.name.replace("2025", "2024"),
        title=of_2025.title.replace("2025", "2024").replace("July 2024", "the challenge"),
        scores=lesion_scores(penalty_mm, nsd=False, filters=True),
        **rules,
    )


_2017 = Protocol(
    "brats2017",
    f"BraTS 2017 to 2022 {_GLI}",
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
)
_GLI_2025 = _in_2025(
    "gli",
    "glioma after treatment",
    "brats2024-gli",
    {
        "WT": RegionRule(_WT, 3, 20),
        "TC": RegionRule(_TC, 3, 20),
        "NETC": RegionRule(_NETC, 5, 20, ("ET", "RC")),
        "SNFH": RegionRule(_SNFH, 3, 20, ("ET", "RC", "NETC")),
        "ET": RegionRule(_ET, 3, 10, ("NETC", "RC")),
        "RC": RegionRule(_RC, 5, 20, ("ET", "NETC")),
    },
    penalty_mm=337.0,
    filter_unit="voxels",
)
_PED_2025 = _in_2025(
    "ped",
    _PED,
    "brats2024-ped",
    {
        "WT": RegionRule((1, 2, 3, 4), 5, 10),
        "TC": RegionRule((1, 2, 3), 5, 10),
        "ET": RegionRule((1,), 5, 10),
        "NETC": RegionRule((2,), 5, 10),
        "CC": RegionRule((3,), 5, 10),
        "ED": RegionRule((4,), 5, 10),
    },
    filter_unit="voxels",
)
_SSA_2025 = _in_2025(
    "ssa",
    _SSA,
    "brats2023",
    _nested(3, 50, "NETC"),
    filter_unit="voxels",
    neighbours=MappingProxyType({"NETC": RegionRule(_NETC, 3, 50)}),
)
_MET_2025 = _in_2025(
    "met",
    _MET,
    "brats2024-gli",
    {**_nested(1, 2, "NETC"), "RC": RegionRule(_RC, 1, 2)},
    penalty_mm=None,
    filter_unit="voxels",
    neighbours=MappingProxyType({"NETC": RegionRule(_NETC, 1, 2)}),
)
_MET_2024 = _in_2024(
    _MET_2025,
    scheme="brats2023",
    regions=MappingProxyType(_nested(1, 2, "NETC")),
    penalty_mm=_PENALTY_MM,
)
_MEN_RT_2025 = _in_2025(
    "men-rt",
    "meningioma before radiotherapy",
    "men-rt",
    {"GTV": RegionRule((1,), 1, 50)},
    penalty_mm=None,
    filter_unit="mm3",
    false_positives_cost=False,
)

#: Protocols by year.
BRATS_2017_TO_2025 = (
    _2017,
    _in_2023("gli", _GLI, _nested(3, 50)),
    _in_2023("ssa", _SSA, _nested(3, 50)),
    _in_2023("ped", _PED, _nested(3, 50)),
    _in_2023("men", _MEN, _nested(1, 50)),
    _in_2023("met", _MET, _nested(1, 2)),
    _in_2024(_GLI_2025),
    _in_2024(_PED_2025),
    _in_2024(_SSA_2025),
    _MET_2024,
    _GLI_2025,
    _PED_2025,
    _SSA_2025,
    _MET_2025,
    _in_2025("men", _MEN, "brats2023", _nested(1, 50), reads_pixdim=True),
    _MEN_RT_2025,
)
