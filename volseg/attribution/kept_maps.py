"""Which explanations of a folder are kept: those of the same scan, models and options."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from volseg.attribution.methods import ExplainOptions
from volseg.cases.case import Case
from volseg.cases.sources import Relation, has_fingerprint, relation
from volseg.errors import OutputError
from volseg.results.explanation_record import MAP, MAPS, PICTURE, map_key
from volseg.results.reuse import Recipe

logger = logging.getLogger(__name__)

#: Keys of the record of a map: options of the method, and the sources of the images.
OPTIONS, SOURCES = "options", "sources"


@dataclass(frozen=True)
class Plan:
    """What is explained of a case.

    Attributes:
        case: The case.
        wanted: Regions whose maps are to be made.
        kept: Regions whose maps are kept.
        moved: Kept regions whose images are in another folder now, unchanged.
        refused: Why regions are not explained: their files were edited.
    """

    case: Case
    wanted: tuple[str, ...]
    kept: tuple[str, ...] = ()
    moved: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)


def plan_case(
    case: Case,
    regions: Sequence[str],
    record: Mapping[str, Any],
    output: Path,
    recipe: Recipe,
    options: ExplainOptions,
) -> Plan:
    """Decide which regions of a case are to explain.

    Args:
        case: The case.
        regions: Regions that are asked for.
        record: Record of the case from earlier runs.
        output: Folder of the results.
        recipe: Models and options of inference.
        options: Options of the explanations.

    Raises:
        OutputError: If a map is of another patient of the same name, unless all are overwritten.
    """
    if options.overwrite:
        return Plan(case, tuple(regions))
    wanted, kept, moved, refused = [], [], [], {}
    for region in regions:
        one = record.get(MAPS, {}).get(map_key(region, options.kind))
        if one is None:
            wanted.append(region)
            continue
        of_images = _relation(one, case, output)
        if why := refusal_of_edited(
            [one[part] for part in (MAP, PICTURE) if one.get(part)], output
        ):
            refused[region] = why
        elif of_images == "changed" or not _is_same(one, output, recipe, options):
            why = "its images have" if of_images == "changed" else "the model or options have"
            logger.info("%s: %s is explained again, as %s changed", case.case_id, region, why)
            wanted.append(region)
        else:
            kept.append(region)
            moved += [region] * (of_images == "moved")
    return Plan(case, tuple(wanted), tuple(kept), tuple(moved), refused)


def _relation(one: Mapping[str, Any], case: Case, output: Path) -> Relation:
    """Relation of the images of a case to those of a map; OutputError if it is another patient."""
    path = output / one[MAP]["file"]
    found = relation(one, case, path)
    if found == "elsewhere":
        first = next((source["path"] for source in one.get(SOURCES, ())), "elsewhere")
        raise OutputError(
            f"{path} explains another {case.case_id}, with images such as {first} instead of "
            f"{case.images[0]}",
            remedy="choose another folder with -o, or replace results with --overwrite",
            path=path,
        )
    return found


def _is_same(one: Mapping[str, Any], output: Path, recipe: Recipe, options: ExplainOptions) -> bool:
    """Whether a map is complete, and of these models and options."""
    parts = (MAP, PICTURE) if options.pictures else (MAP,)
    is_there = all(one.get(part) and (output / one[part]["file"]).is_file() for part in parts)
    return is_there and one.get(OPTIONS) == options.of_method and not recipe.differs(one)


def refusal_of_edited(marks: Iterable[Mapping[str, Any]], output: Path) -> str | None:
    """Why files are not replaced, as one was changed after writing; None if none was."""
    path = _edited(marks, output)
    if path is None:
        return None
    return (
        f"{path} was edited or damaged after volseg wrote it; move it away, or replace it with "
        "--overwrite"
    )


def _edited(marks: Iterable[Mapping[str, Any]], output: Path) -> Path | None:
    """File whose content was changed after writing; None if there is none."""
    for mark in marks:
        path = output / mark["file"]
        try:
            if not has_fingerprint(path, mark):
                return path
        except FileNotFoundError:
            continue  # missing files are written again
        except OSError:
            return path
    return None
