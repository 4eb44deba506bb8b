"""Checks, without torch, that refuse a job whose training would fail after waiting in the queue."""

from __future__ import annotations

import logging
from pathlib import Path

from volseg.cases.data_list import DataList
from volseg.config import ExperimentConfig
from volseg.errors import ConfigError, DataListError, ModelError

logger = logging.getLogger(__name__)

# Names of jobs in which Lightning ignores the other processes.
_NO_CLUSTER = ("bash", "interactive")


def check_experiment(config: ExperimentConfig, run: Path) -> None:
    """Refuse options that would fail in the job or train something else."""
    if config.slurm.shards is not None:
        raise ConfigError(
            "shards are for volseg infer", remedy="distribute a training with nodes and gpus"
        )
    name = config.slurm.sbatch.get("job-name", run.resolve().name)
    if name in _NO_CLUSTER:
        raise ConfigError(
            f"in a job named {name}, each process would train by itself",
            remedy="choose another -o or job-name",
        )
    weights: Path | None = getattr(config.network, "encoder_weights", None)
    if weights is not None and not weights.exists():
        raise ModelError(
            f"{weights} does not exist", remedy="correct network.encoder_weights", path=weights
        )


def check_files(data_list: DataList) -> None:
    """Refuse a list without a complete case, with DataListError; warn if some cases lack files."""
    files = {case.case_id: (*case.images, *case.label) for case in data_list.training}
    missing = [case for case, paths in files.items() if not all(map(Path.exists, paths))]
    if not missing:
        return
    first = next(path for path in files[missing[0]] if not path.exists())
    if len(missing) == len(files):
        raise DataListError(
            f"no case of data list {data_list.name!r} has all its files: for instance, {first} "
            "does not exist",
            remedy="check data.data_root",
        )
    logger.warning(
        "%d of %d cases lack files and will be left out; for instance, %s does not exist",
        *(len(missing), len(files), first),
    )
