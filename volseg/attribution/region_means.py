"""Mean probability of regions within their masks, of an image of which some windows are changed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, product, starmap
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.target import Target
from volseg.inference.window_layout import WindowLayout
from volseg.inference.windows import WindowPass, windows_a_pass

#: A mean for each region.
Means = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Place:
    """Place of a window: number of the image that the network gets, and box in that image.

    A network of slices gets one image for each slice, another network a single image.
    """

    image: int
    box: tuple[slice, ...]

    @property
    def index(self) -> tuple[Any, ...]:
        """Index of the window in padded images (N, C, *)."""
        return self.image, ..., *self.box


class RegionMeans:
    """Mean probability of each region within its mask, as `segment` gives the probabilities.

    The mean over a mask is a weighted sum over the windows that hold a part of the mask, so other
    windows are left out, and a change of the image concerns only windows that it touches.

    Args:
        targets: Targets of one model and one image, whose regions and masks are those of the means.
    """

    def __init__(self, targets: Sequence[Target]) -> None:
        first = targets[0]
        model, self._device = first.model, first.device
        config = model.config
        self._by_slice = config.by_slice
        self._pass = WindowPass(model.network, config, self._device)
        self._at_once = windows_a_pass(config, self._device)
        self._layout = WindowLayout.of(first.mask.shape[: config.spatial_dims], config)
        self._numbers = [target.index for target in targets]
        # A mask is empty if it lies outside the image of this model.
        sizes = [max(int(np.count_nonzero(target.mask)), 1) for target in targets]
        weights = np.stack([one.mask / size for one, size in zip(targets, sizes, strict=True)])
        self._weights = self.images(torch.from_numpy(weights.astype(np.float32)))
        self._weights /= self._layout.total
        every = starmap(Place, product(range(len(self._weights)), self._layout.boxes))
        self.places = tuple(place for place in every if self._weights[place.index].any())

    def images(self, volume: torch.Tensor) -> torch.Tensor:
        """Images (N, C, *) of a volume (C, I, J, K), padded for the windows."""
        images = volume.permute(3, 0, 1, 2) if self._by_slice else volume[None]
        return self._layout.padded(images)

    def located(self, box: tuple[slice, ...]) -> Place:
        """Place in the padded images of a box of the volume, of one slice if the network is 2D."""
        image, inside = (box[2].start, box[:2]) if self._by_slice else (0, box)
        padding = zip(inside, self._layout.padding, strict=True)
        return Place(
            image, tuple(slice(of.start + more, of.stop + more) for of, (more, _) in padding)
        )

    def of(self, volume: torch.Tensor) -> Means:
        """Means of a volume float32 (C, I, J, K)."""
        images = self.images(volume)
        return np.sum(list(self.parts(self.windows(images))), axis=0)

    def windows(self, images: torch.Tensor) -> Iterator[tuple[Place, torch.Tensor]]:
        """Each of `places` with its window (C, *) of padded images."""
        for place in self.places:
            yield place, images[place.index]

    @torch.inference_mode()
    def parts(self, windows: Iterable[tuple[Place, torch.Tensor]]) -> Iterator[Means]:
        """The part of each window in the means, which are the sum over `places`.

        Args:
            windows: Each window (C, *) with its place.
        """
        waiting = iter(windows)
        while some := tuple(islice(waiting, self._at_once)):
            together = torch.stack([window for _, window in some]).to(self._device)
            probabilities = self._pass(together)
            assert isinstance(probabilities, torch.Tensor)
            for (place, _), one in zip(some, probabilities[:, self._numbers], strict=True):
                weights = self._weights[place.index] * self._layout.importance
                sums = (one * weights.to(self._device)).flatten(1).sum(1, dtype=torch.float64)
                yield sums.cpu().numpy()
