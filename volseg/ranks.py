"""Which of several processes this one is, as launchers tell it: Slurm, torchrun, Lightning."""

from __future__ import annotations

import os

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
