"""Which of several processes this one is, as launchers tell it, and which cores it may use."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

T = TypeVar("T")

# In the order in which Lightning asks for them.
_RANK = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


class RankLost(Exception):
    """Another rank ended while this one needed it; what went wrong stands in the other's log."""


def rank() -> int:
    """Number of this process among those that train together; 0 alone.

    On further nodes without a launcher, before training starts, it is only known not to be 0.
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
        processes: How many share the machine's cores, where nothing has shared them out.
    """
    of_task = os.environ.get("SLURM_CPUS_PER_TASK")
    if of_task is not None:
        return int(of_task)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (usable or 1) // processes)


def side_by_side(function: Callable[..., T], *items: Iterable[Any]) -> list[T]:
    """What a function gives for each item, or each pair, in as many threads as there are cores.

    They end with the work: those of torch and BLAS spin while they wait for more of it, and take
    the cores of whoever works beside.
    """
    with ThreadPoolExecutor(cores()) as pool:
        return list(pool.map(function, *items))
