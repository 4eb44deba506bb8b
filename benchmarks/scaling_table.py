"""What limits many GPUs, computed from what `scaling.py` measured and assumes."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

GPUS = (1, 8, 64, 512)
TRAINING, VALIDATION = 1000, 251  # of the 1251 cases of BraTS 2021, a fifth held out
PAGE = 4096
# What a rank asks of the file system for a case: five sources, and five files of the entry.
LOOKUPS = 10


@dataclass(frozen=True)
class Facts:
    """What was measured, or follows from the config, for one network and one cohort."""

    batch: int
    steps: int
    epochs: int
    warmup_epochs: float
    rate: float
    gradient_bytes: float
    touched_bytes: float
    entry_bytes: float
    loader_seconds: float
    build_seconds: float
    open_seconds: float


@dataclass(frozen=True)
class Cluster:
    """What is assumed of the machines; bandwidths in bytes a second, a message in seconds."""

    step_seconds: float = 2 / 27.5
    gpus_a_node: int = 8
    cores: int = 64
    memory: float = 512e9
    in_node: float = 16e9
    infiniband: float = 12.5e9
    ethernet: float = 1.25e9
    nvme: float = 3e9
    shared: float = 1e9
    message: float = 50e-6

    @property
    def loaders(self) -> int:
        """Loader processes that volseg starts for a rank: its cores but one, 8 at most."""
        return min(8, self.cores // self.gpus_a_node - 1)


def patch_bytes(channels: int, sides: Sequence[int]) -> int:
    """Of a cached patch: float16 in each channel, and a byte of region bits, a voxel."""
    return math.prod(sides) * (2 * channels + 1)


def pages_touched(ranges: Iterable[tuple[int, int]]) -> int:
    """Pages under ranges of bytes of a file, each its first and last plus one, in their order."""
    pages, counted = 0, -1
    for first, end in ranges:
        if first < end:
            last = (end - 1) // PAGE
            # Only the page that the range before ended on may be shared.
            pages += last - max(first // PAGE, counted + 1) + 1
            counted = last
    return pages


def ring_bytes(ranks: int, gradient: float) -> float:
    """Bytes that each rank sends in a ring all-reduce."""
    return 2 * (ranks - 1) / ranks * gradient


def last_batch(cases: int, batch: int) -> tuple[int, int]:
    """Full batches in one pass over the cases, and cases that are left for a partial one."""
    return divmod(cases, batch)


def validation_rounds(cases: int, ranks: int) -> tuple[int, float, float]:
    """Cases of the busiest rank; share of ranks idle in the last round, and idle in all rounds."""
    rounds = math.ceil(cases / ranks)
    busy = cases - (rounds - 1) * ranks
    return rounds, 1 - busy / ranks, 1 - cases / (rounds * ranks)


def scaled_rates(rate: float, factor: int) -> tuple[float, float]:
    """Learning rate for a batch larger by `factor`: linear rule, square-root rule."""
    return rate * factor, rate * math.sqrt(factor)


def step_parts(gpus: int, facts: Facts, on: Cluster) -> dict[str, float]:
    """Seconds that each part of a step takes by itself, at a number of GPUs."""
    local = min(gpus, on.gpus_a_node)
    link = {"all-reduce in the node": on.in_node}
    if gpus > on.gpus_a_node:
        link = {
            "all-reduce, 100 Gbit/s InfiniBand": on.infiniband,
            "all-reduce, 10 Gbit/s Ethernet": on.ethernet,
        }
    read = local * facts.batch * facts.touched_bytes
    return {
        "GPU": on.step_seconds,
        "drawing patches": facts.batch * facts.loader_seconds / on.loaders,
        **{name: ring_bytes(gpus, facts.gradient_bytes) / width for name, width in link.items()},
        "agreeing whether to stop": 2 * (gpus - 1) * on.message,
        "reading, NVMe": read / on.nvme,
        "reading, shared file system": read / on.shared,
    }


def spread(values: Sequence[float], form: str = ".3g") -> str:
    """Median, and smallest to largest."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}} to {high:{form}})"


