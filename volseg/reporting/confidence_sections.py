"""Confidence in results in a report: cases to look at first, predicted against true Dice."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from volseg.confidence.held_out import BAD_DICE
from volseg.confidence.predicted_dice import PredictedDice
from volseg.confidence.record import read_confidence
from volseg.confidence.verdict import CaseConfidence, beside_notes, look_at_first
from volseg.evaluation.dice_agreement import notes_on_agreement
from volseg.reporting import charts
from volseg.reporting.axes import x_axis, y_axis
from volseg.reporting.content import Block, CaseLink, Notes, Row, Section, Table
from volseg.reporting.results import Results
from volseg.results.trained_cases import TRAINED_BY
from volseg.words import cases_in_words

_FOLDED_ABOVE = 30
_WHAT = (
    "Predicted Dice: the Dice that the model expects of its own result, without a reference; in "
    "brackets, the interval that should hold the true Dice of about 80 % of new cases."
)


def look_at_sections(results: Results) -> list[Section]:
    """Cases to look at first, with their reasons; nothing if there is none."""
    known = confidence_of(results)
    flagged = look_at_first(known)
    if not flagged:
        return []
    blocks: list[Block] = [_look_at_table(flagged, len(known))]
    trained = [name for name in known if results.records[name].get(TRAINED_BY)]
    if trained and any(of.predicted_dice for of in flagged.values()):
        blocks.append(
            Notes(
                [
                    f"The model was trained on the patients of {len(trained)} of "
                    f"{cases_in_words(len(known))}: their predicted Dice says little."
                ]
            )
        )
    return [Section("look-at-first", "Look at these first", blocks)]


def _look_at_table(flagged: Mapping[str, CaseConfidence], total: int) -> Table:
    regions = list(dict.fromkeys(region for of in flagged.values() for region in of.predicted_dice))
    rows: list[Row] = [
        (
            CaseLink(case_id),
            *(_with_interval(of.predicted_dice.get(region)) for region in regions),
            "; ".join(of.look_at),
        )
        for case_id, of in flagged.items()
    ]
    columns = ("case", *(f"predicted Dice {region}" for region in regions), "why")
    caption = f"{len(flagged)} of {cases_in_words(total)}"
    is_odd = any(of.unlike_training for of in flagged.values())
    caption += ", unlike the training images first" if is_odd else ""
    caption += f", {'then ' if is_odd else ''}the lowest predicted Dice" if regions else ""
    caption += " first" if regions and not is_odd else ""
    note = _WHAT if regions else ""
    note += " It says little for images unlike the training images." if regions and is_odd else ""
    return Table(caption, columns, rows, note, is_folded=len(rows) > _FOLDED_ABOVE)


def confidence_of(results: Results) -> dict[str, CaseConfidence]:
    """Confidence in each case of the results."""
    return {case_id: read_confidence(record) for case_id, record in results.records.items()}


def confidence_blocks(record: Mapping[str, Any], notes: Sequence[str]) -> Iterator[Block]:
    """Predicted Dice of one case, and the reasons to look at it that its notes do not give."""
    of = read_confidence(record)
    if of.predicted_dice:
        rows = [(region, _with_interval(one)) for region, one in of.predicted_dice.items()]
        yield Table("Predicted Dice", ("region", "predicted Dice"), rows)
    if reasons := list(beside_notes(of, notes)):
        yield Notes(reasons, is_warning=True)


def agreement_sections(results: Results) -> list[Section]:
    """Predicted against true Dice of scored cases; nothing without a predicted Dice."""
    agreement = results.scores.get("predicted_dice")
    if not agreement:
        return []
    left_out = {*agreement.get("edited", ()), *agreement.get("trained", ())}
    blocks: list[Block] = []
    points = _points(results, agreement["regions"], left_out)
    if any(points.values()):
        axes = x_axis((), is_share=True), y_axis()
        titles = ("Predicted and true Dice; dashed: equal", "predicted Dice", "Dice")
        blocks.append(charts.scatter(points, axes, titles, diagonal=True))
    blocks.append(_agreement_table(agreement["regions"]))
    if notes := [f"{note}." for note in notes_on_agreement(agreement)]:
        blocks.append(Notes(notes))
    return [Section("predicted-dice", "Predicted Dice", blocks)]


def _points(
    results: Results, regions: Iterable[str], left_out: Collection[str]
) -> dict[str, dict[str, tuple[float, float]]]:
    """Predicted and true Dice of each scored case, by region."""
    known = confidence_of(results)
    return {
        region: {
            case_id: (known[case_id].predicted_dice[region].dice, dice)
            for case_id in results.case_ids
            if case_id in known
            and case_id not in left_out
            and region in known[case_id].predicted_dice
            and (dice := _true_dice(results, case_id, region)) is not None
        }
        for region in regions
    }


def _agreement_table(regions: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = [
        (
            *(region, str(of["cases"])),
            _limited(of.get("spearman"), of.get("spearman_interval"), 2),
            _limited(of["mae"], of.get("mae_interval"), 3),
            _limited(of.get("auc"), None, 2),
        )
        for region, of in regions.items()
    ]
    columns = ("region", "cases", "Spearman", "mean error", f"AUC of Dice < {BAD_DICE:g}")
    note = f"{_WHAT.partition(';')[0]}. In brackets: 95 % interval, by bootstrap over patients."
    return Table("Agreement", columns, rows, note)


def _true_dice(results: Results, case_id: str, region: str) -> float | None:
    found: float | None = results.scores["cases"][case_id]["regions"].get(region, {}).get("dice")
    return found


def _with_interval(of: PredictedDice | None) -> str:
    return _limited(of.dice, (of.low, of.high), 2) if of else "-"


def _limited(value: float | None, limits: Sequence[float] | None, digits: int) -> str:
    if value is None:
        return "-"
    text = f"{value:.{digits}f}"
    return f"{text} [{limits[0]:.{digits}f}, {limits[1]:.{digits}f}]" if limits else text
