"""Try an experiment before a cluster waits a day for it: headers, labels, one training step."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from volseg import memory, signals
from volseg.config import ExperimentConfig, TrainingConfig, load_config
from volseg.datalist import Case, read_data_list
from volseg.errors import VolsegError
from volseg.nifti import check_same_grid
from volseg.progress import clock, track
from volseg.scans import read_grid, read_reference_grid
from volseg.tasks.fit import choose_cases, new_module
from volseg.training.cache import CachedCase, build_cache
from volseg.training.datamodule import PatchDataset
from volseg.training.entries import case_scheme, read_masks
from volseg.training.hardware import check_hardware, on_cuda, resolve_precision
from volseg.training.module import SegmentationModule

_LABEL_MAPS = 5
_CASES = 2
_STEPS = 3


@dataclass(frozen=True)
class CheckResult:
    """What was found.

    Attributes:
        facts: Name and value of what is worth knowing, in order.
        problems: Everything that would go wrong, a sentence each; empty if all is well.
    """

    facts: tuple[tuple[str, str], ...]
    problems: tuple[str, ...]


def check(config_path: Path, overrides: Sequence[str] = ()) -> CheckResult:
    """Read the config, every header, a few label maps; train a few steps on one batch.

    Args:
        config_path: YAML config.
        overrides: Words `key=value`.

    Returns:
        Facts and problems.

    Raises:
        ConfigError: If the config is not valid; it names every mistake.
        DataListError: If the data list cannot be read.
    """
    config = load_config(config_path, overrides)
    data_list = read_data_list(config.data.data_list, config.data.data_root)
    facts = [("config", str(config_path)), ("labels", config.labels.name)]
    problems = [*_problem(partial(check_hardware, config.training))]
    try:
        training, validation = choose_cases(data_list, config)
        facts.append(("cases", f"{len(training)} to train on, {len(validation)} to validate on"))
    except VolsegError as error:
        problems.append(str(error))
        training, validation = data_list.training, ()
    cases = (*training, *validation)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        read = pool.map(partial(_header_problem, config=config), cases)
        found = list(track(read, "reading headers", len(cases)))
    grids = {grid for grid, *_ in found if grid}
    facts.append(("grids", "; ".join(sorted(grids)[:4]) + (" ..." if len(grids) > 4 else "")))
    facts += _notes({case.case_id: notes for case, (*_, notes) in zip(cases, found, strict=True)})
    problems += [problem for _, problem, _ in found if problem]
    good = [case for case, (_, problem, _) in zip(cases, found, strict=True) if not problem]
    wrong_labels = _label_problems(good, config)
    problems += wrong_labels.values()
    good = [case for case in good if case.case_id not in wrong_labels]
    # Without a usable fold, `fit` would not come as far as a step.
    if good and (validation or config.data.fold is None):
        more_facts, more_problems = _try_training(config, good, len(cases))
        facts += more_facts
        problems += more_problems
    return CheckResult(tuple(facts), tuple(dict.fromkeys(problems)))


def _problem(checked: Callable[[], object]) -> Iterator[str]:
    """What a check refuses, in words, if anything."""
    try:
        checked()
    except VolsegError as error:
        yield str(error)


def _header_problem(case: Case, config: ExperimentConfig) -> tuple[str, str, Sequence[str]]:
    """Grid of a case in words, what is wrong with its channels and headers, or '', and notes."""
    name = case.case_id
    try:
        grid = read_grid(case, config.data.channels, config.data.fill_missing)
        notes = list(grid.notes)
        if case.label:
            reference = read_reference_grid(case)
            check_same_grid({"image": grid, "label map": reference})
            notes += reference.notes
    except VolsegError as error:
        return "", _of_case(name, str(error)), ()
    shape = " x ".join(map(str, grid.shape))
    spacing = " x ".join(f"{mm:.3g}" for mm in grid.spacing_mm) if case.has_size else "unknown"
    return f"{shape} at {spacing} mm", "", notes


def _notes(of_case: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    """What headers leave open, each once, with the number of cases and the first."""
    cases: dict[str, list[str]] = {}
    for case_id, notes in of_case.items():
        for note in notes:
            cases.setdefault(note, []).append(case_id)
    for note, names in cases.items():
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        yield "note", f"{names[0]}{more}: {note}"


def _label_problems(cases: Iterable[Case], config: ExperimentConfig) -> dict[str, str]:
    """What is wrong with label maps, by case; those of the first cases of each scheme are read."""
    problems = {}
    seen: dict[str | None, int] = {}
    for case in cases:
        seen[case.labels] = seen.get(case.labels, 0) + 1
        if seen[case.labels] > _LABEL_MAPS:
            continue
        try:
            case_scheme(case, config)
            with memory.in_words(f"case {case.case_id}"):
                read_masks(case, config)
        except VolsegError as error:
            problems[case.case_id] = _of_case(case.case_id, str(error))
    return problems


def _of_case(case_id: str, problem: str) -> str:
    """A problem, with the case named."""
    return problem if case_id in problem else f"case {case_id}: {problem}"


def _try_training(
    config: ExperimentConfig, cases: Sequence[Case], total: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """Preprocess a few cases and train a few steps with one batch of them."""
    facts: list[tuple[str, str]] = []
    problems: list[str] = []
    with _temporary_folder() as folder:
        try:
            start = time.perf_counter()
            ready, failures = build_cache(cases[:_CASES], config, folder)
            each = (time.perf_counter() - start) / len(cases[:_CASES])
            problems += [_of_case(case_id, reason) for case_id, reason in failures]
            if ready:
                facts += _cache_facts(config, ready[0], each, total)
                size = " x ".join(map(str, config.data.patch_size))
                batch = f"a batch of {config.data.batch_size} patches of {size} voxels"
                with memory.in_words(batch, "lower data.batch_size or data.patch_size"):
                    facts += _steps(config, ready)
        except VolsegError as error:
            problems.append(str(error))
    return facts, problems


@contextlib.contextmanager
def _temporary_folder() -> Iterator[Path]:
    """A folder that goes with the block, also where Ctrl-C ends it."""
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
    size = case.stored_bytes * total / 1e9
    shape = " x ".join(map(str, case.shape))
    return [
        ("preprocessed", f"{case.case.case_id}: {shape}, {seconds:.1f} s a case"),
        ("cache", f"about {size:.1f} GB in {config.data.cache_dir or 'runs/cache'}"),
    ]


def _steps(config: ExperimentConfig, cases: Sequence[CachedCase]) -> list[tuple[str, str]]:
    """Train on one batch, a few times: shapes, time, memory."""
    device = torch.device("cuda" if on_cuda(config.training) else "cpu")
    module = new_module(config).to(device)
    samples = PatchDataset(cases, config)
    start = time.perf_counter()
    loader = DataLoader(samples, config.data.batch_size, sampler=range(config.data.batch_size))
    batch = {name: x.to(device) for name, x in next(iter(loader)).items()}
    loading = time.perf_counter() - start
    optimizer = module.configure_optimizers()["optimizer"]
    steps = [_step(module, optimizer, batch) for _ in range(_STEPS)]
    # The first step pays for set-up.
    step = min(seconds for seconds, _ in steps)
    training = config.training.max_epochs * config.data.batches_per_epoch * step
    parameters = sum(p.numel() for p in module.network.parameters()) / 1e6
    return [
        ("network", f"{config.network.name}, {parameters:.2f} M parameters, on {device}"),
        ("batch", f"image {tuple(batch['image'].shape)}, mask {tuple(batch['mask'].shape)}"),
        ("loss", " -> ".join(f"{loss:.4f}" for _, loss in steps)),
        ("step", f"{step:.2f} s to train, {loading:.2f} s to load with one process"),
        ("memory", _peak_memory(device)),
        ("training", _estimate(training, config.training)),
    ]


def _estimate(seconds: float, options: TrainingConfig) -> str:
    words = f"about {clock(seconds)} for {options.max_epochs} epochs, without validation"
    if options.max_time is not None and seconds > options.max_time:
        words += f"; max_time ends the run after {clock(options.max_time)}"
    return words


def _step(
    module: SegmentationModule, optimizer: torch.optim.Optimizer, batch: dict[str, torch.Tensor]
) -> tuple[float, float]:
    """Seconds and loss of one training step, in the order in which Lightning takes it."""
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
    """Seconds, once a GPU has done what it was told: it is told faster than it works."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _peak_memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU"
    if sys.platform == "win32":
        return "not measured on Windows"
    import resource

    # Bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"
