"""What a network costs: parameters, multiply-adds and time of one window, measured side by side."""

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
    """What one forward pass of a window of one image costs.

    Attributes:
        parameters: Numbers that training sets.
        multiply_adds: Of convolutions and matrix products, which is nearly all.
        window_size: Voxels of the window: (I, J) for a network of slices, else (I, J, K).
        milliseconds: Median over the rounds.
        quartiles: First and third quartile over the rounds, in milliseconds.
        rounds: How often it was timed.
        precision: What it computed in, as `infer` would on this device: `float32`, `bfloat16`, ...
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
        """What the network takes at a time: a slice or a window."""
        return "slice" if len(self.window_size) == 2 else "window"

    @property
    def size(self) -> str:
        """Its size in words: `256 x 256`."""
        return " x ".join(str(side) for side in self.window_size)


def measure_costs(
    models: Sequence[Model], rounds: int = _ROUNDS, most_seconds: float = _MOST_SECONDS
) -> list[Cost]:
    """Cost of each model, one image a pass, on the GPU if there is one.

    All networks are timed in turn, round after round, so that whatever else the machine does, and
    its clock that rises and falls, meet all of them alike.

    Args:
        models: Trained models; they stay where `measuring_device` is.
        rounds: How often each is timed, at most.
        most_seconds: When to stop before that, though not before three rounds.

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
    """Device that costs are measured on: a CUDA GPU if there is one, else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def machine_in_words() -> str:
    """Device and threads of `measure_costs`, and the version of torch."""
    if measuring_device().type == "cuda":
        where = torch.cuda.get_device_name()
    else:
        threads = torch.get_num_threads()
        where = f"CPU, {threads} thread{'s' * (threads > 1)}"
    return f"{where}; torch {torch.__version__}"


def count_multiply_adds(network: nn.Module, image: torch.Tensor) -> int:
    """Multiply-adds of one forward pass of `image` (B, C, I, J[, K]).

    Those of convolutions and matrix products; additions, norms and activations are not counted.

    >>> count_multiply_adds(nn.Conv2d(1, 2, 3, padding=1), torch.zeros(1, 1, 4, 4))
    288
    """
    counter = FlopCounterMode(display=False)
    with torch.inference_mode(), counter:
        network(image)
    # The counter takes a multiply-add for two operations.
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
    """Seconds of each pass in each round; the first round warms up and does not count."""
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
