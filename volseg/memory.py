"""How much memory there is, and refusal of what would take more, before it is asked for."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from volseg.errors import ResourceError
from volseg.words import reason

_CGROUPS = Path("/sys/fs/cgroup")
# Files of the limit, of what is taken, and the name of what of that can be given back, by version.
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
# What libraries say that raise something else where there is no memory, or no room for a thread.
_OUT = re.compile(
    "can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_?alloc"
    "|unable to allocate|can't start new thread|failed to map segment",
    re.IGNORECASE,
)
# How torch tells that processes cannot share more memory: of workers that the system ended, and
# where there is none, or no space (12, 28), for a file that they share.
_NOT_SHARED = re.compile(r"workers are out of shared memory|</?torch_\w+>.*\((12|28)\)")
_SHARED = Path("/dev/shm")
_REMEDY = "use a machine or a job with more memory, or raise its limit"


def require(wanted: int, what: str, remedy: str = _REMEDY) -> None:
    """Refuse what would take more memory than there is.

    Args:
        wanted: Bytes that it would take at once.
        what: Begins the sentence, as in "case a: 4 channels of 240 x 240 x 155 voxels".
        remedy: What the user can do.

    Raises:
        ResourceError: If there is less.
    """
    there = available()
    if there is not None and wanted > there:
        raise ResourceError(
            f"{what} would take {size_in_words(wanted)} of memory, but {size_in_words(there)} are "
            "available",
            remedy=remedy,
        )


@contextlib.contextmanager
def in_words(what: str = "", remedy: str = _REMEDY) -> Iterator[None]:
    """Turn what Python and its libraries raise for want of memory into a `ResourceError`.

    Args:
        what: What was worked on, for the sentence; where it was a case, see `errors.of_case`.
        remedy: What the user can do.
    """
    where = f"{what}: " if what else ""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ImportError, SystemError) as error:
        if not isinstance(error, MemoryError) and _NOT_SHARED.search(str(error)):
            raise ResourceError(
                f"{where}the processes that load data need more memory to share than {_SHARED} "
                f"has ({_shared()})",
                remedy="set data.workers=0, or enlarge it, in Docker by --shm-size",
            ) from None
        if not isinstance(error, MemoryError) and not _OUT.search(str(error)):
            raise
        there = None if "CUDA" in str(error) else available()
        left = "" if there is None else f" with {size_in_words(there)} available"
        raise ResourceError(
            f"{where}memory ran out{left} ({reason(error)})", remedy=remedy
        ) from None


def _shared() -> str:
    try:
        usage = shutil.disk_usage(_SHARED)
    except OSError:
        return "which is not there"
    return f"{usage.total / 1e6:,.2f} MB in all, {usage.free / 1e6:,.2f} MB free"


def available() -> int | None:
    """Bytes that this process may still take, by the machine, its job and its own limits.

    None where the system does not tell.
    """
    found = [_of_machine(), _of_limit(), *_of_cgroups()]
    return min((room for room in found if room is not None), default=None)


def _of_machine() -> int | None:
    """What can be had without writing other programs to disk, and what can then be written."""
    facts = _pairs(Path("/proc/meminfo"))
    if "MemAvailable" in facts:
        return 1024 * (facts["MemAvailable"] + facts.get("SwapFree", 0))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_limit() -> int | None:
    """What `ulimit -v` leaves."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - 1024 * _pairs(Path("/proc/self/status")).get("VmSize", 0))


def _of_cgroups() -> Iterator[int]:
    """What the groups leave that the process is in, as a container or a job of Slurm sets them."""
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        version = 1 if "memory" in controllers.split(",") else 0 if controllers else 2
        if version:
            folder = _CGROUPS if version == 2 else _CGROUPS / "memory"
            here = folder / place.lstrip("/")
            # Within a container the place may be that on its host.
            inside = [parent for parent in (here, *here.parents) if parent.is_relative_to(folder)]
            for group in inside or [folder]:
                yield from _of_cgroup(group, version)


def _of_cgroup(group: Path, version: int) -> Iterator[int]:
    limit_file, used_file, given_back = _FILES[version]
    limit, used = _number(group / limit_file), _number(group / used_file)
    if limit is not None and used is not None:
        yield max(0, limit - used + _pairs(group / "memory.stat").get(given_back, 0))


def _number(path: Path) -> int | None:
    """Number in a file; None if it holds another word, as for no limit, or is not there."""
    first = next(iter(_lines(path)), "")
    return int(first) if first.isdigit() else None


def _pairs(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    found = (re.match(r"(\w+):?\s+(\d+)", line) for line in _lines(path))
    return {match[1]: int(match[2]) for match in found if match}


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        return []


def size_in_words(size: int) -> str:
    """Bytes in words.

    >>> size_in_words(5_400_000_000), size_in_words(20_000_000), size_in_words(3 * 10**18)
    ('5.4 GB', '20 MB', '3,000,000,000 GB')
    """
    if size < 1e9:
        return f"{size / 1e6:.{int(size < 1e7)}f} MB"
    return f"{size / 1e9:,.{int(size < 1e11)}f} GB"
