"""What `infer` recorded of the predictions that it wrote: models, sources, missing channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.sources import changed_since, is_of_others
from volseg.results.journal import RECORDS, UNFINISHED
from volseg.results.manifest import read_manifest
from volseg.results.reuse import Recipe


def read_records(predictions: Path) -> dict[str, Any]:
    """Manifest of the predictions; empty where `infer` wrote none of them."""
    try:
        return read_manifest(predictions)
    # Predictions of another program have no manifest, or one of their own.
    except (OSError, ValueError):
        return {}


def half_written(manifest: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """Which results of these cases `infer` was writing when it was killed, in words."""
    unfinished = sorted(set(manifest.get(UNFINISHED, ())).intersection(case_ids))
    if not unfinished:
        return None
    more = f" and {len(unfinished) - 1} more" if unfinished[1:] else ""
    return f"volseg infer began to write that of {unfinished[0]}{more} and did not finish"


def mixed_origins(manifest: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """How results of these cases are not all of the same models and options, in words.

    So it is where `infer --overwrite` was stopped, and where each fold was given its own model.
    """
    records = manifest.get(RECORDS, {})
    known = [
        (name, records[name]) for name in sorted(case_ids) if "models" in records.get(name, ())
    ]
    if not known:
        return None
    first, record = known[0]
    recipe = Recipe(record["models"], record.get("settings", {}), record.get("resolved", ()))
    others = {name: how for name, of in known if (how := recipe.differs(of))}
    if not others:
        return None
    name, how = next(iter(others.items()))
    return (
        f"{len(others)} of {len(known)}, such as that of {name}, were made "
        f"{how.partition(' (')[0]} than that of {first}"
    )


def note_on_mixture(manifest: Mapping[str, Any], case_ids: Collection[str]) -> Iterator[str]:
    """Whether one mean is over predictions of several models, such as those of several folds."""
    if how := mixed_origins(manifest, case_ids):
        yield (
            f"predictions of several models or options have one mean: {how}; where they are not "
            "those of different folds, let volseg infer --overwrite run to its end"
        )


def missing_channels(
    manifest: Mapping[str, Any], case_ids: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Channels that each case lacks, as `infer` recorded it; only cases that lack one."""
    records = manifest.get(RECORDS, {})
    lacking = {name: tuple(records[name].get("missing_channels", ())) for name in records}
    return {case_id: names for case_id, names in lacking.items() if case_id in case_ids and names}


def notes_on_origin(manifest: Mapping[str, Any], cases: Iterable[Case]) -> Iterator[str]:
    """Sentences on predictions that were made from other images than those of the reference."""
    records = manifest.get(RECORDS, {})
    known = [case for case in cases if case.case_id in records]
    stale = {c.case_id: path for c in known if (path := changed_since(records[c.case_id], c))}
    if stale:
        name, path = next(iter(stale.items()))
        more = f" and {len(stale) - 1} more" if stale.keys() - {name} else ""
        yield (
            f"the prediction of {name}{more} was made before {path} changed, so it is of an older "
            "scan; segment it again with volseg infer"
        )
    others = [
        case
        for case in known
        if case.case_id not in stale and is_of_others(records[case.case_id], case)
    ]
    if others:
        first, more = others[0], f" and {len(others) - 1} more" if others[1:] else ""
        made_of = records[first.case_id]["sources"][0]["path"]
        yield (
            f"the prediction of {first.case_id}{more} was made from other images than those of "
            f"the reference ({made_of}, not {first.images[0]}): it may be of another patient"
        )
