"""Choice of the results that `infer` reuses: complete, from the same files, models and options."""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import volseg
from volseg.cases.case import Case
from volseg.cases.sources import Relation, has_fingerprint, relation
from volseg.config import InferenceConfig
from volseg.errors import OutputError
from volseg.results.locations import is_complete
from volseg.results.manifest import recorded_names
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)


#: Key of a record whose result replaced an older result in an unfinished run with --overwrite.
REPLACING = "replacing"

_DEFAULTS = InferenceConfig().model_dump(mode="json")


@dataclass(frozen=True)
class Recipe:
    """Models and options that decide a result.

    Attributes:
        models: SHA-256 of each model.
        settings: Options that the user gave.
        resolved: For each model, all options that decide a result.
        labels: Label scheme of the results, as in a manifest.
    """

    models: Sequence[str]
    settings: Mapping[str, Any]
    resolved: Sequence[Mapping[str, Any]]
    labels: Mapping[str, Any] = field(default_factory=dict)

    @property
    def replacing(self) -> dict[str, Any]:
        """Value of `REPLACING` in a record: deciding facts that have no other entry."""
        return {"volseg": volseg.__version__, "labels": dict(self.labels)}

    def differs(self, record: Mapping[str, Any]) -> str:
        """How the models or options of a record differ, in words; empty if they are the same."""
        if record.get("models") != list(self.models):
            return "by another model"
        # Older versions recorded only the given options.
        if "resolved" not in record:
            given = _given(record.get("settings", self.settings))
            differences = _differences([given], [_given(self.settings)])
        else:
            # An option that is newer than the record had the effect of its default.
            before, now = (
                [{**_DEFAULTS, **options} for options in resolved]
                for resolved in (record["resolved"], self.resolved)
            )
            differences = _differences(before, now)
        return f"with other options ({', '.join(differences)})" if differences else ""


def _given(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Given options by name, from records with names or with words `key=value`."""
    named = {name: value for name, value in settings.items() if name != "overrides"}
    words = [word.partition("=") for word in settings.get("overrides", ())]
    return named | {name.removeprefix("inference."): value for name, _, value in words}


def _differences(
    before: Sequence[Mapping[str, Any]], now: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Options that differ, such as `tta false, now true`."""
    return [
        f"{name} {_word(old.get(name))}, now {_word(new.get(name))}"
        for old, new in zip(before, now, strict=False)
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name) and _word(old.get(name)) != _word(new.get(name))
    ]


def _word(value: object) -> str:
    return str(value).lower() if value is None or isinstance(value, bool) else str(value)


@dataclass(frozen=True)
class Reusable:
    """Choice of cases whose results are kept.

    Attributes:
        cases: Ids of cases whose results are kept.
        moved: Kept cases whose images are in another folder now, unchanged.
        changed: Ids of cases whose result, if there is one, is replaced.
        refused: Why cases are not segmented, by case id: their results were edited.
    """

    cases: frozenset[str] = frozenset()
    moved: tuple[Case, ...] = ()
    changed: frozenset[str] = frozenset()
    refused: Mapping[str, str] = field(default_factory=dict)


def choose_reusable(
    output: Path,
    cases: Sequence[Case],
    maps: Sequence[str],
    known: Mapping[str, Any],
    recipe: Recipe,
    *,
    overwrite: bool,
) -> Reusable:
    """Choose the cases whose results are kept; the other cases are to segment.

    Args:
        output: Folder of the results.
        cases: Cases to segment.
        maps: Names of the maps that are wanted beside each label map.
        known: Content of the manifest of the folder.
        recipe: Models and options of this run.
        overwrite: Whether all results are replaced, except results of the same command when it was
            stopped.

    Raises:
        OutputError: If a file that volseg did not write is in the place of a result; or, unless
            `overwrite`, a result is from other images of a case of the same name, or from other
            models or options.
    """
    records = known.get("cases", {})
    present = [case for case in cases if _check_ours(output, case, maps, known)]
    if overwrite:
        kept_ids = _replaced_already(output, present, maps, records, recipe)
        return Reusable(kept_ids, changed=frozenset(case.case_id for case in cases) - kept_ids)
    finished = [case for case in present if case.case_id in records]
    relations = {
        case.case_id: relation(records[case.case_id], case, case.label_map_files(output)[0])
        for case in finished
    }
    _check_same_cases(output, finished, records, relations)
    refused = {
        case.case_id: f"{path} was edited or damaged after volseg wrote it; move it away, or "
        "replace it with --overwrite"
        for case in finished
        if (path := _edited(output, records[case.case_id]))
    }
    finished = [case for case in finished if case.case_id not in refused]
    changed = frozenset(c.case_id for c in finished if relations[c.case_id] == "changed")
    for name in sorted(changed):
        logger.info("%s is segmented again, as its images have changed", name)
    kept = [c for c in finished if c.case_id not in changed and is_complete(output, c, maps)]
    _check_recipe(output, kept, records, recipe)
    moved = tuple(case for case in kept if relations[case.case_id] == "moved")
    return Reusable(frozenset(case.case_id for case in kept), moved, changed, refused)


