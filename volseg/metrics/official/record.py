"""Scores of many cases under an official protocol: their table, their lesions and both files."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from volseg.files.writing import atomic_write
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.protocols import PROTOCOLS
from volseg.metrics.official.region_scores import RegionScores
from volseg.metrics.official.scores_until_2025 import TOLERANCES_MM
from volseg.metrics.table import ScoreTable

LESION, FALSE_POSITIVE = "lesion", "false positive"

_COLUMNS = "case_id", "region", "kind", "volume_mm3", "counts", "n_predicted", "dice", "hd95_mm"
_PLACE = "i", "j", "k"
_DIGITS = 5


def protocol_files(name: str) -> tuple[str, str]:
    """Names of the files of a protocol: a row for each region of a case, and for each lesion.

    >>> protocol_files("brats2023-gli")
    ('scores_brats2023-gli.csv', 'lesions_brats2023-gli.csv')
    """
    return f"scores_{name}.csv", f"lesions_{name}.csv"


#: Files of all protocols.
PROTOCOL_FILES = tuple(file for name in PROTOCOLS for file in protocol_files(name))


@dataclass(frozen=True)
class ProtocolRecord:
    """Scores of a set of cases under one protocol.

    Attributes:
        protocol: The protocol.
        table: Scores of the cases; missing and failed cases have rows too.
        found: Scores, lesions and false positives by case id and region, of the scored cases.
        failures: Why a case has no scores, by case id.
        notes: Notes for the reader, such as regions that are not scored.
    """

    protocol: Protocol
    table: ScoreTable
    found: Mapping[tuple[str, str], RegionScores] = field(default_factory=dict)
    failures: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Entry of the protocol in `scores.json`."""
        cases: dict[str, dict[str, Any]] = {}
        for (case_id, region), of in self.found.items():
            cases.setdefault(case_id, {})[region] = {
                **{score.name: of.scores.get(score.name) for score in self.protocol.scores},
                "lesions": [
                    {**asdict(lesion), "nsd": {str(mm): x for mm, x in lesion.nsd.items()}}
                    for lesion in of.lesions
                ],
                "false_positive_lesions": [asdict(component) for component in of.false_positives],
            }
        return {
            "title": self.protocol.title,
            "summary": self.table.summary(),
            "definitions": self.table.definitions,
            "missing": list(self.table.cases("missing")),
            "failed": dict(self.failures),
            "notes": list(self.notes),
            "cases": cases,
        }

    def write(self, folder: Path) -> tuple[str, ...]:
        """Write the `protocol_files` and return their names; OutputError if writing fails.

        A protocol of whole regions has no file of lesions.
        """
        scores, lesions = protocol_files(self.protocol.name)
        self.table.to_csv(folder / scores)
        if self.protocol.program == "legacy":
            return (scores,)
        with (
            atomic_write(folder / lesions) as part,
            part.open("w", newline="", encoding="utf-8") as file,
        ):
            writer = csv.writer(file, lineterminator="\n")
            nsd = _nsd_columns(self.protocol)
            writer.writerow((*_COLUMNS, *nsd, *_PLACE))
            for place, of in self.found.items():
                writer.writerows((*place, *row) for row in _lesion_rows(of, nsd))
        return scores, lesions


def _nsd_columns(protocol: Protocol) -> Mapping[str, float | None]:
    """Columns of the surface Dice of lesions, with their tolerances; None: that of the voxels."""
    if any(score.name == "lesion_nsd" for score in protocol.scores):
        return {"nsd": None}
    return {f"nsd_{mm}mm": mm for mm in TOLERANCES_MM}


def _lesion_rows(
    of: RegionScores, nsd_columns: Mapping[str, float | None]
) -> Iterator[tuple[object, ...]]:
    for lesion in of.lesions:
        nsd = (
            _rounded(lesion.nsd.get(min(lesion.nsd, default=0.0) if mm is None else mm))
            for mm in nsd_columns.values()
        )
        counts = "yes" if lesion.counts else "no"
        found = (lesion.n_predicted, _rounded(lesion.dice), _rounded(lesion.hd95_mm), *nsd)
        yield LESION, _rounded(lesion.volume_mm3), counts, *found, *lesion.centre
    for component in of.false_positives:
        empty = (None,) * (3 + len(nsd_columns))
        yield FALSE_POSITIVE, _rounded(component.volume_mm3), None, *empty, *component.centre


def _rounded(value: float | None) -> float | None:
    return value if value is None else round(value, _DIGITS)
