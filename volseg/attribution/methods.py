"""Methods that explain a prediction, their options, and what they give."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import ConfigError
from volseg.inference.options import ScanOptions
from volseg.results.explanation_record import kind_of
from volseg.words import one_of, shown

#: Methods whose maps come from gradients at the input.
OF_INPUT_GRADIENTS = ("saliency", "smooth-grad", "integrated-gradients")
#: Methods by name.
METHODS = ("grad-cam", *OF_INPUT_GRADIENTS, "occlusion")
#: Methods whose maps hold negative values: what lowers the logits of the region.
SIGNED = ("integrated-gradients", "occlusion")

#: Unit of the values of each method.
UNITS = {
    "grad-cam": "(sum of weighted features)",
    "saliency": "logits per unit of normalised grey value",
    "smooth-grad": "logits per unit of normalised grey value",
    "integrated-gradients": "logits",
    "occlusion": "of the mean probability of the region",
}


@dataclass(frozen=True)
class ExplainOptions(ScanOptions):
    """Options of explanations, and those of `ScanOptions`.

    Args:
        method: One of `METHODS`.
        layer: Layer of `grad-cam`, see `layers_of`; None: the default of the network.
        at_maximum: Whether to explain the voxel of highest probability instead of the predicted
            mask.
        samples: Noisy copies of the image that `smooth-grad` averages over.
        noise: Standard deviation of that noise, as a share of the range of grey values.
        steps: Images between evenly dark tissue and the scan in `integrated-gradients`.
        box_mm: Side of the boxes that `occlusion` takes away; None: the smallest that needs at most
            1,500 passes for all predicted regions together.
        regions: Regions to explain; empty: all regions of the model.
        pictures: Whether to draw each map over its scan.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        overwrite: Whether to explain again what was explained already.
        overrides: Words such as `inference.overlap=0.25`, which override options of the models.

    Raises:
        ConfigError: If the method is unknown, or an option is out of range or of another method.
    """

    method: str = "grad-cam"
    layer: str | None = None
    at_maximum: bool = False
    samples: int = 16
    noise: float = 0.1
    steps: int = 32
    box_mm: float | None = None
    regions: tuple[str, ...] = ()
    pictures: bool = True
    device: str = "auto"
    overwrite: bool = False
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(
                f"method is {shown(self.method)}", remedy=one_of(self.method, METHODS)
            )
        if self.layer is not None and self.method != "grad-cam":
            raise ConfigError(
                f"layer is {shown(self.layer)}, but {self.method} uses no layer",
                remedy="leave it out, or use method grad-cam",
            )
        if self.box_mm is not None and self.method != "occlusion":
            raise ConfigError(
                f"--box is {self.box_mm:g}, but {self.method} uses no boxes",
                remedy="leave it out, or use method occlusion",
            )
        if self.box_mm is not None and not 0 < self.box_mm < math.inf:
            raise ConfigError(f"--box is {self.box_mm:g}, but a side above 0 is expected")
        for name in ("samples", "steps"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, but at least 1 is expected")
        if not 0 < self.noise <= 1:
            raise ConfigError(
                f"noise is {self.noise:g}, but a share above 0, at most 1 is expected"
            )

    @property
    def kind(self) -> str:
        """Kind of the maps, as it stands in names of files."""
        return kind_of(self.method, at_maximum=self.at_maximum)

    @property
    def of_method(self) -> dict[str, Any]:
        """The options that decide a map of this method, as plain data for JSON."""
        own = {"grad-cam": ("layer",), "smooth-grad": ("samples", "noise")}
        own |= {"integrated-gradients": ("steps",), "occlusion": ("box_mm",)}
        names = ("at_maximum", *own.get(self.method, ()))
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Which voxels the prediction of a region rests on.

    Attributes:
        region: The region.
        method: One of `METHODS`.
        layer: Layer of `grad-cam`, or of several models their layers; None for other methods.
        map: float32 (I, J, K) on the grid of the scan; the largest absolute value is 1, or all
            values are 0. Not negative, unless the method is in `SIGNED`.
        scale: Value of 1 in `map`, in the unit of the method.
        by_channel: Share of each input channel in the map, together 1; empty if the method does
            not divide its map by channel. Of occlusion: shares of the positive `channel_values`.
        target_voxels: Voxels of the scan whose logits are explained.
        notes: What must be known to read the map, a sentence each.
        seconds: Time of the computation; of occlusion: of the first region for all, of the others
            little.
        channel_values: Shapley value of each channel, of occlusion: what it adds to the mean
            probability of the region; see `ChannelShares`.
        box_mm: Side of the boxes of occlusion.
    """

    region: str
    method: str
    layer: str | None
    map: npt.NDArray[np.float32]
    scale: float
    by_channel: Mapping[str, float]
    target_voxels: int
    notes: tuple[str, ...]
    seconds: float
    channel_values: Mapping[str, float] = field(default_factory=dict)
    box_mm: float | None = None
