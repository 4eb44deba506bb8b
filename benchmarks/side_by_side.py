"""Two programs that do the same work in turn, and the ratio of what they cost.

Machines are noisy, so the sides take turns, the ratio is taken pair by pair, and its median stands
in the table with the lowest and the highest. Needs Linux: memory is read from /proc.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil

HERE = Path(__file__).parent
SAMPLE_EVERY_S = 0.05


@dataclass(frozen=True)
class Cost:
    """What a piece of work cost.

    Attributes:
        wall_s: Seconds by the clock.
        cpu_s: Seconds of all its processes on all cores.
        peak_mb: Most memory that its processes held together, shared pages counted once.
        grown_mb: The same, less what they held before the first work, when imports were done.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float
    grown_mb: float


class Watch:
    """Looks at a process and its children while it is entered.

    Attributes:
        peak_mb: Most memory they held together whenever it looked.
        high_water_mb: Most memory the process held by itself since its program began, looked at or
            not.
        cpu_s: Seconds of all cores, once it is left.
    """

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.peak_mb = self.high_water_mb = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> Watch:
        self.cpu_before = self._cpu_s()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self.cpu_s = self._cpu_s() - self.cpu_before

    def _tree(self) -> list[psutil.Process]:
        try:
            return [self.root, *self.root.children(recursive=True)]
        except psutil.Error:
            return []

    def _cpu_s(self) -> float:
        """Of processes alive and of those that were waited for."""
        return sum(_asked(lambda p=p: sum(p.cpu_times()[:4])) for p in self._tree())

    def _watch(self) -> None:
        while not self._over.wait(SAMPLE_EVERY_S):
            tree = self._tree()
            # Reading the shares of shared pages takes milliseconds, so a lone process is spared.
            held = _rss if len(tree) == 1 else _pss
            now = sum(_asked(partial(held, process)) for process in tree)
            self.peak_mb = max(self.peak_mb, now / 2**20)
            self.high_water_mb = max(self.high_water_mb, _high_water_mb(self.root.pid))


def _rss(process: psutil.Process) -> float:
    return process.memory_info().rss


def _pss(process: psutil.Process) -> float:
    return process.memory_full_info().pss


def _high_water_mb(pid: int) -> float:
    """What the kernel noted; 0 if the process has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0)


def _asked(question: Callable[[], float]) -> float:
    """The answer of a process, or 0 if it is gone."""
    try:
        return question()
    except psutil.Error:
        return 0


def run(command: Sequence[str], log: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a program to its end, start included; what it prints goes to `log`.

    Raises:
        SystemExit: If it fails; the log tells why.
    """
    with log.open("w", encoding="utf-8") as file:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=file, stderr=subprocess.STDOUT, env=dict(env or os.environ)
        )
        with Watch(process.pid) as watch:
            _, status, used = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = log.read_text(encoding="utf-8", errors="replace")[-3000:]
        raise SystemExit(f"{' '.join(command)}\nended with {process.returncode}:\n{tail}")
    # Not `used.ru_maxrss`: a child begins with the high-water mark of its parent.
    peak = max(watch.peak_mb, watch.high_water_mb)
    return Cost(wall, used.ru_utime + used.ru_stime, peak, peak)


class Side:
    """A program made with `worker.serve`, kept ready: its imports cost once and do not count.

    Args:
        command: Starts it.
        log: Gets what it prints.
        env: Its environment; None: ours.
    """

    def __init__(
        self, command: Sequence[str], log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.command, self.log = command, log
        with log.open("w", encoding="utf-8") as file:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=dict(env or os.environ),
            )
        self._answer()

    def __call__(self, save: Path | None = None) -> Cost:
        """Do the work once; `save` gets the result as .npz."""
        with Watch(self.process.pid) as watch:
            print(save or "", file=self.process.stdin, flush=True)
            answer = self._answer()
        peak = max(watch.peak_mb, answer["peak_mb"])
        return Cost(answer["wall_s"], watch.cpu_s, peak, peak - answer["before_mb"])

    def close(self) -> None:
        """End the program."""
        self.process.stdin.close()
        self.process.wait()

    def _answer(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            tail = self.log.read_text(encoding="utf-8", errors="replace")[-3000:]
            raise SystemExit(f"{' '.join(self.command)}\nended:\n{tail}")
        return json.loads(line)


def in_turn(sides: Mapping[str, Callable[[], Cost]], rounds: int) -> dict[str, list[Cost]]:
    """Cost of each side in each round; every round begins with another side."""
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    names = list(sides)
    for number in range(rounds):
        for name in names[number % len(names) :] + names[: number % len(names)]:
            costs[name].append(sides[name]())
            cost = costs[name][-1]
            print(
                f"round {number + 1} of {rounds}: {name} {cost.wall_s:.2f} s, "
                f"{cost.cpu_s:.2f} core s, {cost.peak_mb:.0f} MB",
                file=sys.stderr,
                flush=True,
            )
    return costs


def ratios(ours: Sequence[Cost], theirs: Sequence[Cost], what: str) -> str:
    """Median of theirs / ours, pair by pair, with the lowest and the highest.

    Empty where ours is 0: small work may need no new memory, and no tick of the clock of cores.
    """
    if not all(getattr(our, what) for our in ours):
        return ""
    found = sorted(
        getattr(their, what) / getattr(our, what) for our, their in zip(ours, theirs, strict=True)
    )
    return f"{statistics.median(found):.2f} ({found[0]:.2f} to {found[-1]:.2f})"


def median(costs: Sequence[Cost], what: str) -> float:
    """Median of one figure of the rounds."""
    return statistics.median(getattr(cost, what) for cost in costs)


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print Markdown."""
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |")


def machine(*packages: str) -> str:
    """A sentence on where and with what the figures were made."""
    from importlib.metadata import version

    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    cpu = next(names, platform.machine())  # ARM has no name there
    memory = psutil.virtual_memory().total / 2**30
    versions = ", ".join(f"{name} {version(name)}" for name in ("volseg", "torch", *packages))
    return (
        f"{len(os.sched_getaffinity(0))} cores of {cpu}, {memory:.0f} GiB, "
        f"Python {platform.python_version()}, {versions}; {datetime.now(UTC).date()}"
    )


def largest_difference(ours: Path, theirs: Path) -> float:
    """Of two results that two sides saved, over all their arrays.

    Raises:
        SystemExit: If they do not hold the same arrays.
    """
    with np.load(ours) as one, np.load(theirs) as other:
        if sorted(one) != sorted(other):
            raise SystemExit(f"one side gives {sorted(one)}, the other {sorted(other)}")
        found = [0.0]
        for name in one:
            a, b = one[name].astype(np.float64), other[name].astype(np.float64)
            if a.shape != b.shape:
                raise SystemExit(f"{name} has shape {a.shape} here and {b.shape} there")
            found.append(float(abs(a - b).max(initial=0)))
        return max(found)


def options(description: str) -> argparse.ArgumentParser:
    """The options that every comparison has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("scans", nargs="*", type=Path, help="folders of cases; else phantoms")
    parser.add_argument("--rounds", type=int, default=5, help="how often each side works")
    parser.add_argument(
        "--small",
        action="store_true",
        help="small phantoms, few rounds, and of the peers only MONAI, from this environment",
    )
    return parser
