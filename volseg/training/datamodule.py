"""Patches for training and whole cases for validation, from the cache.

Sample number n depends on the seed and n alone, not on the number of workers or on earlier samples.
So runs are reproducible, and a resumed run draws the same samples as a run that never stopped.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from volseg import signals
from volseg.compat.lightning import end_loaders
from volseg.compat.torch import ProcessLoader
from volseg.config import ExperimentConfig
from volseg.errors import ResourceError
from volseg.ranks import cores
from volseg.training.batches import collate, on_gpu, sample_of, unpacked
from volseg.training.cache.cases import CachedCase
from volseg.training.cache.packed_tissue import TissueArray
from volseg.transforms.augmentation import augmentation
from volseg.words import reason

logger = logging.getLogger(__name__)


class PatchDataset(Dataset[dict[str, torch.Tensor]]):
    """Random augmented patches; sample n is `{"image": (C, *patch), "mask": (R, *patch)}`.

    Args:
        cases: Cases to cut patches from.
        config: The experiment.
        packed: Whether samples are packed for a GPU; see `sample_of`.
    """

    def __init__(
        self, cases: Sequence[CachedCase], config: ExperimentConfig, *, packed: bool = False
    ) -> None:
        self.cases = cases
        self.config = config
        self.packed = packed
        fill = config.data.fill_missing
        self.augment = augmentation(
            config.augmentation,
            config.spatial_dims,
            None if fill is None else config.data.channels.index(fill),
            config.data.spacing_mm[: config.spatial_dims],
            config.data.channel_dropout,
        )
        # A slice is a patch with a thickness of one voxel.
        self.patch_size = (*config.data.patch_size, 1)[:3]
        # Cases that hold each region, so that a rare region is drawn as often as the others.
        held = np.array([case.foreground[:, 0, 0] >= 0 for case in cases])
        self.holders = [(r, np.flatnonzero(cases)) for r, cases in enumerate(held.T) if cases.any()]

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        case, start = self.place(index)
        image = case.image
        sample = {
            "image": torch.from_numpy(cut(image, start, self.patch_size)),
            "tissue": torch.from_numpy(cut(image.tissue, start, self.patch_size)),
            "mask": torch.from_numpy(cut(case.bits[None], start, self.patch_size)),
        }
        if self.config.by_slice:
            sample = {name: tensor[..., 0] for name, tensor in sample.items()}
        seed = np.random.SeedSequence([self.config.training.seed, index, 2]).generate_state(1)[0]
        sample = self.augment.set_random_state(seed=int(seed))(sample)
        regions = len(self.config.labels.regions)
        return sample_of(sample["image"], sample["mask"][0], regions, packed=self.packed)

    def place(self, index: int) -> tuple[CachedCase, npt.NDArray[np.int64]]:
        """Case that sample `index` is cut from, and its first voxel."""
        generator = np.random.default_rng([self.config.training.seed, index])
        if self.holders and generator.random() < self.config.data.foreground_share:
            region, holders = self.holders[generator.integers(len(self.holders))]
            case = self.cases[generator.choice(holders)]
            voxels = case.foreground[region]
            centre = voxels[generator.integers(len(voxels))].astype(np.int64)
        else:
            case, centre = self._case_of_round(index), None
        return case, self._corner(np.array(case.image_grid.shape), centre, generator)

    def _case_of_round(self, index: int) -> CachedCase:
        """Case of a sample that is not centred on a region: each round has all cases, shuffled."""
        turn, place = divmod(index, len(self.cases))
        order = np.random.default_rng([self.config.training.seed, turn, 1])
        return self.cases[order.permutation(len(self.cases))[place]]

    def _corner(
        self,
        shape: npt.NDArray[np.int64],
        centre: npt.NDArray[np.int64] | None,
        generator: np.random.Generator,
    ) -> npt.NDArray[np.int64]:
        """First voxel of a patch around `centre` (None: anywhere); negative if the patch is larger
        than the image.
        """
        size = np.array(self.patch_size)
        last = np.maximum(shape - size, 0)
        start = generator.integers(last + 1) if centre is None else centre - size // 2
        return np.where(shape >= size, np.clip(start, 0, last), (shape - size) // 2)


def masks_of(bits: npt.NDArray[np.uint8], regions: int) -> npt.NDArray[np.bool_]:
    """Region masks (R, I, J, K) of the bits (I, J, K) of a cached case."""
    places = np.arange(regions, dtype=np.uint8).reshape(-1, 1, 1, 1)
    return (bits >> places) & 1 > 0


def cut(
    array: npt.NDArray[Any] | TissueArray, start: npt.NDArray[np.int64], size: Sequence[int]
) -> npt.NDArray[Any]:
    """Block of an array (C, I, J, K) from voxel `start` on, with zeros outside the array."""
    block = np.empty((len(array), *size), dtype=array.dtype)
    low = np.maximum(start, 0)
    high = np.minimum(start + size, array.shape[1:])
    source = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    target = tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))
    if (low > start).any() or (high < start + size).any():
        block[...] = 0
    block[(slice(None), *target)] = array[(slice(None), *source)]
    return block


class EpochSampler(Sampler[int]):
    """Sample numbers of one epoch of a rank; no number repeats within a run, on any rank.

    The first iteration skips `done` samples: those already drawn in the epoch where a run resumes.
    """

    def __init__(self, samples: int, rank: int = 0, world_size: int = 1) -> None:
        self.samples = samples
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.done = 0

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; Lightning calls this before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.samples

    def __iter__(self) -> Iterator[int]:
        first = self.epoch * self.samples * self.world_size + self.rank
        numbers = range(first, first + self.samples * self.world_size, self.world_size)
        done, self.done = self.done, 0
        return iter(numbers[done:])


@contextlib.contextmanager
def _no_processes_in_words() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        problem = reason(error)
    else:
        return
    # Outside of `except`, so that the workers started so far end before the error is raised.
    raise ResourceError(
        f"the processes that load data cannot be started ({problem})",
        remedy="set data.workers=0, or enlarge /dev/shm, in Docker by --shm-size",
    )


class TrainingLoader(ProcessLoader):
    """Loader that sums the seconds of waiting for a batch and can resume within an epoch."""

    waited = 0.0
    batches = 0

    def __iter__(self) -> Any:
        # Between the start of a worker and `worker_init_fn`, a signal would end the worker.
        with signals.blocked(), _no_processes_in_words():
            batches = super().__iter__()
        while True:
            start = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - start
            if batch is None:
                return
            self.batches += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Number of batches done in this epoch; Lightning saves it in a checkpoint."""
        return {"batches": self.batches % len(self)}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue after the batches that were done before."""
        self.batches = state["batches"]
        sampler: Any = self.sampler
        sampler.done = self.batches * (self.batch_size or 1)


class CaseDataset(Dataset[CachedCase | None]):
    """Whole preprocessed cases."""

    def __init__(self, cases: Sequence[CachedCase | None]) -> None:
        self.cases = cases

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, index: int) -> CachedCase | None:
        return self.cases[index]


class VolumeDataModule(pl.LightningDataModule):
    """Training patches and validation cases of an experiment.

    Args:
        config: The experiment.
        training: Cached cases to cut patches from.
        validation: Cached cases to segment whole.
    """

    def __init__(
        self,
        config: ExperimentConfig,
        training: Sequence[CachedCase],
        validation: Sequence[CachedCase],
    ) -> None:
        super().__init__()
        self.config = config
        self.training = training
        self.validation = validation

    def train_dataloader(self) -> DataLoader[dict[str, torch.Tensor]]:
        data = self.config.data
        rank, world_size = self._rank()
        sampler = EpochSampler(data.batch_size * data.batches_per_epoch, rank, world_size)
        # `num_devices` counts the devices of this node.
        workers = loader_workers(data.workers, self.trainer.num_devices if self.trainer else 1)
        packed = on_gpu(self.trainer)
        return TrainingLoader(
            PatchDataset(self.training, self.config, packed=packed),
            batch_size=data.batch_size,
            sampler=sampler,
            num_workers=workers,
            persistent_workers=workers > 0,
            # A signal to all processes of a job must not end the workers too early.
            worker_init_fn=_end_with_parent,
            collate_fn=collate,
            pin_memory=packed,
        )

    def val_dataloader(self) -> DataLoader[CachedCase | None]:
        # Each case is on one rank only: a padded sampler would count some cases twice.
        rank, world_size = self._rank()
        # A rank without a case gets None: without any batch, the other ranks would wait for it.
        return DataLoader(CaseDataset(self.validation[rank::world_size] or [None]), batch_size=None)

    def transfer_batch_to_device(
        self, batch: Any, device: torch.device, dataloader_idx: int
    ) -> Any:
        # A cached case stays on the CPU: `segment` moves it window by window.
        if batch is None or isinstance(batch, CachedCase):
            return batch
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        if isinstance(batch, dict):
            return unpacked(batch, len(self.config.labels.regions))
        return batch

    def on_exception(self, exception: BaseException) -> None:
        # After an error in a validation, Lightning does not end the workers of training. They
        # ignore the signal by which Python ends them, and Python would wait for them forever.
        trainer: Any = self.trainer
        end_loaders(trainer)
        trainer.lightning_module.scorer.close()

    def _rank(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


def loader_workers(configured: int | None, processes: int = 1) -> int:
    """Number of loader processes: as configured, else one less than the usable cores, up to 8.

    Args:
        configured: `data.workers`.
        processes: Training processes that share the cores.
    """
    return min(8, max(1, cores(processes) - 1)) if configured is None else configured


def _end_with_parent(_: int) -> None:
    signals.ignore()
