"""Image files with the same bytes under two names."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path

import numpy as np

from volseg.cases.case import Case

_SAMPLE, _SAMPLES = 1 << 16, 4
# Empty slices are small files, and almost the same for all patients.
_SMALLEST = 1 << 12
_UNIFORM = 0.99


def image_keys(cases: Iterable[Case]) -> dict[str, frozenset[Hashable]]:
    """Keys by case id; two cases share a key if they share an image with the same bytes.

    Files are compared by size, and files of the same size by samples of 64 KiB, so that thousands
    of volumes take seconds. Images of a few bytes or of a single value are ignored. A stack of
    slices is compared as a whole.
    """
    by_size: dict[tuple[int, ...], list[tuple[Case, tuple[Path, ...]]]] = defaultdict(list)
    for case in cases:
        for paths in case.compared_files:
            try:
                sizes = tuple(path.stat().st_size for path in paths)
            except OSError:
                continue
            if sum(sizes) >= _SMALLEST:
                by_size[sizes].append((case, paths))
    keys: dict[str, set[Hashable]] = defaultdict(set)
    for sizes, members in by_size.items():
        if len({case.case_id for case, _ in members}) > 1:
            for case, paths in members:
                if key := _key(paths, sizes):
                    keys[case.case_id].add(key)
    return {case_id: frozenset(of_case) for case_id, of_case in keys.items()}


def _key(paths: Sequence[Path], sizes: Sequence[int]) -> Hashable:
    digest = hashlib.blake2b()
    varies = False
    for path, size in zip(paths, sizes, strict=True):
        try:
            samples = _samples(path, size)
        except OSError:
            return None
        digest.update(samples)
        counts = np.bincount(np.frombuffer(samples, np.uint8), minlength=1)
        varies |= counts.max() < _UNIFORM * len(samples)
    return (tuple(sizes), digest.hexdigest()) if varies else None


def _samples(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        if size <= _SAMPLE * _SAMPLES:
            return file.read()
        parts = []
        for number in range(_SAMPLES):
            file.seek(number * (size - _SAMPLE) // (_SAMPLES - 1))
            parts.append(file.read(_SAMPLE))
        return b"".join(parts)
