"""Decoded, preprocessed cases on disk, memory-mapped, so that a patch costs a few milliseconds.

An entry is a folder of plain arrays. Its name holds a hash of everything that it depends on: the
preprocessing, the label scheme and the path, size and time of change of each source file. So an
entry is never stale, and several runs may share a cache. It is written under another name and
renamed when it is whole: ranks, workers and jobs may build the same one at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from volseg import signals
from volseg.config import ExperimentConfig
from volseg.datalist import Case
from volseg.errors import DataListError, LabelError, OutputError, VolsegError
from volseg.files import make_folder
from volseg.labels import LabelScheme, get_scheme
from volseg.nifti import Grid, check_same_grid
from volseg.progress import track
from volseg.ranks import cores
from volseg.scans import read_images, read_reference
from volseg.transforms import preprocess, preprocess_masks

logger = logging.getLogger(__name__)

# To be raised when entries written by an older version must not be read any more.
_FORMAT = 2
_FOREGROUND_VOXELS = 5000
# A hidden name of an entry, and what tells apart those who build it.
_UNFINISHED = re.compile(r"\..+-[0-9a-f]{20}-[0-9a-f]{8}")


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case on disk.

    Its arrays are mapped anew at each access: a map holds a file open, and a process may hold
    fewer files than there are cases.

    Attributes:
        case: Where it came from.
        entry: Folder of the arrays.
        affine: Voxel to world of `image`, (4, 4), mm.
        grid: Grid of the source files.
        missing: Channels that another one stands in for.
    """

    case: Case
    entry: Path
    affine: npt.NDArray[np.float64]
    grid: Grid
    missing: tuple[str, ...] = ()

    @property
    def image(self) -> npt.NDArray[np.float16]:
        """(C, I, J, K), as `transforms.preprocess` returns it."""
        return self._array("image")

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """(I, J, K); bit r is set where the voxel lies in region r."""
        return self._array("bits")

    @property
    def foreground(self) -> npt.NDArray[np.int16]:
        """(R, n, 3): n voxels of each region, drawn once, with repeats; -1 if it is empty."""
        return self._array("foreground")

    def _array(self, name: str) -> npt.NDArray[Any]:
        array: npt.NDArray[Any] = np.load(self.entry / f"{name}.npy", mmap_mode="r")
        return array


def case_scheme(case: Case, config: ExperimentConfig) -> LabelScheme:
    """Label scheme of a case: its own, else that of the config.

    Raises:
        LabelError: If the scheme of the case lacks a region of the config.
    """
    scheme = config.labels if case.labels is None else get_scheme(case.labels)
    missing = [region for region in config.labels.regions if region not in scheme.regions]
    if missing:
        raise LabelError(
            f"case {case.case_id} has labels {scheme.name!r}, which knows no region {missing}, but "
            f"the config trains {list(config.labels.regions)}; leave the case out of the list"
        )
    return scheme


def read_masks(
    case: Case, config: ExperimentConfig, grid: Grid | None = None
) -> npt.NDArray[np.bool_]:
    """Region masks of the reference of a case, (R, I, J, K), regions in the order of the config.

    Args:
        case: A case with a label map.
        config: Names the regions.
        grid: Grid of the images, which the label map must share; None leaves that unchecked.

    Raises:
        DataListError: If the case has no label map.
        GeometryError: If it lies on another grid.
        LabelError: If it holds values that its scheme does not define.
    """
    scheme = case_scheme(case, config)
    label_map, label_grid = read_reference(case)
    if grid is not None:
        check_same_grid({"image": grid, f"label map of {case.case_id}": label_grid})
    scheme.check(np.unique(label_map), where=f"label map {case.label[0].name}")
    rows = [list(scheme.regions).index(region) for region in config.labels.regions]
    return scheme.masks(label_map)[rows]


