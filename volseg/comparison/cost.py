"""Cost of networks: parameters, multiply-adds and time of a forward pass, measured in turn."""

from __future__ import annotations

import logging
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from volseg.inference.windows import computing_dtype, precision_name
from volseg.model_file import Model

logger = logging.getLogger(__name__)

_ROUNDS = 20
_FEWEST_ROUNDS = 3
_MOST_SECONDS = 60.0


@dataclass(frozen=True)
class Cost:
    """Cost of one forward pass of one window.

    Attributes:
        parameters: Number of trained parameters.
        multiply_adds: Number of multiply-adds of convolutions and matrix products.
        window_size: Voxels of the window: (I, J) for a 2D network, else (I, J, K).
        milliseconds: Median time over the rounds.
        quartiles: First and third quartile of the time over the rounds, in milliseconds.
        rounds: Number of timed passes.
        precision: Number format, as in `infer` on this device: `float32`, `bfloat16`, ...
    """

    parameters: int
    multiply_adds: int
    window_size: tuple[int, ...]
    milliseconds: float
    quartiles: tuple[float, float]
    rounds: int
    precision: str

    @property
    def unit(self) -> str:
        """Input of one forward pass: `slice` or `window`."""
        return "slice" if len(self.window_size) == 2 else "window"

    @property
    def size(self) -> str:
        """Window size in words: `256 x 256`."""
        return " x ".join(str(side) for side in self.window_size)


def measure_costs(
    models: Sequence[Model], rounds: int = _ROUNDS, most_seconds: float = _MOST_SECONDS
) -> list[Cost]:
    """Cost of each model for one image a pass, on the GPU if there is one.

    Each round times every network once, so that other load and the changing clock of the machine
    affect all networks alike.

    Args:
        models: Trained models; they are moved to `measuring_device`.
        rounds: Number of rounds, at most.
        most_seconds: Time after which no further round begins, except the first three.

    Returns:
        Costs in the order of `models`.
    """
    device = measuring_device()
    counts, passes = [], []
    for model in models:
        network = model.network.to(device).eval()
        image = _image(model, device)
        counts.append(count_multiply_adds(network, image))
        passes.append(_pass(model, image))
    times = _time_in_turn(passes, device, rounds, most_seconds)
    return [
        _cost(model, count, seconds)
        for model, count, seconds in zip(models, counts, times, strict=True)
    ]


def measuring_device() -> torch.device:
    """Device for measuring costs: a CUDA GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine_in_words() -> str:
    """Device, number of CPU threads and version of torch, in words."""
    if measuring_device().type == "cuda":
        where = torch.cuda.get_device_name()
    else:
        threads = torch.get_num_threads()
        where = f"CPU, {threads} thread{'s' * (threads > 1)}"
    return f"{where}; torch {torch.__version__}"


def count_multiply_adds(network: nn.Module, image: torch.Tensor) -> int:
    """Number of multiply-adds of one forward pass of `image` (B, C, I, J[, K]).

    Only convolutions and matrix products count, not additions, norms and activations.

    >>> count_multiply_adds(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 4, 4))
    288
    """
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(image)
    # The counter counts a multiply-add as two operations.
    return int(counter.get_total_flops()) // 2


def _image(model: Model, device: torch.device) -> torch.Tensor:
    shape = (1, len(model.config.data.channels), *model.config.window_size)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(device)


def _pass(model: Model, image: torch.Tensor) -> Callable[[], object]:
    kind = image.device.type
    dtype = computing_dtype(model.config, kind)

    def forward() -> object:
        with torch.inference_mode(), torch.autocast(kind, dtype=dtype, enabled=dtype is not None):
            return model.network(image)

    return forward


def _time_in_turn(
    passes: Sequence[Callable[[], object]], device: torch.device, rounds: int, most_seconds: float
) -> list[list[float]]:
    """Seconds of each pass in each round, after a warm-up round that does not count."""
    logger.info("timing %d network%s in turn", len(passes), "s" * (len(passes) != 1))
    for forward in passes:
        _seconds(forward, device)
    times: list[list[float]] = [[] for _ in passes]
    start = time.monotonic()
    for done in range(rounds):
        if done >= _FEWEST_ROUNDS and time.monotonic() - start > most_seconds:
            break
        for forward, seconds in zip(passes, times, strict=True):
            seconds.append(_seconds(forward, device))
    return times


def _seconds(forward: Callable[[], object], device: torch.device) -> float:
    start = time.perf_counter()
    forward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start


def _cost(model: Model, multiply_adds: int, seconds: Sequence[float]) -> Cost:
    milliseconds = [1000 * value for value in seconds]
    low, middle, high = statistics.quantiles(milliseconds, n=4, method="inclusive")
    return Cost(
        parameters=sum(p.numel() for p in model.network.parameters()),
        multiply_adds=multiply_adds,
        window_size=tuple(model.config.window_size),
        milliseconds=middle,
        quartiles=(low, high),
        rounds=len(milliseconds),
        precision=precision_name(model.config, measuring_device().type),
    )
