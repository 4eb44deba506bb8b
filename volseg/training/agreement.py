"""Agreement among ranks: whether a flag is set on any of them."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import distributed


def on_any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank; every rank must make this call at the same point."""
    if not distributed.is_initialized():
        return flag
    asked = torch.tensor([int(flag)])
    distributed.all_reduce(asked, op=distributed.ReduceOp.MAX, group=_cpu_ranks())
    return bool(asked.item())


@cache
def _cpu_ranks() -> Any:
    """Process group that communicates on the CPU, so that no rank waits for work of a GPU."""
    if distributed.get_backend() == "gloo":
        return distributed.group.WORLD
    return distributed.new_group(backend="gloo")
