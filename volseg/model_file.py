"""Model files: weights, config, label scheme and measured scores in one file.

The format is safetensors: a JSON header and raw numbers. Opening a file runs no code, so models
from strangers are safe to open. All entries of volseg are under one key of the header.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save
from torch import nn

import volseg
from volseg.config import ExperimentConfig
from volseg.errors import ModelError
from volseg.files.writing import atomic_write
from volseg.model_header import FORMAT, KEY, ModelHeader, describe_scheme, doubts, read_model_header
from volseg.networks import build_network, network_forms
from volseg.networks.weights import Form, misfits, unusable

# Types of numbers: names of safetensors -> names of torch.
_DTYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}
_DTYPES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network with its config and scores.

    Args:
        network: The network with its weights, on the CPU, in evaluation mode.
        config: Config of the training: channels, label scheme, spacing, window and all other
            options.
        scores: Scores measured when the model was saved.
        version: Version of volseg that saved the model.
        sha256: SHA-256 of the file, in hexadecimal.
        path: The file.
        tuning: Record of `volseg tune`, if it changed the options of decoding.
        predicted_dice: Fit of `volseg tune` for the predicted Dice of a case, as plain data.
        training_data: Profile of the training cases, if the file holds it; see
            `confidence.training_profile`.
    """

    network: nn.Module
    config: ExperimentConfig
    scores: Mapping[str, Any]
    version: str
    sha256: str
    path: Path
    tuning: Mapping[str, Any] | None = None
    predicted_dice: Mapping[str, Any] | None = None
    training_data: Mapping[str, Any] | None = None

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons to doubt the model, by its own scores."""
        return doubts(self.scores, tuple(self.config.labels.regions))


def save_model(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, torch.Tensor],
    config: ExperimentConfig,
    scores: Mapping[str, Any],
    training_data: Mapping[str, Any] | None = None,
) -> None:
    """Write a model file atomically; equal arguments give equal bytes.

    Args:
        path: File to write, usually `model.safetensors`.
        state_dict: Weights of `build_network` for this config.
        config: Config of the run.
        scores: Measured scores, plain data for JSON.
        training_data: Profile of the training cases, plain data for JSON; None: not known.

    Raises:
        OutputError: If the file cannot be written.
    """
    tensors, shared = _distinct(state_dict)
    header = {
        "format": FORMAT,
        "volseg": volseg.__version__,
        "disclaimer": volseg.DISCLAIMER,
        "channels": list(config.data.channels),
        "channels_optional": config.data.channels_optional,
        "labels": describe_scheme(config.labels),
        "spacing_mm": list(config.data.spacing_mm),
        "scores": dict(scores),
        # The names of a cluster do not concern users of the model.
        "config": {name: of for name, of in config.to_dict().items() if name != "slurm"},
        "shared": shared,
        "weights_sha256": _weights_sha256(tensors, shared),
    }
    if training_data is not None:
        header["training_data"] = dict(training_data)
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, {KEY: json.dumps(header)}))


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file and build its network.

    Args:
        path: Model file, or the folder of the run that holds it.

    Returns:
        The model, on the CPU, ready for inference.

    Raises:
        ModelError: If the file is missing, damaged, not a model file, newer than this volseg or
            contradictory, or if its weights do not fit its config or are not usable.
        ResourceError: If memory is too small for the network.
    """
    header = read_model_header(path)
    # Before any allocation: the config of a damaged file may demand any size.
    _check_forms(header)
    config, content = header.config, header.content
    network = build_network(
        config.network,
        len(config.data.channels),
        len(config.labels.regions),
        config.data.patch_size,
    )
    tensors = load_file(header.file)
    _check_values(header, tensors, network.state_dict())
    tensors |= {alias: tensors[name] for alias, name in content["shared"].items()}
    network.load_state_dict(tensors)
    return Model(
        network.eval(),
        config,
        content["scores"],
        content["volseg"],
        file_sha256(header.file),
        header.file,
        content.get("tuning"),
        content.get("predicted_dice"),
        content.get("training_data"),
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_forms(header: ModelHeader) -> None:
    """Raise ModelError if names, shapes or types of the weights do not fit the config."""
    config, content = header.config, header.content
    found = {
        name: Form(shape, _DTYPES.get(dtype, dtype))
        for name, (shape, dtype) in header.tensors.items()
    }
    shared = {
        alias: found[name]
        for alias, name in content["shared"].items()
        if name in found and alias not in found
    }
    own = network_forms(
        config.network,
        len(config.data.channels),
        len(config.labels.regions),
        config.data.patch_size,
    )
    problem = misfits(found | shared, own)
    if not problem and shared.keys() != content["shared"].keys():
        problem = "has one tensor under two names, but stores both or neither of them"
    if problem:
        raise ModelError(
            f"the weights in {header.file} do not fit the network {config.network.name} of its "
            f"config: the file {problem}",
            remedy=f"train again, or use the volseg {content['volseg']} that wrote it",
        )


def _check_values(
    header: ModelHeader, tensors: Mapping[str, torch.Tensor], own: Mapping[str, torch.Tensor]
) -> None:
    if problem := unusable(tensors, own):
        raise ModelError(
            f"the weights in {header.file} cannot be used: {problem}",
            remedy="copy the file again, or train again",
            path=header.file,
        )
    written = header.content.get("weights_sha256")
    if written not in (None, _weights_sha256(tensors, header.content["shared"])):
        raise ModelError(
            f"the weights in {header.file} are not those that volseg wrote there: their checksum "
            "differs",
            remedy="copy the file again, or write changed weights with save_model",
            path=header.file,
        )


def _weights_sha256(tensors: Mapping[str, torch.Tensor], shared: Mapping[str, str]) -> str:
    """SHA-256 of names, shapes, types and values, independent of their order."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    digest.update(json.dumps(dict(shared), sort_keys=True).encode())
    return digest.hexdigest()


def _distinct(
    state_dict: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Each tensor once, and the name in use for each further name of a shared tensor."""
    tensors: dict[str, torch.Tensor] = {}
    shared: dict[str, str] = {}
    names: dict[tuple[object, ...], str] = {}
    for name, tensor in state_dict.items():
        place = (tensor.data_ptr(), tensor.shape, tensor.stride()) if tensor.numel() else (name,)
        if place in names:
            shared[name] = names[place]
        else:
            names[place] = name
            tensors[name] = tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
    return tensors, shared
