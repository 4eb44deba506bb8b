"""Sections of a report on scores: by region, against volume, by group and slice, by case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

from volseg.metrics import COUNTED_SCORES, RATED_SCORES, Score, get_score
from volseg.metrics.doubts import empty_pairs_in_words
from volseg.metrics.slices import SLICE_DEFINITIONS
from volseg.reporting import charts
from volseg.reporting.axes import x_axis, y_axis
from volseg.reporting.charts import Chart
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.words import cases_in_words

Scores = Mapping[str, Any]
_STATISTICS = {"mean": "mean", "median": "median", "std": "standard deviation"}
_WITH_MISSING = {"mean_missing_as_worst": "mean, missing or failed as worst"}
_SLICE_KINDS = {"tumour_slices": "with tumour in the reference", "all_slices": "all slices"}
#: Columns of numbers of cases, with their names in a summary.
_COUNTS = {
    "scored": "n_cases",
    "empty reference": "n_empty_reference",
    "empty prediction": "n_empty_prediction",
    "missing": "n_missing",
    "failed": "n_failed",
}
_FOLDED_ABOVE = 30
_IN_BRACKETS = "In brackets: 95 % interval of the mean, by bootstrap over patients."


def mean_dice(scores: Scores) -> dict[str, float]:
    """Mean Dice over regions of each scored case."""
    found: dict[str, float] = {}
    for case_id, case in scores["cases"].items():
        dice = [of["dice"] for of in case["regions"].values() if of["dice"] is not None]
        if dice:
            found[case_id] = sum(dice) / len(dice)
    return found


def worst_first(scores: Scores) -> list[str]:
    """Scored cases by mean Dice over regions, the lowest first; equal means by name."""
    dice = mean_dice(scores)
    return sorted(dice, key=lambda case_id: (dice[case_id], case_id))


def score_sections(scores: Scores) -> list[Section]:
    """Sections of the scores that every `scores.json` has."""
    sections = [
        Section("scores", "Scores by region", [*_region_blocks(scores)]),
        Section("volumes", "Dice against volume", [*_volume_blocks(scores)]),
        Section("groups", "By group", [*_group_tables(scores)]),
        Section("slices", "By slice", [*_slice_tables(scores)]),
        Section("cases", "Cases", [*_case_tables(scores)]),
        Section("definitions", "Definitions", [*_definitions(scores)]),
    ]
    return [section for section in sections if section.blocks]


def _region_blocks(scores: Scores) -> Iterator[Block]:
    summary = scores["summary"]
    some_unscored = scores.get("missing") or scores.get("failed")
    statistics = _STATISTICS | (_WITH_MISSING if some_unscored else {})
    yield Table(
        "volseg: scores of the cases, each as one volume",
        ("region", "", *(score.heading for score in RATED_SCORES)),
        [
            (region, name, *(_with_interval(of, score.name, kind) for score in RATED_SCORES))
            for region, of in summary.items()
            for kind, name in statistics.items()
        ],
        _IN_BRACKETS if any("interval" in of.get("dice", {}) for of in summary.values()) else "",
    )
    if all("n_cases" in of for of in summary.values()):
        yield Table(
            "Number of cases",
            ("region", *_COUNTS),
            [
                (region, *(str(of.get(name, 0)) for name in _COUNTS.values()))
                for region, of in summary.items()
            ],
        )
    if lifted := [*_lifted(scores)]:
        yield Notes(lifted)
    yield _strip(scores, "dice")
    if any(_values(scores, "hd95_mm").values()):
        yield _strip(scores, "hd95_mm")


def _lifted(scores: Scores) -> Iterator[str]:
    """Sentences on means that include cases without the region in both masks."""
    for region in scores["summary"]:
        values = [of for case in scores["cases"].values() if (of := case["regions"].get(region))]
        scored = [of for of in values if of.get("dice") is not None]
        others = [
            of["dice"] for of in scored if of.get("reference_voxels") or of.get("prediction_voxels")
        ]
        is_known = all(of.get("reference_voxels") is not None for of in scored)
        if is_known and len(others) < len(scored):
            clause = empty_pairs_in_words(region, len(scored) - len(others), len(scored))
            rest = f"; the mean Dice of the others is {fmean(others):.3f}" if others else ""
            yield f"{clause}{rest}."


def _with_interval(of_region: Mapping[str, Any], name: str, kind: str) -> str:
    score, found = get_score(name), of_region.get(name, {})
    interval = found.get("interval") if kind == "mean" else None
    return _bracketed(score, found.get(kind), interval)


def _bracketed(score: Score, mean: float | None, interval: Sequence[float] | None) -> str:
    text = score.text(mean)
    return f"{text} [{score.text(interval[0])}, {score.text(interval[1])}]" if interval else text


def _values(scores: Scores, name: str) -> dict[str, dict[str, float]]:
    """`{region: {case: value}}` of a score, of the cases that have it."""
    return {
        region: {
            case_id: case["regions"][region][name]
            for case_id, case in scores["cases"].items()
            if case["regions"].get(region, {}).get(name) is not None
        }
        for region in scores["summary"]
    }


def _strip(scores: Scores, name: str) -> Chart:
    score, values = get_score(name), _values(scores, name)
    axis = x_axis(
        (value for cases in values.values() for value in cases.values()), is_share=score.best == 1
    )
    summary = {
        region: (of.get(name, {}).get("mean"), of.get(name, {}).get("interval"))
        for region, of in scores["summary"].items()
    }
    unit = f" in {score.unit}" if score.unit else ""
    titles = (f"{score.title} of each case; line: mean", f"{score.title}{unit}")
    return charts.strip(values, axis, titles, summary)


def _volume_blocks(scores: Scores) -> Iterator[Block]:
    dice, volumes = _values(scores, "dice"), _values(scores, "reference_volume_ml")
    points = {
        region: {
            case_id: (volumes[region][case_id], value)
            for case_id, value in dice[region].items()
            if case_id in volumes[region]
        }
        for region in dice
    }
    known = [x for cases in points.values() for x, _ in cases.values()]
    if not any(known):
        return
    axes = x_axis(known, is_log=True), y_axis()
    titles = ("Dice and volume of the reference", "volume of the reference in ml", "Dice")
    yield charts.scatter(points, axes, titles)
    if 0 in known:
        yield Notes(["Regions without a voxel in the reference lie at 0."])


def _group_tables(scores: Scores) -> Iterator[Block]:
    dice = get_score("dice")
    for column, values in scores.get("group_scores", {}).items():
        yield Table(
            column,
            ("group", "region", "cases", "without scores", "mean Dice", "median Dice"),
            [
                (
                    *(value, region, str(of["n"]), str(of.get("n_unscored", 0))),
                    *(_with_interval(of, dice.name, kind) for kind in ("mean", "median")),
                )
                for value, regions in values.items()
                for region, of in regions.items()
            ],
            _IN_BRACKETS,
        )


def _slice_tables(scores: Scores) -> Iterator[Block]:
    intervals = scores.get("slice_intervals") or {}
    rows = [
        (
            *(region, name, str(round(means[kind]["n"] or 0))),
            *(
                _bracketed(
                    score,
                    means[kind].get(score.name),
                    intervals.get(region, {}).get(kind, {}).get(score.name),
                )
                for score in COUNTED_SCORES
            ),
        )
        for region, means in (scores.get("slices") or {}).items()
        for kind, name in _SLICE_KINDS.items()
        if kind in means
    ]
    if rows:
        columns = ("region", "mean over", "slices", *(score.heading for score in COUNTED_SCORES))
        yield Table("Means over slices", columns, rows, _IN_BRACKETS if intervals else "")
        yield Notes([f"{_SLICE_KINDS[kind]}: {SLICE_DEFINITIONS[kind]}." for kind in _SLICE_KINDS])


def _case_tables(scores: Scores) -> Iterator[Block]:
    regions = list(scores["summary"])
    shown = [get_score(name) for name in ("dice", "hd95_mm") if any(_values(scores, name).values())]
    rows: list[Row] = [
        (
            CaseLink(case_id),
            *(
                score.text(scores["cases"][case_id]["regions"].get(region, {}).get(score.name))
                for score in shown
                for region in regions
            ),
        )
        for case_id in worst_first(scores)
    ]
    columns = ("case", *(f"{score.heading} {region}" for score in shown for region in regions))
    if rows:
        caption = f"Scores of {cases_in_words(len(rows))}, the lowest mean Dice first"
        yield Table(caption, columns, rows, is_folded=len(rows) > _FOLDED_ABOVE)


def _definitions(scores: Scores) -> Iterator[Block]:
    found = scores.get("definitions") or {}
    if found:
        rows = [(str(name), str(text)) for name, text in found.items()]
        note = str(scores.get("empty_mask_policy", ""))
        yield Table("Definitions of the scores", ("name", "meaning"), rows, note, is_folded=True)


def case_table(case: Mapping[str, Any]) -> Table:
    """Scores and volumes of one case, by region."""
    scores = [*RATED_SCORES, get_score("volume_ml"), get_score("reference_volume_ml")]
    return Table(
        "Scores",
        ("region", *(score.heading for score in scores)),
        [
            (region, *(score.text(of.get(score.name)) for score in scores))
            for region, of in case["regions"].items()
        ],
    )


def case_summary(case: Mapping[str, Any]) -> str:
    """Dice by region, in words."""
    dice = get_score("dice")
    found: Sequence[str] = [f"{r} {dice.text(of['dice'])}" for r, of in case["regions"].items()]
    return f"Dice {', '.join(found)}"
