"""Scores of validation cases, computed in threads while the network segments the next case.

On a GPU, segmenting a case takes less time than scoring it, and the processor waits between two
windows. NumPy and cc3d release Python's lock while they compute, so threads suffice, and the
probabilities need not be sent to another process.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.config import ExperimentConfig
from volseg.images.boxes import placed, union
from volseg.labels import Masks
from volseg.metrics import RegionPair, ScoreRow, SliceRow, region_overlaps, slice_rows
from volseg.ranks import cores
from volseg.training.cache.cases import CachedCase
from volseg.training.case_views import axial, decoded_masks
from volseg.training.datamodule import masks_of
from volseg.transforms import covered

_MOST_THREADS = 2


@dataclass(frozen=True)
class CaseScores:
    """Rows of a case: one per region, and in 2D one per region and slice."""

    rows: tuple[ScoreRow, ...]
    slices: tuple[SliceRow, ...] = ()


def scored_box(case: CachedCase, config: ExperimentConfig) -> tuple[slice, ...]:
    """Part of the scan outside which neither prediction nor reference has a voxel of any region.

    In 2D it is the whole scan, since every slice has a score.
    """
    if config.by_slice:
        return tuple(slice(0, size) for size in case.scan_grid.shape)
    boxes = [covered(case.image_grid, case.scan_grid)]
    if case.reference.size:
        boxes.append(case.reference_box)
    return union(boxes)


def score_case(
    case: CachedCase,
    probabilities: npt.NDArray[np.float32],
    box: tuple[slice, ...],
    config: ExperimentConfig,
) -> CaseScores:
    """Scores of a case on the grid of its files.

    Args:
        case: The case, with its reference.
        probabilities: (R, *) within `box` of the scan.
        box: Part of the scan, as returned by `scored_box`.
        config: The experiment, with regions and options of decoding.
    """
    case_id = case.case.case_id
    prediction, reference = compared_masks(case, probabilities, box, config)
    overlaps = region_overlaps(prediction, reference)
    voxel_ml = case.scan_grid.voxel_ml if case.case.has_size else None
    rows = tuple(
        ScoreRow.of(case_id, region, RegionPair(overlap, voxel_ml))
        for region, overlap in overlaps.items()
    )
    if not config.by_slice:
        return CaseScores(rows)
    predicted, expected = (axial(masks, case.scan_grid) for masks in (prediction, reference))
    return CaseScores(rows, tuple(slice_rows(case_id, predicted, expected)))


def compared_masks(
    case: CachedCase,
    probabilities: npt.NDArray[np.float32],
    box: tuple[slice, ...],
    config: ExperimentConfig,
) -> tuple[Masks, Masks]:
    """Masks of prediction and reference within `box`; arguments as for `score_case`."""
    regions = tuple(config.labels.regions)
    prediction = decoded_masks(probabilities, config, case.scan_grid.voxel_ml)
    packed = reference_within(case, box)
    return prediction, dict(zip(regions, masks_of(packed, len(regions)), strict=True))


def reference_within(case: CachedCase, box: tuple[slice, ...]) -> npt.NDArray[np.uint8]:
    """Bits of the reference within `box`, which contains all its regions."""
    inside = tuple(
        slice(own.start - part.start, own.stop - part.start)
        for own, part in zip(case.reference_box, box, strict=True)
    )
    shape = [part.stop - part.start for part in box]
    return placed(case.reference, inside if case.reference.size else (slice(0, 0),) * 3, shape)


def scoring_threads(processes: int = 1) -> int:
    """Number of threads that score, on the cores that the loaders of training leave idle.

    Args:
        processes: Training processes that share the cores.
    """
    return min(_MOST_THREADS, max(1, cores(processes) - 1))


class Scorer:
    """Scores cases in threads; results are in the order in which the cases were given.

    Args:
        threads: Number of threads. No further case is queued, so that memory stays bounded.
    """

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._pool: ThreadPoolExecutor | None = None
        self._waiting: deque[Future[CaseScores]] = deque()
        self._found: list[CaseScores] = []

    def give(self, score: Callable[[], CaseScores]) -> None:
        """Call `score` in the next free thread; raises the error of an earlier call, if any."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self.threads, thread_name_prefix="scoring")
        while len(self._waiting) >= self.threads:
            self._found.append(self._waiting.popleft().result())
        self._waiting.append(self._pool.submit(score))

    def take(self) -> list[CaseScores]:
        """Wait for all scores since the last call and return them in order."""
        while self._waiting:
            self._found.append(self._waiting.popleft().result())
        found, self._found = self._found, []
        self.close()
        return found

    def close(self) -> None:
        """End the threads and discard their results; calls not yet begun are cancelled."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
        self._pool, self._found = None, []
        self._waiting.clear()
