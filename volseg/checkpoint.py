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
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn

import volseg
from volseg.config import ExperimentConfig
from volseg.errors import CheckpointError, ConfigError
from volseg.files import MODEL_FILE, atomic_write
from volseg.labels import LabelScheme
from volseg.networks import build_network

FORMAT = 1

_KEY = "volseg"
_OTHER_KINDS = {
    b"PK\x03\x04": "a PyTorch checkpoint or another zip archive",
    b"\x80": "a Python pickle",
    b"\x1f\x8b": "a gzip file, such as a NIfTI image",
    b"\x5c\x01\x00\x00": "a NIfTI image",
}


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


def save_checkpoint(
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
    }
    with atomic_write(Path(path)) as temporary:
        temporary.write_bytes(save(tensors, {_KEY: json.dumps(header)}))


def load_checkpoint(path: str | os.PathLike[str]) -> Model:
    """Read a model file and build its network.

    Args:
        path: Model file, or the folder of the run that holds it.

    Returns:
        The model, on the CPU, ready for inference.

    Raises:
        CheckpointError: If the file is missing, damaged, of another kind, newer than this volseg,
            or if its weights do not fit its config.
    """
    file = model_file(path)
    header = read_checkpoint_header(file)
    try:
        config = ExperimentConfig.from_dict(header["config"], where=f"the config in {file}")
    except ConfigError as error:
        raise CheckpointError(f"{error}; the file was changed or written by another tool") from None
    network = build_network(
        config.network,
        len(config.data.channels),
        len(config.labels.regions),
        config.data.patch_size,
    )
    tensors = load_file(file)
    tensors |= {alias: tensors[name] for alias, name in header["shared"].items() if name in tensors}
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        detail = " ".join(str(error).split())[:300]
        raise CheckpointError(
            f"the weights in {file} do not fit the network {config.network.name} of its config "
            f"({detail}); train again, or use the volseg {header['volseg']} that wrote it"
        ) from None
    return Model(
        network.eval(), config, header["scores"], header["volseg"], file_sha256(file), file
    )


def read_checkpoint_header(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a model file tells of itself, without its weights.

    Returns:
        `format`, `volseg` (version), `disclaimer`, `channels`, `labels` (scheme written out),
        `spacing_mm`, `scores`, `config` and `shared` (names of one tensor).

    Raises:
        CheckpointError: If the file is missing, damaged, of another kind or newer than this volseg.
    """
    file = model_file(path)
    _refuse_other_kinds(file)
    try:
        with safe_open(file, framework="pt") as opened:
            metadata = opened.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(
            f"{file} is damaged or incomplete, with {file.stat().st_size} bytes ({error}); "
            "copy it again"
        ) from None
    if _KEY not in metadata:
        raise CheckpointError(
            f"{file} is a safetensors file, but not one of volseg; give the {MODEL_FILE} of a run"
        )
    header = json.loads(metadata[_KEY])
    if header["format"] > FORMAT:
        raise CheckpointError(
            f"{file} has format {header['format']}, written by volseg {header['volseg']}, but "
            f"volseg {volseg.__version__} reads formats up to {FORMAT}; update volseg"
        )
    return dict(header)


def describe_scheme(scheme: LabelScheme) -> dict[str, Any]:
    """A label scheme written out as plain data for JSON, as a config may hold it."""
    return {
        "name": scheme.name,
        "labels": {str(value): name for value, name in scheme.labels.items()},
        "regions": {region: list(values) for region, values in scheme.regions.items()},
    }


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def model_file(path: str | os.PathLike[str]) -> Path:
    """Model file at `path` or in the run folder `path`; CheckpointError if there is none."""
    file = Path(path)
    if file.is_dir():
        file = file / MODEL_FILE
    if not file.is_file():
        raise CheckpointError(f"{file} does not exist; give the {MODEL_FILE} of a run")
    return file


def _refuse_other_kinds(file: Path) -> None:
    try:
        with file.open("rb") as stream:
            start = stream.read(9)
    except OSError as error:
        raise CheckpointError(f"{file} cannot be read ({error.strerror}); check it") from None
    # safetensors begins with eight bytes for the length of the header, then the header, JSON.
    if start[8:] == b"{":
        return
    kinds = [kind for magic, kind in _OTHER_KINDS.items() if start.startswith(magic)]
    kind = kinds[0] if kinds else "a file of another kind" if start else "empty"
    raise CheckpointError(
        f"{file} is not a model of volseg but {kind}; give the {MODEL_FILE} of a run"
    )


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
