"""`check` finds what would go wrong before a run does."""

from __future__ import annotations

import json
import re
import shutil
import time
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import volseg.tasks.check
import volseg.training.trial
from volseg.cases.data_list import read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.cli import app
from volseg.config import ExperimentConfig, TrainingConfig, idle_options, load_config
from volseg.errors import ConfigError, DataListError, ResourceError
from volseg.images.grid import Grid
from volseg.slurm.submission import submit_fit
from volseg.tasks.check import check
from volseg.tasks.fit import fit
from volseg.training.announcements import by_slice_note
from volseg.training.cache.cases import CachedCase
from volseg.training.module import SegmentationModule


@pytest.fixture
def config(cohort: Path, tmp_path: Path) -> Path:
    shutil.copytree(cohort / "scans", tmp_path / "scans")
    shutil.copy(cohort / "list.json", tmp_path / "list.json")
    path = tmp_path / "config.yaml"
    path.write_text(
        f"""
labels: brats2023
data:
  data_list: {tmp_path / "list.json"}
  fold: 0
  spacing_mm: [4, 4, 4]
  patch_size: [16, 16, 16]
  batch_size: 2
network: {{name: unet, widths: [4, 8], residual_units: 1}}
training: {{max_epochs: 2, accelerator: cpu}}
""",
        encoding="utf-8",
    )
    return path


def first_file(config: Path, channel: str) -> Path:
    return sorted((config.parent / "scans").rglob(f"*-{channel}.nii.gz"))[0]


def test_a_good_experiment_has_facts_and_no_problems(config):
    result = check(config)
    facts = dict(result.facts)

    assert result.problems == ()
    assert facts["cases"] == "2 to train on, 2 to validate on"
    assert facts["grids"] == "48 x 56 x 40 at 2 x 2 x 2 mm"
    assert facts["batch"] == "image (2, 4, 16, 16, 16), mask (2, 3, 16, 16, 16)"
    assert {"step", "memory", "training", "network", "cache"} <= set(facts)


def test_a_scan_in_training_and_in_validation_is_refused(config):
    path = config.parent / "list.json"
    listed = json.loads(path.read_text(encoding="utf-8"))
    first, second = {case["fold"]: case for case in listed["training"]}.values()
    second["image"] = first["image"]
    path.write_text(json.dumps(listed), encoding="utf-8")

    found = "is on both sides: .* is trained on, .* validated on; list each scan once"
    assert any(re.search(found, problem) for problem in check(config).problems)
    with pytest.raises(DataListError, match=found):
        fit(load_config(config), config.parent / "run")
    assert not (config.parent / "run").exists()


def test_the_size_of_the_cache_is_that_of_the_files_of_an_entry(tmp_path):
    for name, size in (("image.npy", 700), ("tissue.npy", 200), ("meta.json", 100)):
        (tmp_path / name).write_bytes(bytes(size))
    grid = Grid((4, 5, 6), np.eye(4))
    case = CachedCase(VolumeCase("a", "a", (), ()), tmp_path, Grid((2, 3, 4), np.eye(4)), grid)
    config = ExperimentConfig.from_dict(
        {"labels": "brats2023", "data": {"data_list": "list.json"}, "network": {"name": "unet"}}
    )

    facts = dict(volseg.training.trial._cache_facts(config, case, seconds=0.5, total=2_500_000))

    assert facts["cache"] == "about 2.5 GB in runs/cache"
    facts = dict(volseg.training.trial._cache_facts(config, case, seconds=0.5, total=20_000))
    assert facts["cache"] == "about 20 MB in runs/cache"
    assert facts["preprocessed"] == "a: 2 x 3 x 4, 0.5 s per case"


def test_every_problem_is_named_at_once(config):
    missing = first_file(config, "t1c")
    missing.unlink()
    label = sorted((config.parent / "scans").rglob("*-seg.nii.gz"))[1]
    image = nib.load(label)
    values = np.asarray(image.dataobj).copy()
    values[0, 0, 0] = 7
    nib.save(nib.Nifti1Image(values, None, image.header), label)

    problems = check(config, ["data.fold=9"]).problems

    assert len(problems) == 3
    assert any(missing.name in problem for problem in problems)
    assert any("holds [7]" in problem for problem in problems)
    assert any("fold 9" in problem for problem in problems)


def test_a_wrong_fold_is_reported_without_a_trial(config):
    result = check(config, ["data.fold=9"])

    assert len(result.problems) == 1
    assert "step" not in dict(result.facts)


def test_the_estimate_is_compared_with_the_time_allowed(config):
    facts = dict(check(config, ["training.max_epochs=100000", "training.max_time='10:00'"]).facts)

    assert facts["training"].endswith("max_time ends the run after 10 min 00 s")


def test_channels_on_different_grids_are_found_in_the_headers(config):
    path = first_file(config, "t2f")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[:-1], None, image.header), path)

    (problem,) = check(config).problems

    assert "(47, 56, 40)" in problem
    assert path.parent.name in problem


def test_nothing_is_written_beside_the_config(config):
    before = sorted(str(path) for path in config.parent.rglob("*"))

    check(config)

    assert sorted(str(path) for path in config.parent.rglob("*")) == before


