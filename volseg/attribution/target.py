"""What is explained: the logits of a region, summed over a mask, as windows of inference give them.

The sum over a mask makes methods for classifiers fit segmentation: Vinogradova, Dibrov, Myers,
"Towards interpretable semantic segmentation via gradient-weighted class activation mapping", AAAI
2020, https://arxiv.org/abs/2002.11434
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import numpy.typing as npt
import torch

from volseg.errors import ModelError
from volseg.inference.window_layout import WindowLayout
from volseg.model_file import Model
from volseg.transforms import Preprocessed
from volseg.transforms.resampling import on_grid

# Half of a voxel, less the rounding errors of its weights.
_HALF = 0.5 - 1e-5
# Slices in one pass. A pass with gradients holds the features of all layers at once.
_SLICES_A_PASS = 4


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one pass.

    Attributes:
        image: float32 (B, C, *).
        mask: float32 (B, *), 1 where logits are explained.
        share: float32 (B, *), weight of each voxel in the mean over overlapping windows.
    """

    image: torch.Tensor
    mask: torch.Tensor
    share: torch.Tensor


@dataclass(frozen=True, eq=False)
class Target:
    """The sum of a region's logits over a mask, of one model and one image.

    Where windows overlap, the logit of a voxel is the mean over windows, weighted as in inference.
    So the target is one function of the whole image, and its gradient the sum over windows.

    Attributes:
        model: Model with its network on `device`.
        region: The region.
        image: float32 (C, I, J, K), as the network gets it.
        tissue: Mask (I, J, K); the network's input is 0 elsewhere.
        mask: Mask (I, J, K) of the explained voxels.
        device: Device of the network.
    """

    model: Model
    region: str
    image: torch.Tensor
    tissue: npt.NDArray[np.bool_]
    mask: npt.NDArray[np.bool_]
    device: torch.device

    @classmethod
    def of(
        cls,
        model: Model,
        region: str,
        image: Preprocessed,
        mask: npt.NDArray[np.bool_],
        device: torch.device,
    ) -> Target:
        """The target for a mask (I, J, K) on the grid of the scan."""
        values = torch.from_numpy(image.image.astype(np.float32))
        return cls(model, region, values, image.tissue, _on_image_grid(mask, image), device)

    @cached_property
    def index(self) -> int:
        """Number of the region among the logits."""
        return list(self.model.config.labels.regions).index(self.region)

    def logits(self, image: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """Weighted sum (B,) of the region's logits in windows.

        Args:
            image: Windows (B, C, *).
            weights: (B, *); `mask * share` of the windows gives their part of the target.
        """
        logits: torch.Tensor = self.model.network(image)[:, self.index]
        return (logits * weights).flatten(1).sum(1)

    def value(self, image: torch.Tensor | None = None) -> float:
        """The target for another image (C, I, J, K); None: for its own."""
        total = 0.0
        for _, windows in self._passes(self.image if image is None else image):
            with torch.no_grad():
                total += float(self.logits(windows.image, windows.mask * windows.share).sum())
        return total

    def sum_over_windows(
        self,
        of_windows: Callable[[Windows], torch.Tensor],
        image: torch.Tensor | None = None,
    ) -> npt.NDArray[np.float32]:
        """Sum of maps of windows, each at its place; 0 outside the tissue.

        Windows without explained voxels are skipped: they give 0.

        Args:
            of_windows: Maps (B, N, *) of windows.
            image: (C, I, J, K), instead of the own image.

        Returns:
            float32 (N, I, J, K).

        Raises:
            ModelError: If a map holds NaN or infinity.
        """
        total: torch.Tensor | None = None
        for places, windows in self._passes(self.image if image is None else image):
            maps = of_windows(windows).detach().cpu()
            if not torch.isfinite(maps).all():
                raise ModelError(
                    f"{self.model.path} gives gradients that are no numbers",
                    remedy="look at the grey values of the images",
                )
            if total is None:
                total = torch.zeros(self._images, maps.shape[1], *self._layout.total.shape)
            for (number, box), one in zip(places, maps, strict=True):
                total[number][(slice(None), *box)] += one
        assert total is not None, "the mask of a target is not empty"
        inner = self._layout.cropped(total)
        whole = inner.permute(1, 2, 3, 0) if self.model.config.by_slice else inner[0]
        return np.ascontiguousarray(whole.numpy() * self.tissue)

    @cached_property
    def _layout(self) -> WindowLayout:
        shape = self.mask.shape[: self.model.config.spatial_dims]
        return WindowLayout.of(shape, self.model.config)

    @property
    def _images(self) -> int:
        """Images that the network gets: slices, or one volume."""
        return self.mask.shape[2] if self.model.config.by_slice else 1

    def _passes(
        self, image: torch.Tensor
    ) -> Iterator[tuple[list[tuple[int, tuple[slice, ...]]], Windows]]:
        """Places of windows with explained voxels, as image and box, and the windows."""
        layout = self._layout
        by_slice = self.model.config.by_slice
        images = image.permute(3, 0, 1, 2) if by_slice else image[None]
        mask = torch.from_numpy(self.mask)
        masks = layout.padded(mask.permute(2, 0, 1) if by_slice else mask[None])
        every = product(range(self._images), layout.boxes)
        wanted = [(number, box) for number, box in every if masks[(number, *box)].any()]
        at_once = _SLICES_A_PASS if by_slice else 1
        for places in (wanted[n : n + at_once] for n in range(0, len(wanted), at_once)):
            parts = [layout.padded(images[number])[(slice(None), *box)] for number, box in places]
            yield (
                places,
                Windows(
                    torch.stack(parts).to(self.device),
                    torch.stack([masks[(n, *box)] for n, box in places]).float().to(self.device),
                    torch.stack([layout.share(box) for _, box in places]).to(self.device),
                ),
            )


def _on_image_grid(mask: npt.NDArray[np.bool_], image: Preprocessed) -> npt.NDArray[np.bool_]:
    """A mask of the scan on the grid of the network's image; empty if it lies outside that image.

    A voxel of a coarser grid belongs to it if at least half of it does, as in training; if there is
    no such voxel, those with the largest share do.
    """
    share = on_grid(mask[None], image.scan_grid, image.image_grid)[0].astype(np.float32)
    return np.asarray((share >= min(_HALF, float(share.max()))) & (share > 0))
