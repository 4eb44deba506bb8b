"""Records of results whose patients the model was trained on, and what they mean for scores."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from volseg.results.journal import RECORDS
from volseg.words import cases_in_words, some_of

#: Key, in the record of a result, of the folders of the runs that were trained on its patient.
TRAINED_BY = "trained_by"
#: Key, in the record of a result: whether the predicted Dice was fitted on cases of its patient.
OF_FIT = "is_of_fit"
#: Key, in `scores.json`, of the scored cases that each run was trained on.
TRAINED_CASES = "trained_cases"


def recorded_training(manifest: Mapping[str, Any], case_ids: Iterable[str]) -> dict[str, list[str]]:
    """Cases by run folder, of the cases that `infer` recorded as trained on."""
    records = manifest.get(RECORDS, {})
    return by_run(
        {case_id: records.get(case_id, {}).get(TRAINED_BY, ()) for case_id in sorted(case_ids)}
    )


def by_run(runs: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
    """Case ids by run folder, of run folders by case id."""
    found: dict[str, list[str]] = {}
    for case_id, of_case in runs.items():
        for run in of_case:
            found.setdefault(run, []).append(case_id)
    return found


def training_in_words(
    trained: Mapping[str, Sequence[str]], case_ids: Collection[str]
) -> Iterator[str]:
    """A sentence for each run that was trained on patients of these cases.

    >>> [*training_in_words({"runs/laptop": ["a", "b"]}, ["a", "b", "c"])]
    ['by their patients, 2 of 3 cases (a, b) are in the training part of runs/laptop']
    """
    for run, of_run in trained.items():
        if found := sorted({*of_run}.intersection(case_ids)):
            yield (
                f"by their patients, {len(found)} of {cases_in_words(len(case_ids))} "
                f"({some_of(found)}) {'is' if len(found) == 1 else 'are'} in the training part of "
                f"{run}"
            )


def doubts_of_training(
    trained: Mapping[str, Sequence[str]], case_ids: Collection[str]
) -> Iterator[str]:
    """Sentences of `training_in_words`, with what they mean for the scores of these cases."""
    for sentence in training_in_words(trained, case_ids):
        yield f"{sentence}: such scores say nothing about other patients"
