"""Rank of this process, as its launcher set it, and the cores it may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# In the order in which Lightning asks for them.
_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


class RankLost(Exception):
    """Another rank ended while this rank needed it; the log of the other rank says why."""


def rank() -> int:
    """Number of this process among those that train together; 0 if it trains alone.

    On further nodes without a launcher it is 1 until training starts: only known not to be 0.
    """
    number = int(next((os.environ[name] for name in _RANK if name in os.environ), "0"))
    return number or int("RANK" not in os.environ and os.environ.get("NODE_RANK", "0") != "0")


def launched_by_torchrun() -> bool:
    """Whether torchrun started this process."""
    return "TORCHELASTIC_RUN_ID" in os.environ


def restarts() -> int:
    """How often torchrun has started its processes again after one of them failed."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0"))


def cores(processes: int = 1) -> int:
    """Cores that this process may use.

    Args:
        processes: Number of processes that share the machine, if Slurm did not assign cores.
    """
    of_task = os.environ.get("SLURM_CPUS_PER_TASK")
    if of_task is not None:
        return int(of_task)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // processes)


def in_threads(function: Callable[..., T], *items: Iterable[Any]) -> list[T]:
    """Results of a function for each item, or each pair, from one thread per core.

    The threads end with the work: those of torch and BLAS spin while they wait, and take cores from
    other processes.
    """
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, *items))
