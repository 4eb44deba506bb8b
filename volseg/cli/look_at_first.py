"""Cases to look at first, at the end of `infer`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli.next_steps import line
from volseg.cli.tables import print_listing, say

if TYPE_CHECKING:
    from volseg.tasks.infer import InferResult

# Cases that are listed; the manifest holds the reasons of all.
_LISTED = 10


def print_look_at_first(result: InferResult, models: Sequence[Path]) -> None:
    """Print which results to look at first and why, and how to get a predicted Dice without one.

    Args:
        result: What was done.
        models: Models that were given.
    """
    from volseg.confidence.predicted_dice import LOW_DICE
    from volseg.confidence.verdict import look_at_first
    from volseg.words import cases_in_words

    if not result.confidence:
        return
    flagged = look_at_first(result.confidence)
    total = cases_in_words(len(result.confidence))
    if flagged:
        order = ", the lowest predicted Dice first" if result.has_fit else ""
        rows = [(case_id, flagged[case_id].look_at) for case_id in list(flagged)[:_LISTED]]
        print_listing(f"Look at these first, {len(flagged)} of {total}{order}", [("", rows)])
        if len(flagged) > _LISTED:
            where = f"the entries look_at of {result.manifest}"
            say(f"And {cases_in_words(len(flagged) - _LISTED)} more: see {where}")
    elif result.has_fit:
        say(f"No case stands out: each predicted Dice is at least {LOW_DICE}")
    if not result.has_fit:
        tune = line("volseg", "tune", *models)
        say(f"There is no predicted Dice, as the model has no fit for it; to fit it: {tune}")
    elif result.trained_on:
        trained = cases_in_words(len(result.trained_on))
        say(
            f"The predicted Dice of {trained} is not fair, as their patients are in the training "
            "part of the model"
        )
