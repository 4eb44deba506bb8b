"""Measures as plain data, as the manifest of results holds them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from volseg.measures.diameters import Diameters
from volseg.measures.region import RegionMeasures, Section


def as_record(measures: Mapping[str, RegionMeasures]) -> dict[str, Any]:
    """Measures by region as plain data for JSON."""
    return {region: _plain(of) for region, of in measures.items()}


def _plain(of: RegionMeasures) -> dict[str, Any]:
    content = asdict(of)
    if of.diameter:
        content["diameter"]["product_mm2"] = of.diameter.product_mm2
    return content


def read_measures(record: Mapping[str, Any]) -> dict[str, RegionMeasures]:
    """Measures by region in the record of a result; of an older record, its volumes alone.

    Args:
        record: Record of a manifest, whose reader has checked it.
    """
    if "measures" not in record:
        volumes = record.get("volumes_ml", {})
        return {region: RegionMeasures(volume_ml=ml) for region, ml in volumes.items()}
    return {region: _of_plain(content) for region, content in record["measures"].items()}


def _of_plain(content: Mapping[str, Any]) -> RegionMeasures:
    section, across = content.get("section"), content.get("diameter")
    return RegionMeasures(
        voxels=content.get("voxels"),
        volume_ml=content.get("volume_ml"),
        n_lesions=content.get("n_lesions"),
        section=section
        and Section(section["pixels"], section["area_mm2"], section["slice_number"]),
        diameter=across
        and Diameters(across["longest_mm"], across["perpendicular_mm"], across["slice_number"]),
    )
