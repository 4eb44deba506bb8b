"""Probabilities of a preprocessed image by sliding window, and on the grid of the scan."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from monai.inferers import sliding_window_inference
from torch import nn

from volseg import memory
from volseg.config import ExperimentConfig
from volseg.errors import ConfigError
from volseg.images.grid import Grid
from volseg.inference.spread import Spread
from volseg.transforms import to_original

logger = logging.getLogger(__name__)

T = TypeVar("T")

# Smallest number of slices in one forward pass of a 2D network, since slices are small.
_SLICES_A_PASS = 16
# For one small image of a batch, torch on a CPU chooses a convolution that takes three times as
# long as oneDNN's (ATen, `use_mkldnn` in Convolution.cpp); for two it does not.
_SMALL_WINDOW = 80**3
# A scan of 240 x 240 x 155 voxels has 27 windows of 128 at an overlap of 0.5, and 9,500 of 16.
_MOST_WINDOWS = 100_000


@torch.inference_mode()
def segment(
    network: nn.Module,
    image: npt.NDArray[np.floating] | torch.Tensor,
    config: ExperimentConfig,
    *,
    device: str | torch.device,
) -> torch.Tensor:
    """Region probabilities of a preprocessed image, by sliding window.

    A volume smaller than the window is padded with zeros, and the padding is removed afterwards. A
    2D network processes the volume slice by slice along K. In overlapping windows and over mirrored
    copies, probabilities are averaged, never logits.

    Args:
        network: Network on `device`, in evaluation mode.
        image: Preprocessed image (C, I, J, K), float16 or float32.
        config: Config of the model; section `inference` holds size, overlap and blending of the
            windows, precision, and test-time augmentation.
        device: Device of the network.

    Returns:
        float32 probabilities (R, I, J, K), on `device` or, if its memory is too small, on the CPU.

    Raises:
        ConfigError: If not even one pass of windows fits into the memory of the GPU, or there would
            be more than 100,000 windows.
    """
    return _segment(image, config, WindowPass(network, config, torch.device(device)))[0]


@torch.inference_mode()
def segment_with_disagreement(
    network: nn.Module,
    image: npt.NDArray[np.floating] | torch.Tensor,
    config: ExperimentConfig,
    *,
    device: str | torch.device,
) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The probabilities of `segment`, to the bit, and the disagreement of the mirrored copies.

    The disagreement is the standard deviation over the copies within a window, and overlapping
    windows are blended as their probabilities are. It is never below the standard deviation over
    copies that are each blended first, since a standard deviation is a convex function, and equal
    to it where a voxel lies in one window or the windows agree. The copies blended one by one
    would take the memory of all of them.

    Args:
        network: See `segment`.
        image: See `segment`.
        config: See `segment`.
        device: See `segment`.

    Returns:
        Probabilities and, with test-time augmentation, disagreement from 0 to 0.5; both float32
        (R, I, J, K).

    Raises:
        ConfigError: As `segment` does.
    """
    one_pass = WindowPass(network, config, torch.device(device), spread=True)
    probabilities, *disagreement = _segment(image, config, one_pass)
    return probabilities, disagreement[0] if disagreement else None


def _segment(
    image: npt.NDArray[np.floating] | torch.Tensor,
    config: ExperimentConfig,
    one_pass: WindowPass,
) -> list[torch.Tensor]:
    """Each map (R, I, J, K) of `one_pass`, blended over the windows."""
    device, inference = one_pass.device, config.inference
    # A copy, since torch cannot wrap the read-only memory map of a cached case.
    volume = image if isinstance(image, torch.Tensor) else torch.from_numpy(np.array(image))
    batch = volume.permute(3, 0, 1, 2) if config.by_slice else volume[None]

    shape = tuple(batch.shape[2:])
    number = _check_number(shape, config.window_size, inference.overlap) * len(batch)
    at_once = windows_a_pass(config, device)
    if device.type == "cpu":
        _check_memory(min(at_once, number), config, one_pass.maps)

    def run(accumulator: torch.device) -> tuple[torch.Tensor, ...]:
        maps = sliding_window_inference(
            # float16 halves the bytes sent to the GPU, which converts them to float32.
            batch.to(accumulator).float(),
            roi_size=config.window_size,
            sw_batch_size=at_once,
            predictor=one_pass,
            overlap=inference.overlap,
            mode=inference.blending,
            sw_device=device,
            device=accumulator,
        )
        assert not isinstance(maps, dict)
        return (maps,) if isinstance(maps, torch.Tensor) else maps

    try:
        found = _run_where_it_fits(run, device)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"windows of {list(config.window_size)} voxels, {inference.window_batch} at once, do "
            f"not fit into the memory of {device}",
            remedy="lower inference.window_batch or inference.window_size, or use the CPU",
        ) from None
    return [each.permute(1, 2, 3, 0) if config.by_slice else each[0] for each in found]


def windows_a_pass(config: ExperimentConfig, device: torch.device) -> int:
    """Number of windows in one forward pass: at least that of the config."""
    least = 2 if device.type == "cpu" and math.prod(config.window_size) < _SMALL_WINDOW else 1
    return max(config.inference.window_batch, _SLICES_A_PASS if config.by_slice else least)


def _check_number(shape: Sequence[int], window: Sequence[int], overlap: float) -> int:
    """Number of windows; ConfigError if segmenting so many would take too long."""
    steps = [max(1, int(size * (1 - overlap))) for size in window]
    number = math.prod(
        math.ceil(max(0, length - size) / step) + 1
        for length, size, step in zip(shape, window, steps, strict=True)
    )
    if number > _MOST_WINDOWS:
        raise ConfigError(
            f"{number:,} windows of {list(window)} voxels would cover an image of {list(shape)} "
            f"at an overlap of {overlap:g}, but at most {_MOST_WINDOWS:,} are segmented",
            remedy="lower the overlap or raise inference.window_size",
        )
    return number


