"""What more processes give in training, and what limits 1, 8, 64 and 512 GPUs on BraTS 2021.

    python benchmarks/scaling.py [CONFIG] [CASE_FOLDER] [--steps 10] [--processes 1 2]

Without CASE_FOLDER it draws phantoms of 240 x 240 x 155. Prints Markdown: what was measured here,
then the table that follows from it. Every figure is marked measured, computed or assumed.

CONFIG is what the table is about. Speed is timed with it where there is a GPU, and on a CPU with
`--timed`, a config made for one: `volseg fit` with each number of processes in turn, in several
rounds, the first epoch of each run left out. On a CPU each process has one core and draws its
patches itself, so the share of time that waits for data is the share that drawing takes.

The bytes read for a patch are told in three ways: those of the patch; those of the pages of 4096
bytes that it is unpacked from, counted from where it is really cut: the values of its planes in
each channel, all of the mask and all of the regions; and what the disk delivered (`read_bytes` of
/proc/self/io, which counts the page faults of a memory map, and read-ahead) after the entries were
dropped from the page cache. Bytes all-reduced are those that pass a DDP
communication hook.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from scaling_table import (
    PAGE,
    Cluster,
    Facts,
    assumptions,
    data_size,
    milliseconds,
    pages_touched,
    patch_bytes,
    ring_bytes,
    spread,
    table,
)
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook

from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.config import ExperimentConfig, load_config
from volseg.phantoms.cohort import make_cohort
from volseg.runs.metrics_table import read_metrics
from volseg.tasks.split import split
from volseg.training.cache.cases import CachedCase, build_cache
from volseg.training.datamodule import PatchDataset, VolumeDataModule
from volseg.training.module import SegmentationModule
from volseg.training.trainer import build_trainer

EPOCHS = 3  # of a timed run; the first does not count
SAMPLES = 24
COUNTED_STEPS = 4


def measure_cases(cases: Sequence[Case], config: ExperimentConfig, cache: Path) -> dict[str, Any]:
    """Building the cache, opening it again, and drawing patches from it, cold and warm."""
    wall, core = time.perf_counter(), time.process_time()
    ready, failures = build_cache(cases, config, cache)
    if failures:
        raise SystemExit(f"{failures[0][0]} cannot be used: {failures[0][1]}")
    built = time.process_time() - core, time.perf_counter() - wall
    wall = time.perf_counter()
    build_cache(cases, config, cache)
    opened = time.perf_counter() - wall
    sizes = [sum(f.stat().st_blocks * 512 for f in case.entry.iterdir()) for case in ready]
    return {
        "cases": len(ready),
        "build_seconds": built[0] / len(ready),
        "build_wall": built[1] / len(ready),
        "open_seconds": opened / len(ready),
        "entry_bytes": statistics.mean(sizes),
        **_patches(ready, config),
    }


def _patches(ready: Sequence[CachedCase], config: ExperimentConfig) -> dict[str, Any]:
    dataset = PatchDataset(ready, config)
    dataset[SAMPLES]  # so that what is imported late is there
    touched, cold, seconds, faults = [], [], [], []
    for number in range(SAMPLES):
        _forget(ready)
        before = _disk_bytes(), resource.getrusage(resource.RUSAGE_SELF).ru_majflt
        dataset[number]
        cold.append(_disk_bytes() - before[0])
        faults.append(resource.getrusage(resource.RUSAGE_SELF).ru_majflt - before[1])
        case, first = dataset.place(number)
        touched.append(PAGE * _pages(case, first[case.axis], dataset.patch_size[case.axis]))
        start = time.process_time()
        dataset[number]
        seconds.append(time.process_time() - start)
    return {"touched": touched, "cold": cold, "faults": faults, "loader_seconds": seconds}


def _pages(case: CachedCase, first: int, planes: int) -> int:
    """Pages of an entry that a patch is unpacked from."""
    whole = [(case.entry / f"{name}.npy").stat().st_size for name in ("tissue", "bits")]
    return sum(math.ceil(size / PAGE) for size in whole) + pages_touched(
        value_ranges(case, first, planes)
    )


def value_ranges(case: CachedCase, first: int, planes: int) -> list[tuple[int, int]]:
    """First and last plus one of the bytes of `image.npy` that some planes take, by channel."""
    values = np.load(case.entry / "image.npy", mmap_mode="r")
    counts = np.bitwise_count(case.image.mask).sum(axis=1, dtype=int)
    # A patch may leave the image.
    before = counts[: max(first, 0)].sum()
    end = counts[: max(first + planes, 0)].sum()
    rows = [values.offset + values.itemsize * values.shape[1] * c for c in range(len(values))]
    return [(row + values.itemsize * int(before), row + values.itemsize * int(end)) for row in rows]


def _forget(ready: Sequence[CachedCase]) -> None:
    """Drop the entries from the page cache, once they are on the disk."""
    for case in ready:
        for path in case.entry.iterdir():
            handle = os.open(path, os.O_RDONLY)
            os.fsync(handle)
            os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(handle)


def _disk_bytes() -> int:
    lines = Path("/proc/self/io").read_text(encoding="ascii").splitlines()
    return int(dict(line.split(": ") for line in lines)["read_bytes"])


class Reduced(pl.Callback):
    """Counts the bytes that DDP reduces, and those that pass the loopback device."""

    def __init__(self) -> None:
        self.bytes = 0
        self.readings: list[tuple[int, int]] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Without annotations: DDP compares them, and here they are strings.
        def hook(state, bucket):
            self.bytes += bucket.buffer().numel() * bucket.buffer().element_size()
            return allreduce_hook(None, bucket)

        trainer.strategy.model.register_comm_hook(None, hook)

    def on_train_batch_end(self, *_: Any) -> None:
        self.readings.append((self.bytes, _loopback_bytes()))


def _loopback_bytes() -> int:
    lines = Path("/proc/net/dev").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[9]) for line in lines if line.split()[0] == "lo:")


def count_reduced(config: ExperimentConfig, run: Path) -> None:
    """What each of two ranks does, being started by Lightning: a few steps, then a JSON file."""
    run.mkdir(parents=True, exist_ok=True)
    cases = read_data_list(config.data.data_list).training
    ready, _ = build_cache(cases, config, Path(str(config.data.cache_dir)))
    trainer = build_trainer(config, run, validate=False, started=time.monotonic())
    counter = Reduced()
    trainer.callbacks.append(counter)
    module = SegmentationModule(config)
    trainer.fit(module, VolumeDataModule(config, ready, []))
    if trainer.is_global_zero:
        steps = np.diff(np.array(counter.readings), axis=0)
        found = {
            "reduced": float(np.median(steps[:, 0])),
            # Both ranks send over one device.
            "sent": float(np.median(steps[:, 1])) / 2,
            "parameters": sum(p.numel() for p in module.parameters() if p.requires_grad),
        }
        (run / "reduced.json").write_text(json.dumps(found), encoding="utf-8")


def measure_reduced(path: Path, words: Sequence[str], scratch: Path) -> dict[str, float]:
    """Bytes all-reduced a step with two processes; gradients do not depend on the patch size."""
    config = load_config(path, words)
    side = max(32, 2 * config.network.divisor)
    small = [
        *words,
        f"data.patch_size={[side] * config.spatial_dims}",
        f"data.batches_per_epoch={COUNTED_STEPS}",
        *("data.workers=0", "training.max_epochs=1", "training.devices=2"),
        *(() if torch.cuda.device_count() > 1 else ("training.accelerator=cpu",)),
    ]
    run = scratch / f"reduced-{path.stem}"
    _call([__file__, "--count-into", str(run), str(path), "--words", *small])
    return dict(json.loads((run / "reduced.json").read_text(encoding="utf-8")))


def measure_speed(
    path: Path, words: Sequence[str], processes: Sequence[int], rounds: int, steps: int, runs: Path
) -> dict[int, dict[str, list[float]]]:
    """Patches a second and share of waiting, of every epoch but the first of each run."""
    found: dict[int, dict[str, list[float]]] = {
        n: {"rate": [], "wait": [], "median": []} for n in processes
    }
    where = [] if torch.cuda.is_available() else ["training.accelerator=cpu", "data.workers=0"]
    for turn in range(rounds):
        for n in processes:
            run = runs / f"{n}-{turn}"
            timed = [
                *(*words, *where, f"training.devices={n}", f"data.batches_per_epoch={steps}"),
                f"training.max_epochs={EPOCHS}",
            ]
            _call(["-m", "volseg", "fit", str(path), *timed, "-o", str(run)])
            rows = read_metrics(run / "metrics.csv")[1:]
            rates = [float(row["train/patches_per_second"]) for row in rows]
            found[n]["rate"] += rates
            found[n]["wait"] += [float(row["train/data_wait_share"]) for row in rows]
            found[n]["median"].append(statistics.median(rates))
            print(f"{n} process(es): {rates} patches a second", file=sys.stderr)
    return found


def _call(words: Sequence[str]) -> None:
    threads = {} if torch.cuda.is_available() else {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *words],
        env=os.environ | threads,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{' '.join(words)} failed:\n{done.stdout}{done.stderr}")


def others_share(seconds: float = 3.0) -> float:
    """Share of the machine that is busy while this program sleeps."""

    def reading() -> tuple[int, int]:
        ticks = [int(x) for x in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
        return sum(ticks), ticks[3] + ticks[4]

    total, idle = reading()
    time.sleep(seconds)
    later, later_idle = reading()
    return 1 - (later_idle - idle) / max(1, later - total)


def machine() -> str:
    """Processor or GPUs, versions, in a line."""
    if torch.cuda.is_available():
        where = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    else:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((x.partition(":")[2] for x in lines if x.startswith("model name")), "CPU")
        where = f"{os.cpu_count()} CPU cores ({model.strip()})"
    return f"{where}, Python {platform.python_version()}, torch {torch.__version__}"


def tell_speed(found: dict[int, dict[str, list[float]]]) -> Iterator[str]:
    """Rows of the measured part: speed by number of processes."""
    for n, values in found.items():
        rate, wait = spread(values["rate"]), spread([100 * x for x in values["wait"]], ".1f")
        yield f"| patches (images) a second, {n} process{'es' * (n > 1)} | {rate} |"
        yield f"| share of time for data, {n} process{'es' * (n > 1)}, % | {wait} |"
    first, *more = found
    for n in more:
        pairs = zip(found[first]["median"], found[n]["median"], strict=True)
        yield f"| ratio of {n} to {first}, by round | {spread([b / a for a, b in pairs], '.2f')} |"


def tell_cases(cases: dict[str, Any], config: ExperimentConfig) -> Iterator[str]:
    """Rows of the measured part: cache and patches."""
    nominal = data_size(patch_bytes(len(config.data.channels), config.data.patch_size))
    batch = config.data.batch_size
    touched, cold = statistics.mean(cases["touched"]), statistics.mean(cases["cold"])
    yield f"| patch: channels x voxels x 2 bytes + 1 byte a voxel (computed) | {nominal} |"
    told = data_size(touched)
    yield f"| pages of 4096 bytes under a patch, mean of {SAMPLES} (counted) | {told} |"
    told = f"{data_size(cold)}, {statistics.mean(cases['faults']):.0f} major faults"
    told = told if cold else "nothing: these files do not lie on a disk that can be measured"
    yield f"| read from disk for a patch, cold, mean of {SAMPLES} | {told} |"
    told = f"{data_size(batch * touched)}; {data_size(batch * cold)}"
    yield f"| bytes read a step and process, batch of {batch}: pages; cold disk | {told} |"
    drawn = cases["loader_seconds"]
    told = f"mean {statistics.mean(drawn):.2f}, median {spread(drawn, '.2f')}"
    yield f"| drawing a patch, warm, core seconds | {told} |"
    told = data_size(cases["entry_bytes"])
    yield f"| entry of a case on disk, mean of {cases['cases']} | {told} |"
    told = f"{cases['build_seconds']:.2f} ({cases['build_wall']:.2f})"
    yield f"| building an entry, core seconds (wall) a case | {told} |"
    yield f"| opening a finished entry, page cache warm | {milliseconds(cases['open_seconds'])} |"


def tell_reduced(name: str, found: dict[str, float]) -> Iterator[str]:
    """Rows of the measured part: all-reduce of one config."""
    told = f"{data_size(found['reduced'])} ({found['reduced']:.0f} bytes)"
    yield f"| {name}: all-reduced a step, DDP hook, 2 processes | {told} |"
    told = f"{data_size(4 * found['parameters'])} ({4 * found['parameters']:.0f} bytes)"
    yield f"| {name}: trainable parameters x 4 bytes (computed) | {told} |"
    told = f"{data_size(found['sent'])}; {data_size(ring_bytes(2, found['reduced']))}"
    yield f"| {name}: sent by each of 2 on the loopback device; ring (computed) | {told} |"


def facts_of(config: ExperimentConfig, cases: dict[str, Any], reduced: dict[str, float]) -> Facts:
    return Facts(
        batch=config.data.batch_size,
        steps=config.data.batches_per_epoch,
        epochs=config.training.max_epochs,
        warmup_epochs=config.training.warmup_epochs,
        rate=config.training.learning_rate,
        gradient_bytes=reduced["reduced"],
        touched_bytes=statistics.mean(cases["touched"]),
        entry_bytes=cases["entry_bytes"],
        loader_seconds=statistics.mean(cases["loader_seconds"]),
        build_seconds=cases["build_seconds"],
        open_seconds=cases["open_seconds"],
    )


def main(options: argparse.Namespace, scratch: Path) -> None:
    if not torch.cuda.is_available():
        torch.set_num_threads(1)
    busy = [others_share()]
    folder = options.folder or scratch / "phantoms"
    if options.folder is None:
        make_cohort(folder, options.phantoms, (240, 240, 155), 1.0)
    split([folder], scratch / "list.json", folds=2)
    words = [
        *(f"data.data_list={scratch / 'list.json'}", "data.data_root=null", "data.fold=null"),
        *(f"data.cache_dir={scratch / 'cache'}", "training.max_time=null"),
    ]
    config = load_config(options.config, words)
    cases = measure_cases(read_data_list(config.data.data_list).training, config, scratch / "cache")
    timed = options.timed or (
        options.config if torch.cuda.is_available() else Path("configs/brats_laptop.yaml")
    )
    names = list(dict.fromkeys([options.config, timed]))
    reduced = {name: measure_reduced(name, words, scratch) for name in names}
    busy.append(others_share())
    speed = measure_speed(
        timed, words, options.processes, options.rounds, options.steps, scratch / "runs"
    )
    busy.append(others_share())
    print(f"Measured on {datetime.now(UTC):%Y-%m-%d}, {machine()}. Other programs used")
    print(f"{', '.join(f'{share:.0%}' for share in busy)} of the machine before, between, after.\n")
    print(f"| measured, `{timed}` for speed and `{options.config}` for data | |\n|---|---|")
    rows = [*tell_speed(speed), *tell_cases(cases, config)]
    rows += [row for name in names for row in tell_reduced(name.stem, reduced[name])]
    on = Cluster()
    print(*rows, "", table(facts_of(config, cases, reduced[options.config]), on), sep="\n")
    print("", assumptions(on), sep="\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", type=Path, nargs="?", default=Path("configs/brats_unet.yaml"))
    parser.add_argument("folder", type=Path, nargs="?", help="of cases, read in place")
    parser.add_argument("--phantoms", type=int, default=4, help="cases drawn without a folder")
    parser.add_argument("--steps", type=int, default=10, help="of an epoch of a timed run")
    parser.add_argument("--processes", type=int, nargs="+", default=_processes())
    parser.add_argument("--rounds", type=int, default=2, help="runs of each number of processes")
    parser.add_argument("--timed", type=Path, help="config that speed is measured with")
    parser.add_argument("--scratch", type=Path, help="folder on the disk to measure")
    parser.add_argument("--count-into", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--words", nargs="*", default=[], help=argparse.SUPPRESS)
    return parser.parse_args()


def _processes() -> list[int]:
    gpus = torch.cuda.device_count()
    return sorted({1, gpus}) if gpus else [1, 2]


if __name__ == "__main__":
    asked = arguments()
    if asked.count_into:
        count_reduced(load_config(asked.config, asked.words), asked.count_into)
    else:
        with tempfile.TemporaryDirectory(dir=asked.scratch) as made:
            main(asked, Path(made))