def test_a_channel_that_is_constant_is_found_when_cases_are_tried(config):
    data_list = json.loads((config.parent / "list.json").read_text())
    case = data_list["training"][0]["case_id"]
    (path,) = (config.parent / "scans").rglob(f"{case}-t1n.nii.gz")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), None, image.header), path)

    problems = check(config, ["data.fold=null"]).problems

    assert any("constant" in problem and case in problem for problem in problems)


def test_cases_with_the_same_problem_share_a_row(config):
    path = config.parent / "list.json"
    content = json.loads(path.read_text())
    for case in content["training"][1:]:
        case["image"] = [name for name in case["image"] if "t1c" not in name]
        case["channels"] = ["t1n", "t2w", "t2f"]
    path.write_text(json.dumps(content))

    problems = check(config).problems

    first = content["training"][1]["case_id"]
    assert problems == (
        f"3 cases, such as {first}: no t1c, but only t1n t2w t2f; add the missing image, "
        "or train with data.channel_dropout",
    )


def test_a_4d_file_with_too_few_volumes_is_named(config):
    path = first_file(config, "t2f")
    image = nib.load(path)
    array = np.repeat(np.asarray(image.dataobj)[..., None], 3, axis=3)
    nib.save(nib.Nifti1Image(array, image.affine), path)

    (problem,) = check(config).problems

    assert path.parent.name in problem
    assert "has shape (48, 56, 40, 3), but one volume of 3 axes is expected" in problem


def test_a_label_map_of_two_volumes_is_named(config):
    path = first_file(config, "seg")
    image = nib.load(path)
    array = np.repeat(np.asarray(image.dataobj)[..., None], 2, axis=3)
    nib.save(nib.Nifti1Image(array, image.affine), path)

    (problem,) = check(config).problems

    assert "has shape (48, 56, 40, 2), but one volume of 3 axes is expected" in problem


def test_an_error_of_the_trial_joins_the_problems_found_before(config, monkeypatch):
    def refuse(*_):
        raise ConfigError("network swin_unetr needs einops; pip install einops")

    monkeypatch.setattr(volseg.training.trial, "new_module", refuse)
    missing = first_file(config, "t1c")
    missing.unlink()

    result = check(config, ["data.fold=null"])

    headers, trial = result.problems
    assert missing.name in headers
    assert trial == "network swin_unetr needs einops; pip install einops"
    assert "preprocessed" in dict(result.facts)


def test_a_problem_is_reported_once(config, caplog):
    path = first_file(config, "t1n")
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.zeros(image.shape, np.int16), None, image.header), path)

    (problem,) = check(config, ["data.fold=null"]).problems

    assert "constant" in problem
    assert "constant" not in caplog.text


def test_the_trial_takes_optimizer_steps_and_moves_the_average(config, monkeypatch):
    made = []

    class Watched(SegmentationModule):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)
            self.before = [p.detach().clone() for p in self.network.parameters()]

    monkeypatch.setattr("volseg.training.module.SegmentationModule", Watched)

    facts = dict(check(config, ["training.ema=0.9", "training.warmup_epochs=0"]).facts)

    (module,) = made
    after = list(module.network.parameters())
    assert not any(torch.equal(old, new) for old, new in zip(module.before, after, strict=True))
    assert int(module.averaged.n_averaged) == 3
    assert len(facts["loss"].split(" -> ")) == 3


def test_the_clock_waits_for_the_gpu(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: events.append(str(device)))
    monkeypatch.setattr(time, "perf_counter", lambda: events.append("clock") or 1.0)

    now = volseg.training.trial._now

    assert (now(torch.device("cuda")), now(torch.device("cpu"))) == (1.0, 1.0)
    assert events == ["cuda", "clock", "clock"]


def test_weights_that_the_encoder_cannot_use_are_a_problem(config):
    network = ["name=pspnet", "encoder=resnet10", "encoder_width=4", "encoder_weights=no.pt"]
    words = [f"network.{option}" for option in network]
    text = config.read_text().replace(
        "network: {name: unet, widths: [4, 8], residual_units: 1}", "network: {}"
    )
    config.write_text(text)

    result = check(config, words)

    assert result.problems == (
        "encoder weights no.pt cannot be read (No such file or directory); "
        "correct network.encoder_weights",
    )


def empty_labels(config: Path, values: tuple[int, ...] = (1, 2, 3)) -> None:
    """Take labels out of every label map."""
    for path in (config.parent / "scans").rglob("*-seg.nii.gz"):
        image = nib.load(path)
        label_map = np.asarray(image.dataobj).copy()
        label_map[np.isin(label_map, values)] = 0
        nib.save(nib.Nifti1Image(label_map, None, image.header), path)


def notes(config: Path, *words: str) -> list[str]:
    return [value for name, value in check(config, words).facts if name == "note"]


