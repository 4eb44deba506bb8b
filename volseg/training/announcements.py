"""What a run found, in words: scores of its cases, by group, and what its cases lack."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.config import ExperimentConfig
from volseg.errors import DataListError
from volseg.metrics.reading import read_summary
from volseg.training.cache.cases import CachedCase

_CASES_SHOWN = 20
_VALUES_SHOWN = 10
_PATIENTS_IN_GROUP = 2


def read_scores(path: Path) -> dict[str, Any] | None:
    """Scores of the kept model, as they stand in `scores.json`; None if there are none."""
    try:
        return read_summary(path)
    except DataListError:
        return None


def score_lines(document: Mapping[str, Any], fill: str | None) -> list[str]:
    """A line for each case, unless they are many, and for each group of cases.

    Args:
        document: As `read_scores` gives it.
        fill: Channel that stands in for missing ones.
    """
    cases: Mapping[str, Any] = document["cases"]
    missing = document.get("missing_channels", {})
    lines = [
        _scores(name, {region: of["dice"] for region, of in case["regions"].items()})
        + (f" ({lacking(missing[name], fill)})" if name in missing else "")
        for name, case in cases.items()
    ]
    if len(cases) > _CASES_SHOWN:
        lines = [f"scores of each of the {len(cases)} cases are in scores.csv"]
    return lines + _group_lines(document.get("group_scores", {}))


def _group_lines(groups: Mapping[str, Any]) -> list[str]:
    lines, in_file = [], []
    for column, values in groups.items():
        counts = {value: next(iter(of.values()))["n"] for value, of in values.items()}
        # A group of one patient says nothing that the line of the patient does not say, and a group
        # of all nothing that the table does not.
        if not 1 < len(values) <= _VALUES_SHOWN or min(counts.values()) < _PATIENTS_IN_GROUP:
            in_file.append(column)
            continue
        for value, regions in values.items():
            means = {region: of["dice"]["mean"] for region, of in regions.items()}
            lines.append(f"{_scores(f'{column} {value}', means)} (mean of {counts[value]})")
    return lines + ([f"scores by {', '.join(in_file)} are in groups.csv"] if in_file else [])


def _scores(name: str, dice: Mapping[str, float | None]) -> str:
    scores = (f"{region} {value:.3f}" for region, value in dice.items() if value is not None)
    return f"{name}: Dice {', '.join(scores) or '-'}"


def lacking(channels: Iterable[str], fill: str | None) -> str:
    """What a case lacks, in words.

    >>> lacking(["t1n", "t1c"], "t2f")
    't1n, t1c missing: t2f stands in'
    """
    return f"{', '.join(channels)} missing: {fill} stands in"


def missing_channel_lines(
    training: Iterable[CachedCase], validation: Iterable[CachedCase], config: ExperimentConfig
) -> tuple[list[str], str | None]:
    """A line for each case that lacks channels, and a warning if training does not prepare for it.

    Args:
        training: Cases to train on.
        validation: Cases to validate on.
        config: The experiment.

    Returns:
        The lines, and the warning or None.
    """
    sides = {"training": training, "validation": validation}
    lines = [
        f"{case.case.case_id} ({side}): {lacking(case.missing, config.data.fill_missing)}"
        for side, cases in sides.items()
        for case in cases
        if case.missing
    ]
    if not lines:
        return [], None
    if len(lines) > _CASES_SHOWN:
        more = len(lines) - _CASES_SHOWN
        lines[_CASES_SHOWN:] = [f"and {more} more cases that lack channels"]
    return lines, None if config.augmentation.channel_dropout else _unprepared(training)


def regions_missing(config: ExperimentConfig, held: Sequence[Sequence[bool]]) -> list[str]:
    """Regions of which no case has a voxel.

    Args:
        config: Names the regions.
        held: For each case, whether it has a voxel of each region; of no case, none is missing.
    """
    of_regions = zip(config.labels.regions, zip(*held, strict=True), strict=bool(held))
    return [region for region, of_cases in of_regions if not any(of_cases)]


def _unprepared(training: Iterable[CachedCase]) -> str:
    count = sum(bool(case.missing) for case in training)
    seen = f"in {count} of its training cases alone" if count else "never in training"
    return (
        f"cases lack channels, and the network sees that {seen}: "
        "augmentation.channel_dropout is 0; give it a probability, such as 0.2"
    )
