"""Summaries of the results of `infer` and the scores of `evaluate`, as plain data."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from volseg.confidence.record import read_confidence
from volseg.confidence.verdict import look_at_first
from volseg.errors import DataListError, VolsegError
from volseg.evaluation.records import half_written, mixed_origins
from volseg.files.documents import read_json
from volseg.measures.record import as_record, read_measures
from volseg.metrics.reading import read_summary
from volseg.results.companions import PREVIEWS, sheets_in
from volseg.results.journal import UNFINISHED
from volseg.results.manifest import check_content, read_manifests, unite
from volseg.results.native_files import NATIVE


def results_summary(path: Path) -> dict[str, Any]:
    """Cases, models and doubts of a manifest; VolsegError if the manifest is damaged."""
    try:
        # Newer results are only in the journal, which read_manifests includes.
        found = [one.content for one in read_manifests(path.parent) if one.path.name == path.name]
        content = found[0] if found else check_content(read_json(path, DataListError))
        return {**_results(content), **_pictures(path.parent)}
    except (OSError, ValueError) as error:
        raise VolsegError(f"{error}", remedy="move it away") from None


def shards_summary(folder: Path) -> dict[str, Any]:
    """Summary of all manifests of a folder with results of shards; empty without shards."""
    try:
        manifests = read_manifests(folder)
        shards = {
            str(one.shard): "finished" if one.is_finished else "not finished"
            for one in manifests
            if not one.shard.is_whole
        }
        known = {**_results(unite(manifests)), **_pictures(folder), "shards": shards}
        return known if shards else {}
    except (OSError, ValueError) as error:
        raise VolsegError(f"{error}", remedy="move it away") from None


def scores_summary(path: Path) -> dict[str, Any]:
    """Cases and mean Dice of a `scores.json`."""
    content = read_summary(path)
    asked = ("network", "epoch", "predictions", "prediction_labels", "reference_labels")
    protocols = list(content.get("protocols") or ())
    return {
        **{name: content[name] for name in asked if name in content},
        **({"protocols": protocols} if protocols else {}),
        "cases": len(content["cases"]),
        "missing": len(content.get("missing", ())),
        "failed": len(content.get("failed", ())),
        "mean_dice": {
            region: scores["dice"]["mean"] for region, scores in content["summary"].items()
        },
    }


def _measures(content: Mapping[str, Any]) -> dict[str, Any]:
    """Sizes of the regions by case; of results of older versions, volumes alone."""
    records = content.get("cases", {})
    measures = {case_id: as_record(read_measures(record)) for case_id, record in records.items()}
    return measures if any(measures.values()) else {}


def _look_at(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Reasons to look at cases, of the case with the lowest predicted Dice first."""
    records = content.get("cases", {})
    known = {case_id: read_confidence(record) for case_id, record in records.items()}
    return {case_id: list(of.look_at) for case_id, of in look_at_first(known).items()}


def _native(content: Mapping[str, Any]) -> dict[str, list[str]]:
    """Channels on whose original grids there are label maps, by case."""
    records = content.get("cases", {})
    return {case_id: list(one[NATIVE]) for case_id, one in records.items() if one.get(NATIVE)}


def _pictures(folder: Path) -> dict[str, Any]:
    """Contact sheets in a folder of results, and the folder of the previews."""
    found = [
        *sorted(sheets_in(folder)),
        *([folder / PREVIEWS] if (folder / PREVIEWS).is_dir() else []),
    ]
    return {"pictures": list(map(str, found))} if found else {}


def _results(content: Mapping[str, Any]) -> dict[str, Any]:
    labels = content.get("labels")
    cases = {*content.get("cases", {}), *content.get(UNFINISHED, {})}
    mixed = half_written(content, cases) or mixed_origins(content, cases)
    shard = {name: content[name] for name in ("shard", "finished") if name in content}
    return {
        **shard,
        "cases": len(content.get("cases", {})),
        "failures": content.get("failures", {}),
        **({"measures": measures} if (measures := _measures(content)) else {}),
        **({"look_at": flagged} if (flagged := _look_at(content)) else {}),
        **({"native": native} if (native := _native(content)) else {}),
        "labels": labels.get("name") if isinstance(labels, dict) else labels,
        "models": [model.get("path") for model in content.get("models", ())],
        **({"doubts": content["doubts"]} if content.get("doubts") else {}),
        **({"mixed": mixed} if mixed else {}),
        "device": content.get("device"),
        "volseg": content.get("volseg"),
    }
