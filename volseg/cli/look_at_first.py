"""Cases to look at first, at the end of `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli.next_steps import line
from volseg.cli.tables import print_listing, say
from volseg.words import cases_in_words

if TYPE_CHECKING:
    from volseg.confidence.verdict import CaseConfidence
    from volseg.tasks.infer import InferResult

#: Cases that are listed; the manifest holds the reasons of all.
LISTED = 10


def print_look_at_first(result: InferResult, models: Sequence[Path]) -> None:
    """Print which results to look at first and why, and how to get a predicted Dice without one.

    Args:
        result: What was done.
        models: Models that were given.
    """
    from volseg.confidence.predicted_dice import LOW_DICE
    from volseg.confidence.verdict import look_at_first

    if not result.confidence:
        return
    flagged = look_at_first(result.confidence)
    if flagged:
        _print_list(result, flagged)
    elif result.has_fit:
        say(f"No case stands out: each predicted Dice is at least {LOW_DICE}")
    if not result.has_fit:
        tune = line("volseg", "tune", *models)
        say(f"There is no predicted Dice, as the model has no fit for it; to fit it: {tune}")
    elif result.trained_on:
        trained, total = len(result.trained_on), cases_in_words(len(result.confidence))
        say(
            f"The model was trained on the patients of {trained} of {total}: their predicted Dice "
            "says little"
        )


def _print_list(result: InferResult, flagged: Mapping[str, CaseConfidence]) -> None:
    total = cases_in_words(len(result.confidence))
    order = ", the lowest predicted Dice first" if result.has_fit else ""
    rows = [(case_id, of.look_at) for case_id, of in [*flagged.items()][:LISTED]]
    print_listing(f"Look at these first, {len(flagged)} of {total}{order}", [("", rows)])
    if len(flagged) > LISTED:
        where = f"the entries look_at of {result.manifest}"
        say(f"And {cases_in_words(len(flagged) - LISTED)} more: see {where}")
    if any(of.predicted_dice for of in flagged.values()):
        say("In brackets: the interval that should hold the true Dice of about 80 % of new cases")
