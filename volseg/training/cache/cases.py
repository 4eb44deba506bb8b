"""Decoded, preprocessed cases on disk, memory-mapped, so that a patch costs a few milliseconds.

An entry is a folder of arrays; of the image, only tissue is stored, with its mask. The name of the
entry holds a hash of everything that it depends on: the preprocessing, the label scheme, and path,
size and modification time of each source file. So an entry is never stale, and several runs may
share a cache. An entry is written under another name and renamed when complete, since ranks,
workers and jobs may build the same entry at the same time.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout

from volseg import memory, signals
from volseg.cases.case import Case
from volseg.confidence.case_profile import CaseProfile
from volseg.config import ExperimentConfig
from volseg.errors import DataListError, OutputError, SchemeError, VolsegError, of_case
from volseg.files.documents import read_json
from volseg.files.writing import make_folder
from volseg.images.boxes import placed
from volseg.images.grid import Grid
from volseg.progress import track
from volseg.ranks import cores
from volseg.runs.schemes import case_scheme
from volseg.training.cache.array_files import Form, is_whole, mapped, write_arrays
from volseg.training.cache.case_arrays import prepare
from volseg.training.cache.packed_tissue import TissueArray
from volseg.words import reason

logger = logging.getLogger(__name__)

# Increase it when entries of older versions can no longer be read.
_FORMAT = 7
_META = "meta.json"
# Hidden name of an unfinished entry: the final name and a random part.
_UNFINISHED = re.compile(r"\..+-[0-9a-f]{20}-[0-9a-f]{8}")


@dataclass(frozen=True)
class CachedCase:
    """A preprocessed case on disk.

    Arrays are mapped anew at each access: a map keeps a file open, and a process may open fewer
    files than there are cases.

    Attributes:
        case: The case, with its source files.
        entry: Folder of the arrays.
        image_grid: Grid of `image` and `bits`.
        scan_grid: Grid of the source files.
        missing: Missing channels; zeros or another channel stand in for them.
        notes: Unusual grey values, and how preprocessing treated them.
        axis: Axis along which the planes of `image` are stored.
        bits_at: First voxel of the stored part of `bits`, the box of all regions.
        reference_at: First voxel of `reference` on the grid of the source files.
        forms: Type and shape of each array, by name.
        profile: Numbers with which a new case is compared.
    """

    case: Case
    entry: Path
    image_grid: Grid
    scan_grid: Grid
    missing: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    axis: int = 0
    bits_at: tuple[int, int, int] = (0, 0, 0)
    reference_at: tuple[int, int, int] = (0, 0, 0)
    forms: Mapping[str, Form] = field(default_factory=dict)
    profile: CaseProfile = field(default_factory=CaseProfile)

    @property
    def image(self) -> TissueArray:
        """float16 (C, I, J, K), as `transforms.preprocess` returns it."""
        values = self._array("image")
        shape = (len(values), *self.image_grid.shape)
        return TissueArray(self._array("tissue"), values, shape, self.axis)

    @property
    def bits(self) -> npt.NDArray[np.uint8]:
        """(I, J, K); bit r is set where the voxel lies in region r."""
        bits = self._array("bits")
        return placed(bits, _box(self.bits_at, bits.shape), self.image_grid.shape)

    @property
    def reference(self) -> npt.NDArray[np.uint8]:
        """Bits as in `bits`, on the grid of the source files, within `reference_box`."""
        return self._array("reference")

    @property
    def reference_box(self) -> tuple[slice, ...]:
        """Part of the source files outside which no voxel lies in a region."""
        return _box(self.reference_at, self.reference.shape)

    @property
    def foreground(self) -> npt.NDArray[np.int16]:
        """(R, n, 3): n voxels of each region, drawn with repeats; -1 if the region is empty."""
        return self._array("foreground")

    @property
    def stored_bytes(self) -> int:
        """Bytes of all files of the entry."""
        return sum(path.stat().st_size for path in self.entry.iterdir())

    def _array(self, name: str) -> npt.NDArray[Any]:
        return mapped(self.entry / f"{name}.npy", self.forms[name])


def _box(start: Sequence[int], shape: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(first, first + n) for first, n in zip(start, shape, strict=True))


def build_cache(
    cases: Sequence[Case], config: ExperimentConfig, folder: Path
) -> tuple[tuple[CachedCase, ...], tuple[tuple[str, str], ...]]:
    """Prepare the cases that the cache does not hold yet, and open all cases.

    If several processes share a cache, one of them prepares cases while the others wait.

    Args:
        cases: Cases with a label map.
        config: The experiment.
        folder: The cache, made if missing.

    Returns:
        The cases that could be read, in order, and `(case_id, reason)` of all other cases.

    Raises:
        LabelError: If a label map contradicts its label scheme and fits another.
        OutputError: If the folder cannot be written.
        Stopped: If a signal recorded by `signals.record` has arrived.
    """
    make_folder(folder, "set data.cache_dir")

    def load(case: Case) -> CachedCase | tuple[str, str]:
        if signals.received():
            raise signals.Stopped("stopped while preparing the cases; call again")
        try:
            with of_case(case.case_id), memory.in_words():
                return read_cached(case, config, folder) or _build(case, config, folder)
        except OutputError:
            raise
        except SchemeError as error:
            # Only cases without the labels that differ would remain, for example all without ET.
            if error.fitting:
                options = "in the data list, or labels of the config"
                raise error.of_all(case.case_id, "no case is prepared", options) from None
            return case.case_id, error.without_case
        except VolsegError as error:
            return case.case_id, error.without_case

    def look(case: Case) -> CachedCase | None:
        with contextlib.suppress(VolsegError):
            return read_cached(case, config, folder)
        return None

    results: list[Any]
    # Without the lock, so that hundreds of ranks need not wait if the cache is complete.
    with ThreadPoolExecutor(cores()) as pool:
        results = list(pool.map(look, cases))
    if None in results:
        logger.info("preparing %d of %d cases in %s", results.count(None), len(cases), folder)
        # The lock is held until the last thread is done, also after an error.
        with _alone(folder), ThreadPoolExecutor(cores()) as pool:
            results = list(track(pool.map(load, cases), "preparing cases", len(cases)))
    failures = tuple(result for result in results if isinstance(result, tuple))
    return tuple(r for r in results if isinstance(r, CachedCase)), failures


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold the lock of a cache; the lock of a killed process is free."""
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
        # Some cluster file systems have no locks. Then a case may be prepared twice, and the entry
        # that is complete first is kept.
        logger.info("%s cannot be locked; other processes may prepare the same cases", folder)
    try:
        _remove_unfinished(folder, lock)
        yield
    finally:
        lock.release()


