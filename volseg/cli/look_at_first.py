"""Cases to look at first, at the end of `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli.next_steps import line
from volseg.cli.tables import print_listing, say
from volseg.files.writing import DATA_LIST_FILE
from volseg.words import cases_in_words, number_of, some_of

if TYPE_CHECKING:
    from volseg.confidence.verdict import CaseConfidence
    from volseg.tasks.infer import InferResult

#: Cases that are listed; the manifest holds the reasons of all.
LISTED = 10
# Width of the list where stdout is no terminal.
_WIDTH_IN_FILES = 120


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
    if not result.has_profile:
        say(
            "Not compared with the training images: the model file describes none, as an earlier "
            "volseg trained it"
        )
    if not result.has_fit:
        tune = line("volseg", "tune", *models)
        say(
            f"There is no predicted Dice, as the model has no fit for it; to fit it: {tune}\n"
            f"  {_needs(models)}"
        )
    elif result.trained_on:
        trained, total = len(result.trained_on), cases_in_words(len(result.confidence))
        say(
            f"The model was trained on the patients of {trained} of {total} "
            f"({some_of(result.trained_on)}): their predicted Dice says little"
        )


def _needs(models: Sequence[Path]) -> str:
    """What `volseg tune` needs, for models of which some may have no data list beside them."""
    patients = "at least 3 patients with label maps that the model was not trained on"
    is_listed = all((home / DATA_LIST_FILE).is_file() for home in map(_home, models))
    return f"(needs {patients}{'' if is_listed else ', in a data list: --data-list LIST'})"


def _home(model: Path) -> Path:
    return model if model.is_dir() else model.parent


def _print_list(result: InferResult, flagged: Mapping[str, CaseConfidence]) -> None:
    from volseg.confidence.verdict import short_lines

    total = cases_in_words(len(result.confidence))
    shown = dict([*flagged.items()][:LISTED])
    kinds = [
        *(
            ["unlike the training images"]
            if any(f.unlike_training for f in flagged.values())
            else []
        ),
        *(["the lowest predicted Dice"] if any(f.predicted_dice for f in flagged.values()) else []),
    ]
    order = f", {' first, then '.join(kinds)}" if kinds else ""
    order += " first" if len(kinds) == 1 else ""
    rows = [
        (case_id, [*short_lines(of), *_training(case_id, result)]) for case_id, of in shown.items()
    ]
    heading = f"Look at these first, {len(flagged)} of {total}{order}"
    print_listing(heading, [("", rows)], _WIDTH_IN_FILES)
    if len(flagged) > LISTED:
        where = f"the entries look_at of {result.manifest}"
        say(f"And {cases_in_words(len(flagged) - LISTED)} more: see {where}")
    if any(of.predicted_dice for of in shown.values()):
        say(
            "In brackets: the interval that should hold the true Dice of about 80 % of new cases, "
            f"by the {number_of(result.patients_of_fit, 'patient')} of the fit"
        )


def _training(case_id: str, result: InferResult) -> list[str]:
    return ["the model was trained on this patient"] if case_id in result.trained_on else []
