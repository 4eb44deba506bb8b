"""Damaged files of every kind given to every reader: a `VolsegError` in short, or a right result.

    python tests/fuzz.py --count 10000 --seed 1

Each file is made from a good one by a number, so that a failure can be made again with --only. The
readers work in a process of its own, whose memory is limited, and each has a few seconds of a core,
however busy the machine is; one that waits for ever ends after minutes.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import os
import re
import resource
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import mutations as m
from good_files import Kind, make_kinds

SECONDS, MINUTES, MEGABYTES = 10, 5, 1500
_LONGEST_LINE, _MOST_LINES = 1000, 15


class TooSlow(BaseException):
    """A reader took longer than it may."""


# One damaged file after another


@contextlib.contextmanager
def limited() -> Iterator[None]:
    """A few seconds of work, after which the reader is stopped."""

    def stop(*_: object) -> None:
        raise TooSlow

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    # In a library that does not come back, Python sees no signal; and who waits does no work.
    faulthandler.dump_traceback_later(60 * MINUTES, exit=True)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        faulthandler.cancel_dump_traceback_later()


def damaged(kind: Kind, random: Random) -> Callable[[], None]:
    """Damage the file of a kind; returns what repairs it."""
    path = kind.place / kind.file
    content = path.read_bytes()
    before = set(kind.place.rglob("*"))

    def repair() -> None:
        for new in sorted(set(kind.place.rglob("*")) - before, reverse=True):
            new.rmdir() if new.is_dir() and not new.is_symlink() else new.unlink()
        if path.is_dir() and not path.is_symlink():
            path.rmdir()
        else:
            path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    if random.random() < 0.03:
        m.no_regular_file(random, path)
        return repair
    # Not through it: what maps the old file keeps what it has mapped.
    new = random.choice(kind.damages)(random, content)
    path.unlink()
    path.write_bytes(new)
    return repair


def problem_of(read: Callable[[Path], Any], place: Path) -> str | None:
    """What is wrong with what a reader does, if it is."""
    from volseg.errors import VolsegError

    try:
        with limited(), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", module=r"PIL\.")
            read(place)
    except VolsegError as error:
        lines = str(error).splitlines()
        if not lines or max(map(len, lines)) > _LONGEST_LINE or len(lines) > _MOST_LINES:
            return (
                f"a message of {len(str(error))} characters in {len(lines)} lines: {error!s:.500}"
            )
        return None
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        trace = traceback.extract_tb(error.__traceback__)
        ours = [one for one in trace if "/volseg/" in one.filename]
        places = [f"{Path(one.filename).name}:{one.lineno}" for one in (ours or trace)[-3:]]
        return f"{type(error).__name__}: {error!s:.200} at {', '.join(places)}"
    return None


def work(first: int, count: int, seed: int, kinds_asked: str) -> int:
    """Damage and read, one number after another; says on stdout which, and what goes wrong."""
    import logging

    logging.disable(logging.CRITICAL)
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = make_kinds(Path(folder))
        kinds = {name: kind for name, kind in made.items() if re.search(kinds_asked, name)}
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        limit = used + MEGABYTES * 2**20
        resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
        for number in range(first, first + count):
            name = [*kinds][number % len(kinds)]
            kind, random = kinds[name], Random(f"{seed} {number}")
            print(f"at {number} {name}", flush=True)
            repair = damaged(kind, random)
            for read in kind.readers:
                if problem := problem_of(read, kind.place):
                    failed += 1
                    print(f"FAILED --seed {seed} --only {number} {name}: {problem}", flush=True)
            repair()
    return failed


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--kinds", default="", help="regular expression")
    parser.add_argument("--only", type=int, help="one number, as a failure tells it")
    parser.add_argument("--work", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work is not None:
        return min(work(asked.work, asked.count, asked.seed, asked.kinds), 1)
    first = asked.only or 0
    end = first + (1 if asked.only is not None else asked.count)
    failures: list[str] = []
    seen: Counter[str] = Counter()
    while first < end:
        first = _supervised(first, end, asked, failures, seen)
    print(f"{sum(seen.values())} damaged files of {len(seen)} kinds, {len(failures)} failures")
    return 1 if failures else 0


def _supervised(
    first: int, end: int, asked: argparse.Namespace, failures: list[str], seen: Counter[str]
) -> int:
    """A process at work; where it dies, the number after that of its end."""
    words = [sys.executable, __file__, "--work", str(first), "--count", str(end - first)]
    words += ["--seed", str(asked.seed), "--kinds", asked.kinds]
    at, name = first - 1, ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        for line in process.stdout:
            if line.startswith("at "):
                _, number, name = line.rstrip().split(" ", 2)
                at = int(number)
                seen[name] += 1
            elif line.startswith("FAILED"):
                failures.append(line.rstrip())
                print(failures[-1], flush=True)
    if process.returncode in (0, 1) and at == end - 1:
        return end
    if at < first:
        raise SystemExit(f"the good files cannot be read (exit {process.returncode})")
    failures.append(f"FAILED --seed {asked.seed} --only {at} {name}: exit {process.returncode}")
    print(failures[-1], flush=True)
    return at + 1


if __name__ == "__main__":
    sys.exit(main())