def _check_memory(windows: int, config: ExperimentConfig, maps: int) -> None:
    """Refuse, with ResourceError, more windows at once, with so many maps, than memory holds."""
    values = len(config.data.channels) + maps * len(config.labels.regions)
    memory.require(
        4 * windows * math.prod(config.window_size) * values,
        f"{windows} windows of {list(config.window_size)} voxels at once",
        "lower inference.window_batch or inference.window_size",
    )


def on_scan_grid(
    probabilities: torch.Tensor,
    image_grid: Grid,
    scan_grid: Grid,
    box: tuple[slice, ...] | None = None,
) -> torch.Tensor:
    """`transforms.to_original` with the result on the CPU, also if the GPU's memory is too small.

    Args:
        probabilities: (R, I, J, K) on the preprocessed grid, on any device.
        image_grid: Grid of the preprocessed image.
        scan_grid: Grid of the source files.
        box: Part of the scan to return; None: the whole scan.

    Returns:
        float32 (R, *scan_grid.shape), or of the shape of `box`, on the CPU.
    """

    def run(device: torch.device) -> torch.Tensor:
        whole = to_original(probabilities.to(device), image_grid, scan_grid)
        # A copy, so that a part does not keep the whole in memory.
        return whole.cpu() if box is None else whole[(slice(None), *box)].contiguous().cpu()

    return _run_where_it_fits(run, probabilities.device)


def _run_where_it_fits(run: Callable[[torch.device], T], device: torch.device) -> T:
    try:
        return run(device)
    except torch.OutOfMemoryError:
        logger.warning("the volume does not fit into the memory of %s; kept on the CPU", device)
    torch.cuda.empty_cache()
    return run(torch.device("cpu"))


class WindowPass:
    """Probabilities of one batch of windows (B, C, *), averaged over mirrored copies if asked.

    With `spread`, and if there are mirrored copies, it gives their standard deviation too.
    """

    def __init__(
        self,
        network: nn.Module,
        config: ExperimentConfig,
        device: torch.device,
        *,
        spread: bool = False,
    ) -> None:
        self.network, self.device = network, device
        axes = range(2, 2 + config.spatial_dims)
        sizes = range(1, len(axes) + 1) if config.inference.tta else []
        self.mirrored = [subset for size in sizes for subset in combinations(axes, size)]
        self.spread = spread and bool(self.mirrored)
        self.dtype = computing_dtype(config, device.type)

    @property
    def maps(self) -> int:
        """Maps of the regions in memory at once: the sum, and the three of `Spread`."""
        return 4 if self.spread else 1

    def __call__(self, windows: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, ...]:
        total = self._probabilities(windows)
        spread = Spread() if self.spread else None
        if spread:
            spread.add(total)
        for subset in self.mirrored:
            copy = self._probabilities(windows.flip(subset)).flip(subset)
            total += copy
            if spread:
                spread.add(copy)
        mean = total.div_(len(self.mirrored) + 1) if self.mirrored else total
        return (mean, spread.standard_deviation()) if spread else mean

    def _probabilities(self, windows: torch.Tensor) -> torch.Tensor:
        mixed = self.dtype is not None
        with torch.autocast(self.device.type, dtype=self.dtype, enabled=mixed):
            logits = self.network(windows)
        return torch.sigmoid(logits.float())


def computing_dtype(config: ExperimentConfig, device_type: str) -> torch.dtype | None:
    """Type for mixed precision in `segment`, or None for float32.

    Args:
        config: Config of the model; its bf16 becomes float32 on a CPU without bf16.
        device_type: `cuda`, `cpu`, ...
    """
    precision = config.inference.precision
    if precision == "auto":
        return mixed_dtype(config.training.precision, device_type)
    if precision == "32" or (device_type == "cpu" and not cpu_computes_in_bf16()):
        return None
    return torch.bfloat16


def refused_precision(config: ExperimentConfig, device_type: str) -> str | None:
    """A note if the processor does not support `inference.precision`, else None."""
    if config.inference.precision == "bf16" and computing_dtype(config, device_type) is None:
        return (
            "inference.precision=bf16: this processor does not compute in bf16, so float32 is used"
        )
    return None


def precision_name(config: ExperimentConfig, device_type: str) -> str:
    """Type in which `segment` computes: `float32`, or for mixed precision `bfloat16`, ..."""
    return str(computing_dtype(config, device_type) or torch.float32).removeprefix("torch.")


def cpu_computes_in_bf16() -> bool:
    """Whether the CPU has hardware for bf16; emulation takes many times as long."""
    if hasattr(torch.cpu, "get_capabilities"):
        found = torch.cpu.get_capabilities()
        return any(found.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"))
    # Older versions of torch report it for x86 only.
    names = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return any(getattr(torch.cpu, name, bool)() for name in names)


def mixed_dtype(precision: str, device_type: str) -> torch.dtype | None:
    """Type for mixed precision, or None for float32: without a GPU, or by the config.

    Args:
        precision: Value of `training.precision`.
        device_type: `cuda`, `cpu`, ...
    """
    if device_type != "cuda" or precision == "32":
        return None
    if precision == "auto":
        bf16 = torch.cuda.is_bf16_supported(including_emulation=False)
        return torch.bfloat16 if bf16 else torch.float16
    return torch.bfloat16 if precision == "bf16-mixed" else torch.float16