def table(facts: Facts, on: Cluster) -> str:
    """Markdown: a column for each number of GPUs."""
    head = ["what", *(f"{gpus} GPU{'s' * (gpus > 1)}" for gpus in GPUS), "how"]
    rows = [head, ["---"] * len(head), *_training_rows(facts, on)]
    rows += [*_step_rows(facts, on), *_file_rows(facts, on), *_validation_rows()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def assumptions(on: Cluster) -> str:
    """What the table takes for granted, in a paragraph."""
    return (
        f"Assumed: {on.step_seconds:.4f} s for a step of 2 patches on a GPU. It is what NVIDIA "
        "published for the 3D U-Net of its DeepLearningExamples (nnU-Net for PyTorch, container "
        "22.11): 27.5 patches a second, 128^3 voxels and 4 channels, batch of 2, mixed precision, "
        "one A100 of 80 GB. No network of volseg was timed on it, and on a slower GPU all else "
        f"weighs less. A node has {on.gpus_a_node} GPUs, {on.cores} cores as fast as those of the "
        f"measurement, {data_size(on.memory)} of memory, {data_size(on.in_node)}/s between its "
        f"GPUs (PCIe), {data_size(on.infiniband)}/s or {data_size(on.ethernet)}/s to other nodes "
        f"(100 and 10 Gbit/s), {data_size(on.nvme)}/s from NVMe, {data_size(on.shared)}/s from "
        f"a shared file system, and {1e6 * on.message:.0f} us for a message between two CPUs. A "
        "ring passes once through the link of each node; of the all-reduce of gradients, the time "
        "of the messages themselves is not counted."
    )


def _training_rows(facts: Facts, on: Cluster) -> Iterator[list[str]]:
    def row(name: str, how: str, value: Any) -> list[str]:
        return [name, *(value(gpus) for gpus in GPUS), how]

    steps, epochs, batch = facts.steps, facts.epochs, facts.batch
    yield row("nodes", f"assumed: {on.gpus_a_node} GPUs a node", lambda n: f"{_nodes(n, on)}")
    yield row("effective batch, patches", f"computed: {batch} x GPUs", lambda n: f"{batch * n}")
    yield row(
        "patches an epoch",
        f"computed: {steps} steps x batch",
        lambda n: f"{steps * batch * n}",
    )
    yield row(
        f"patches of each of the {TRAINING} cases an epoch, mean",
        "computed",
        lambda n: f"{steps * batch * n / TRAINING:g}",
    )
    yield row(
        f"epochs for the patches that one GPU sees in {epochs}",
        f"computed: {epochs} / GPUs",
        lambda n: f"{epochs / n:.3g} ({epochs * steps / n:.0f} steps)",
    )
    yield row(
        f"warm-up of {facts.warmup_epochs:g} epochs, share of those",
        "computed",
        lambda n: f"{facts.warmup_epochs * n / epochs:.0%}",
    )
    yield row(
        "learning rate by the linear / the square-root rule",
        f"computed from {facts.rate:g} at a batch of {batch}; volseg leaves it as configured",
        lambda n: " / ".join(f"{rate:.2g}" for rate in scaled_rates(facts.rate, n)),
    )
    yield row(
        "last partial batch: none; what one pass over the cases would leave",
        f"computed: {TRAINING} cases by batch",
        lambda n: _left(*last_batch(TRAINING, batch * n), batch * n),
    )


def _left(full: int, rest: int, batch: int) -> str:
    return f"{full} full" + (f", then {rest} of {batch}" if rest else "")


def _step_rows(facts: Facts, on: Cluster) -> Iterator[list[str]]:
    parts = [step_parts(gpus, facts, on) for gpus in GPUS]
    names = list(dict.fromkeys(name for part in parts for name in part))
    how = {
        "GPU": "assumed: published for another network, see below",
        "drawing patches": f"computed: batch x measured {facts.loader_seconds:.2f} s a patch "
        f"and core / {on.loaders} loader processes a rank",
        "all-reduce in the node": f"computed: bytes sent / {data_size(on.in_node)}/s (assumed)",
        "all-reduce, 100 Gbit/s InfiniBand": f"computed: bytes sent / {data_size(on.infiniband)}/s",
        "all-reduce, 10 Gbit/s Ethernet": f"computed: bytes sent / {data_size(on.ethernet)}/s",
        "agreeing whether to stop": "computed: 2 (n - 1) messages of one number, one after "
        f"another, between the CPUs, {1e6 * on.message:.0f} us each (assumed)",
        "reading, NVMe": f"computed: bytes a node / {data_size(on.nvme)}/s (assumed), cold",
        "reading, shared file system": f"computed: bytes a node / {data_size(on.shared)}/s a node "
        "(assumed), cold",
    }
    yield [
        "bytes each rank sends a step",
        *(data_size(ring_bytes(gpus, facts.gradient_bytes)) for gpus in GPUS),
        f"computed: 2 (n - 1) / n x measured {data_size(facts.gradient_bytes)}",
    ]
    read = [min(n, on.gpus_a_node) * facts.batch * facts.touched_bytes for n in GPUS]
    yield [
        "bytes a node reads from its cache a step",
        *map(data_size, read),
        f"computed: patches x measured {data_size(facts.touched_bytes)} of pages",
    ]
    for name in names:
        cells = (milliseconds(part[name]) if name in part else "-" for part in parts)
        yield [f"a step, by itself: {name}", *cells, how[name]]
    for title, left_out in (
        ("slowest, cache in memory, InfiniBand", ("Ethernet", "reading")),
        ("slowest, cache in memory, Ethernet", ("InfiniBand", "reading")),
        ("slowest, cache on a shared file system, cold", ("Ethernet", "NVMe")),
    ):
        yield [title, *(_slowest(part, left_out) for part in parts), "the largest of the above"]


def _slowest(part: dict[str, float], left_out: Sequence[str]) -> str:
    kept = {k: v for k, v in part.items() if not any(word in k for word in left_out)}
    name = max(kept, key=lambda k: kept[k])
    times = kept[name] / part["GPU"]
    return f"**{name.partition(',')[0]}**" + ("" if name == "GPU" else f", {times:.1f} x the GPU")


def _file_rows(facts: Facts, on: Cluster) -> Iterator[list[str]]:
    cases = TRAINING + VALIDATION
    whole = cases * facts.entry_bytes
    yield [
        f"cache of {cases} cases in a node of {data_size(on.memory)}",
        *[f"{data_size(whole)}, {whole / on.memory:.0%}"] * len(GPUS),
        f"computed: {cases} x measured {data_size(facts.entry_bytes)}; memory assumed",
    ]
    yield [
        "first reading of it by every node from a shared file system",
        *(f"{data_size(whole * _nodes(n, on))}, {whole / on.shared:.0f} s" for n in GPUS),
        f"computed; at {data_size(on.shared)}/s a node (assumed)",
    ]
    yield [
        "building the cache, once a node",
        *[clock(cases * facts.build_seconds / on.cores)] * len(GPUS),
        f"computed: {cases} x measured {facts.build_seconds:.2f} core seconds / {on.cores} cores",
    ]
    yield [
        f"opening {cases} finished entries, each rank, warm",
        *[f"{cases * facts.open_seconds:.1f} s"] * len(GPUS),
        f"computed: {cases} x measured {milliseconds(facts.open_seconds)}",
    ]
    yield [
        "look-ups of files at the start, all ranks",
        *(f"{LOOKUPS * cases * n:,}".replace(",", " ") for n in GPUS),
        f"computed: {LOOKUPS} a case and rank",
    ]


def _validation_rows() -> Iterator[list[str]]:
    found = [validation_rounds(VALIDATION, n) for n in GPUS]
    yield [
        f"validation: cases of a rank, of {VALIDATION}",
        *(f"{VALIDATION // n} to {rounds}" for n, (rounds, _, _) in zip(GPUS, found, strict=True)),
        "computed",
    ]
    yield [
        "validation: ranks idle in the last round / in all",
        *(f"{last:.0%} / {total:.0%}" for _, last, total in found),
        "computed",
    ]


def _nodes(gpus: int, on: Cluster) -> int:
    return math.ceil(gpus / on.gpus_a_node)


def data_size(count: float) -> str:
    for unit, name in ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if count >= unit:
            return f"{count / unit:.3g} {name}"
    return f"{count:.0f} B"


def milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"


def clock(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 90 else f"{seconds / 60:.1f} min"
