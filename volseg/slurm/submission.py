"""Submission of jobs to a SLURM cluster: checks, the script, and the call of sbatch."""

from __future__ import annotations

import logging
import re
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.data_list import read_data_list
from volseg.config import ExperimentConfig, SlurmConfig, check_options, write_config
from volseg.config.marks import SetByJob, marked
from volseg.errors import ConfigError, OutputError
from volseg.files.writing import CONFIG_FILE, MODEL_FILE, atomic_write, make_output
from volseg.results.locations import check_outside_scans
from volseg.runs.folder import check_run
from volseg.runs.folds import check_cases, choose_folds, folds_to_do
from volseg.runs.schemes import check_schemes
from volseg.slurm.checks import check_experiment, check_files
from volseg.slurm.queue import JOB, check_queue
from volseg.slurm.script import FOLDER, SCRIPT, fit_script, infer_script, log_pattern

logger = logging.getLogger(__name__)


_CPUS = 8


@dataclass(frozen=True)
class Submission:
    """A submitted job, or the result of a dry run.

    Attributes:
        script: Text of the script.
        path: File of the script.
        log: Log of the job, for an array a shell pattern; after a dry run the pattern of sbatch.
        job: Number of the job; None after a dry run.
    """

    script: str
    path: Path
    log: str
    job: str | None = None


def submit_fit(
    config: ExperimentConfig,
    run: Path,
    folds: str | None = None,
    *,
    resume: bool = False,
    dry_run: bool = False,
) -> Submission:
    """Submit a training, or with `folds` a job array with a task for each fold.

    Errors that would end the job after its time in the queue are raised now, without torch.

    Args:
        config: The experiment; its section `slurm` holds the resources of the job.
        run: Folder of the run, or of the folds.
        folds: None: a single run; else `all`, or numbers such as `0,2`.
        resume: Whether to resume the run; finished folds are left out.
        dry_run: Whether to write and submit nothing.

    Raises:
        ConfigError: If an option does not fit, or sbatch refuses the job.
        DataListError: If the data list cannot be used, or a fold has no cases.
        CheckpointError: If there is nothing to resume, or the run has another experiment.
        ModelError: If the weights for the encoder do not exist.
        OutputError: If the folder holds a run already or cannot be written, a job for it is in
            the queue, or sbatch is not installed.
    """
    check_experiment(config, run)
    options = config.slurm
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    if not dry_run:
        check_files(data_list)
    array: tuple[int, ...] = ()
    if folds is None:
        check_options(config)
        check_cases(data_list, config.data.fold)
        check_schemes(data_list.training, config)
        check_run(run, config, data_list, resume=resume)
    else:
        chosen = choose_folds(folds, data_list)
        array = folds_to_do(config, run, chosen, data_list, resume=resume)
        if not array:
            raise OutputError(f"the folds of {run} are all finished", remedy="choose another -o")
    words = [
        f"{option.key}={getattr(options, option.mark.source)}"
        for option in marked(config, SetByJob)
    ]
    if not options.gpus and config.training.accelerator == "auto":
        # On a node with GPUs that the job did not request, auto would use them.
        words.append("training.accelerator=cpu")
    workers = config.data.workers
    cpus = options.cpus or (_CPUS if workers is None else workers + 1)
    script = fit_script(options, run, cpus=cpus, words=words, folds=array)
    return _submit(script, run, options, config=config, array=bool(array), dry_run=dry_run)


@dataclass(frozen=True)
class InferCall:
    """A call of `volseg infer` for a job.

    Args:
        scans: Folder of cases, one case, or a data list.
        models: Model files or run folders.
        output: Folder for the results.
        fold: Fold of the data list; None: all cases.
        data_root: Folder that paths of the data list are relative to; None: as in the list.
        words: Further arguments, without `--shard`.
    """

    scans: Path
    models: Sequence[Path]
    output: Path
    fold: int | None = None
    data_root: Path | None = None
    words: Sequence[str] = ()

    def arguments(self) -> list[str]:
        """All arguments after `volseg infer`."""
        named = {"--fold": self.fold, "--data-root": self.data_root}
        return [
            str(self.scans),
            *(word for model in self.models for word in ("-m", str(model))),
            *("-o", str(self.output)),
            *(f"{name}={value}" for name, value in named.items() if value is not None),
            *self.words,
        ]


