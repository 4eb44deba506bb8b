"""`fit FOLDER`: the scans are split and a default config is written, before anything is trained."""

from __future__ import annotations

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from experiments import run_in, write_experiment
from PIL import Image
from tiny_scans import write_case
from typer.testing import CliRunner

from volseg.cases.data_list import read_data_list
from volseg.cli import app
from volseg.config import load_config
from volseg.errors import ConfigError, LabelError, OutputError
from volseg.runs.schemes import check_schemes
from volseg.tasks.fit import FitResult
from volseg.tasks.fit_folder import check_overrides, split_and_configure


@pytest.fixture
def scans(tmp_path, monkeypatch):
    """Five cases of BraTS 2021."""
    monkeypatch.chdir(tmp_path)
    for number in range(5):
        folder = write_case(tmp_path / "scans", f"BraTS2021_0000{number}")
        label_map = np.zeros((20, 22, 18), np.uint8)
        label_map[5:11, 6:13, 4:9] = number % 2 + 1
        label_map[6:8, 8:10, 6:8] = 4
        affine = nib.load(folder / f"{folder.name}_t1.nii.gz").affine
        nib.save(nib.Nifti1Image(label_map, affine), folder / f"{folder.name}_seg.nii.gz")
    return tmp_path / "scans"


def _trained(monkeypatch):
    """What `fit` is called with; nothing is trained."""
    calls = []

    def noted(config, run, **_):
        calls.append((config, run))
        return FitResult(run, run / "model.safetensors")

    monkeypatch.setattr("volseg.tasks.fit.fit", noted)
    return calls


def test_a_folder_of_scans_is_split_and_trained_on_with_a_default_config(scans, monkeypatch):
    calls = _trained(monkeypatch)
    monkeypatch.setattr("volseg.cli.fit._has_cuda", lambda: True)

    result = CliRunner().invoke(app, ["fit", "scans", "training.max_epochs=7"])

    assert result.exit_code == 0, result.output
    ((config, run),) = calls
    assert str(run) == "runs/scans"
    assert config.labels.name == "brats2021"
    assert (config.spatial_dims, config.network.name) == (3, "unet")
    assert config.training.max_epochs == 7
    written = scans.parent / "runs/scans.yaml"
    assert load_config(written).training.max_epochs == 300
    assert "Data list: runs/scans.json" in result.stdout
    assert "Config: runs/scans.yaml\n" in result.stdout
    # The config would go into the folder of this run, so the line names another one.
    assert result.stdout.endswith(
        "to train again, after editing the config:\n  volseg fit runs/scans.yaml -o runs/scans_2\n"
    )


def test_without_a_cuda_gpu_the_config_is_the_shipped_one_for_cpus_and_says_so(scans, monkeypatch):
    calls = _trained(monkeypatch)
    monkeypatch.setattr("volseg.cli.fit._has_cuda", lambda: False)

    # A multiple of 8, the divisor of this network, but not of 16, that of the larger one.
    result = CliRunner().invoke(app, ["fit", "scans", "data.patch_size=[40,40,40]"])

    assert result.exit_code == 0, result.output
    assert "there is no CUDA GPU here, so it is as small as" in result.stdout
    assert calls[0][0].data.patch_size == (40, 40, 40)
    written = scans.parent / "runs/scans.yaml"
    assert (
        written.read_text()
        .splitlines()[0]
        .endswith("for CPUs, as in configs/brats_laptop.yaml; written by volseg fit.")
    )
    shipped = Path(__file__).parents[1] / "configs/brats_laptop.yaml"
    same_list = [f"data.data_list={load_config(shipped).data.data_list}"]
    assert load_config(written, same_list) == load_config(shipped)


def test_a_scheme_that_is_given_holds_for_list_and_config(scans, monkeypatch):
    calls = _trained(monkeypatch)

    words = ["fit", "scans", "-o", "here/run", "labels=brats2021"]
    assert CliRunner().invoke(app, words).exit_code == 0

    ((config, run),) = calls
    assert (str(run), config.labels.name) == ("here/run", "brats2021")
    assert str(config.data.data_list) == "here/run.json"


def test_a_second_call_keeps_the_config_and_refuses_a_changed_one(scans, tmp_path):
    first, _ = split_and_configure(scans, tmp_path / "run")
    before = first.stat().st_mtime_ns

    split_and_configure(scans, tmp_path / "run")
    assert first.stat().st_mtime_ns == before

    first.write_text(first.read_text() + "training: {max_epochs: 3}\n")
    with pytest.raises(OutputError, match=r"run\.yaml is there already.*volseg fit .*run\.yaml"):
        split_and_configure(scans, tmp_path / "run")
    assert first.read_text().endswith("max_epochs: 3}\n")


def test_a_folder_that_holds_a_run_is_refused_before_scans_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_experiment(tmp_path)
    run_in(tmp_path / "run")
    (tmp_path / "empty").mkdir()

    with pytest.raises(OutputError, match="already holds a run; resume it with"):
        split_and_configure(tmp_path / "empty", tmp_path / "run")


