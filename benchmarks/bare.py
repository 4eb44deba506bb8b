"""How near training and inference come to the bare network on the same device.

    python benchmarks/bare.py [CASE_FOLDERS] [--config configs/brats_dynunet.yaml] [--steps 100]

Meant for a GPU. On a CPU it takes the same path, and --small is for trying that out: at that size
its figures mean nothing. Two rows:

- `volseg fit`, everything included, beside training steps of the same network, loss and optimiser
  on one batch that already lies on the device;
- `volseg infer` over all cases, once it has started, beside as many bare forward passes as it made.

nnU-Net's benchmark trainers are not among them.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path

import torch
from side_by_side import machine, options, print_table

from volseg.config import ExperimentConfig, load_config
from volseg.finding.folders import find_cases
from volseg.inference.windows import mixed_dtype
from volseg.model_file import save_model
from volseg.phantoms.cohort import make_cohort
from volseg.runs.metrics_table import read_metrics
from volseg.tasks.fit import fit
from volseg.tasks.infer import infer
from volseg.tasks.split import split
from volseg.training.module import SegmentationModule

ROOT = Path(__file__).parents[1]
EPOCHS = 3  # of a timed run; in the first, workers start and kernels are chosen
SMALL = [
    *("network.widths=[4, 8, 16]", "data.patch_size=[32, 32, 32]", "data.workers=0"),
    *("data.spacing_mm=[3, 3, 3]", "network.deep_supervision=false"),
]


def seconds_of(work: Callable[[], object], device: str, times: int) -> float:
    """Median seconds of `work` on a device, after three calls that do not count."""
    found = []
    for _ in range(times + 3):
        start = time.perf_counter()
        work()
        if device == "cuda":
            torch.cuda.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found[3:])


def bare_step(config: ExperimentConfig, device: str, times: int) -> float:
    """Seconds of a training step on a batch that lies on the device."""
    module = SegmentationModule(config).to(device).train()
    optimizer = module.configure_optimizers()["optimizer"]
    size = (config.data.batch_size, 4, *config.data.patch_size)
    image = torch.randn(size, device=device)
    mask = (torch.rand_like(image[:, : len(module.regions)]) > 0.5).float()
    dtype = mixed_dtype(config.training.precision, device)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
            loss = module.loss(module.network(image), mask)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), config.training.gradient_clip)
        optimizer.step()

    return seconds_of(step, device, times)


def bare_pass(
    module: SegmentationModule, config: ExperimentConfig, device: str, shape: torch.Size
) -> float:
    """Seconds of a forward pass over windows (B, C, *) that lie on the device."""
    network = module.network.to(device).eval()
    window = torch.randn(shape, device=device)
    dtype = mixed_dtype(config.training.precision, device)
    with torch.inference_mode(), torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        return seconds_of(lambda: network(window), device, 10)


@contextmanager
def passes():
    """When each forward pass of a network began, and the shape of its windows."""
    seen: list[tuple[float, torch.Size]] = []

    def note(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if hasattr(module, "divisor"):
            seen.append((time.perf_counter(), inputs[0].shape))

    handle = torch.nn.modules.module.register_module_forward_pre_hook(note)
    yield seen
    handle.remove()


def main(arguments: argparse.Namespace, scratch: Path) -> None:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    small = arguments.small
    shape = (80, 80, 52) if small else (240, 240, 155)
    folders = arguments.scans or make_cohort(scratch / "cases", 4, shape, 240 / shape[0])
    data_list = scratch / "list.json"
    split(folders, data_list, folds=4)
    steps = 4 if small else arguments.steps
    where = [f"data.data_list={data_list}", f"data.cache_dir={scratch / 'cache'}"]
    where += [f"data.batches_per_epoch={steps}", f"training.max_epochs={EPOCHS}"]
    where += [f"training.validate_every={EPOCHS}", *(SMALL if small else [])]
    config = load_config(arguments.config, where)

    alone = bare_step(config, device, 3 if small else 30)
    fit(config, scratch / "run")
    rows = read_metrics(scratch / "run" / "metrics.csv")[1:]
    rates = [float(row["train/patches_per_second"]) for row in rows]
    whole = config.data.batch_size / statistics.median(rates)

    module = SegmentationModule(config)
    model = scratch / "model.safetensors"
    save_model(model, module.network.state_dict(), config, {})
    with passes() as seen:
        infer(data_list, [model], scratch / "results")
        ended = time.perf_counter()
    cases = len(find_cases(folders).cases)
    windows = sum(shape[0] for _, shape in seen)
    began, full = seen[0]
    needed = bare_pass(module, config, device, full) * windows / full[0] / cases
    used = (ended - began) / cases

    print(f"{arguments.config.name} on {device}; {machine('monai', 'pytorch-lightning')}\n")
    print_table(
        ["work", "bare s", "volseg s", "share of the bare rate"],
        [
            ["training step", f"{alone:.3f}", f"{whole:.3f}", f"{alone / whole:.0%}"],
            ["infer, a case", f"{needed:.2f}", f"{used:.2f}", f"{needed / used:.0%}"],
        ],
    )


if __name__ == "__main__":
    parser = options(__doc__)
    parser.add_argument("--config", type=Path, default=ROOT / "configs" / "brats_dynunet.yaml")
    parser.add_argument("--steps", type=int, default=100, help="of an epoch")
    with tempfile.TemporaryDirectory() as temporary:
        main(parser.parse_args(), Path(temporary))
