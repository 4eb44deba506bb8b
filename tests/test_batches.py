"""What travels to a GPU, as far as a CPU can tell."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from experiments import write_small_config
from safetensors.torch import load_file

from volseg.cases.data_list import read_data_list
from volseg.config import load_config
from volseg.tasks.fit import fit
from volseg.training.batches import unpacked, unpacked_masks
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import VolumeDataModule

# There is no GPU to pin memory for.
PINNING = pytest.mark.filterwarnings("ignore:.*pin_memory.*:UserWarning")
FORKING = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")


@pytest.fixture(scope="module")
def module_for(cohort: Path, tmp_path_factory):
    """Data module of a trainer on a device."""
    folder = tmp_path_factory.mktemp("batches")

    def module(device: str, **data: object) -> VolumeDataModule:
        path = write_small_config(folder / "config.yaml", cohort / "list.json", data=data)
        config = load_config(path)
        cases = read_data_list(config.data.data_list).training
        ready, _ = build_cache(cases, config, folder / "cache")
        found = VolumeDataModule(config, ready, ())
        found.trainer = SimpleNamespace(
            strategy=SimpleNamespace(root_device=torch.device(device)),
            num_devices=1,
            global_rank=0,
            world_size=1,
        )
        return found

    return module


def test_a_byte_holds_the_masks_of_a_voxel():
    bits = torch.tensor([[0b000, 0b001], [0b110, 0b101]], dtype=torch.uint8)

    masks = unpacked_masks(bits, 3)

    assert masks.dtype == torch.float32
    assert masks.tolist() == [[[0, 1], [0, 1]], [[0, 0], [1, 0]], [[0, 0], [1, 1]]]


def test_the_last_of_eight_regions_is_unpacked_too():
    assert unpacked_masks(torch.tensor([128], dtype=torch.uint8), 8)[:, 0].tolist() == [0] * 7 + [1]


@PINNING
@FORKING
@pytest.mark.parametrize("options", [{}, {"workers": 1}, {"patch_size": [16, 16]}])
def test_a_gpu_is_sent_a_third_of_the_bytes_and_unpacks_the_batch_of_a_cpu(module_for, options):
    cpu, gpu = (module_for(device, **options) for device in ("cpu", "cuda"))
    expected, sent = (next(iter(module.train_dataloader())) for module in (cpu, gpu))

    found = gpu.on_after_batch_transfer(sent, 0)

    # Of four channels and three masks a voxel: 9 bytes instead of 28.
    voxels = expected["image"][:, 0].numel()
    assert sum(tensor.nbytes for tensor in expected.values()) == 28 * voxels
    assert sum(tensor.nbytes for tensor in sent.values()) == 9 * voxels
    assert expected["mask"].any()
    assert found["mask"].dtype == found["image"].dtype == torch.float32
    assert torch.equal(found["mask"], expected["mask"])
    assert torch.equal(found["image"], expected["image"].half().float())
    assert list(found) == list(expected) == ["image", "mask"]
    loaders = [module.train_dataloader() for module in (cpu, gpu)]
    assert [loader.pin_memory for loader in loaders] == [False, True]


def test_a_batch_for_the_cpu_is_not_touched(module_for):
    cpu = module_for("cpu")
    batch = next(iter(cpu.train_dataloader()))

    assert cpu.on_after_batch_transfer(batch, 0) is batch
    assert unpacked(batch, 3) is batch


def test_a_case_to_validate_on_is_not_unpacked(module_for):
    gpu = module_for("cuda")

    assert gpu.on_after_batch_transfer(gpu.training[0], 0) is gpu.training[0]
    assert gpu.on_after_batch_transfer(None, 0) is None


@PINNING
def test_training_on_what_a_gpu_is_sent_gives_the_weights_of_the_cpu(cohort, tmp_path, monkeypatch):
    # Mirrored patches are as they lie in the cache, in 16 bits.
    steps = ("rotate", "scale", "intensity_scale", "intensity_shift", "noise", "blur", "contrast")
    steps += ("low_resolution", "gamma")
    path = write_small_config(
        tmp_path / "config.yaml",
        cohort / "list.json",
        data={"fold": None, "cache_dir": str(tmp_path / "cache")},
        training={"max_epochs": 1},
    )
    config = load_config(path, [f"augmentation.{step}=0" for step in steps])
    fit(config, tmp_path / "cpu")
    monkeypatch.setattr("volseg.training.datamodule.on_gpu", lambda _: True)
    fit(config, tmp_path / "gpu")

    cpu, gpu = (load_file(tmp_path / name / "model.safetensors") for name in ("cpu", "gpu"))
    assert all(torch.equal(cpu[name], gpu[name]) for name in cpu)