def check_replaceable(
    output: Path,
    cases: Sequence[Case],
    maps: Sequence[str],
    known: Mapping[str, Any],
    recipe: Recipe,
    *,
    overwrite: bool,
) -> None:
    """Refuse results that `choose_reusable` would refuse whatever the images of the cases are.

    Raises:
        OutputError: As `choose_reusable`, for files of others and for other models or options.
    """
    records = known.get("cases", {})
    present = [case for case in cases if _check_ours(output, case, maps, known)]
    if not overwrite:
        kept = [c for c in present if c.case_id in records and is_complete(output, c, maps)]
        _check_recipe(output, kept, records, recipe)


def _replaced_already(
    output: Path,
    present: Sequence[Case],
    maps: Sequence[str],
    records: Mapping[str, Any],
    recipe: Recipe,
) -> frozenset[str]:
    """Ids of cases that the same command with `overwrite` replaced before it was stopped."""
    return frozenset(
        case.case_id
        for case in present
        if (record := records.get(case.case_id, {})).get(REPLACING) == recipe.replacing
        and not recipe.differs(record)
        and relation(record, case, case.label_map_files(output)[0]) == "same"
        and is_complete(output, case, maps)
        and _edited(output, record) is None
    )


def _check_ours(output: Path, case: Case, maps: Sequence[str], known: Mapping[str, Any]) -> bool:
    """Whether a case has files of a result; OutputError if volseg did not write them."""
    folder = case.result_folder(output)
    files = [*([folder] if folder != output else []), *case.result_files(output, maps)]
    there = [path for path in files if os.path.lexists(path)]
    link = next((path for path in there if path.is_symlink()), None)
    if link is not None:
        raise OutputError(f"{link} is a link, which is not replaced", remedy="use another folder")
    recorded = recorded_names(known, case.case_id)
    other = next((p for p in there if p.relative_to(output).parts[0] not in recorded), None)
    if other is not None:
        raise OutputError(
            f"{other} is there already, but no manifest lists it as a result of volseg",
            remedy="move it away, or choose another folder with -o",
        )
    return bool(there)


def _edited(output: Path, record: Mapping[str, Any]) -> Path | None:
    """File of a result whose content was changed after writing; None if there is none."""
    for written in record.get("files", ()):
        path = output / written["file"]
        # Missing files are written again.
        with contextlib.suppress(FileNotFoundError):
            try:
                if not has_fingerprint(path, written):
                    return path
            except PermissionError:
                return path
    return None


def _check_same_cases(
    output: Path,
    finished: Sequence[Case],
    records: Mapping[str, Any],
    relations: Mapping[str, Relation],
) -> None:
    others = [case for case in finished if relations[case.case_id] == "elsewhere"]
    if others:
        first = others[0]
        inputs = records[first.case_id].get("inputs", {})
        files = list(inputs.values()) if isinstance(inputs, dict) else inputs
        where = Path(files[0]).parent if files else "elsewhere"
        raise OutputError(
            f"{output} holds the result of another {first.case_id}, with images in {where} instead "
            f"of {first.images[0].parent} ({cases_in_words(len(others))} of the same name)",
            remedy="choose another folder with -o, or replace results with --overwrite",
            path=output,
        )


def _check_recipe(
    output: Path, kept: Sequence[Case], records: Mapping[str, Any], recipe: Recipe
) -> None:
    others = {case.case_id: recipe.differs(records[case.case_id]) for case in kept}
    others = {case_id: how for case_id, how in others.items() if how}
    if others:
        case_id, how = next(iter(others.items()))
        raise OutputError(
            f"{output} holds results of other models or options: {len(others)} of {len(kept)}, "
            f"such as {case_id}, made {how}",
            remedy="choose another folder with -o, or replace results with --overwrite",
            path=output,
        )
