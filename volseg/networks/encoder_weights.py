"""Weights for an encoder, from a file that PyTorch, torchvision, MONAI or volseg wrote."""

from __future__ import annotations

import logging
import os
import pickle
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from volseg.errors import ModelError
from volseg.files.documents import check_regular
from volseg.networks.encoders import Encoder
from volseg.networks.weights import forms_of, misfits, unusable
from volseg.words import cut, reason

logger = logging.getLogger(__name__)

_FIRST = re.compile(r"(conv1|_conv_stem)\.weight")
_CLASSIFIER = re.compile(r"(fc|_fc|_conv_head|_bn1)\.")
#: Prefixes of weight names: of volseg, and of data parallel training.
_PREFIXES = ("encoder.backbone.", "module.")


def load_encoder_weights(network: nn.Module, path: str | os.PathLike[str]) -> None:
    """Load weights of a file into the encoder of `network`; classifiers in the file are ignored.

    For a different number of input channels, the first convolution is averaged over its channels,
    repeated and scaled, so that an image of equal channels gives the same features as before.

    Args:
        network: Network with an encoder: `deeplabv3plus` or `pspnet`.
        path: State dict with the names of a ResNet of torchvision or MONAI, or of
            EfficientNet-PyTorch (.pt, .pth, .safetensors), or a model file of volseg with the same
            encoder.

    Raises:
        ModelError: If the file cannot be read or does not fit the encoder.
    """
    file, encoder = Path(path), network.encoder
    assert isinstance(encoder, Encoder)
    own = encoder.backbone.state_dict()
    names = {_without_stage(name): name for name in own}
    found = {
        names.get(_without_stage(name), name): tensor
        for name, tensor in _state_dict(file).items()
        if not _CLASSIFIER.match(name)
    }
    for name in filter(_FIRST.fullmatch, own):
        if name in found:
            found[name] = _for_channels(found[name], own[name], file)
    _check_fit(found, own, encoder, file)
    # Files older than PyTorch 0.4.1 lack the count of batches, which is not used here.
    encoder.backbone.load_state_dict(own | found)
    logger.info("encoder %s starts from %s", encoder.name, file)


def _read(file: Path) -> Any:
    """Content of `file`, read without running code in it."""
    try:
        check_regular(file)
        if file.suffix == ".safetensors":
            return load_file(file)
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise ModelError(
            f"encoder weights {file} cannot be read ({reason(error)})",
            remedy="correct network.encoder_weights",
            path=file,
        ) from None
    except pickle.UnpicklingError:
        # The message of torch advises to run the code in the file.
        raise ModelError(
            f"encoder weights {file} are damaged or not a state dict of tensors, and other content "
            "is not opened, since it may run code",
            remedy="save `network.state_dict()` as .safetensors, or with torch.save",
        ) from None
    # Errors of torch's reader on damaged files have no common class.
    except Exception as error:
        raise ModelError(
            f"encoder weights {file} are damaged or not a state dict ({cut(reason(error), 120)})",
            remedy="save a state dict as .safetensors, or with torch.save",
            path=file,
        ) from None


def _state_dict(file: Path) -> dict[str, torch.Tensor]:
    """State dict in `file`, without known prefixes of its names."""
    weights = _read(file)
    if isinstance(weights, Mapping):
        weights = weights.get("state_dict", weights)
    if not isinstance(weights, Mapping) or not all(map(torch.is_tensor, weights.values())):
        raise ModelError(
            f"encoder weights {file} are not a state dict of names and tensors, but a "
            f"{type(weights).__name__} of other things",
            remedy="save `network.state_dict()`",
        )
    for prefix in _PREFIXES:
        inside = {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}
        weights = inside or weights
    return dict(weights)


def _without_stage(name: str) -> str:
    """Name of a weight in EfficientNet-PyTorch, without the stage number that MONAI adds."""
    return re.sub(r"^_blocks\.\d+\.(?=\d)", "_blocks.", name)


def _for_channels(found: torch.Tensor, own: torch.Tensor, file: Path) -> torch.Tensor:
    """First convolution `(F, C, I, J[, K])`, adapted to the number of channels of `own`."""
    if found.ndim != own.ndim or found.shape[1] == own.shape[1]:
        return found
    before, wanted = found.shape[1], own.shape[1]
    logger.info(
        "%s was trained on %d channels and gets %d: its first convolution is averaged over "
        "channels, repeated and scaled by %d/%d",
        file,
        before,
        wanted,
        before,
        wanted,
    )
    mean = found.mean(dim=1, keepdim=True) * before / wanted
    return mean.expand(-1, wanted, *mean.shape[2:])


def _check_fit(
    found: Mapping[str, torch.Tensor],
    own: Mapping[str, torch.Tensor],
    encoder: Encoder,
    file: Path,
) -> None:
    counts = [name for name in own if name.endswith(".num_batches_tracked")]
    if problem := misfits(forms_of(found), forms_of(own), optional=counts):
        raise ModelError(
            f"encoder weights {file} do not fit {encoder.name} in {encoder.spatial_dims}D, "
            f"{encoder.channels[0]} features wide: the file {problem}",
            remedy=(
                "set network.encoder and network.encoder_width to those of the file, or choose "
                "another file"
            ),
        )
    if problem := unusable(found, own):
        raise ModelError(
            f"encoder weights {file} cannot be used: {problem}",
            remedy="copy or download the file again",
            path=file,
        )
