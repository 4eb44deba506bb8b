"""How much memory is available, and refusal of work that needs more, before it starts."""

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
# By version: the file of the limit, the file of the usage, the entry of usage that can be freed.
_FILES = {
    2: ("memory.max", "memory.current", "inactive_file"),
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
}
# Texts of libraries that raise other errors where memory, or room for a thread, is missing.
_OUT = re.compile(
    "can't allocate memory|cannot allocate memory|not enough memory|out of memory|bad_?alloc"
    "|unable to allocate|can't start new thread|failed to map segment",
    re.IGNORECASE,
)
# Texts of torch where processes cannot share more memory: the system ended workers, or there is no
# memory or space (errno 12, 28) for a shared file.
_NOT_SHARED = re.compile(r"workers are out of shared memory|</?torch_\w+>.*\((12|28)\)")
_SHARED = Path("/dev/shm")
_REMEDY = "use a machine or a job with more memory, or raise its limit"


def require(wanted: int, what: str, remedy: str = _REMEDY) -> None:
    """Refuse work that needs more memory than is available.

    Args:
        wanted: Bytes that the work needs at once.
        what: Subject of the message, such as "case a: 4 channels of 240 x 240 x 155 voxels".
        remedy: What the user can do.

    Raises:
        ResourceError: If less is available.
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
    """Turn errors of Python and its libraries that mean missing memory into a `ResourceError`.

    Args:
        what: Subject of the message; for a case, see `errors.of_case`.
        remedy: What the user can do.
    """
    where = f"{what}: " if what else ""
    try:
        yield
    except (MemoryError, RuntimeError, OSError, ImportError, SystemError) as error:
        if not isinstance(error, MemoryError) and _NOT_SHARED.search(str(error)):
            raise ResourceError(
                f"{where}the processes that load data need more shared memory than {_SHARED} "
                f"has ({_shared()})",
                remedy=f"set data.workers=0, or enlarge {_SHARED} (in Docker: --shm-size)",
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
    """Bytes that this process may still take, within the limits of machine, job and process.

    None if the system does not say.
    """
    found = [_of_machine(), _of_limit(), *_of_cgroups()]
    return min((room for room in found if room is not None), default=None)


def peak() -> int | None:
    """Most bytes of memory that this process has had at once; None if the system does not say."""
    kilobytes = _pairs(Path("/proc/self/status")).get("VmHWM")
    return None if kilobytes is None else 1024 * kilobytes


def _of_machine() -> int | None:
    """Memory that is available without swapping, and the free swap space."""
    facts = _pairs(Path("/proc/meminfo"))
    if "MemAvailable" in facts:
        return 1024 * (facts["MemAvailable"] + facts.get("SwapFree", 0))
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def _of_limit() -> int | None:
    """Bytes left by `ulimit -v`."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return None
    return max(0, limit - 1024 * _pairs(Path("/proc/self/status")).get("VmSize", 0))


def _of_cgroups() -> Iterator[int]:
    """Bytes left by each cgroup of this process, as containers and Slurm jobs set them."""
    for line in _lines(Path("/proc/self/cgroup")):
        _, controllers, place = [*line.split(":", 2), "", ""][:3]
        version = 1 if "memory" in controllers.split(",") else 0 if controllers else 2
        if version:
            folder = _CGROUPS if version == 2 else _CGROUPS / "memory"
            here = folder / place.lstrip("/")
            # In a container this path may be that of the host.
            inside = [parent for parent in (here, *here.parents) if parent.is_relative_to(folder)]
            for group in inside or [folder]:
                yield from _of_cgroup(group, version)


def _of_cgroup(group: Path, version: int) -> Iterator[int]:
    limit_file, used_file, given_back = _FILES[version]
    limit, used = _number(group / limit_file), _number(group / used_file)
    if limit is not None and used is not None:
        yield max(0, limit - used + _pairs(group / "memory.stat").get(given_back, 0))


def _number(path: Path) -> int | None:
    """Number in a file; None if the file is missing or holds a word, such as `max`."""
    first = next(iter(_lines(path)), "")
    return int(first) if first.isdigit() else None


def _pairs(path: Path) -> dict[str, int]:
    """Numbers by name, from lines of a name and a number."""
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