def submit_infer(call: InferCall, options: SlurmConfig, *, dry_run: bool = False) -> Submission:
    """Submit a segmentation as a job array whose tasks share the cases.

    Args:
        call: The call of `volseg infer`.
        options: Resources of each task, and `shards`, the number of tasks.
        dry_run: Whether to write and submit nothing.

    Raises:
        ConfigError: If an option does not fit, a path is missing, or sbatch refuses the job.
        DataListError: If the data list cannot be used.
        OutputError: If the folder cannot be written or lies among the scans, a job for it is in the
            queue, or sbatch is not installed.
    """
    _check_infer(call, options)
    words = call.arguments()
    if not options.gpus:
        # On a node with GPUs that the job did not request, auto would use them.
        words = ["--device=cpu" if word == "--device=auto" else word for word in words]
    cpus, shards = options.cpus or _CPUS, options.shards or 1
    script = infer_script(options, call.output, cpus=cpus, words=words, shards=shards)
    return _submit(script, call.output, options, array=True, dry_run=dry_run)


def _check_infer(call: InferCall, options: SlurmConfig) -> None:
    """Refuse a call in which every task would fail, as far as known without torch."""
    if options.nodes > 1 or options.processes > 1:
        raise ConfigError(
            f"nodes is {options.nodes}, with {options.processes} processes per node, but a task of "
            "infer is one process with one GPU",
            remedy="distribute the cases with shards=N",
        )
    if any(word.partition("=")[0] == "--shard" for word in call.words):
        raise ConfigError(
            "--shard and --slurm: shards=N distributes the cases", remedy="leave out --shard"
        )
    for path in (call.scans, *call.models):
        if not path.exists():
            raise ConfigError(f"{path} does not exist", remedy="check the path", path=path)
    for model in call.models:
        if model.is_dir() and not (model / MODEL_FILE).is_file():
            raise ConfigError(
                f"{model} holds no {MODEL_FILE}", remedy="give a run with a model", path=model
            )
    if (options.shards or 1) > 1:
        check_outside_scans(call.scans, call.output)
    if call.scans.suffix == ".json":
        read_data_list(call.scans, call.data_root).cases(call.fold)


def check_cluster(results: Path) -> None:
    """OutputError if there is no sbatch, or a job for the folder is in the queue."""
    if shutil.which("sbatch") is None:
        raise OutputError(
            "sbatch was not found",
            remedy="run this on a login node of the cluster, or see --dry-run",
        )
    check_queue(results)


def _submit(
    script: str,
    results: Path,
    options: SlurmConfig,
    *,
    config: ExperimentConfig | None = None,
    array: bool,
    dry_run: bool,
) -> Submission:
    folder = results / FOLDER
    path = folder / SCRIPT
    log = log_pattern(options, folder, array=array)
    if dry_run:
        return Submission(script, path, log)
    check_cluster(results)
    make_output(folder, [SCRIPT, CONFIG_FILE, JOB])
    if config is not None:
        with atomic_write(folder / CONFIG_FILE) as temporary:
            write_config(temporary, config)
    with atomic_write(path) as temporary:
        temporary.write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["sbatch", "--parsable", str(path)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = " ".join(done.stderr.replace("sbatch: error:", " ").split())
        raise ConfigError(
            f"sbatch refused {path}: {said}", remedy="change --slurm or the section slurm"
        )
    job = done.stdout.strip().partition(";")[0]
    with atomic_write(folder / JOB) as temporary:
        temporary.write_text(f"{job}\n", encoding="utf-8")
    named = {"%j": job, "%A": job, "%%": "%"}
    log = re.sub(r"%\d*[A-Za-z%]", lambda match: named.get(match[0], "*"), log)
    return Submission(script, path, log, job)
