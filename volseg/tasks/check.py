"""Check of an experiment before its training: headers, labels, a few training steps."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.config import ExperimentConfig, check_options, idle_options, load_config
from volseg.errors import VolsegError
from volseg.files.paths import PathLike
from volseg.finding.skipped import notes_in_words
from volseg.images.grid import check_same_grid
from volseg.progress import track
from volseg.runs.folds import choose_cases
from volseg.runs.schemes import case_scheme
from volseg.survey.grey_values import borders, cases_to_read
from volseg.training.announcements import by_slice_note, regions_missing
from volseg.training.cache.case_arrays import notes_on, read_masks
from volseg.training.hardware import check_hardware
from volseg.training.memory_needed import check_memory
from volseg.training.trial import try_training
from volseg.words import case_problems

_LABEL_MAPS = 5


@dataclass(frozen=True)
class CheckResult:
    """Result of a check.

    Attributes:
        facts: Facts on the experiment as `(name, value)`, in order.
        problems: A sentence for each problem that would stop the training or leave out cases;
            cases with the same problem share a sentence.
        warnings: A sentence for each doubt.
    """

    facts: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()


def check(config_path: PathLike, overrides: Sequence[str] = ()) -> CheckResult:
    """Read the config, every header, a few label maps; train a few steps on one batch.

    Args:
        config_path: YAML config.
        overrides: Words `key=value`.

    Returns:
        Facts, problems and warnings.

    Raises:
        ConfigError: If the config is not valid; the error names every mistake.
        DataListError: If the data list cannot be read.
    """
    config = load_config(config_path, overrides)
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    facts = [("config", str(config_path)), ("labels", config.labels.name)]
    too_much = list(_problem(partial(check_memory, config)))
    problems = [
        *_problem(partial(check_options, config)),
        *_problem(partial(check_hardware, config.training)),
        *too_much,
    ]
    try:
        training, validation = choose_cases(data_list, config)
        facts.append(("cases", f"{len(training)} to train on, {len(validation)} to validate on"))
    except VolsegError as error:
        problems.append(str(error))
        training, validation = data_list.training, ()
    cases = (*training, *validation)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(partial(_header_problem, config=config), cases)
        found = list(track(read, "reading headers", len(cases)))
    facts.append(("grids", _grids([grid for grid, *_ in found if grid])))
    facts += _notes({case.case_id: notes for case, (*_, notes) in zip(cases, found, strict=True)})
    wrong = {case.case_id: of[1] for case, of in zip(cases, found, strict=True) if of[1]}
    good = [case for case in cases if case.case_id not in wrong]
    wrong_labels, held = _read_labels(good, config)
    problems += [*case_problems((wrong | wrong_labels).items()), *_nothing_to_learn(held)]
    warnings = list(_regions_to_miss(config, held))
    notes = [by_slice_note(training, config), *idle_options(config)]
    facts += [("note", note) for note in notes if note]
    good = [case for case in good if case.case_id not in wrong_labels]
    facts += _notes(_grey_values(good, config))
    # Without a usable fold, `fit` would fail before its first step.
    if good and not too_much and (validation or config.data.fold is None):
        more_facts, more_problems = try_training(config, good, len(cases), len(validation))
        facts += more_facts
        problems += more_problems
    return CheckResult(tuple(facts), tuple(dict.fromkeys(problems)), tuple(warnings))


def _grids(found: Sequence[str]) -> str:
    """The most frequent grid, and the number of other grids."""
    counts = Counter(found).most_common()
    if not counts:
        return ""
    (grid, cases), others = counts[0], len(counts) - 1
    return f"{grid} ({cases} of {len(found)} cases, {others} other grids)" if others else grid


def _problem(checked: Callable[[], object]) -> Iterator[str]:
    """The error message of a check, if it fails."""
    try:
        checked()
    except VolsegError as error:
        yield str(error)


def _header_problem(case: Case, config: ExperimentConfig) -> tuple[str, str, Sequence[str]]:
    """Grid of a case in words, the problem of its channels and headers (or ''), and notes."""
    try:
        grid = case.read_grid(
            config.data.channels,
            config.data.fill_missing,
            optional=config.data.channels_optional,
        )
        notes = list(grid.notes)
        if case.label:
            reference = case.read_reference_grid()
            check_same_grid({"image": grid, "label map": reference})
            notes += reference.notes
    except VolsegError as error:
        return "", error.without_case, ()
    spacing = grid.spacing_in_words if case.has_size else "unknown"
    return f"{grid.shape_in_words} at {spacing} mm", "", notes


def _notes(of_cases: Mapping[str, Sequence[str]]) -> list[tuple[str, str]]:
    """Notes on headers and grey values, as facts."""
    return [("note", sentence) for sentence in notes_in_words(of_cases)]


def _grey_values(cases: Sequence[Case], config: ExperimentConfig) -> dict[str, Sequence[str]]:
    """Notes on grey values by case, of a sample of cases and of those with unusual first slices."""
    notes: dict[str, Sequence[str]] = {}
    for case in cases_to_read(cases, borders(cases)):
        with contextlib.suppress(VolsegError):
            notes[case.case_id] = notes_on(case, config)
    return notes


def _read_labels(
    cases: Iterable[Case], config: ExperimentConfig
) -> tuple[dict[str, str], list[list[bool]]]:
    """Problems of label maps by case, and for each label map whether it has each region.

    Only label maps of the first cases of each label scheme are read.
    """
    problems = {}
    seen: dict[str | None, int] = {}
    held: list[list[bool]] = []
    for case in cases:
        seen[case.labels] = seen.get(case.labels, 0) + 1
        if seen[case.labels] > _LABEL_MAPS:
            continue
        try:
            case_scheme(case, config)
            with memory.in_words():
                held.append([bool(mask.any()) for mask in read_masks(case, config)])
        except VolsegError as error:
            problems[case.case_id] = error.without_case
    return problems, held


def _nothing_to_learn(held: Sequence[Sequence[bool]]) -> Iterator[str]:
    if held and not any(map(any, held)):
        yield (
            f"all {len(held)} label maps that were read are empty, so there is nothing to learn; "
            "check that the label maps belong to the images, and check the label scheme"
        )


def _regions_to_miss(config: ExperimentConfig, held: Sequence[Sequence[bool]]) -> Iterator[str]:
    missing = regions_missing(config, held)
    if missing and any(map(any, held)):
        yield (
            f"{', '.join(missing)} in none of {len(held)} label maps that were read: if no other "
            "label map has it, the network cannot learn it"
        )
