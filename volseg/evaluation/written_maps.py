"""Maps of probability that `infer --probabilities` wrote beside the predictions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import ValidationError

from volseg.cases.result_maps import MapKind, map_file_name
from volseg.config import InferenceConfig
from volseg.errors import DataListError, ImageError
from volseg.results.journal import RECORDS
from volseg.results.native_files import is_edited, results_of


@dataclass(frozen=True)
class WrittenMaps:
    """Maps of probability of a case.

    Attributes:
        folder: Folder of the results.
        record: What `infer` recorded of the case.
    """

    folder: Path
    record: Mapping[str, Any]

    @classmethod
    def of(
        cls, predictions: Path, manifest: Mapping[str, Any], case_ids: Iterable[str]
    ) -> dict[str, Self]:
        """Maps by case id, of the cases with any.

        They lie on the prepared grid, so label maps on original grids have none.

        Args:
            predictions: Folder of the predictions.
            manifest: What `infer` recorded of the folder.
            case_ids: Cases with a prediction.
        """
        if results_of(predictions) is not predictions:
            return {}
        records = manifest.get(RECORDS, {})
        return {
            case_id: cls(predictions, records[case_id])
            for case_id in case_ids
            if records.get(case_id, {}).get(MapKind.PROBABILITY)
        }

    def path(self, case_id: str, region: str) -> Path:
        """File of a region; VolsegError if it is not recorded, or not as `infer` wrote it."""
        name = map_file_name(case_id, MapKind.PROBABILITY.of(region))
        if name not in self.record.get(MapKind.PROBABILITY, ()):
            raise DataListError(
                f"no map of {region} is recorded", remedy="segment with --probabilities"
            )
        mark = next((one for one in self.record.get("files", ()) if one["file"] == name), None)
        if mark and is_edited(self.folder, mark):
            raise ImageError(
                f"{name} was edited after volseg wrote it", remedy="segment the case again"
            )
        return self.folder / name

    def temperature(self, region: str) -> float:
        """Temperature of a region; 1 in records of older versions."""
        resolved = self.record.get("resolved") or [{}]
        recorded = resolved[0].get("temperature", 1.0)
        try:
            return InferenceConfig(temperature=recorded).temperature_of(region)
        except ValidationError:
            raise DataListError(
                f"its record has inference.temperature {recorded!r}, expected a number or numbers "
                "by region",
                remedy="segment the case again",
            ) from None
