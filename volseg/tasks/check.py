"""Try an experiment before a cluster waits a day for it: headers, labels, one training step."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.utils.data import DataLoader

from volseg.config import ExperimentConfig, load_config
from volseg.datalist import Case, read_data_list
from volseg.errors import VolsegError
from volseg.nifti import Grid, check_same_grid, read_header
from volseg.progress import clock, track
from volseg.tasks.fit import cache_folder, choose_cases
from volseg.training.cache import CachedCase, build_cache, case_scheme, read_masks
from volseg.training.datamodule import PatchDataset
from volseg.training.module import SegmentationModule
from volseg.training.trainer import resolve_precision

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
    problems: list[str] = []
    try:
        training, validation = choose_cases(data_list, config)
        facts.append(("cases", f"{len(training)} to train on, {len(validation)} to validate on"))
    except VolsegError as error:
        problems.append(str(error))
        training, validation = data_list.training, ()
    cases = (*training, *validation)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(track(pool.map(_header_problem, cases), "reading headers", len(cases)))
    grids = {grid for grid, _ in found if grid}
    facts.append(("grids", "; ".join(sorted(grids)[:4]) + (" ..." if len(grids) > 4 else "")))
    problems += [problem for _, problem in found if problem]
    good = [case for case, (_, problem) in zip(cases, found, strict=True) if not problem]
    wrong_labels = _label_problems(good, config)
    problems += wrong_labels.values()
    good = [case for case in good if case.case_id not in wrong_labels]
    if good:
        more_facts, more_problems = _try_training(config, good, len(cases))
        facts += more_facts
        problems += more_problems
    return CheckResult(tuple(facts), tuple(dict.fromkeys(problems)))


def _header_problem(case: Case) -> tuple[str, str]:
    """Grid of a case in words, and what is wrong with its headers, or ''."""
    try:
        grids: dict[str, Grid] = {}
        names = case.channels if len(case.images) > 1 else ("image",)
        for name, path in zip(names, case.images, strict=True):
            grids[name] = read_header(path)[0]
        if case.label is not None:
            grids["label map"] = read_header(case.label)[0]
        check_same_grid(grids)
    except VolsegError as error:
        text = str(error)
        return "", text if case.case_id in text else f"case {case.case_id}: {text}"
    grid = next(iter(grids.values()))
    shape = " x ".join(map(str, grid.shape))
    return f"{shape} at {' x '.join(f'{mm:.3g}' for mm in grid.spacing_mm)} mm", ""


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
            read_masks(case, config)
        except VolsegError as error:
            problems[case.case_id] = f"case {case.case_id}: {error}"
    return problems


def _try_training(
    config: ExperimentConfig, cases: Sequence[Case], total: int
) -> tuple[list[tuple[str, str]], list[str]]:
    """Preprocess a few cases and train a few steps with one batch of them."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        ready, failures = build_cache(cases[:_CASES], config, Path(folder))
        each = (time.perf_counter() - start) / _CASES
        problems = [f"case {case_id}: {reason}" for case_id, reason in failures]
        if not ready:
            return [], problems
        size = sum(array.nbytes for array in (ready[0].image, ready[0].bits)) * total / 1e9
        shape = " x ".join(map(str, ready[0].image.shape[1:]))
        facts = [
            ("preprocessed", f"{ready[0].case.case_id}: {shape}, {each:.1f} s a case"),
            ("cache", f"about {size:.1f} GB in {cache_folder(config, Path('runs/run'))}"),
        ]
        try:
            facts += _steps(config, ready)
        except torch.cuda.OutOfMemoryError:
            problems.append(
                f"a batch of {config.data.batch_size} patches of {list(config.data.patch_size)} "
                "does not fit the memory of the GPU; lower data.batch_size or data.patch_size"
            )
    return facts, problems


def _steps(config: ExperimentConfig, cases: Sequence[CachedCase]) -> list[tuple[str, str]]:
    """Forward and backward of one batch, a few times: shapes, time, memory."""
    cuda = torch.cuda.is_available() and config.training.accelerator in ("auto", "gpu")
    device = torch.device("cuda" if cuda else "cpu")
    module = SegmentationModule(config).to(device)
    samples = PatchDataset(cases, config)
    start = time.perf_counter()
    loader = DataLoader(samples, config.data.batch_size, sampler=range(config.data.batch_size))
    batch = {name: x.to(device) for name, x in next(iter(loader)).items()}
    loading = time.perf_counter() - start
    autocast = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}
    dtype = autocast.get(resolve_precision(config.training))
    seconds = []
    for _ in range(_STEPS):
        start = time.perf_counter()
        with torch.autocast(device.type, dtype=dtype, enabled=dtype is not None):
            loss = module.loss(module.network(batch["image"]), batch["mask"])
        loss.backward()
        seconds.append(time.perf_counter() - start + 0 * float(loss.detach()))
    # The first step pays for set-up.
    step = min(seconds)
    training = config.training.max_epochs * config.data.batches_per_epoch * step
    parameters = sum(p.numel() for p in module.network.parameters()) / 1e6
    return [
        ("network", f"{config.network.name}, {parameters:.2f} M parameters, on {device}"),
        ("batch", f"image {tuple(batch['image'].shape)}, mask {tuple(batch['mask'].shape)}"),
        ("loss", f"{float(loss.detach()):.4f}"),
        ("step", f"{step:.2f} s to train, {loading:.2f} s to load with one process"),
        ("memory", _peak_memory(device)),
        (
            "training",
            f"about {clock(training)} for {config.training.max_epochs} epochs, without validation",
        ),
    ]


def _peak_memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated() / 1e9:.1f} GB of the GPU"
    if sys.platform == "win32":
        return "not measured on Windows"
    import resource

    # Bytes on macOS, KiB elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9:.1f} GB"
