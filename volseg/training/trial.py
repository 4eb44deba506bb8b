"""Timed trial of a training on this machine: a few cases, a few steps, one validated case."""

from __future__ import annotations

import contextlib
import math
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from volseg import memory, signals
from volseg.cases.case import Case
from volseg.config import ExperimentConfig, TrainingConfig
from volseg.errors import VolsegError
from volseg.progress import clock
from volseg.training.cache.cases import CachedCase, build_cache
from volseg.training.datamodule import PatchDataset
from volseg.training.hardware import on_cuda, resolve_precision, world_size
from volseg.training.module import SegmentationModule, new_module
from volseg.words import case_problems, cases_in_words, number_of

_CASES = 2
_STEPS = 3
_VALIDATED = 2
_DAY = 24 * 3600


def try_training(
    config: ExperimentConfig, cases: Sequence[Case], total: int, validated: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """Preprocess a few cases, train a few steps with one batch of them, and validate one.

    Args:
        config: The experiment.
        cases: Some readable cases.
        total: Number of all cases.
        validated: Number of validation cases.

    Returns:
        Facts as `(name, text)`, and problems.
    """
    facts: list[tuple[str, str]] = []
    problems: list[str] = []
    with _temporary_folder() as folder:
        try:
            start = time.perf_counter()
            ready, failures = build_cache(cases[:_CASES], config, folder)
            each = (time.perf_counter() - start) / len(cases[:_CASES])
            problems += case_problems(failures)
            if ready:
                facts += _cache_facts(config, ready[0], each, total)
                size = " x ".join(map(str, config.data.patch_size))
                batch = f"a batch of {config.data.batch_size} patches of {size} voxels"
                with memory.in_words(batch, "lower data.batch_size or data.patch_size"):
                    facts += _steps(config, ready, validated)
        except VolsegError as error:
            problems.append(str(error))
    return facts, problems


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """Folder that is removed after the block, also after Ctrl-C."""
    folder = Path(tempfile.mkdtemp())
    remove = partial(shutil.rmtree, folder, ignore_errors=True)
    try:
        with signals.removing(remove):
            yield folder
    finally:
        remove()


def _cache_facts(
    config: ExperimentConfig, case: CachedCase, seconds: float, total: int
) -> list[tuple[str, str]]:
    size = memory.size_in_words(case.stored_bytes * total)
    shape = " x ".join(map(str, case.image_grid.shape))
    return [
        ("preprocessed", f"{case.case.case_id}: {shape}, {seconds:.1f} s per case"),
        ("cache", f"about {size} in {config.data.cache_dir or 'runs/cache'}"),
    ]


def _steps(
    config: ExperimentConfig, cases: Sequence[CachedCase], validated: int
) -> list[tuple[str, str]]:
    """Facts of a few steps on one batch and of one validated case: shapes, time, memory."""
    device = torch.device("cuda" if on_cuda(config.training) else "cpu")
    module = new_module(config).to(device)
    samples = PatchDataset(cases, config)
    start = time.perf_counter()
    loader = DataLoader(samples, config.data.batch_size, sampler=range(config.data.batch_size))
    batch = {name: x.to(device) for name, x in next(iter(loader)).items()}
    loading = time.perf_counter() - start
    optimizer = module.configure_optimizers()["optimizer"]
    steps = [_step(module, optimizer, batch) for _ in range(_STEPS)]
    # The first step includes set-up, so the fastest step counts.
    step = min(seconds for seconds, _ in steps)
    training = config.training.max_epochs * config.data.batches_per_epoch * step
    parameters = sum(p.numel() for p in module.network.parameters()) / 1e6
    return [
        ("network", f"{config.network.name}, {parameters:.2f} M parameters, on {device}"),
        ("batch", f"image {tuple(batch['image'].shape)}, mask {tuple(batch['mask'].shape)}"),
        ("loss", " -> ".join(f"{loss:.4f}" for _, loss in steps)),
        ("step", f"{step:.2f} s to train, {loading:.2f} s to load with one process"),
        ("memory", _peak_memory(device)),
        *_estimate(config.training, training, _validation(module, cases[0]), validated),
    ]


def _validation(module: SegmentationModule, case: CachedCase) -> float:
    """Seconds that a validation takes for a case, without set-up."""
    return min(module.seconds_of_case(case) for _ in range(_VALIDATED))


def _estimate(
    options: TrainingConfig, training: float, each: float, validated: int
) -> list[tuple[str, str]]:
    """Estimated duration of validation and of the whole training, as `(name, text)`.

    Args:
        options: Options of the training.
        training: Seconds of all steps.
        each: Seconds that a validation takes for a case.
        validated: Number of cases to validate on.
    """
    # Rounded up, since the last epoch is always validated.
    times = math.ceil(options.max_epochs / options.validate_every) if validated else 0
    validation = times * math.ceil(validated / world_size(options)) * each
    total = training + validation
    share = f", {validation / total:.0%} of it validation" if validated else ", without validation"
    epochs = number_of(options.max_epochs, "epoch")
    words = f"about {clock(total)} for {epochs}{share}"
    if options.max_time is not None and total > options.max_time:
        words += f"; max_time ends the run after {clock(options.max_time)}"
    of_cases = f"{each:.2f} s per case, {times} times {cases_in_words(validated)}"
    facts = [*([("validation", of_cases)] if validated else []), ("training", words)]
    if min(total, options.max_time or total) > _DAY and not on_cuda(options):
        long = "this takes more than a day without a CUDA GPU; for volumes on CPUs there is "
        facts.append(("note", f"{long}configs/brats_laptop.yaml"))
    return facts


def _step(
    module: SegmentationModule, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]
) -> tuple[float, float]:
    """Seconds and loss of one training step, with operations in the order of Lightning."""
    autocast = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = autocast.get(resolve_precision(module.config.training))
    start = _now(module.device)
    with torch.autocast(module.device.type, dtype=dtype, enabled=dtype is not None):
        loss = module.loss(module.network(batch["image"]), batch["mask"])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    module.move_average()
    return _now(module.device) - start, float(loss.detach())


def _now(device: torch.device) -> float:
    """Clock reading in seconds, after all queued work of the GPU is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{memory.size_in_words(torch.cuda.max_memory_allocated())} of the GPU"
    if sys.platform == "win32":
        return "not measured on Windows"
    import resource

    # Bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return memory.size_in_words(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)
