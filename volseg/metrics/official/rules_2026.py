"""Protocols of BraTS 2026 as data."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from volseg.metrics.official.means_2026 import PENALTY
from volseg.metrics.official.protocol import Protocol, RegionRule
from volseg.metrics.official.scores_2026 import match_scores, size_scores

_LABELS: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,), "NETC": (1,), "SNFH": (2,), "RC": (4,), "GTV": (1,)}
)
_LABELS_PED: Mapping[str, tuple[int, ...]] = MappingProxyType(
    {"WT": (1, 2, 3, 4), "TC": (1, 2, 3), "ET": (1,), "NETC": (2,), "CC": (3,), "ED": (4,)}
)


def _in_2026(task: str, cohort: str, scheme: str, *regions: str) -> Protocol:
    by_size = task == "mets"
    labels = _LABELS_PED if task == "ped" else _LABELS
    return Protocol(
        f"brats2026-{task}",
        f"BraTS 2026 {cohort}, brats-evaluation 0.0.10",
        "panoptic by size" if by_size else "panoptic",
        scheme,
        MappingProxyType({region: RegionRule(labels[region]) for region in regions}),
        size_scores() if by_size else match_scores(),
        penalty_mm=PENALTY,
    )


#: Protocols by task.
BRATS_2026 = (
    _in_2026("gli", "glioma", "brats2024-gli", "SNFH", "ET", "NETC", "RC", "TC", "WT"),
    _in_2026("mets", "brain metastases", "brats2024-gli", "ET", "RC", "TC", "WT"),
    _in_2026("ped", "paediatric", "brats2024-ped", "ET", "NETC", "CC", "ED", "TC", "WT"),
    _in_2026("menrt", "meningioma before radiotherapy", "men-rt", "GTV"),
    _in_2026("menpre", "meningioma before surgery", "brats2023", "ET", "TC", "WT"),
    _in_2026("goat", "tumours of all kinds", "brats2023", "ET", "TC", "WT"),
)
