"""`volseg compare`: compare runs on the same patients; configs are trained first."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.data_list import read_data_list
from volseg.comparison.cost import machine_in_words, measure_costs
from volseg.comparison.figure import comparison_figure
from volseg.comparison.pooling import Folds, read_folds
from volseg.comparison.report import PICTURE, write_report
from volseg.comparison.scored_run import ScoredRun, read_run
from volseg.comparison.side_by_side import Comparison, line_up
from volseg.comparison.sources import Source, plan_sources
from volseg.comparison.tables import RANKING_TABLES, TABLES, write_tables
from volseg.config import ExperimentConfig
from volseg.errors import ConfigError, VolsegError
from volseg.figures.figure_files import save_figure
from volseg.files.paths import PathLike
from volseg.files.writing import COMPARISON_FILE, check_outputs, make_output
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.protocols import OWN_SCORES, get_protocol
from volseg.model_file import load_model
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.description import is_finished
from volseg.runs.folds import choose_cases
from volseg.runs.resuming import check_same_experiment, has_ended
from volseg.tasks.fit import fit
from volseg.training.hardware import check_hardware
from volseg.training.module import new_module

logger = logging.getLogger(__name__)

_FILES = (*TABLES, *RANKING_TABLES, COMPARISON_FILE, PICTURE)


@dataclass(frozen=True)
class CompareResult:
    """A comparison, and the trainings that failed.

    Attributes:
        comparison: Runs side by side.
        output: Folder of the tables and the picture.
        failures: `(run, reason)` of each training that failed or left out a case.
    """

    comparison: Comparison
    output: Path
    failures: tuple[tuple[str, str], ...] = ()


def compare(
    sources: Sequence[PathLike | Folds],
    output: PathLike,
    overrides: Sequence[str] = (),
    protocol: str = OWN_SCORES,
) -> CompareResult:
    """Train the configs, compare them with the given runs, and write tables and a picture.

    A config is trained into `output/runs/<name of the config>`. If that folder holds a finished
    run, its scores are used; a stopped run is resumed. All configs, data lists and folders are
    checked before the first training starts. If a training fails, the next training still starts.

    Args:
        sources: Run folders, folders that `evaluate` wrote, folds of a cross-validation to compare
            as one run, and configs; two or more. A folder of the runs `fold0`, `fold1`, ... of
            `fit --folds` is such folds, too.
        output: Folder for the results.
        overrides: Words `key=value` for each config.
        protocol: Name of the official protocol whose scores are compared; `volseg`: our own scores.

    Raises:
        ConfigError: If there are fewer than two sources, a source is neither run nor config, two
            sources have the same folder, a config is not valid or given with an official protocol,
            or the protocol is not known.
        DataListError: If a folder has no scores of the protocol, the runs share no region or no
            case, or folds share a patient.
        CheckpointError: If `output` holds a run of another experiment.
        OutputError: If the results cannot be written.
        Stopped: If a signal that `signals.record` records arrived; the next call resumes.
    """
    listed = [sources] if isinstance(sources, str | os.PathLike) else sources
    given_sources = [one if isinstance(one, Folds) else Path(one) for one in listed]
    output = Path(output)
    check_outputs(output, _FILES)
    official = None if protocol == OWN_SCORES else get_protocol(protocol)
    planned = plan_sources(given_sources, output, overrides)
    if official:
        _check_no_config(planned, official)
    given = {one.name: _read(one, official) for one in planned if one.config is None}
    # Runs that cannot be compared are refused now, not after a day of training.
    line_up(
        [given[o.name] if o.config is None else _expected(o, o.config) for o in planned], official
    )
    make_output(output, _FILES)
    runs: list[ScoredRun] = []
    failures: list[tuple[str, str]] = []
    for one in planned:
        run, problems = (given[one.name], []) if one.config is None else _trained(one, one.config)
        failures += problems
        runs += [run] if run else []
    if not runs:
        raise VolsegError("no training succeeded", remedy=f"the first problem: {failures[0][1]}")
    comparison = replace(_with_costs(line_up(runs, official)), failures=tuple(failures))
    write_tables(comparison, output)
    write_report(comparison, output / COMPARISON_FILE)
    save_figure(comparison_figure(comparison), output / PICTURE)
    return CompareResult(comparison, output, tuple(failures))


def _check_no_config(planned: Sequence[Source], protocol: Protocol) -> None:
    for source in planned:
        if source.config is not None:
            raise ConfigError(
                f"{source.given} is a config, whose training gives no scores of protocol "
                f"{protocol.name}",
                remedy="train it, score it with volseg evaluate --protocol, and give that folder",
                path=source.given,
            )


def _read(source: Source, protocol: Protocol | None) -> ScoredRun:
    if source.folds:
        return read_folds(Folds(source.name, source.folds), protocol)
    return read_run(source.folder, source.name, protocol)


def _expected(source: Source, config: ExperimentConfig) -> ScoredRun:
    """Run of a config before its training: its cases and regions, without scores.

    Errors that would stop the training after hours are raised here: no cases, no validation,
    another run in the folder, encoder weights that cannot be used.
    """
    if config.data.fold is None:
        raise ConfigError(
            f"{source.name}: data.fold is null, so there are no validation scores to compare",
            remedy="set data.fold=0",
        )
    check_hardware(config.training)
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    _, validation = choose_cases(data_list, config)
    if is_finished(source.folder) or find_checkpoints(source.folder):
        check_same_experiment(source.folder, config, data_list)
    else:
        new_module(config)
    regions = tuple(config.labels.regions)
    cases: dict[str, dict[str, dict[str, float]]] = {
        case.case_id: {region: {} for region in regions} for case in validation
    }
    return ScoredRun(source.name, source.folder, config.network.name, cases, {}, regions)


def _trained(
    source: Source, config: ExperimentConfig
) -> tuple[ScoredRun | None, list[tuple[str, str]]]:
    """Run of a config, trained unless it is finished, and its failures as `(run, reason)`."""
    failures = []
    try:
        if has_ended(source.folder, config):
            logger.info("%s is finished; its scores are used", source.folder)
        else:
            resume = bool(find_checkpoints(source.folder))
            logger.info("%s %s", "resuming" if resume else "training", source.folder)
            result = fit(config, source.folder, resume=resume)
            failures = [
                (source.name, f"case {case_id} is left out: {reason}")
                for case_id, reason in result.failures
            ]
        return read_run(source.folder, source.name), failures
    except VolsegError as error:
        reason = str(error)
        logger.error("%s failed: %s", source.name, reason)
    except Exception as error:
        # No error of one training may stop the trainings after it.
        reason = f"{type(error).__name__}: {error}"
        logger.exception("%s failed", source.name)
    return None, [*failures, (source.name, reason)]


def _with_costs(comparison: Comparison) -> Comparison:
    models = {run.name: load_model(run.model) for run in comparison.runs if run.model}
    if not models:
        return comparison
    runs = tuple(
        replace(run, network=run.network or models[run.name].config.network.name)
        if run.name in models
        else run
        for run in comparison.runs
    )
    losses = [model.config.loss for model in models.values()]
    return replace(
        comparison,
        runs=runs,
        costs=dict(zip(models, measure_costs(list(models.values())), strict=True)),
        machine=machine_in_words(),
        same_loss=all(loss == losses[0] for loss in losses),
    )
