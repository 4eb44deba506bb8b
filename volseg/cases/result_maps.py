"""Maps of numbers beside the label map of a case: their kinds, and their names in a folder."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from enum import StrEnum
from typing import Any


class MapKind(StrEnum):
    """Kind of a map of a region; its value is the key of such files in the record of a result."""

    PROBABILITY = "probabilities"
    ENTROPY = "entropy"
    DISAGREEMENT = "disagreement"

    def of(self, region: str) -> str:
        """Name of the map of a region.

        >>> MapKind.PROBABILITY.of("WT"), MapKind.ENTROPY.of("WT")
        ('WT', 'WT_entropy')
        """
        return region if self is MapKind.PROBABILITY else f"{region}_{self.value}"


def map_names(regions: Iterable[str], kinds: Collection[MapKind] = tuple(MapKind)) -> list[str]:
    """Names of the maps of these kinds, of all regions.

    >>> map_names(["WT", "ET"], [MapKind.PROBABILITY, MapKind.ENTROPY])
    ['WT', 'WT_entropy', 'ET', 'ET_entropy']
    """
    return [kind.of(region) for region in regions for kind in kinds]


def map_file_name(case_id: str, name: str) -> str:
    """Name of the file of a map.

    >>> map_file_name("BraTS-GLI-00001-000", "WT_entropy")
    'BraTS-GLI-00001-000_WT_entropy.nii.gz'
    """
    return f"{case_id}_{name}.nii.gz"


def recorded_maps(record: Mapping[str, Any]) -> list[str]:
    """Names of the files of all maps in the record of a result."""
    return [name for kind in MapKind for name in record.get(kind.value, ())]
