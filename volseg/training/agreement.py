"""What one rank knows and all must act on, asked of all at the same places."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import distributed


def on_any_rank(flag: bool) -> bool:
    """Whether `flag` is set on any rank; all ranks ask at the same places."""
    if not distributed.is_initialized():
        return flag
    asked = torch.tensor([int(flag)])
    distributed.all_reduce(asked, op=distributed.ReduceOp.MAX, group=_cpu_ranks())
    return bool(asked.item())


@cache
def _cpu_ranks() -> Any:
    """Ranks that meet on the CPU, so that nobody waits for what a GPU still has to do."""
    if distributed.get_backend() == "gloo":
        return distributed.group.WORLD
    return distributed.new_group(backend="gloo")
