"""Check of the hardware that a config requests, before anything is written."""

from __future__ import annotations

import os
from typing import Any

import pytorch_lightning as pl
import torch
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from pytorch_lightning.accelerators import CPUAccelerator
from pytorch_lightning.utilities.exceptions import MisconfigurationException

from volseg.compat.lightning import cluster_environment
from volseg.config import TrainingConfig
from volseg.errors import ConfigError
from volseg.inference.windows import mixed_dtype
from volseg.ranks import cores, launched_by_torchrun
from volseg.words import reason

# Variables set by hand on each node when no launcher starts the processes.
_BY_HAND = ("MASTER_ADDR", "NODE_RANK")
# This many processes may share fewer cores, as in a test of several processes on a small machine.
_FEW = 8


def check_hardware(options: TrainingConfig) -> None:
    """Refuse devices, processes and precisions that this machine does not have.

    Raises:
        ConfigError: If the options of `training` cannot work on this machine.
    """
    problem = _missing_accelerator(options) or _missing_devices(options) or _bf16(options)
    if problem:
        raise problem
    devices, nodes = processes(options)
    try:
        trainer = pl.Trainer(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=nodes,
            precision=resolve_precision(options),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        environment = cluster_environment(trainer)
        environment.validate_settings(trainer.num_devices, nodes)
    except (MisconfigurationException, RuntimeError, ValueError) as error:
        raise ConfigError(
            f"training.devices={devices} and training.nodes={nodes} do not fit the processes that "
            f"were started here ({reason(error)})",
            remedy="change the options or the number of processes",
        ) from None
    # A launcher has already decided how many processes there are.
    if not environment.creates_processes_externally and (problem := _crowd(trainer)):
        raise problem
    by_itself = isinstance(environment, LightningEnvironment)
    if nodes > 1 and by_itself and not any(name in os.environ for name in _BY_HAND):
        raise ConfigError(
            f"training.nodes is {nodes}, but no launcher starts processes on the other nodes, and "
            "this process would wait for them",
            remedy="use fit --slurm or torchrun, or set training.nodes=1",
        )


def processes(options: TrainingConfig) -> tuple[Any, int]:
    """Devices per node, and number of nodes: as configured, or as started by torchrun."""
    if launched_by_torchrun() and options.devices == "auto":
        of_node = int(os.environ["LOCAL_WORLD_SIZE"])
        return of_node, int(os.environ["WORLD_SIZE"]) // of_node
    return options.devices, options.nodes


def world_size(options: TrainingConfig) -> int:
    """Number of processes that would train together here."""
    devices, nodes = processes(options)
    if devices == "auto":
        devices = torch.cuda.device_count() if on_cuda(options) else 1
    return int(devices) * nodes


def resolve_precision(options: TrainingConfig) -> Any:
    """Precision as Lightning names it; mixed precision only on a GPU, as in `segment`."""
    dtype = mixed_dtype(options.precision, "cuda" if on_cuda(options) else "cpu")
    return {None: "32-true", torch.bfloat16: "bf16-mixed", torch.float16: "16-mixed"}[dtype]


def on_cuda(options: TrainingConfig) -> bool:
    """Whether training runs on CUDA GPUs."""
    return options.accelerator in ("auto", "gpu") and torch.cuda.is_available()


def _missing_accelerator(options: TrainingConfig) -> ConfigError | None:
    has_mps = torch.backends.mps.is_available()
    has = {"gpu": torch.cuda.is_available() or has_mps, "mps": has_mps}
    if has.get(options.accelerator, True):
        return None
    kind = {"gpu": "GPU", "mps": "GPU of Apple"}[options.accelerator]
    return ConfigError(
        f"training.accelerator is {options.accelerator}, but torch {torch.__version__} finds no "
        f"{kind} here",
        remedy="use a machine that has one, or training.accelerator=auto",
    )


def _missing_devices(options: TrainingConfig) -> ConfigError | None:
    devices = processes(options)[0]
    if not on_cuda(options) or devices == "auto" or devices <= torch.cuda.device_count():
        return None
    count = torch.cuda.device_count()
    return ConfigError(
        f"training.devices is {devices}, but {count} GPU{'s' * (count > 1)} can be used here",
        remedy=f"set training.devices={count}, or auto",
    )


def _crowd(trainer: pl.Trainer) -> ConfigError | None:
    most = max(_FEW, cores())
    if not isinstance(trainer.accelerator, CPUAccelerator) or trainer.num_devices <= most:
        return None
    return ConfigError(
        f"training.devices is {trainer.num_devices}, and without a GPU each device is a process "
        f"on the {cores()} cores that can be used here",
        remedy=f"set training.devices={most} or fewer, or auto",
    )


def _bf16(options: TrainingConfig) -> ConfigError | None:
    if options.precision != "bf16-mixed" or not on_cuda(options):
        return None
    if torch.cuda.is_bf16_supported(including_emulation=False):
        return None
    return ConfigError(
        f"training.precision is bf16-mixed, but {torch.cuda.get_device_name()} has no bf16 "
        "hardware and only emulates it",
        remedy="use 16-mixed or auto",
    )
