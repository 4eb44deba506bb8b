"""Decoded, preprocessed cases on disk, memory-mapped, so that a patch costs a few milliseconds.

An entry is a folder of arrays; the background of the image is left out. Its name holds a hash of
everything that it depends on: the preprocessing, the label scheme and the path, size and time of
change of each source file. So an entry is never stale, and several runs may share a cache. It is
written under another name and renamed when it is whole: ranks, workers and jobs may build the same
one at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import math
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from volseg import signals
from volseg.boxes import bounding_box
from volseg.config import ExperimentConfig
from volseg.datalist import Case
from volseg.errors import DataListError, LabelError, OutputError, VolsegError
from volseg.files import make_folder
from volseg.labels import LabelScheme, get_scheme
from volseg.nifti import Grid, check_same_grid
from volseg.progress import track
from volseg.ranks import cores
from volseg.scans import read_images, read_reference
from volseg.training.tissue import TissueArray, pack
from volseg.transforms import Preprocessed, preprocess, preprocess_masks
from volseg.transforms.resampling import scaling

logger = logging.getLogger(__name__)

# To be raised when entries written by an older version must not be read any more.
_FORMAT = 3
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
        shape: Of `bits`, and of a channel of `image`.
        missing: Channels that another one stands in for.
        axis: Along which the planes of `image` are stored.
        bits_at: First voxel of the box of all regions, which `bits` are stored of.
    """

    case: Case
    entry: Path
    affine: npt.NDArray[np.float64]
    grid: Grid
    shape: tuple[int, int, int]
    missing: tuple[str, ...] = ()
    axis: int = 0
    bits_at: tuple[int, int, int] = (0, 0, 0)

    @property
    def image(self) -> TissueArray:
        """float16 (C, I, J, K), as `transforms.preprocess` returns it."""
        values = self._array("image")
        return TissueArray(self._array("tissue"), values, (len(values), *self.shape), self.axis)

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """(I, J, K); bit r is set where the voxel lies in region r."""
        box = self._array("bits")
        ends = zip(self.bits_at, box.shape, strict=True)
        bits = np.zeros(self.shape, np.uint8)
        bits[tuple(slice(start, start + size) for start, size in ends)] = box
        return bits

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
    label_map, label_grid = read_reference(case)
    if grid is not None:
        check_same_grid({"image": grid, f"label map of {case.case_id}": label_grid})
    return _masks(label_map, np.unique(label_map), case, config)


def _masks(
    label_map: npt.NDArray[np.uint8], values: Iterable[int], case: Case, config: ExperimentConfig
) -> npt.NDArray[np.bool_]:
    """Region masks of a label map that holds `values`, regions in the order of the config."""
    scheme = case_scheme(case, config)
    scheme.check(values, where=f"label map {case.label[0].name}")
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
        found = CachedCase(
            case=case,
            entry=entry,
            affine=np.array(meta["affine"]),
            grid=grid,
            shape=tuple(meta["shape"]),
            missing=tuple(meta["missing"]),
            axis=meta["axis"],
            bits_at=tuple(meta["bits_at"]),
        )
        # Mapping compares the size of each file with what its header says.
        _ = found.image, found._array("bits"), found.foreground
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
    done, missing = _prepared(case, config)
    bits, foreground = _regions(case, config, done)
    box = bounding_box(bits > 0)
    # A patch takes few planes where they are those of its thinnest axis.
    axis = 2 if config.spatial_dims == 2 else 0
    mask, values = pack(done.image, axis)
    meta = {
        "affine": done.affine.tolist(),
        "grid_shape": list(done.grid.shape),
        "grid_affine": done.grid.affine.tolist(),
        "shape": list(bits.shape),
        "axis": axis,
        "bits_at": [part.start for part in box],
        "missing": missing,
    }
    arrays = {"image": values, "tissue": mask, "bits": bits[box], "foreground": foreground}
    entry = folder / _entry_name(case, config)
    unfinished = folder / f".{entry.name}-{secrets.token_hex(4)}"
    try:
        unfinished.mkdir()
        for name, array in arrays.items():
            np.save(unfinished / f"{name}.npy", np.ascontiguousarray(array))
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


def _prepared(case: Case, config: ExperimentConfig) -> tuple[Preprocessed, tuple[str, ...]]:
    """The preprocessed images, those read being forgotten, and the channels that are missing."""
    images = read_images(case, config.data.channels, config.data.fill_missing)
    return preprocess(images, config.data, config.spatial_dims), images.missing


def _regions(
    case: Case, config: ExperimentConfig, done: Preprocessed
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int16]]:
    """Bits (I, J, K) and foreground of the label map on the grid of a preprocessed image."""
    label_map, grid = read_reference(case)
    check_same_grid({"image": done.grid, f"label map of {case.case_id}": grid})
    # Only the box of the labels is worked on. A coarser voxel reaches that far beyond it.
    ratio = max(np.linalg.norm(done.affine[:3, :3], axis=0)) / min(grid.spacing_mm)
    box = bounding_box(label_map != 0, margin=math.ceil(ratio) + 2)
    labels = label_map[box]
    if not labels.size:
        box, labels = (slice(1), slice(1), slice(1)), label_map[:1, :1, :1]
    moved = grid.affine @ scaling((1, 1, 1), [part.start for part in box])
    i, j, k = labels.shape
    masks = _masks(labels, np.unique(labels), case, config)
    regions = preprocess_masks(masks, Grid((i, j, k), moved), done)
    bits = np.zeros(regions.shape[1:], np.uint8)
    for number, region in enumerate(regions):
        bits |= region.view(np.uint8) << number
    return bits, _foreground(regions)


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
        voxels = np.flatnonzero(region)
        if len(voxels):
            drawn = voxels[generator.integers(len(voxels), size=_FOREGROUND_VOXELS)]
            row[:] = np.stack(np.unravel_index(drawn, region.shape), axis=1)
    return result
