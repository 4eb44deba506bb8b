"""Every shipped config is valid, says only what it is about, and builds its network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

from volseg.cases.data_list import read_data_list
from volseg.config import load_config
from volseg.config.networks import NETWORKS
from volseg.losses import build_loss
from volseg.networks import build_network

ROOT = Path(__file__).resolve().parents[1]
CONFIGS = sorted((ROOT / "configs").glob("*.yaml"))
every_config = pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)


def test_every_network_has_a_config():
    assert {load_config(path).network.name for path in CONFIGS} == set(NETWORKS)


@every_config
def test_a_config_builds_its_network_and_takes_its_patch(path):
    config = load_config(path)
    if config.network.name == "swin_unetr":
        pytest.importorskip("einops", reason="swin_unetr needs volseg[transformer]")
    regions, patch = len(config.labels.regions), config.data.patch_size
    network = build_network(config.network, len(config.data.channels), regions, patch)
    # The meta device works out shapes alone, so that a patch of full size takes no time.
    image = torch.empty(config.data.batch_size, len(config.data.channels), *patch, device="meta")

    with torch.no_grad():
        logits = network.to("meta")(image)

    finest = logits[0] if isinstance(logits, list) else logits
    assert finest.shape == (config.data.batch_size, regions, *patch)
    assert all(side % network.divisor == 0 for side in patch)
    assert isinstance(build_loss(config.loss), torch.nn.Module)


@every_config
def test_no_network_normalises_over_a_batch_of_a_few_patches(path):
    config = load_config(path)
    if config.network.name == "swin_unetr":
        pytest.importorskip("einops", reason="swin_unetr needs volseg[transformer]")
    regions, patch = len(config.labels.regions), config.data.patch_size
    network = build_network(config.network, len(config.data.channels), regions, patch)

    over_batch = [
        m for m in network.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)
    ]
    assert not over_batch or config.data.batch_size >= 8


@pytest.mark.parametrize(
    "path",
    [path for path in CONFIGS if load_config(path).data.data_list.name == "brats2021.json"],
    ids=lambda path: path.stem,
)
def test_validations_of_a_fold_take_less_than_a_tenth_of_a_training(path):
    config = load_config(path)
    data = config.data
    cases = len(read_data_list(ROOT / data.data_list, ROOT).split(data.fold)[1])
    # A brain of 140 x 175 x 145 voxels takes two windows of 128 along each axis. A patch of that
    # size is also gone through backwards, which takes twice as long.
    validation = 8 * cases
    epochs = config.training.validate_every * data.batches_per_epoch * data.batch_size * 3

    assert cases == 251
    assert validation < 0.1 * (validation + epochs)


@every_config
def test_a_config_says_what_it_is_its_command_and_what_was_measured(path):
    comments = [
        line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")
    ]

    assert any(f"volseg fit configs/{path.name}" in line for line in comments[1:])
    assert any(line.startswith("# Measured: ") for line in comments)


@every_config
def test_the_data_list_of_a_config_is_shipped_or_made_by_its_header(path):
    data_list = load_config(path).data.data_list

    header = path.read_text(encoding="utf-8").partition("\nlabels:")[0]
    assert (ROOT / data_list).is_file() or f"-o {data_list.as_posix()}" in header


def test_the_configs_for_lgg_differ_in_their_network_alone():
    options = {
        path.stem: yaml.safe_load(path.read_text(encoding="utf-8"))
        for path in CONFIGS
        if path.stem.startswith("lgg_")
    }

    networks = {name: of_one.pop("network")["name"] for name, of_one in options.items()}

    assert networks == {
        f"lgg_{name}": name
        for name in ("attention_unet", "deeplabv3plus", "pspnet", "segnet", "unet")
    }
    assert all(of_one == options["lgg_unet"] for of_one in options.values())
