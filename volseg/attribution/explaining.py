"""Explanation of a prediction: why the models see a region where they do."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch

from volseg.attribution.channel_shares import shown_channels
from volseg.attribution.differentiable import differentiable
from volseg.attribution.grad_cam import grad_cam
from volseg.attribution.gradients import integrated_gradients, saliency, smooth_grad
from volseg.attribution.layers import RESOLUTION, Layer, chosen_layer, has_instance_norm
from volseg.attribution.methods import ExplainOptions, Explanation
from volseg.attribution.occluded_case import OccludedCase
from volseg.attribution.target import Target
from volseg.errors import AttributionError, of_case
from volseg.images.boxes import placed
from volseg.inference.decoding import decode_case
from volseg.inference.prediction import Prediction
from volseg.inference.preparing import PreparedCase
from volseg.inference.probabilities import CaseProbabilities, probabilities_of
from volseg.inference.windows import on_scan_grid
from volseg.model_file import Model
from volseg.words import one_of

#: Maps of a target (C, I, J, K) by channel, or (1, I, J, K), on the grid of its image.
Method = Callable[[Target, ExplainOptions], npt.NDArray[np.float32]]

#: Function of each method that explains one region at a time.
FUNCTIONS: Mapping[str, Method] = {
    "grad-cam": grad_cam,
    "saliency": saliency,
    "smooth-grad": smooth_grad,
    "integrated-gradients": integrated_gradients,
}


@dataclass(frozen=True, eq=False)
class PredictedCase:
    """A case with its prediction, which is to be explained.

    Attributes:
        case: The case.
        models: Models of the prediction, with their networks on `device`.
        device: Device of the networks.
        scored: Region probabilities.
        prediction: Prediction in the label scheme of the first model, as `infer` gives it.
        occlusions: Occlusion with each choice of options so far.
    """

    case: PreparedCase
    models: Sequence[Model]
    device: torch.device
    scored: CaseProbabilities
    prediction: Prediction
    occlusions: dict[ExplainOptions, OccludedCase] = field(default_factory=dict)

    @classmethod
    def of(cls, case: PreparedCase, models: Sequence[Model], device: torch.device) -> PredictedCase:
        """Segment a prepared case; errors as of `probabilities_of`."""
        first = models[0].config
        scored = probabilities_of(case, models, tuple(first.labels.regions), device)
        return cls(case, models, device, scored, decode_case(scored, first, first.labels))

    def threshold_of(self, region: str) -> float:
        """Probability from which a voxel belongs to a region."""
        return self.models[0].config.inference.threshold_of(region)


def explain_region(predicted: PredictedCase, region: str, options: ExplainOptions) -> Explanation:
    """Explain why the models predict a region where they do.

    The explained number is the sum of the region's logits over its predicted voxels. The map of an
    ensemble is the mean of the maps of its models.

    Args:
        predicted: The case with its prediction.
        region: Name of a region of the models.
        options: Method and its options.

    Raises:
        AttributionError: If the models do not know the region, it is not predicted, or the layer
            does not exist.
        ModelError: If the gradients of a model are NaN.
    """
    with of_case(predicted.case.case_id):
        mask = explained_mask(predicted, region, at_maximum=options.at_maximum)
        if options.method == "occlusion":
            return _of_occlusion(predicted, region, mask, options)
        return _of_gradients(predicted, region, mask, options)


def _of_gradients(
    predicted: PredictedCase, region: str, mask: npt.NDArray[np.bool_], options: ExplainOptions
) -> Explanation:
    begun = time.monotonic()
    case, models = predicted.case, predicted.models
    layers = [_layer(model, options) for model in models]
    total = np.zeros(case.grid.shape, np.float32)
    shares: Counter[str] = Counter()
    for model, layer in zip(models, layers, strict=True):
        image = case.images[model.config.preprocessing]
        target = Target.of(model, region, image, mask, predicted.device)
        if not target.mask.any():
            continue  # outside the tissue in this model's channels: its map is 0
        with differentiable(model.network, layer.name if layer else None):
            maps = FUNCTIONS[options.method](target, options)
        joined = torch.from_numpy(maps.sum(axis=0, keepdims=True))
        total += on_scan_grid(joined, image.image_grid, case.grid)[0].numpy() / len(models)
        shares.update(_shares(maps, model, case.missing))
    scale = float(abs(total).max())
    return Explanation(
        region=region,
        method=options.method,
        layer=", ".join(dict.fromkeys(layer.name for layer in layers if layer)) or None,
        map=total / scale if scale else total,
        scale=scale,
        by_channel={name: share / shares.total() for name, share in shares.items()},
        target_voxels=int(np.count_nonzero(mask)),
        notes=(*_notes(predicted, region, mask, scale, options), *_on_layers(models, layers)),
        seconds=time.monotonic() - begun,
    )


def _of_occlusion(
    predicted: PredictedCase, region: str, mask: npt.NDArray[np.bool_], options: ExplainOptions
) -> Explanation:
    """The explanation of a region; the first also occludes for all others, in the same passes."""
    begun = time.monotonic()
    found = _occluded(predicted, region, options)
    total, shares = found.maps[region], found.shares[region]
    scale = float(abs(total).max())
    return Explanation(
        region=region,
        method=options.method,
        layer=None,
        map=total / scale if scale else total,
        scale=scale,
        by_channel=shares.shares if any(shares.shares.values()) else {},
        target_voxels=int(np.count_nonzero(mask)),
        notes=tuple(_notes(predicted, region, mask, scale, options)),
        seconds=time.monotonic() - begun,
        channel_values=shares.values,
        box_mm=found.box_mm,
    )


def _occluded(predicted: PredictedCase, region: str, options: ExplainOptions) -> OccludedCase:
    """Occlusion of a region and of all others that are wanted and predicted, in the same passes."""
    if options not in predicted.occlusions:
        masks = {}
        for name in predicted.prediction.scheme.regions:
            with suppress(AttributionError):
                masks[name] = explained_mask(predicted, name, at_maximum=options.at_maximum)
        wanted = options.regions if region in options.regions else tuple(masks)
        predicted.occlusions[options] = OccludedCase.of(
            predicted.case, predicted.models, masks, predicted.device, options.box_mm, wanted
        )
    return predicted.occlusions[options]


def explained_mask(
    predicted: PredictedCase, region: str, *, at_maximum: bool
) -> npt.NDArray[np.bool_]:
    """Mask (I, J, K) of the scan's voxels whose logits are explained.

    Args:
        predicted: The case with its prediction.
        region: Name of a region of the models.
        at_maximum: Whether to explain the voxel of highest probability; else the predicted mask.

    Raises:
        AttributionError: If the models do not know the region, or it is not predicted.
    """
    check_region(region, predicted.models[0])
    scored, prediction = predicted.scored, predicted.prediction
    probability = scored.probabilities[list(prediction.scheme.regions).index(region)]
    if at_maximum:
        voxel = np.zeros(probability.shape, np.bool_)
        voxel[np.unravel_index(np.argmax(probability), probability.shape)] = True
        return placed(voxel, scored.box, predicted.case.grid.shape)
    mask = prediction.scheme.masks(prediction.label_map)[region]
    if not mask.any():
        highest, threshold = probability.max(), predicted.threshold_of(region)
        why = (
            f", at least the threshold of {threshold:g}, but its voxels lie outside the region "
            "around it or in parts that are too small to be kept"
        )
        raise AttributionError(
            f"{region} is not predicted, its highest probability is {highest:.2g}"
            f"{why if highest >= threshold else ''}",
            remedy=f"use --region {region} --at-maximum to explain the voxel of this probability",
        )
    return mask


def check_region(region: str, model: Model) -> None:
    """Raise AttributionError if a model does not know a region."""
    known = tuple(model.config.labels.regions)
    if region not in known:
        raise AttributionError(
            f"{model.path} has no region {region!r}", remedy=one_of(region, known)
        )


def _layer(model: Model, options: ExplainOptions) -> Layer | None:
    """Layer of Grad-CAM; None for other methods."""
    return chosen_layer(model, options.layer) if options.method == "grad-cam" else None


def _notes(
    predicted: PredictedCase,
    region: str,
    mask: npt.NDArray[np.bool_],
    scale: float,
    options: ExplainOptions,
) -> Iterator[str]:
    """What must be known to read a map."""
    if options.at_maximum:
        place = tuple(map(int, np.argwhere(mask)[0]))
        value = predicted.prediction.probabilities[region][place]
        yield f"only voxel {place} is explained, of the highest probability ({value:.2g})"
    if missing := predicted.case.missing:
        stands_for = "it" if len(missing) == 1 else "them"
        yield f"{' '.join(missing)} missing: the map is of what stands in for {stands_for}"
    if not scale:
        yield f"the map is 0 everywhere: {options.method} found nothing that the region rests on"


def _on_layers(models: Sequence[Model], layers: Sequence[Layer | None]) -> Iterator[str]:
    """Notes on layers whose features Grad-CAM cannot weight well."""
    for model, layer in zip(models, layers, strict=True):
        if layer is not None and layer.resolution > RESOLUTION and has_instance_norm(model):
            yield (
                f"Grad-CAM of a layer as fine as {layer.name} may show a regular pattern, since "
                "instance norm removes the mean of the gradients by which it weights features"
            )


def _shares(
    maps: npt.NDArray[np.float32], model: Model, missing: Collection[str]
) -> dict[str, float]:
    """Share of each channel in the absolute values of maps (C, I, J, K); empty for one map or 0.

    What an input shows counts for the channel that it shows: a missing channel gets 0.
    """
    if len(maps) == 1:
        return {}
    found = dict.fromkeys(model.config.data.channels, 0.0)
    for name, part in zip(shown_channels(model, missing), maps, strict=True):
        if name is not None:
            found[name] += float(abs(part).sum(dtype=np.float64))
    whole = sum(found.values())
    return {name: part / whole for name, part in found.items() if whole}
