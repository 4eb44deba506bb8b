"""Train a model: cases from the list, cache, Lightning, one model file in the run folder."""

from __future__ import annotations

import json
import logging
import os
import platform
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from volseg.config import ExperimentConfig, load_config, write_config
from volseg.datalist import Case, DataList, read_data_list, write_data_list
from volseg.errors import CheckpointError, DataListError, OutputError
from volseg.nifti import atomic_write
from volseg.progress import clock
from volseg.training.cache import build_cache
from volseg.training.datamodule import VolumeDataModule
from volseg.training.module import SegmentationModule
from volseg.training.trainer import build_trainer, read_metrics

logger = logging.getLogger(__name__)

_PACKAGES = ("volseg", "torch", "monai", "pytorch-lightning", "numpy", "nibabel", "torchmetrics")
_PICTURES = 2


@dataclass(frozen=True)
class FitResult:
    """What `fit` left behind.

    Attributes:
        run: Folder of the run.
        model: Model file.
        scores: Validation scores of the best epoch, by name (`dice/WT`); empty without validation.
        failures: `(case_id, reason)` of cases that were left out.
        seconds: How long it took.
    """

    run: Path
    model: Path
    scores: dict[str, float] = field(default_factory=dict)
    failures: tuple[tuple[str, str], ...] = ()
    seconds: float = 0.0


def fit(config: ExperimentConfig, run: Path, *, resume: bool = False) -> FitResult:
    """Train the network of `config`, validate it, and keep the best model.

    Args:
        config: The experiment.
        run: Folder to write; new, unless `resume`.
        resume: Go on from the last checkpoint of the run.

    Returns:
        Where the model is, how it scored, which cases were left out.

    Raises:
        OutputError: If the folder holds a run already or cannot be written.
        CheckpointError: If there is nothing to resume, or it was another experiment.
        DataListError: If no case is left to train or to validate on.
    """
    start = time.monotonic()
    checkpoint = _prepare(run, config, resume=resume)
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    training, validation = choose_cases(data_list, config)
    cache = cache_folder(config, run)
    ready, failures = build_cache([*training, *validation], config, cache)
    wanted = {case.case_id for case in validation}
    data = VolumeDataModule(
        config,
        [case for case in ready if case.case.case_id not in wanted],
        [case for case in ready if case.case.case_id in wanted],
    )
    if not data.training or (wanted and not data.validation):
        raise DataListError(
            f"no case is left to {'validate on' if data.training else 'train on'}; "
            f"the first of {len(failures)} problems: {failures[0][1]}"
        )
    _describe(run, config, data_list)

    pl.seed_everything(config.training.seed, workers=True, verbose=False)
    pictures = tuple(case.case.case_id for case in data.validation[:_PICTURES])
    module = SegmentationModule(config, pictures)
    trainer = build_trainer(config, run, validate=bool(data.validation))
    _announce(module, data, trainer)
    trainer.loggers[0].experiment.add_text(
        "config", "```yaml\n" + (run / "config.yaml").read_text(encoding="utf-8") + "```"
    )
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    if trainer.interrupted:
        raise KeyboardInterrupt
    seconds = time.monotonic() - start
    logger.info("trained in %s; the model is %s", clock(seconds), run / "model.safetensors")
    scores = best_scores(read_metrics(run / "metrics.csv"))
    return FitResult(run, run / "model.safetensors", scores, failures, seconds)


def choose_cases(
    data_list: DataList, config: ExperimentConfig
) -> tuple[tuple[Case, ...], tuple[Case, ...]]:
    """Cases to train and to validate on.

    Raises:
        DataListError: If a side is empty.
    """
    training, validation = data_list.split(config.data.fold)
    if not training or (config.data.fold is not None and not validation):
        folds = sorted({case.fold for case in data_list.training if case.fold is not None})
        raise DataListError(
            f"fold {config.data.fold} of {config.data.data_list} leaves {len(training)} cases to "
            f"train and {len(validation)} to validate on; it has the folds {folds}"
        )
    return training, validation


def cache_folder(config: ExperimentConfig, run: Path) -> Path:
    """Folder of decoded cases: `data.cache_dir`, else `cache` beside the run."""
    if config.data.cache_dir is None:
        return run.parent / "cache"
    return Path(os.path.expandvars(config.data.cache_dir)).expanduser()