def test_regions_that_no_label_map_shows_are_noted(config):
    empty_labels(config, (3,))

    said = (
        "ET in none of 4 label maps that were read: if no other label map has it, the network "
        "cannot learn it"
    )
    assert check(config).warnings == (said,)
    done = CliRunner().invoke(app, ["check", str(config)])
    assert done.exit_code == 0
    assert said in " ".join(done.output.split())
    assert "No problem was found" not in done.output


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("data.batch_size=100000000", "a batch of 100000000 patches of 16 x 16 x 16 voxels would"),
        ("data.patch_size=[64000,64000,64000]", "a batch of 2 patches of 64000 x 64000 x 64000"),
        ("inference.window_size=[64000,64000,64000]", "a window of 64000 x 64000 x 64000 voxels"),
    ],
)
def test_batches_that_memory_cannot_hold_are_refused_before_they_are_made(config, word, said):
    (problem,) = check(config, [word]).problems

    assert problem.startswith(said)
    assert re.search(
        r"would take [\d,.]+ GB of memory, but [\d.]+ GB are available; lower", problem
    )
    with pytest.raises(ResourceError, match=re.escape(problem.split(", but")[0])):
        fit(load_config(config, [word]), config.parent / "run")
    assert not (config.parent / "run").exists()


@pytest.mark.parametrize(
    "word",
    ["data.batch_size=99999999999", "data.batches_per_epoch=9999999999", "data.workers=100000"],
)
def test_numbers_beyond_all_sense_are_mistakes_of_the_config(config, word):
    with pytest.raises(ConfigError, match=f"{word.split('=')[0]}: input should be .* or equal to"):
        load_config(config, [word])


def test_label_maps_that_are_all_empty_are_a_problem(config):
    empty_labels(config, (1, 2, 3))

    done = CliRunner().invoke(app, ["check", str(config)])

    assert done.exit_code == 2
    assert "all 4 label maps that were read are empty" in done.output
    assert "No problem was found" not in done.output


@pytest.mark.parametrize(
    ("seconds", "max_time", "gpu", "noted"),
    [
        (86_401, None, False, True),
        (86_400, None, False, False),
        (86_401, 3600.0, False, False),
        (86_401, None, True, False),
    ],
)
def test_a_training_of_days_on_a_cpu_is_told_of_the_config_for_cpus(
    monkeypatch, seconds, max_time, gpu, noted
):
    monkeypatch.setattr("volseg.training.trial.on_cuda", lambda _: gpu)
    options = TrainingConfig(max_epochs=1, max_time=max_time)

    facts = dict(volseg.training.trial._estimate(options, seconds, 0.0, 0))

    assert ("configs/brats_laptop.yaml" in facts.get("note", "")) == noted


def test_validation_counts_in_the_estimate(config, monkeypatch):
    seconds = iter([9.0, 5.0])
    monkeypatch.setattr(SegmentationModule, "seconds_of_case", lambda *_: next(seconds))
    monkeypatch.setattr(volseg.training.trial, "_step", lambda *_: (0.1, 1.0))

    words = ["training.max_epochs=100", "training.validate_every=30", "data.batches_per_epoch=10"]
    facts = dict(check(config, words).facts)

    # 1000 steps of 0.1 s; after the epochs 30, 60, 90 and 100 two cases of 5 s.
    assert facts["validation"] == "5.00 s per case, 4 times 2 cases"
    assert facts["training"] == "about 2 min 20 s for 100 epochs, 29% of it validation"


@pytest.mark.parametrize(
    ("words", "note"),
    [
        (["training.momentum=0.9"], "training.momentum=0.9 is for sgd, and training.optimizer is"),
        (
            ["loss.focal_gamma=3"],
            "loss.focal_gamma=3 is an option of the focal loss, whose weight is 0",
        ),
        (["training.warmup_epochs=2"], "training.warmup_epochs=2 covers the whole training of 2"),
        (["training.validate_every=3"], "training.validate_every=3 is more than 2 epochs"),
    ],
)
def test_options_without_effect_are_noted(config, words, note):
    (said,) = idle_options(load_config(config, words))

    assert said.startswith(note)
    assert idle_options(load_config(config)) == []


def test_early_stopping_without_a_validation_is_refused_by_check_fit_and_submission(
    config, tmp_path
):
    words = ["data.fold=null", "training.early_stopping=3"]
    said = "training.early_stopping is 3, but data.fold is null"

    (problem,) = check(config, words).problems
    assert problem.startswith(said)
    experiment = load_config(config, words)
    for refuse in (fit, partial(submit_fit, dry_run=True)):
        with pytest.raises(ConfigError, match=said):
            refuse(experiment, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_most_frequent_grid_stands_for_many():
    grids = ["a", "b", "b", "c"]

    assert volseg.tasks.check._grids(grids) == "b (2 of 4 cases, 2 other grids)"
    assert volseg.tasks.check._grids(["a", "a"]) == "a"
    assert volseg.tasks.check._grids([]) == ""


def test_a_network_of_slices_on_volumes_is_noted(config):
    experiment = load_config(config, ["data.patch_size=[16, 16]"])
    cases = read_data_list(experiment.data.data_list).training

    assert "slice by slice" in by_slice_note(cases, experiment)
    assert by_slice_note(cases, load_config(config)) is None
