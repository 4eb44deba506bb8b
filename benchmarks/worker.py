"""One side of a comparison: a process that does its work each time it is told to.

It needs nothing but Python, since the peers run it in an environment of their own. Each line that
comes in is the path to save the result under, or empty; each line that goes out is a JSON object.
What the work prints goes to stderr.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def serve(work: Callable[[], Any]) -> None:
    """Answer until stdin ends.

    Args:
        work: Is timed. Returns an array, or a mapping of names to arrays, to compare with the
            other side, or anything else where nothing is compared.
    """
    # Once, since what an earlier round freed and the allocator kept would not count in the next.
    before = _memory("VmRSS")
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        print("{}", file=answers, flush=True)  # imports are done
        for line in sys.stdin:
            # From here on the kernel counts the high-water mark anew.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            wall = time.perf_counter()
            result = work()
            answer = {
                "wall_s": time.perf_counter() - wall,
                "before_mb": before,
                "peak_mb": _memory("VmHWM"),
            }
            if line.strip():
                _save(Path(line.strip()), result)
            del result
            print(json.dumps(answer), file=answers, flush=True)


def _memory(what: str) -> float:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(what):
            return int(line.split()[1]) / 1024
    raise KeyError(what)


def _save(path: Path, result: Any) -> None:
    import numpy as np

    np.savez(path, **(result if isinstance(result, dict) else {"result": result}))