def best_scores(rows: Sequence[dict[str, str]]) -> dict[str, float]:
    """Scores of the validated epoch with the highest mean Dice, without the prefix `val/`."""
    validated = [row for row in rows if row.get("val/dice/mean")]
    if not validated:
        return {}
    best = max(validated, key=lambda row: float(row["val/dice/mean"]))
    return {
        name.removeprefix("val/"): float(value)
        for name, value in best.items()
        if name.startswith("val/") and value
    }


def _prepare(run: Path, config: ExperimentConfig, *, resume: bool) -> Path | None:
    """Make the run folder; the checkpoint to go on from, if any."""
    last = run / "checkpoints" / "last.ckpt"
    if resume:
        if not last.exists():
            raise CheckpointError(f"{last} does not exist; start the run without --resume")
        _check_same_experiment(run / "config.yaml", config)
        return last
    if rank_zero_only.rank != 0:
        # Lightning starts this command again for each further GPU, when rank 0 is past this.
        return None
    if (run / "checkpoints").exists() or (run / "model.safetensors").exists():
        raise OutputError(f"{run} already holds a run; go on with --resume or choose another -o")
    try:
        # What a run left that failed before its first checkpoint.
        shutil.rmtree(run / "tensorboard", ignore_errors=True)
        (run / "metrics.csv").unlink(missing_ok=True)
        run.mkdir(parents=True, exist_ok=True)
        write_config(run / "config.yaml", config)
    except OSError as error:
        raise OutputError(
            f"run folder {run} cannot be written ({error.strerror}); choose another with -o"
        ) from None
    return None


def _check_same_experiment(path: Path, config: ExperimentConfig) -> None:
    """Weights of one network do not go into another; how long to train may change."""
    before, now = load_config(path).to_dict(), config.to_dict()
    changed = [key for key in ("labels", "network") if before[key] != now[key]]
    changed += [
        f"data.{key}"
        for key in ("channels", "spacing_mm", "fold")
        if before["data"][key] != now["data"][key]
    ]
    if before["training"]["seed"] != now["training"]["seed"]:
        changed.append("training.seed")
    if changed:
        raise CheckpointError(
            f"the run in {path.parent} has another {', '.join(changed)} than this config; "
            "resume with the config it was started with, or start a new run with -o"
        )


def _describe(run: Path, config: ExperimentConfig, data_list: DataList) -> None:
    """What one needs to know to repeat the run."""
    if rank_zero_only.rank != 0:
        return
    root = config.data.data_root or common_root(data_list)
    with atomic_write(run / "data_list.json") as temporary:
        write_data_list(temporary, data_list, root)
    environment: dict[str, Any] = {
        "versions": {name: version(name) for name in _PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "seed": config.training.seed,
        "git": _git_state(),
    }
    (run / "environment.json").write_text(json.dumps(environment, indent=2), encoding="utf-8")


def common_root(data_list: DataList) -> Path:
    """Deepest folder that holds every file of a list."""
    files = [
        path
        for case in (*data_list.training, *data_list.testing)
        for path in (*case.images, *([case.label] if case.label else []))
    ]
    return Path(os.path.commonpath([path.parent for path in files]))


def _git_state() -> dict[str, Any] | None:
    """Commit of the checkout that volseg runs from, or None for an installed one."""
    folder = Path(__file__).parent
    try:
        commit, changes = (
            subprocess.run(
                ["git", "-C", str(folder), *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "uncommitted_changes": bool(changes)}


def _announce(module: SegmentationModule, data: VolumeDataModule, trainer: pl.Trainer) -> None:
    parameters = sum(p.numel() for p in module.network.parameters()) / 1e6
    options = module.config.data
    processes = trainer.world_size
    logger.info(
        "%s with %.2f M parameters on %s, precision %s; %d cases to train on, %d to validate on",
        module.config.network.name,
        parameters,
        trainer.strategy.root_device,
        trainer.precision,
        len(data.training),
        len(data.validation),
    )
    logger.info(
        "batch of %d (%d a process, %d processes), %d steps an epoch, learning rate %g",
        options.batch_size * processes,
        options.batch_size,
        processes,
        options.batches_per_epoch,
        module.config.training.learning_rate,
    )