def _remove_unfinished(folder: Path, lock: FileLock) -> None:
    """Remove unfinished entries of killed processes, if the lock excludes other builders."""
    if lock.is_locked:
        for path in folder.glob(".*-*"):
            # The folder may hold other files too.
            if _UNFINISHED.fullmatch(path.name):
                shutil.rmtree(path, ignore_errors=True)


def read_cached(case: Case, config: ExperimentConfig, folder: Path) -> CachedCase | None:
    """The entry of a case, or None if the cache has no complete entry for its present files."""
    return _open(folder / _entry_name(case, config), case)


def _open(entry: Path, case: Case) -> CachedCase | None:
    try:
        meta = _read_meta(entry / _META)
        forms = {name: (dtype, tuple(shape)) for name, (dtype, shape) in meta["forms"].items()}
        if not all(is_whole(entry / f"{name}.npy", form) for name, form in forms.items()):
            return None
        return CachedCase(
            case=case,
            entry=entry,
            image_grid=Grid(tuple(meta["shape"]), np.array(meta["affine"])),
            scan_grid=Grid(tuple(meta["grid_shape"]), np.array(meta["grid_affine"])),
            missing=tuple(meta["missing"]),
            notes=tuple(meta["notes"]),
            axis=meta["axis"],
            bits_at=tuple(meta["bits_at"]),
            reference_at=tuple(meta["reference_at"]),
            forms=forms,
            profile=CaseProfile.from_dict(meta["profile"]),
        )
    except (OSError, DataListError):
        return None


def _read_meta(path: Path) -> dict[str, Any]:
    """Content written by `_write_meta`; DataListError if it cannot be read or has changed."""
    content = read_json(path, DataListError)
    if not isinstance(content, dict) or content.pop("sha256", None) != _sha256(content):
        raise DataListError(f"{path} is damaged", remedy="remove its folder", path=path)
    return content


def _write_meta(path: Path, meta: Mapping[str, Any]) -> None:
    path.write_text(json.dumps({**meta, "sha256": _sha256(meta)}), encoding="utf-8")


def _sha256(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _entry_name(case: Case, config: ExperimentConfig) -> str:
    sources = [*case.images, *case.label]
    try:
        stats = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sources]
    except OSError as error:
        raise DataListError(
            f"{error.filename} cannot be read ({reason(error)})", remedy="check data.data_root"
        ) from None
    scheme = case_scheme(case, config)
    depends_on: dict[str, Any] = {
        "format": _FORMAT,
        "preprocessing": config.preprocessing.digest,
        "case_channels": case.channels,
        "case_spacing_mm": case.spacing_mm,
        "regions": {region: scheme.regions[region] for region in config.labels.regions},
        "labels": dict(scheme.labels),
        "sources": stats,
    }
    if config.data.channels_optional and set(config.data.channels) - set(case.channels):
        # A run that needs all channels must not find the entry of a case that lacks some.
        depends_on["channels_optional"] = True
    return f"{case.case_id}-{_sha256(depends_on)[:20]}"


def _build(case: Case, config: ExperimentConfig, folder: Path) -> CachedCase:
    arrays, meta = prepare(case, config)
    entry = folder / _entry_name(case, config)
    unfinished = folder / f".{entry.name}-{secrets.token_hex(4)}"
    try:
        unfinished.mkdir()
        forms = write_arrays(unfinished, arrays)
        _write_meta(unfinished / _META, {**meta, "forms": forms})
        _put_in_place(unfinished, entry, case)
    except OSError as error:
        raise OutputError(
            f"cache {folder} cannot be written ({reason(error)})",
            remedy="free some space or set data.cache_dir to another folder",
        ) from None
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    found = _open(entry, case)
    if found is None:
        raise OutputError(f"cache entry {entry} vanished while being opened", remedy="start again")
    return found


def _put_in_place(unfinished: Path, entry: Path, case: Case) -> None:
    """Rename the entry; an entry of another process is kept unless it is damaged."""
    try:
        unfinished.rename(entry)
    except OSError:
        if not entry.is_dir():
            raise
        if _open(entry, case) is None:
            shutil.rmtree(entry, ignore_errors=True)
            unfinished.rename(entry)