def build_cache(
    cases: Sequence[Case], config: ExperimentConfig, folder: Path
) -> tuple[tuple[CachedCase, ...], tuple[tuple[str, str], ...]]:
    """Decode the cases that the cache does not hold yet, and open all of them.

    Of the processes that share a cache, one decodes while the others wait.

    Args:
        cases: Cases with a label map.
        config: Says how to preprocess.
        folder: The cache; made if need be.

    Returns:
        The cases that could be read, in order, and `(case_id, reason)` of those that could not.

    Raises:
        OutputError: If the folder cannot be written.
        Stopped: If a signal that `signals.hold` notes has come.
    """
    make_folder(folder, "set data.cache_dir")

    def load(case: Case) -> CachedCase | tuple[str, str]:
        if signals.received():
            raise signals.Stopped("stopped while preparing the cases; call again")
        try:
            return read_cached(case, config, folder) or _build(case, config, folder)
        except OutputError:
            raise
        except VolsegError as error:
            return case.case_id, str(error)

    def look(case: Case) -> CachedCase | None:
        with contextlib.suppress(VolsegError):
            return read_cached(case, config, folder)
        return None

    results: list[Any]
    with ThreadPoolExecutor(cores()) as pool:
        # Without the lock: hundreds of ranks that find all there need not wait for one another.
        results = list(pool.map(look, cases))
        if None in results:
            logger.info("preparing %d of %d cases in %s", results.count(None), len(cases), folder)
            with _alone(folder):
                results = list(track(pool.map(load, cases), "preparing cases", len(cases)))
    failures = tuple(result for result in results if isinstance(result, tuple))
    return tuple(r for r in results if isinstance(r, CachedCase)), failures


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache; one that a killed process held is free."""
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        logger.info("waiting for another process that prepares cases in %s", folder)
        while not lock.is_locked:
            if signals.received():
                raise signals.Stopped("stopped while waiting for the cache; call again") from None
            with contextlib.suppress(Timeout):
                lock.acquire(timeout=1)
    except (OSError, NotImplementedError):
        # Some cluster file systems lock nothing. Then cases may be decoded twice, and the entry
        # that is whole first stays.
        logger.info("%s cannot be locked; other processes may prepare the same cases", folder)
    try:
        _remove_unfinished(folder, lock)
        yield
    finally:
        lock.release()


def _remove_unfinished(folder: Path, lock: FileLock) -> None:
    """Remove entries that were begun by a process that was killed; nobody else builds any now."""
    if lock.is_locked:
        for path in folder.glob(".*-*"):
            # The folder may be the home of other things.
            if _UNFINISHED.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def read_cached(case: Case, config: ExperimentConfig, folder: Path) -> CachedCase | None:
    """The entry of a case, or None if the cache holds no whole one for these very files."""
    return _open(folder / _entry_name(case, config), case)


def _open(entry: Path, case: Case) -> CachedCase | None:
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        grid = Grid(tuple(meta["grid_shape"]), np.array(meta["grid_affine"]))
        found = CachedCase(case, entry, np.array(meta["affine"]), grid, tuple(meta["missing"]))
        # Mapping compares the size of each file with what its header says.
        _ = found.image, found.bits, found.foreground
    except (OSError, ValueError, KeyError):
        return None
    return found


def _entry_name(case: Case, config: ExperimentConfig) -> str:
    sources = [*case.images, *case.label]
    try:
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    except OSError as error:
        raise DataListError(
            f"{error.filename} cannot be read ({error.strerror}); check data.data_root"
        ) from None
    scheme = case_scheme(case, config)
    depends_on: dict[str, Any] = {
        "format": _FORMAT,
        "channels": config.data.channels,
        "case_channels": case.channels,
        "spacing_mm": config.data.spacing_mm,
        "background": config.data.background,
        "intensity": config.data.intensity,
        "fill_missing": config.data.fill_missing,
        "case_spacing_mm": case.spacing_mm,
        "spatial_dims": config.spatial_dims,
        "regions": {region: scheme.regions[region] for region in config.labels.regions},
        "labels": dict(scheme.labels),
        "sources": stats,
    }
    digest = hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()
    return f"{case.case_id}-{digest[:20]}"


def _build(case: Case, config: ExperimentConfig, folder: Path) -> CachedCase:
    images = read_images(case, config.data.channels, config.data.fill_missing)
    masks = read_masks(case, config, images.grid)
    done = preprocess(images, config.data, config.spatial_dims)
    regions = preprocess_masks(masks, images.grid, done)
    weights = (1 << np.arange(len(regions), dtype=np.uint8)).reshape(-1, 1, 1, 1)
    bits = (regions * weights).sum(axis=0, dtype=np.uint8)
    meta = {
        "affine": done.affine.tolist(),
        "grid_shape": list(images.grid.shape),
        "grid_affine": images.grid.affine.tolist(),
        "missing": images.missing,
    }
    entry = folder / _entry_name(case, config)
    unfinished = folder / f".{entry.name}-{secrets.token_hex(4)}"
    try:
        unfinished.mkdir()
        np.save(unfinished / "image.npy", done.image)
        np.save(unfinished / "bits.npy", bits)
        np.save(unfinished / "foreground.npy", _foreground(regions))
        (unfinished / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
        _put_in_place(unfinished, entry, case)
    except OSError as error:
        raise OutputError(
            f"cache {folder} cannot be written ({error.strerror}); "
            "free some space or set data.cache_dir to another folder"
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    found = _open(entry, case)
    if found is None:
        raise OutputError(f"cache entry {entry} vanished while it was opened; start again")
    return found


def _put_in_place(unfinished: Path, entry: Path, case: Case) -> None:
    """Rename; where another process was first its entry stays, unless it is damaged."""
    try:
        unfinished.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        if _open(entry, case) is None:
            shutil.rmtree(entry, ignore_errors=True)
            unfinished.rename(entry)


def _foreground(regions: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """Voxels of each region, drawn with a fixed seed so that every machine has the same."""
    generator = np.random.default_rng(0)
    result = np.full((len(regions), _FOREGROUND_VOXELS, 3), -1, dtype=np.int16)
    for row, region in zip(result, regions, strict=True):
        voxels = np.argwhere(region)
        if len(voxels):
            row[:] = voxels[generator.integers(len(voxels), size=_FOREGROUND_VOXELS)]
    return result
