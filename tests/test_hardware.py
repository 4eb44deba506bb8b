"""Devices that a machine does not have are refused by `check` and `fit`, in the same words."""

from __future__ import annotations

import pytest
import torch
from experiments import write_small_config

from volseg.config import TrainingConfig, load_config
from volseg.errors import ConfigError
from volseg.tasks.check import check
from volseg.tasks.compare import compare
from volseg.tasks.fit import fit
from volseg.training.hardware import check_hardware


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("MASTER_ADDR", "NODE_RANK", "SLURM_NTASKS", "TORCHELASTIC_RUN_ID"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


@pytest.fixture
def one_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "Tesla T4")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda **_: False)


def refused(**options: object) -> str:
    with pytest.raises(ConfigError) as error:
        check_hardware(TrainingConfig(**options))
    return str(error.value)


@pytest.mark.parametrize("kind", ["gpu", "mps"])
def test_a_missing_accelerator_is_refused_before_anything_is_written(kind, cohort, tmp_path):
    path = write_small_config(
        tmp_path / "config.yaml", cohort / "list.json", training={"accelerator": kind}
    )

    with pytest.raises(ConfigError, match=f"accelerator is {kind}, but torch .* finds no") as error:
        fit(load_config(path), tmp_path / "run")
    assert check(path).problems == (str(error.value),)
    other = tmp_path / "other.yaml"
    other.write_text(path.read_text())
    with pytest.raises(ConfigError, match=f"accelerator is {kind}"):
        compare([path, other], tmp_path / "out")
    assert {path.name for path in tmp_path.iterdir()} == {"config.yaml", "other.yaml"}


@pytest.mark.usefixtures("one_gpu")
def test_more_devices_than_gpus_are_refused():
    assert refused(devices=8) == (
        "training.devices is 8, but 1 GPU can be used here; set training.devices=1, or auto"
    )


@pytest.mark.usefixtures("one_gpu")
def test_bf16_on_a_gpu_that_imitates_it_is_refused():
    assert "Tesla T4 has no bf16 hardware" in refused(precision="bf16-mixed")


def test_nodes_that_nobody_starts_are_refused():
    assert refused(nodes=2, accelerator="cpu").startswith(
        "training.nodes is 2, but no launcher starts"
    )


def test_nodes_that_are_told_of_the_first_are_not(monkeypatch):
    monkeypatch.setenv("MASTER_ADDR", "127.0.0.1")

    check_hardware(TrainingConfig(nodes=2, accelerator="cpu"))


def test_processes_other_than_those_of_the_job_are_refused(monkeypatch):
    for name, value in {"NTASKS": "2", "NTASKS_PER_NODE": "2", "JOB_NAME": "unet"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)

    said = refused(devices=1, accelerator="cpu")

    assert said.startswith("training.devices=1 and training.nodes=1 do not fit the processes")
    assert "ntasks-per-node=2" in said


@pytest.mark.parametrize(("here", "most"), [(2, 8), (16, 16)])
def test_more_processes_than_cores_are_refused(here, most, monkeypatch):
    monkeypatch.setattr("volseg.training.hardware.cores", lambda: here)

    check_hardware(TrainingConfig(devices=most))
    assert refused(devices=most + 1) == (
        f"training.devices is {most + 1}, and without a GPU each device is a process on the "
        f"{here} cores that can be used here; set training.devices={most} or fewer, or auto"
    )


def test_processes_that_a_launcher_started_are_its_own_business(monkeypatch):
    monkeypatch.setattr("volseg.training.hardware.cores", lambda: 1)
    job = {"NTASKS": "16", "NTASKS_PER_NODE": "16", "JOB_NAME": "unet"}
    for name, value in (job | dict.fromkeys(("NODEID", "PROCID", "LOCALID"), "0")).items():
        monkeypatch.setenv(f"SLURM_{name}", value)

    check_hardware(TrainingConfig(devices=16, accelerator="cpu"))
