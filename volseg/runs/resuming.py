"""Check that a run can be resumed: same experiment, same cases, not more epochs than allowed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.data_list import DataList, read_data_list
from volseg.cases.sources import case_fingerprints
from volseg.config import ExperimentConfig, load_config
from volseg.config.marks import Resume, marked
from volseg.errors import CheckpointError
from volseg.files.writing import CONFIG_FILE, DATA_LIST_FILE, METRICS_FILE, resume_command
from volseg.runs.description import is_finished, read_description
from volseg.runs.metrics_table import read_metrics
from volseg.words import cases_in_words

_READABLE = "make their files readable again (see data.data_root), or "


def recorded(
    run: Path, overrides: Sequence[str] = (), *, by_path: bool = False
) -> tuple[ExperimentConfig, DataList]:
    """Experiment and cases of a run to resume, read from its folder.

    Args:
        run: Folder of the run.
        overrides: Words `key=value`. If a word sets `data.data_list` or `data.data_root`, cases are
            read from the list of the config, else from the list in the folder or its first fold.
        by_path: Whether the returned experiment names the list in the folder, for other processes.

    Raises:
        CheckpointError: If the folder holds no run.
        ConfigError, DataListError: If files of the run cannot be read, or an override is not valid.
    """
    if not (run / CONFIG_FILE).is_file():
        raise CheckpointError(
            f"{run} holds no run, since it has no {CONFIG_FILE}", remedy="check the path", path=run
        )
    config = load_config(run / CONFIG_FILE, overrides)
    elsewhere = {"data.data_list", "data.data_root"} & {word.split("=")[0] for word in overrides}
    # The folder of several folds has a config, but no data list.
    lists = (run / DATA_LIST_FILE, *sorted(run.glob(f"fold*/{DATA_LIST_FILE}")))
    kept = next((path for path in lists if path.is_file()), None)
    if elsewhere or kept is None:
        return config, read_data_list(config.data.data_list, config.data.data_root)
    if by_path:
        data = config.data.model_copy(update={"data_list": kept, "data_root": None})
        config = config.model_copy(update={"data": data})
    return config, read_data_list(kept)


def check_same_experiment(
    run: Path,
    config: ExperimentConfig,
    data_list: DataList,
    fingerprints: Callable[[], Mapping[str, str]] | None = None,
) -> None:
    """Refuse to resume a run under another config or data list.

    Args:
        run: Folder of the run.
        config: The experiment.
        data_list: The cases.
        fingerprints: Function that returns the fingerprints of the cases, so that several runs of
            one list can share them, since every label map is read for them; None: they are
            computed.

    Raises:
        CheckpointError: If an option that affects the result, or a case, differs.
    """
    before = dict(_flat(load_config(run / CONFIG_FILE).to_dict()))
    now = dict(_flat(config.to_dict()))
    free = {option.key for option in marked(config, Resume)}
    changed = [
        key
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not free & {key, key.partition(".")[0]}
    ]
    if _cases(read_data_list(run / DATA_LIST_FILE)) != _cases(data_list):
        changed.append("data list")
    if changed:
        raise CheckpointError(
            f"the run in {run} has another {', '.join(changed)} than this config",
            remedy=(
                f"resume it as it was started, with: {resume_command(run)}, or start a new run "
                "with -o"
            ),
        )
    _check_same_images(run, data_list, fingerprints)
    trained = max((int(row["epoch"]) for row in read_metrics(run / METRICS_FILE)), default=0)
    if trained > config.training.max_epochs:
        raise CheckpointError(
            f"the run in {run} has trained {trained} epochs, but training.max_epochs is "
            f"{config.training.max_epochs}",
            remedy=f"set it to {trained} or more, or start a new run with -o",
        )


def _check_same_images(
    run: Path, data_list: DataList, fingerprints: Callable[[], Mapping[str, str]] | None
) -> None:
    """Refuse cases whose files have changed, disappeared or appeared since the run began.

    The best model is chosen by scores, which are comparable only on the same cases.
    """
    before = read_description(run).get("sources")
    if not isinstance(before, dict):
        return  # runs of the first versions did not record sources
    now = fingerprints() if fingerprints else case_fingerprints(data_list.training)
    others = {name for name in before.keys() & now.keys() if now[name] != before[name]}
    # A case that could not be read when the run began has no fingerprint, and was left out.
    for cases, how, remedy in (
        (before.keys() - now.keys(), "cannot be read now, but could", _READABLE),
        (now.keys() - before.keys(), "can be read now, but could not", ""),
        (others, "hold other images or label maps now than", ""),
    ):
        if cases:
            raise CheckpointError(
                f"{cases_in_words(len(cases))} of {len(data_list.training)}, such as "
                f"{min(cases)}, {how} when the run in {run} began",
                remedy=f"{remedy}start a new run with -o",
            )


def check_same_preprocessing(run: Path, config: ExperimentConfig) -> None:
    """Refuse to resume if preprocessing gives other images than when the run began."""
    digest = config.preprocessing.digest
    # Runs of the first versions did not record the digest.
    if read_description(run).get("preprocessing", digest) != digest:
        raise CheckpointError(
            f"the run in {run} was begun by a version of volseg that preprocesses differently from "
            "this version",
            remedy="resume with that version, or start a new run with -o",
        )


def has_ended(run: Path, config: ExperimentConfig) -> bool:
    """Whether a run is finished and has the same limits as this config."""
    if not is_finished(run):
        return False
    return _limits(load_config(run / CONFIG_FILE)) == _limits(config)


def _limits(config: ExperimentConfig) -> dict[str, Any]:
    """Options that let a finished run continue if they change."""
    return {
        option.key: option.value for option in marked(config, Resume) if option.mark is Resume.LIMIT
    }


def _flat(options: Mapping[str, Any], place: str = "") -> Iterator[tuple[str, Any]]:
    """Options as `section.key` and value."""
    for key, value in options.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{place}{key}.")
        else:
            yield f"{place}{key}", value


def _cases(data_list: DataList) -> list[tuple[Any, ...]]:
    return sorted((case.case_id, case.fold, case.labels or "") for case in data_list.training)