def test_processes_of_torchrun_are_told_to_split_first(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "0")

    with pytest.raises(ConfigError, match=r"call volseg split .* -o .*run\.json first"):
        split_and_configure(tmp_path, tmp_path / "run")


def test_slices_get_a_network_of_slices_whose_patch_holds_a_slice(tmp_path):
    random = np.random.default_rng(0)
    for patient in range(5):
        for kind in ("images", "masks"):
            (tmp_path / "scans" / kind).mkdir(parents=True, exist_ok=True)
        for number in range(2):
            name = f"p{patient}_{number}.png"
            values = random.integers(1, 255, (40, 70), dtype=np.uint8)
            Image.fromarray(values).save(tmp_path / "scans/images" / name)
            mask = np.zeros((40, 70), np.uint8)
            mask[5:20, 10:30] = 255
            Image.fromarray(mask).save(tmp_path / "scans/masks" / name)

    path, _ = split_and_configure(tmp_path / "scans", tmp_path / "run")

    config = load_config(path)
    assert config.by_slice
    assert all(
        side % config.network.divisor == 0 and side >= size
        for side, size in zip(sorted(config.data.patch_size), (40, 70), strict=True)
    )


def test_cases_without_the_regions_of_the_config_are_refused_before_they_are_read(scans, tmp_path):
    path, found = split_and_configure(scans, tmp_path / "run")
    config = load_config(path, ["labels=lgg"])
    cases = found.data_list.training

    check_schemes(cases, load_config(path))
    check_schemes((), config)
    custom = load_config(path, ["labels={labels: {1: a}, regions: {lung: [1]}}"])
    with pytest.raises(LabelError, match=r"have labels brats2021, but the config trains .* lung"):
        check_schemes(cases, custom)


CUSTOM = (
    "labels={name: mine, labels: {1: core, 2: oedema, 4: et}, "
    "regions: {W: [1, 2, 4], T: [1, 4], E: [4]}}"
)


@pytest.fixture
def unread(monkeypatch):
    """No label map can be read."""
    monkeypatch.setattr("volseg.tasks.fit_folder.split", lambda *_, **__: pytest.fail("read"))


def _fit(*words):
    return CliRunner().invoke(app, ["fit", "scans", "-o", "run", *words])


def _remaining(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["labels=config"], "labels=config leaves the label scheme to a config"),
        (["labels={name: a}"], "labels"),
        (["training.learning_rat=1"], "learning_rat"),
        (["data.fold=9"], "fold 9 cannot exist"),
        (["--folds", "0,9"], "fold 9 cannot exist"),
        (["--folds", "some"], "is neither all nor numbers"),
        (["--dry-run"], "--dry-run shows the script of --slurm"),
        (["--slurm", "shards=3", "--dry-run"], "shards are for volseg infer"),
        (["--slurm", "nonsense"], "nonsense"),
        (["--slurm", "gpus=0"], "sbatch was not found"),
    ],
)
def test_mistakes_are_refused_before_scans_are_read(scans, unread, monkeypatch, words, message):
    monkeypatch.setenv("PATH", "/nowhere")

    done = _fit(*words)

    assert (done.exit_code, _remaining(scans.parent)) == (2, ["scans"])
    assert message in done.stderr


@pytest.mark.parametrize(
    "words", [["inference.window_size=[64,64]"], ["network={name: deeplabv3plus}"], ["data.fold=4"]]
)
def test_overrides_that_suit_one_kind_of_scans_pass_the_first_check(tmp_path, words):
    check_overrides(tmp_path, tmp_path / "run", words, "all")


def test_a_label_scheme_written_out_is_that_of_the_config(scans, monkeypatch):
    calls = _trained(monkeypatch)

    done = _fit(CUSTOM)

    assert done.exit_code == 0, done.output
    ((config, _),) = calls
    assert (config.labels.name, list(config.labels.regions)) == ("mine", ["W", "T", "E"])
    assert load_config("run.yaml").to_dict()["labels"] == config.to_dict()["labels"]


def test_a_dry_run_prints_the_script_and_leaves_no_file(scans):
    done = _fit("--folds", "all", "--slurm", "partition=gpu", "--dry-run")

    assert done.exit_code == 0, done.output
    assert done.stdout.startswith("#!")
    assert "#SBATCH --array=0,1,2,3,4" in done.stdout
    assert _remaining(scans.parent) == ["scans"]


def test_few_patients_get_a_fold_each_and_one_patient_is_refused(scans, monkeypatch):
    _trained(monkeypatch)
    for number in (3, 4):
        shutil.rmtree(scans / f"BraTS2021_0000{number}")

    done = _fit()

    assert done.exit_code == 0, done.output
    assert "3 folds, as there are only 3 patients with a label map" in done.stdout
    assert {case.fold for case in read_data_list("run.json").training} == {0, 1, 2}

    for number in (1, 2):
        shutil.rmtree(scans / f"BraTS2021_0000{number}")
    refused = _fit("-o", "other")

    assert refused.exit_code == 2
    assert "1 patient with a label map cannot fill 2 folds; add scans" in refused.stderr
