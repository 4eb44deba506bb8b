"""Tables of what `volseg tune` fitted besides options: temperatures and predicted Dice."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from volseg.cli.tables import number, print_table, say


def print_calibration(
    record: Mapping[str, Any], in_files: Mapping[str, Sequence[float]] | None = None
) -> None:
    """Print entry `calibration` of the header of a model.

    Args:
        record: The entry.
        in_files: Temperatures of each region in the model files before; None: not known.
    """
    from volseg.metrics.calibration import ECE_IN_WORDS

    column = ["in the file"] if in_files else []
    print_table(
        f"Probabilities of held-out patients ({record['patients']}) before and after",
        (
            "region",
            *column,
            "temperature",
            "NLL before",
            "after",
            "ECE before",
            "after",
        ),
        [
            (
                region,
                *([_temperatures(in_files[region])] if in_files else []),
                f"{of['temperature']:g}",
                *(number(one, 4) for one in (*of["nll"], *of["ece"])),
            )
            for region, of in record["regions"].items()
        ],
    )
    say(
        f"NLL: negative log-likelihood of a voxel. ECE: {ECE_IN_WORDS}. Lower is better; label "
        "maps do not depend on the temperature."
    )
    for region, of in record["regions"].items():
        if of["reason"]:
            found = in_files[region] if in_files else None
            say(f"{region} {_unchanged(of['temperature'], found)}: {of['reason']}")


def _unchanged(now: float, in_files: Sequence[float] | None) -> str:
    """Clause on a temperature that is not fitted."""
    if in_files is None:
        return f"has temperature {now:g}, as before any tuning"
    if any(one != now for one in in_files):
        return f"is set back from {_temperatures(in_files)} to {now:g}, as before any tuning"
    return f"keeps temperature {now:g}"


def print_predicted_dice(record: Mapping[str, Any], regions: Iterable[str]) -> None:
    """Print the figures of entry `predicted_dice` of the header of a model, region by region."""
    from volseg.confidence.held_out import BAD_DICE

    rows = []
    for region in regions:
        for name, fit in (("no", "held_out"), ("yes", "held_out_members")):
            if of := record[fit].get(region):
                rows.append((region, name, of["cases"], *_figures(of)))
    print_table(
        "Predicted against true Dice of held-out patients",
        ("region", "copies", "cases", "error", "Spearman", "95 % interval", "AUC"),
        rows,
    )
    say(
        "Copies: whether the disagreement of copies or models is used. Error: mean absolute "
        f"error. AUC: how often a case with Dice < {BAD_DICE:g} has a lower predicted Dice than "
        "another case."
    )


def _temperatures(found: Sequence[float]) -> str:
    return ", ".join(f"{one:g}" for one in found)


def _figures(of: Mapping[str, Any]) -> tuple[str, str, str, str]:
    interval = of["spearman_interval"]
    return (
        number(of["mae"], 3),
        number(of["spearman"], 2),
        "-" if interval is None else _interval(*interval),
        number(of["auc"], 2),
    )


def _interval(low: float, high: float) -> str:
    return f"{low:.2f} to {high:.2f}"
