"""What libraries do not promise is still there, and used in one place alone."""

from __future__ import annotations

import ast
import copy
import signal
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from monai.networks.nets import EfficientNetBNFeatures
from monai.networks.nets.efficientnet import MBConvBlock
from PIL import Image
from pytorch_lightning.demos.boring_classes import BoringModel
from torch import nn

from volseg.compat import lightning
from volseg.compat.monai import (
    change_depthwise_padding,
    depthwise_convolution,
    efficientnet_stages,
    remove_classifier,
)
from volseg.compat.pillow import raw_mode
from volseg.compat.torch import BatchesOfProcesses, ProcessLoader

ROOT = Path(__file__).resolve().parents[1]
OURS = {"self", "cls"}


@pytest.fixture
def trainer(tmp_path):
    return pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, default_root_dir=tmp_path
    )


@pytest.fixture(scope="module")
def backbone():
    return EfficientNetBNFeatures("efficientnet-b0", pretrained=False, spatial_dims=2)


# pytorch-lightning


def test_a_trainer_says_who_starts_its_processes(trainer):
    environment = lightning.cluster_environment(trainer)

    assert environment.creates_processes_externally is False


def test_a_trainer_can_be_kept_from_handling_signals(tmp_path):
    handlers = []

    class Note(pl.Callback):
        def on_train_start(self, trainer, pl_module):
            handlers.append(signal.getsignal(signal.SIGTERM))

    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        max_steps=1,
        limit_val_batches=0,
        default_root_dir=tmp_path,
        callbacks=[Note()],
    )
    lightning.leave_signals_alone(trainer)

    trainer.fit(BoringModel())

    assert handlers == [signal.getsignal(signal.SIGTERM)] == [signal.SIG_DFL]


def test_the_progress_of_a_training_is_that_of_its_loops(trainer):
    state = lightning.progress(trainer)
    place, loaders = lightning.loader_states({"loops": state})

    assert lightning.ends_epoch(trainer) is False
    assert place.startswith("loops.fit_loop.state_dict")
    assert loaders == []


def test_a_checkpoint_can_be_made_to_begin_with_a_validation(trainer):
    checkpoint = {"loops": copy.deepcopy(lightning.progress(trainer))}

    lightning.restart_validation(checkpoint)

    progress = checkpoint["loops"]["fit_loop"]["epoch_loop.val_loop.batch_progress"]
    assert progress["total"] | {"ready": 0, "started": 0} == progress["current"]
    assert set(progress["current"].values()) == {0}


# MONAI


def test_an_efficientnet_has_stages_and_a_classifier_that_can_be_removed(backbone):
    backbone = copy.deepcopy(backbone)
    stages = efficientnet_stages(backbone)

    remove_classifier(backbone)

    assert len(stages) == 7
    names = {name.partition(".")[0] for name, _ in backbone.named_parameters()}
    assert names == {"_conv_stem", "_bn0", "_blocks"}


def test_the_padding_of_a_block_is_that_of_its_depthwise_convolution(backbone):
    block = next(m for m in copy.deepcopy(backbone).modules() if isinstance(m, MBConvBlock))
    convolution = depthwise_convolution(block)
    image = torch.zeros(1, convolution.in_channels, 8, 8)

    change_depthwise_padding(block, lambda _: nn.ZeroPad2d(5))

    assert convolution.groups == convolution.in_channels
    assert block(image).shape[2:] == (8 + 10 - 2, 8 + 10 - 2)


# torch


def test_a_loader_with_processes_gives_batches_that_can_be_left_half_made():
    loader = ProcessLoader(torch.arange(4), batch_size=2, num_workers=1)
    batches = iter(loader)

    assert isinstance(batches, BatchesOfProcesses)
    assert [batch.tolist() for batch in batches] == [[0, 1], [2, 3]]
    # As one whose processes could not be started.
    BatchesOfProcesses.__new__(BatchesOfProcesses).__del__()


# Pillow


@pytest.mark.parametrize(("mode", "name"), [("L", "L"), ("I;16", "I;16B"), ("LA", "LA")])
def test_an_image_says_how_it_is_stored(tmp_path, mode, name):
    Image.new(mode, (3, 2)).save(tmp_path / "image.png")

    with Image.open(tmp_path / "image.png") as image:
        assert raw_mode(image) == name


# Nowhere else


def test_private_parts_of_others_are_used_in_one_place():
    found = []
    for path in sorted((ROOT / "volseg").rglob("*.py")):
        if path.parent.name == "compat":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and _is_private(node.attr):
                owner = node.value.id if isinstance(node.value, ast.Name) else ""
                if owner not in OURS:
                    found.append(f"{path.name}:{node.lineno} {ast.unparse(node)}")
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("volseg"):
                found += [
                    f"{path.name}:{node.lineno} {name.name}"
                    for name in node.names
                    if _is_private(name.name)
                ]

    # Documented by Python, in spite of its name.
    assert [words for words in found if not words.endswith("os._exit")] == []


def _is_private(name):
    return name.startswith("_") and not name.startswith("__")
