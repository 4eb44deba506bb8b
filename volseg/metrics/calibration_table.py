"""Calibration of written probabilities by region, before and after their temperature."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Self

from volseg.files.writing import atomic_write
from volseg.metrics.calibration import BINS, MARGIN, Reliability

#: Table of the reliability, a row for each region and interval of probability.
CALIBRATION_FILE = "calibration.csv"
#: Which voxels are counted, in words.
COUNTED = (
    f"voxels in the box around the region in prediction or reference, with {MARGIN} more on each "
    "side"
)
_DEFINITIONS: Mapping[str, str] = MappingProxyType(
    {
        "voxels": COUNTED,
        "ece": "expected calibration error: mean over these voxels of |share in the reference - "
        f"mean probability| of their interval, of {BINS} equal intervals",
        "before": "of the probabilities before inference.temperature, computed back from the "
        "written maps: exact to float32, but for the values next to 1 of a temperature below 1",
        "after": "of the probabilities as they are written",
        "temperatures": "inference.temperature of the maps; 1 changes nothing",
    }
)
_DIGITS = 6


@dataclass(frozen=True, eq=False)
class RegionCalibration:
    """Calibration of one region; those of several cases can be added.

    Attributes:
        cases: Number of cases.
        temperatures: Temperatures of the maps, ascending, each once.
        before: Voxels by probability without the temperature.
        after: Voxels by the probability that is written.
    """

    cases: int
    temperatures: tuple[float, ...]
    before: Reliability
    after: Reliability

    def __add__(self, other: RegionCalibration) -> RegionCalibration:
        return RegionCalibration(
            self.cases + other.cases,
            tuple(sorted({*self.temperatures, *other.temperatures})),
            self.before + other.before,
            self.after + other.after,
        )

    @property
    def is_tempered(self) -> bool:
        """Whether a temperature changed the written probabilities."""
        return self.temperatures != (1.0,)

    @property
    def parts(self) -> dict[str, Reliability]:
        """The reliability after the temperature, and before it if it changed anything."""
        return {**({"before": self.before} if self.is_tempered else {}), "after": self.after}

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, with all digits."""
        return {
            "cases": self.cases,
            "voxels": int(self.after.voxels.sum()),
            "temperatures": list(self.temperatures),
            **{name: _reliability(part) for name, part in self.parts.items()},
        }


@dataclass(frozen=True)
class CalibrationTable:
    """Calibration of all regions.

    Attributes:
        regions: Calibration by region; empty without maps of probabilities.
        left_out: Why a case with maps is left out, by case id.
    """

    regions: Mapping[str, RegionCalibration] = field(default_factory=dict)
    left_out: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, cases: Iterable[tuple[str, Mapping[str, RegionCalibration] | str]]) -> Self:
        """The table of cases: their calibration by region, or why they are left out."""
        regions: dict[str, RegionCalibration] = {}
        left_out = {}
        for case_id, found in cases:
            if isinstance(found, str):
                left_out[case_id] = found
                continue
            for region, of in found.items():
                regions[region] = regions[region] + of if region in regions else of
        return cls(regions, left_out)

    @property
    def is_tempered(self) -> bool:
        """Whether a temperature changed any of the probabilities."""
        return any(of.is_tempered for of in self.regions.values())

    def to_dict(self) -> dict[str, Any]:
        """Entry of `scores.json`; empty without maps."""
        if not self.regions and not self.left_out:
            return {}
        return {
            "regions": {region: of.to_dict() for region, of in self.regions.items()},
            "left_out": dict(self.left_out),
            "definitions": dict(_DEFINITIONS),
        }

    def to_csv(self, path: Path) -> None:
        """Write a line for each region and interval; OutputError if writing fails."""
        with atomic_write(path) as part, part.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["region", "temperature", "low", "high", "voxels", "probability", "share"]
            )
            for region, of in self.regions.items():
                for name, reliability in of.parts.items():
                    for row in reliability.rows:
                        values = (row.low, row.high, row.voxels, row.probability, row.share)
                        rounded = (
                            None if value is None else round(value, _DIGITS) for value in values
                        )
                        writer.writerow([region, name, *rounded])


def _reliability(of: Reliability) -> dict[str, Any]:
    return {"ece": of.ece, "curve": [asdict(row) for row in of.rows]}
