"""Records that `infer` keeps of its predictions: models, sources, missing channels."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.cases.channels import channel_of
from volseg.cases.sources import changed_since, is_of_others
from volseg.results.journal import RECORDS, UNFINISHED
from volseg.results.manifest import read_manifest
from volseg.results.native_files import NATIVE, native_records, results_of
from volseg.results.reuse import Recipe


def read_records(predictions: Path) -> dict[str, Any]:
    """Manifest of the predictions; empty without a manifest of `infer`.

    That of native label maps has the original scans as sources; see `native_records`.
    """
    home = results_of(predictions)
    try:
        manifest = read_manifest(home)
    # Predictions of other programs have no manifest, or a manifest of another kind.
    except (OSError, ValueError):
        return {}
    return manifest if home is predictions else native_records(manifest)


def half_written(manifest: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """Sentence on results of these cases that `infer` did not finish; None if there are none."""
    unfinished = sorted(set(manifest.get(UNFINISHED, ())).intersection(case_ids))
    if not unfinished:
        return None
    more = f" and {len(unfinished) - 1} more" if unfinished[1:] else ""
    return f"volseg infer did not finish writing the prediction of {unfinished[0]}{more}"


def mixed_origins(manifest: Mapping[str, Any], case_ids: Collection[str]) -> str | None:
    """Clause on results of these cases with different models or options; None if all are alike.

    Results differ where `infer --overwrite` was stopped, or where each fold has its own model.
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
        f"{len(others)} of {len(known)} predictions, such as {name}, were made "
        f"{how.partition(' (')[0]} than {first}"
    )


def note_on_mixture(manifest: Mapping[str, Any], case_ids: Collection[str]) -> Iterator[str]:
    """Note if a mean includes predictions of several models, such as the models of folds."""
    if how := mixed_origins(manifest, case_ids):
        yield (
            f"the means include predictions of several models or options: {how}; unless each fold "
            "has its own model, let volseg infer --overwrite finish"
        )


def recorded_channels(predictions: Iterable[Path]) -> tuple[str, ...]:
    """Our names of the channels of the volumes that folders of predictions record."""
    records = [
        record
        for folder in predictions
        for record in read_records(folder).get(RECORDS, {}).values()
    ]
    inputs = [record.get("inputs", {}) for record in records]
    names = (name for of_case in inputs if isinstance(of_case, dict) for name in of_case)
    return tuple(dict.fromkeys(map(channel_of, names)))


def missing_channels(
    manifest: Mapping[str, Any], case_ids: Collection[str]
) -> dict[str, tuple[str, ...]]:
    """Missing channels by case id, as `infer` recorded them; only of cases with any."""
    records = manifest.get(RECORDS, {})
    lacking = {name: tuple(records[name].get("missing_channels", ())) for name in records}
    return {case_id: names for case_id, names in lacking.items() if case_id in case_ids and names}


def _in_other_space(manifest: Mapping[str, Any], cases: Sequence[Case]) -> list[Case]:
    """Cases whose reference belongs to the original scans of prepared ones, or the other way."""
    originals = native_records(manifest)[RECORDS]

    def is_known(case: Case) -> bool:
        record = originals[case.case_id]
        prepared = manifest[RECORDS][case.case_id].get("prepared_sources")
        sources = record["sources"] if prepared is None else prepared
        return bool(sources) and not is_of_others({"sources": sources}, case)

    return [case for case in cases if is_known(case)]


def _note_on_space(manifest: Mapping[str, Any], cases: Sequence[Case]) -> str:
    first, more = cases[0].case_id, f" and {len(cases) - 1} more" if cases[1:] else ""
    if "prepared_sources" in manifest[RECORDS][first]:
        return (
            f"the prediction of {first}{more} lies on the grid of the original scan, but the "
            f"reference belongs to the prepared scan; score the folder above {NATIVE}"
        )
    return (
        f"the prediction of {first}{more} was made from the prepared scan, but the reference "
        f"belongs to the original scan; score the folder {NATIVE} of the results"
    )


def notes_on_origin(manifest: Mapping[str, Any], cases: Iterable[Case]) -> Iterator[str]:
    """Notes on predictions from other images than the images of the reference."""
    records = manifest.get(RECORDS, {})
    known = [case for case in cases if case.case_id in records]
    stale = {c.case_id: path for c in known if (path := changed_since(records[c.case_id], c))}
    if stale:
        name, path = next(iter(stale.items()))
        more = f" and {len(stale) - 1} more" if stale.keys() - {name} else ""
        yield (
            f"the prediction of {name}{more} was made before {path} changed, from an older scan; "
            "segment the case again with volseg infer"
        )
    others = [
        case
        for case in known
        if case.case_id not in stale and is_of_others(records[case.case_id], case)
    ]
    in_other_space = _in_other_space(manifest, others)
    if in_other_space:
        yield _note_on_space(manifest, in_other_space)
    others = [case for case in others if case not in in_other_space]
    if others:
        first, more = others[0], f" and {len(others) - 1} more" if others[1:] else ""
        made_of = records[first.case_id]["sources"][0]["path"]
        yield (
            f"the prediction of {first.case_id}{more} was made from other images than the images "
            f"of the reference ({made_of}, not {first.images[0]}): it may show another patient"
        )
