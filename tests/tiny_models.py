"""Models of a few weights, which nobody trained."""

from __future__ import annotations

import torch

from volseg.config import ExperimentConfig
from volseg.model_file import save_model
from volseg.networks import build_network

#: Sections of a model of slices.
OF_SLICES = {
    "labels": "lgg",
    "data": {
        "data_list": "l",
        "channels": ["t1n", "t2f", "t1c"],
        "patch_size": [16, 16],
        "fill_missing": "t2f",
    },
}


def tiny_config(patch=(16, 16, 16), **sections):
    options = {
        "labels": "brats2021",
        "data": {"data_list": "list.json", "patch_size": list(patch)},
        "network": {"name": "unet", "widths": [4, 8], "residual_units": 0},
    }
    return ExperimentConfig.from_dict(options | sections)


def write_model(path, seed=0, scores=None, **sections):
    """A model with random weights."""
    torch.manual_seed(seed)
    config = tiny_config(**sections)
    network = build_network(
        config.network,
        len(config.data.channels),
        len(config.labels.regions),
        config.data.patch_size,
    )
    save_model(path, network.state_dict(), config, scores or {})
    return path
