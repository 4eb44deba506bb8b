"""Command `fit`, and the table of its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from volseg import signals
from volseg.cli.app import EXIT_SOME_FAILED, TRAIN, command, complain, fail_if_some_failed
from volseg.cli.jobs import DryRun, Slurm, check_dry_run, report_job
from volseg.cli.next_steps import SCANS, line, next_steps
from volseg.cli.options import Overrides
from volseg.cli.score_tables import print_kept_model
from volseg.cli.tables import say
from volseg.files.writing import (
    CONFIG_FILE,
    CURVES_FILE,
    MODEL_FILE,
    SAMPLES_FILE,
    WORST_FILE,
    resume_command,
)

if TYPE_CHECKING:
    from volseg.cases.data_list import DataList
    from volseg.config import ExperimentConfig
    from volseg.tasks.fit import FitResult


@command(TRAIN)
def fit(
    config: Annotated[
        Path,
        typer.Argument(
            metavar="CONFIG|FOLDER|RUN",
            help="YAML file of an experiment, or a folder of scans; with --resume a run folder.",
        ),
    ],
    overrides: Overrides = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="RUN", help="Run folder.", show_default="runs/<config name>"
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Resume the run from its last checkpoint.")
    ] = False,
    folds: Annotated[
        str | None,
        typer.Option(
            metavar="all|K,K",
            help="Train these folds, each into RUN/foldK.",
            show_default="data.fold of the config",
        ),
    ] = None,
    slurm: Slurm = None,
    dry_run: DryRun = False,
) -> None:
    """Train a network and keep the best model on the validation fold.

    Watch the training with:  tensorboard --logdir runs

    On a cluster, --slurm writes a batch script into the run folder and submits
    it. The job is requeued until the training is finished. The section slurm
    of the config holds the defaults.

    With --folds, the folds are trained one after another; with --folds and
    --slurm, as tasks of a job array, max_parallel at a time. With --resume,
    finished folds are kept.

    A folder of scans is split into 5 folds, as by volseg split, and used for a
    training with a default config; data list and config lie beside the run.
    Fewer than 5 patients get a fold each.

    A run that was stopped by Ctrl-C or a signal is resumed from its folder,
    which holds its config and data list.

    Examples:
      volseg fit BraTS2021_Training_Data -o runs/first
      volseg fit configs/brats_unet.yaml data.data_root=FOLDER
      volseg fit configs/brats_unet.yaml data.data_root=FOLDER data.fold=1 -o runs/unet_fold1
      volseg fit --resume runs/unet_fold1
      volseg fit configs/brats_unet.yaml --slurm nodes=2,gpus=4,time=24:00:00
      volseg fit configs/brats_unet.yaml --folds all --slurm partition=gpu
    """
    lost, again = 0, None
    if slurm is None:
        check_dry_run(dry_run)
    if config.is_dir() and not (resume or (config / CONFIG_FILE).is_file()):
        run = run or Path("runs") / config.resolve().name
        given = _given_of_scans(config, run, overrides or [], folds, slurm, dry_run=dry_run)
        if slurm is not None and dry_run:
            _dry_run_of_scans(given, folds, slurm)
            return
        config, lost = _config_of_scans(given)
        again = line("volseg", "fit", config, "-o", f"{run}_2")
    folder, experiment, data_list = _experiment(
        config, run, overrides or [], resume=resume, by_path=slurm is not None or folds is not None
    )
    if slurm is not None:
        _submit_fit(experiment, folder, folds, slurm, resume=resume, dry_run=dry_run)
        return
    if folds is not None:
        _fit_folds(experiment, folder, folds, resume=resume)
        return

    from volseg.tasks.fit import fit as run_fit

    signals.record_interrupts()
    result = run_fit(experiment, folder, resume=resume, data_list=data_list)
    if result.rank == 0:
        if result.scores and result.trained:
            print_kept_model(result)
        _print_files(result, again)
    fail_if_some_failed(result.failures)
    if lost:
        raise typer.Exit(EXIT_SOME_FAILED)


@dataclass(frozen=True)
class _Scans:
    """A folder of scans to train on, its run, the overrides, and label scheme and channels in them.

    Without a CUDA GPU the config is `for_cpus`; a job may get a GPU that this machine lacks. With
    `incomplete`, cases may lack channels.
    """

    folder: Path
    run: Path
    overrides: Sequence[str]
    labels: str | Mapping[str, Any] | None
    channels: tuple[str, ...] | None
    for_cpus: bool
    incomplete: bool


def _given_of_scans(
    scans: Path,
    run: Path,
    overrides: Sequence[str],
    folds: str | None,
    slurm: list[str] | None,
    *,
    dry_run: bool,
) -> _Scans:
    """The folder with its overrides; options are checked before a scan is read."""
    from volseg.tasks.fit_folder import check_overrides

    for_cpus = slurm is None and not _has_cuda()
    experiment = check_overrides(scans, run, overrides, folds, for_cpus=for_cpus)
    if slurm is not None:
        from volseg.config import read_slurm
        from volseg.slurm.checks import check_experiment
        from volseg.slurm.submission import check_cluster

        options = read_slurm(slurm, experiment.slurm)
        check_experiment(experiment.model_copy(update={"slurm": options}), run)
        if not dry_run:
            check_cluster(run)
    has_labels = any(word.startswith("labels=") for word in overrides)
    labels = experiment.to_dict()["labels"] if has_labels else None
    has_channels = any(word.startswith("data.channels=") for word in overrides)
    channels = experiment.data.channels if has_channels else None
    incomplete = experiment.data.channels_optional
    return _Scans(scans, run, overrides, labels, channels, for_cpus, incomplete)


def _has_cuda() -> bool:
    import torch

    return torch.cuda.is_available()


def _config_of_scans(scans: _Scans) -> tuple[Path, int]:
    """A config for a folder of scans, and the number of its cases that are left out."""
    from volseg.cli.split import print_split
    from volseg.tasks.fit_folder import split_and_configure

    config, found = split_and_configure(
        scans.folder,
        scans.run,
        scans.labels,
        channels=scans.channels,
        for_cpus=scans.for_cpus,
        incomplete=scans.incomplete,
    )
    if found is None:
        return config, 0
    print_split(found)
    small = scans.for_cpus and not any(case.slices for case in found.data_list.training)
    why = "; there is no CUDA GPU here, so it is as small as configs/brats_laptop.yaml"
    say(f"Config: {config}{why if small else ''}")
    return config, len(found.finding.lost)


def _dry_run_of_scans(scans: _Scans, folds: str | None, slurm: list[str]) -> None:
    """Print the script of a job; the data list and the config that it needs do not stay."""
    from tempfile import TemporaryDirectory

    from volseg.config import load_config
    from volseg.tasks.fit_folder import split_and_configure

    with TemporaryDirectory() as folder:
        config, _ = split_and_configure(
            scans.folder,
            scans.run,
            scans.labels,
            Path(folder),
            channels=scans.channels,
            incomplete=scans.incomplete,
        )
        experiment = load_config(config, scans.overrides)
        _submit_fit(experiment, scans.run, folds, slurm, resume=False, dry_run=True)


def _print_files(result: FitResult, again: str | None = None) -> None:
    """Print the files of a run and the next steps; `again` trains with its config once edited."""
    from volseg.metrics.record import SUMMARY_FILE

    files = {
        "Curves": CURVES_FILE,
        "Samples": SAMPLES_FILE,
        "Worst case of the last validation": WORST_FILE,
        "Scores by case": SUMMARY_FILE,
    }
    for name, file in files.items():
        if (result.run / file).is_file():
            say(f"{name}: {result.run / file}")
    say(f"Model: {result.model}")
    next_steps(
        {
            "see how it learnt": [line("tensorboard", "--logdir", result.run)],
            "segment scans": [line("volseg", "infer", SCANS, "-m", result.run, "-o", "results")],
        }
        | ({"train again, after editing the config": [again]} if again else {})
    )


def _experiment(
    given: Path, output: Path | None, overrides: list[str], *, resume: bool, by_path: bool
) -> tuple[Path, ExperimentConfig, DataList | None]:
    """Run folder, experiment, and the cases if a run is resumed from its folder."""
    from volseg.config import load_config
    from volseg.errors import ConfigError
    from volseg.runs.resuming import recorded

    if not given.is_dir():
        return output or Path("runs") / given.stem, load_config(given, overrides), None
    if not resume:
        raise ConfigError(
            f"{given} is a folder, but a config (.yaml) is expected",
            remedy=f"if it is a run folder, resume the run with: {resume_command(given)}",
            path=given,
        )
    if output is not None and output.resolve() != given.resolve():
        raise ConfigError(
            f"--resume {given} writes into that folder, but -o is {output}", remedy="leave out -o"
        )
    return given, *recorded(given, overrides, by_path=by_path)


def _submit_fit(
    experiment: ExperimentConfig,
    folder: Path,
    folds: str | None,
    words: list[str],
    *,
    resume: bool,
    dry_run: bool,
) -> None:
    from volseg.config import read_slurm
    from volseg.slurm.submission import submit_fit

    options = read_slurm(words, experiment.slurm)
    experiment = experiment.model_copy(update={"slurm": options})
    job = submit_fit(experiment, folder, folds, resume=resume, dry_run=dry_run)
    report_job(job, line("tensorboard", "--logdir", folder))


def _fit_folds(experiment: ExperimentConfig, folder: Path, folds: str, *, resume: bool) -> None:
    from volseg.runs.folds import fit_folds

    result = fit_folds(experiment, folder, folds, resume=resume)
    for run in (*result.kept, *result.done):
        say(f"Model: {run / MODEL_FILE}")
    if result.stopped is None:
        fail_if_some_failed(result.failures, "fold")
        return
    for fold, reason in result.failures:
        complain(f"{fold} {reason}")
    raise typer.Exit(result.stopped)
