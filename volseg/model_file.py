"""A model in one file that answers for itself: weights, config, label scheme, measured scores.

The file is safetensors: a JSON header and raw numbers. Opening one runs no code, so a model from a
stranger is safe to look at. All that volseg adds lies under one key of the header.
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

# What safetensors and torch call a type of numbers.
_DTYPES = {"F32": "float32", "F64": "float64", "F16": "float16", "BF16": "bfloat16"}
_DTYPES |= {"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"}


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network and what is known of it.

    Args:
        network: The network with its weights, on the CPU, in evaluation mode.
        config: Config it was trained with: channels, label scheme, spacing, window and the rest.
        scores: Scores measured when it was saved.
        version: Version of volseg that saved it.
        sha256: Hash of the file.
        path: The file.
    """

    network: nn.Module
    config: ExperimentConfig
    scores: Mapping[str, Any]
    version: str
    sha256: str
    path: Path

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why the model may be of no use, by its own scores."""
        return doubts(self.scores, tuple(self.config.labels.regions))


def save_model(
    path: str | os.PathLike[str],
    state_dict: Mapping[str, torch.Tensor],
    config: ExperimentConfig,
    scores: Mapping[str, Any],
) -> None:
    """Write a model file, whole or not at all; the same arguments give the same bytes.

    Args:
        path: File to write, by habit `model.safetensors`.
        state_dict: Weights of `build_network` for this config.
        config: Config of the run.
        scores: Measured scores, plain data for JSON.

    Raises:
        OutputError: If the file cannot be written.
    """
    tensors, shared = _distinct(state_dict)
    header = {
        "format": FORMAT,
        "volseg": volseg.__version__,
        "disclaimer": volseg.DISCLAIMER,
        "channels": list(config.data.channels),
        "labels": describe_scheme(config.labels),
        "spacing_mm": list(config.data.spacing_mm),
        "scores": dict(scores),
        # Names of a cluster are not for those who get the model.
        "config": {name: of for name, of in config.to_dict().items() if name != "slurm"},
        "shared": shared,
        "weights_sha256": _weights_sha256(tensors, shared),
    }
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, {KEY: json.dumps(header)}))


def load_model(path: str | os.PathLike[str]) -> Model:
    """Read a model file and build its network.

    Args:
        path: Model file, or the folder of the run that holds it.

    Returns:
        The model, on the CPU, ready for inference.

    Raises:
        ModelError: If the file is missing, damaged, of another kind, newer than this volseg,
            contradicts itself, or if its weights do not fit its config or cannot be used.
        ResourceError: If the network does not fit into memory.
    """
    header = read_model_header(path)
    # Before anything is allocated: the config of a damaged file may ask for any size.
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
    )


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _check_forms(header: ModelHeader) -> None:
    """Refuse weights that are not those of the network of the config, by name, shape and type."""
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
        problem = "has one tensor under two names, of which both are stored or none is"
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
            f"the weights in {header.file} cannot be used: {problem}; copy the file again, or "
            "train again"
        )
    written = header.content.get("weights_sha256")
    if written not in (None, _weights_sha256(tensors, header.content["shared"])):
        raise ModelError(
            f"the weights in {header.file} are not those that volseg wrote there: their checksum "
            "differs; copy the file again, or write changed weights with save_model"
        )


def _weights_sha256(tensors: Mapping[str, torch.Tensor], shared: Mapping[str, str]) -> str:
    """SHA-256 of names, shapes, types and values, whatever their order."""
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
    """Each tensor once, and the other names of those that a network holds under several."""
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
