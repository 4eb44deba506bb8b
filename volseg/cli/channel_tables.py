"""Table of the scores of a model on subsets of the channels."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from volseg.cli.score_tables import text_of
from volseg.cli.tables import print_table, say
from volseg.words import number_of

if TYPE_CHECKING:
    from volseg.channel_subsets.table import SubsetRow
    from volseg.tasks.evaluate_channels import ChannelScores

_KEPT, _MISSING = "●", "○"


def print_channels(result: ChannelScores) -> None:
    """Print a row for each subset: a dot for each channel, filled if it is kept, and the Dice."""
    from volseg.labels import in_shown_order
    from volseg.metrics import get_score
    from volseg.progress import clock

    table, dice = result.table, get_score("dice")
    regions = in_shown_order(table.regions)
    found: dict[tuple[str, ...], dict[str, SubsetRow]] = defaultdict(dict)
    for row in table.rows():
        found[row.subset][row.region] = row
    with_intervals = any(row.interval for of in found.values() for row in of.values())
    rows: list[list[object]] = []
    for subset, of in found.items():
        dots = [_KEPT if channel in subset else _MISSING for channel in table.channels]
        means = [text_of(dice, of[region].mean) for region in regions]
        limits = [text_of(dice, of[region].interval) for region in regions]
        cases = max(row.cases for row in of.values())
        rows.append([*dots, *means, *(limits if with_intervals else ()), cases])
    averages = table.averages()
    blank = [""] * (len(table.channels) - 1)
    means = [text_of(dice, averages[region]) for region in regions]
    rows.append(["mean", *blank, *means, *([""] * (len(regions) * with_intervals)), ""])
    intervals = [f"{region} 95 % interval" for region in regions] if with_intervals else []
    print_table(
        f"Mean Dice by channels: {_KEPT} given, {_MISSING} missing",
        [*table.channels, *regions, *intervals, "cases"],
        rows,
    )
    for note in result.notes:
        say(f"Note: {note}")
    say(f"{number_of(len(found), 'subset')} of channels in {clock(result.seconds)}")
