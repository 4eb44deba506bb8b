"""Tables of statistics of scores, ours and those under official protocols."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from statistics import fmean
from typing import TYPE_CHECKING, Any

from volseg.cli.tables import number, print_table, say

if TYPE_CHECKING:
    from volseg.evaluation.dice_agreement import DiceAgreement
    from volseg.metrics import Score, ScoreTable
    from volseg.metrics.calibration_table import CalibrationTable, RegionCalibration
    from volseg.metrics.official.record import ProtocolRecord
    from volseg.tasks.fit import FitResult

_STATISTICS = {"mean": "mean", "interval": "95 % interval", "median": "median", "std": "std"}
_WITH_MISSING = {"mean_missing_as_worst": "mean, missing or failed as worst"}
_LESIONS = "lesion_"
# Order of the scores of a training; others follow.
_FIRST = {"dice": 0, "iou": 1, "hd95_mm": 2}


def print_statistics(
    title: str, summary: Mapping[str, Any], scores: Sequence[Score], *, with_missing: bool
) -> None:
    """Print the mean of each score by region, its interval, the median and the deviation.

    Where a score has no value in some scored cases, the number of cases in each mean is printed.

    Args:
        title: Heading.
        summary: `ScoreTable.summary` of the scores.
        scores: A column each.
        with_missing: Whether to print the mean with missing and failed cases as worst too.
    """
    from volseg.labels import in_shown_order

    statistics = _STATISTICS | (_WITH_MISSING if with_missing else {})
    summary = {region: summary[region] for region in in_shown_order(summary)}
    rows = [
        (
            region if statistic == "mean" else "",
            _interval_or_why_none(of_region, scores) if statistic == "interval" else name,
            *(text_of(score, of_region[score.name].get(statistic)) for score in scores),
        )
        for region, of_region in summary.items()
        for statistic, name in statistics.items()
    ]
    rows += [
        (region, "cases in the mean", *(of[score.name].get("n", of["n_cases"]) for score in scores))
        for region, of in summary.items()
        if any("n" in of[score.name] for score in scores)
    ]
    print_table(title, ("region", "", *(score.heading for score in scores)), rows)


def _interval_or_why_none(of_region: Mapping[str, Any], scores: Sequence[Score]) -> str:
    """Name of the row of intervals; the row is empty if there are too few patients."""
    found = [of_region[score.name] for score in scores]
    known = [of for of in found if of["mean"] is not None]
    is_empty = known and all(of.get("interval") is None for of in known)
    return _STATISTICS["interval"] + (" (fewer than 3 patients)" if is_empty else "")


def print_kept_model(result: FitResult) -> None:
    """Print the validation scores by region of the model that a training has kept."""
    from volseg.metrics import SCORES
    from volseg.words import cases_in_words

    scores = dict(result.scores)
    scores |= {f"hd95_mm/{region}": mm for region, mm in result.hd95_mm.items()}
    if result.hd95_mm:
        scores["hd95_mm/mean"] = fmean(result.hd95_mm.values())
    parts = [name.split("/") for name in scores if "/" in name]
    regions = list(dict.fromkeys(region for _, region in parts))
    found = dict.fromkeys(kind for kind, _ in parts)
    kinds = sorted(found, key=lambda kind: _FIRST.get(kind, len(_FIRST)))
    # Scores of slices are no scores of the registry.
    known = {score.name: score for score in SCORES if score.name in found}
    headings = [known[kind].heading if kind in known else kind for kind in kinds]
    text = {
        kind: known[kind].text if kind in known else partial(number, digits=3) for kind in kinds
    }
    rows = [
        (region, *(text[kind](scores.get(f"{kind}/{region}")) for kind in kinds))
        for region in regions
    ]
    epoch = f"epoch {result.kept_epoch}, {cases_in_words(result.n_validated)}"
    print_table(f"Validation of the kept model ({epoch})", ("region", *headings), rows)


def print_protocol(record: ProtocolRecord) -> None:
    """Print the statistics of a protocol by region, and the numbers of lesions and of cases."""
    from volseg.labels import in_shown_order

    table, name, found = record.table, record.protocol.name, record.table.summary()
    summary = {region: found[region] for region in in_shown_order(found)}
    with_missing = bool(table.cases("missing") or table.cases("failed"))
    rated = [score for score in table.scores if score.better and score.digits]
    of_lesions = [score for score in rated if score.name.startswith(_LESIONS)]
    of_regions = [score for score in rated if score not in of_lesions]
    say(f"{name}: {record.protocol.title}")
    for what, scores in (("lesions", of_lesions), ("whole regions", of_regions)):
        if scores:
            print_statistics(f"{name}, {what}", summary, scores, with_missing=with_missing)
    counts = [score for score in table.scores if not score.digits]
    rows = [
        (
            region,
            *(_sum(table, region, score) for score in counts),
            *(of_region[number] for number in ("n_cases", "n_missing", "n_failed")),
        )
        for region, of_region in summary.items()
    ]
    columns = ("region", *(score.title for score in counts), "scored", "missing", "failed")
    print_table(f"{name}, numbers", columns, rows)


def print_agreement(agreement: DiceAgreement) -> None:
    """Print how well the Dice that `infer` predicted agrees with the true Dice, if it did."""
    from volseg.confidence.held_out import BAD_DICE

    rows = [
        (
            *(region, of.figures.cases),
            _with_limits(of.figures.spearman, of.figures.spearman_interval, 2),
            _with_limits(of.figures.mae, of.mae_interval, 3),
            number(of.figures.auc, 2),
        )
        for region, of in agreement.regions.items()
    ]
    if rows:
        columns = (
            *("region", "cases", "Spearman (95 % interval)", "mean error (95 % interval)"),
            f"AUC of Dice < {BAD_DICE:g}",
        )
        print_table("Predicted against true Dice", columns, rows)
    for note in agreement.notes:
        say(note)


def print_calibration(table: CalibrationTable) -> None:
    """Print the calibration error by region, before and after the temperature if there is any."""
    from volseg.metrics.calibration_table import COUNTED

    if table.regions:
        columns = ("temperature", "ECE before") if table.is_tempered else ()
        rows = [
            (
                *(region, of.cases, int(of.after.voxels.sum())),
                *(_of_temperature(of) if table.is_tempered else ()),
                number(of.after.ece, 4),
            )
            for region, of in table.regions.items()
        ]
        title = "Calibration of the written probabilities"
        print_table(title, ("region", "cases", "voxels", *columns, "ECE"), rows)
        say(f"Calibration is over the {COUNTED}")
    if table.left_out:
        say(f"Without calibration, for the reasons above: {', '.join(table.left_out)}")


def _of_temperature(of: RegionCalibration) -> tuple[str, str]:
    temperatures = " and ".join(f"{value:g}" for value in of.temperatures)
    return temperatures, number(of.before.ece, 4)


def _with_limits(value: float | None, limits: Sequence[float] | None, digits: int) -> str:
    text = number(value, digits)
    return f"{text} ({' to '.join(number(one, digits) for one in limits)})" if limits else text


def _sum(table: ScoreTable, region: str, score: Score) -> int:
    return sum(int(row.value(score) or 0) for row in table.rows if row.region == region)


def text_of(score: Score, value: float | Sequence[float] | None) -> str:
    """A statistic, or the limits of an interval, as text for a table."""
    if isinstance(value, Sequence):
        return " to ".join(map(score.text, value))
    return score.text(value)
