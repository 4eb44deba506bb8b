"""Official scores in a report: a table and a chart for each protocol, and lesions of each case."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from volseg.errors import ConfigError
from volseg.labels import in_shown_order
from volseg.metrics import Score, get_protocol
from volseg.reporting import charts
from volseg.reporting.axes import x_axis
from volseg.reporting.content import Block, Notes, Section, Table

_LESION_DICE = "lesion_dice"
_MOST_LESIONS, _MOST_FALSE_POSITIVES = 50, 10
_FOLDED_ABOVE = 12


def protocol_sections(scores: Mapping[str, Any]) -> list[Section]:
    """A section for each official protocol that scored the cases."""
    return [
        Section(f"protocol-{number}", f"Official scores: {name}", [*_blocks(name, content)])
        for number, (name, content) in enumerate(scores.get("protocols", {}).items(), start=1)
    ]


def lesion_tables(scores: Mapping[str, Any], case_id: str) -> list[Table]:
    """For each protocol with lesions, the lesions of a case and its false positives."""
    tables = []
    for name, content in scores.get("protocols", {}).items():
        regions = content["cases"].get(case_id, {})
        rows = [
            row
            for region in in_shown_order(regions)
            for row in _lesion_rows(region, regions[region])
        ]
        if rows:
            columns = (
                *("region", "lesion", "volume (ml)", "predicted components"),
                *("Dice", "HD95 (mm)", "voxel", "remark"),
            )
            caption = f"Lesions by {name}"
            tables.append(Table(caption, columns, rows, is_folded=len(rows) > _FOLDED_ABOVE))
    return tables


def _blocks(name: str, content: Mapping[str, Any]) -> Iterator[Block]:
    summary = {region: content["summary"][region] for region in in_shown_order(content["summary"])}
    scores = _scores(name, summary)
    shown = [score for score in scores if not _is_idle(score, summary)]
    yield Table(
        str(content.get("title", name)),
        ("mean over cases", *summary),
        [(score.heading, *(_mean(score, of) for of in summary.values())) for score in shown],
        "In brackets: 95 % interval of the mean, by bootstrap over patients. n: number of cases in "
        "the mean, where some scored cases have no value."
        + (" Deviations that are 0 in all cases are left out." if len(shown) < len(scores) else ""),
    )
    values = {
        region: {
            case_id: of[region][_LESION_DICE]
            for case_id, of in content["cases"].items()
            if of.get(region, {}).get(_LESION_DICE) is not None
        }
        for region in summary
    }
    if any(values.values()):
        means = {
            region: (of.get(_LESION_DICE, {}).get("mean"), of.get(_LESION_DICE, {}).get("interval"))
            for region, of in summary.items()
        }
        titles = ("Lesion-wise Dice of each case; line: mean", "lesion-wise Dice")
        yield charts.strip(values, x_axis((), is_share=True), titles, means)
    unscored = {**dict.fromkeys(content.get("missing", ()), "missing"), **_failed(content)}
    notes = [*content.get("notes", ()), *(f"{case}: {why}" for case, why in unscored.items())]
    if notes:
        yield Notes(notes)
    if definitions := content.get("definitions"):
        caption = f"Definitions of {name}"
        rows = [*definitions.items()]
        yield Table(caption, ("name", "meaning"), rows, is_folded=True)


def _is_idle(score: Score, summary: Mapping[str, Any]) -> bool:
    """Whether a score is a deviation between lesions that is 0 or unknown in all cases."""
    is_deviation = "_std" in score.name
    return is_deviation and not any(of.get(score.name, {}).get("mean") for of in summary.values())


def _failed(content: Mapping[str, Any]) -> dict[str, str]:
    failed = content.get("failed", {})
    return dict(failed) if isinstance(failed, Mapping) else dict.fromkeys(failed, "failed")


def _scores(name: str, summary: Mapping[str, Any]) -> list[Score]:
    """Scores of a protocol that the summary holds; none of a protocol of a later version."""
    held = {score for of_region in summary.values() for score in of_region}
    try:
        return [score for score in get_protocol(name).scores if score.name in held]
    except ConfigError:
        return []


def _mean(score: Score, of_region: Mapping[str, Any]) -> str:
    statistics = of_region.get(score.name, {})
    # A mean of counts has decimals.
    text = replace(score, digits=score.digits or 2).text
    interval, mean = statistics.get("interval"), text(statistics.get("mean"))
    known, n = (
        f"{mean} [{text(interval[0])}, {text(interval[1])}]" if interval else mean,
        statistics.get("n"),
    )
    return known if n in {None, of_region.get("n_cases")} else f"{known}, n = {n}"


def _lesion_rows(region: str, found: Mapping[str, Any]) -> Iterator[Sequence[str]]:
    lesions = found.get("lesions") or ()
    for number, lesion in enumerate(lesions[:_MOST_LESIONS], start=1):
        missed, hd95 = not lesion["n_predicted"], lesion["hd95_mm"]
        remarks = ["missed"] * missed + ["below the threshold"] * (not lesion["counts"])
        yield (
            *(region, str(number), _ml(lesion["volume_mm3"]), str(lesion["n_predicted"])),
            *(f"{lesion['dice']:.3f}", "-" if hd95 is None else f"{hd95:.2f}"),
            *(_voxel(lesion["centre"]), ", ".join(remarks)),
        )
    false = found.get("false_positive_lesions", [])
    false = sorted(false, key=lambda component: -component["volume_mm3"])
    for one in false[:_MOST_FALSE_POSITIVES]:
        volume, voxel = _ml(one["volume_mm3"]), _voxel(one["centre"])
        yield (region, "-", volume, "1", "0.000", "-", voxel, "false positive")
    left = {
        "lesions": len(lesions) - _MOST_LESIONS,
        "smaller false positives": len(false) - _MOST_FALSE_POSITIVES,
    }
    for what, count in left.items():
        if count > 0:
            yield (region, "", "", "", "", "", "", f"and {count} {what}")


def _ml(volume_mm3: float) -> str:
    return f"{volume_mm3 / 1000:.3f}"


def _voxel(centre: Sequence[int]) -> str:
    return ", ".join(str(index) for index in centre)
