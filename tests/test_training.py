"""Patches, cache, module and trainer."""

from __future__ import annotations

import itertools
import json
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from volseg.checkpoint import load_checkpoint
from volseg.config import ExperimentConfig, TrainingConfig, load_config
from volseg.datalist import read_data_list
from volseg.errors import CheckpointError, DataListError, LabelError, OutputError
from volseg.tasks.fit import best_scores, fit
from volseg.training.cache import CachedCase, build_cache, read_cached, read_masks
from volseg.training.datamodule import (
    EpochSampler,
    PatchDataset,
    VolumeDataModule,
    cut,
    loader_workers,
)
from volseg.training.module import SegmentationModule, rate_factor
from volseg.training.trainer import read_metrics


def test_a_block_that_leaves_the_array_is_filled_with_zeros():
    array = np.arange(1, 9).reshape(1, 2, 2, 2)

    block = cut(array, np.array([-1, 0, 1]), (2, 2, 2))

    assert block[0, 0].tolist() == [[0, 0], [0, 0]]
    assert block[0, 1].tolist() == [[2, 0], [4, 0]]


def test_samples_of_an_epoch_are_never_those_of_another_epoch_or_rank():
    seen = []
    for rank in (0, 1):
        sampler = EpochSampler(3, rank, world_size=2)
        for epoch in (0, 1):
            sampler.set_epoch(epoch)
            seen.extend(sampler)

    assert sorted(seen) == list(range(12))


def test_the_learning_rate_warms_up_and_decays():
    options = TrainingConfig(max_epochs=10, warmup_epochs=1, schedule="cosine")
    factors = [rate_factor(step, 4, options) for step in range(41)]

    assert factors[:4] == [0.2, 0.4, 0.6, 0.8]
    assert factors[4] == 1.0
    assert factors[22] == pytest.approx(0.5)
    assert factors[40] == pytest.approx(0.0)


def test_poly_decays_with_the_power_of_nnunet_and_constant_stays():
    poly = TrainingConfig(max_epochs=10, schedule="poly")
    constant = TrainingConfig(max_epochs=10, schedule="constant")

    assert rate_factor(20, 4, poly) == pytest.approx(0.5**0.9)
    assert rate_factor(39, 4, constant) == 1.0


def test_loader_processes_are_those_configured_or_few():
    assert loader_workers(3) == 3
    assert 1 <= loader_workers(None) <= 8


@pytest.fixture(scope="session")
def experiment(cohort: Path, tmp_path_factory) -> ExperimentConfig:
    folder = tmp_path_factory.mktemp("experiment")
    path = folder / "config.yaml"
    path.write_text(
        f"""
labels: brats2023
data:
  data_list: {cohort / "list.json"}
  fold: 0
  spacing_mm: [4, 4, 4]
  patch_size: [16, 16, 16]
  batch_size: 2
  batches_per_epoch: 3
  workers: 0
  cache_dir: {folder / "cache"}
network: {{name: unet, widths: [4, 8], residual_units: 1}}
training: {{max_epochs: 2, accelerator: cpu}}
""",
        encoding="utf-8",
    )
    return load_config(path)


def changed(config: ExperimentConfig, **sections: dict) -> ExperimentConfig:
    options = config.to_dict()
    for section, values in sections.items():
        options[section] = {**options[section], **values}
    return ExperimentConfig.from_dict(options)


@pytest.fixture
def cached(experiment: ExperimentConfig, tmp_path: Path):
    cases = read_data_list(experiment.data.data_list).training
    return build_cache(cases, experiment, tmp_path / "cache")[0]


def test_a_cached_case_holds_the_image_and_every_region(experiment, cached):
    case = cached[0]
    masks = read_masks(case.case, experiment, case.grid)

    assert case.image.dtype == np.float16
    assert case.image.shape[1:] == case.bits.shape
    # 4 mm voxels from 2 mm ones: an eighth as many, but for what the border rounds.
    share = (case.bits & 1).sum() * 8 / masks[0].sum()
    assert share == pytest.approx(1, abs=0.15)
    whole = case.foreground[0]
    assert all(case.bits[tuple(voxel)] & 1 for voxel in whole[:100])


def test_a_whole_entry_is_used_again_and_a_changed_source_is_not(experiment, cohort, tmp_path):
    scans = shutil.copytree(cohort / "scans", tmp_path / "scans")
    cases = read_data_list(experiment.data.data_list, scans).training[:1]
    cache = tmp_path / "cache"
    build_cache(cases, experiment, cache)
    (entry,) = cache.iterdir()
    before = (entry / "image.npy").stat().st_mtime_ns

    build_cache(cases, experiment, cache)
    again = (entry / "image.npy").stat().st_mtime_ns
    cases[0].images[0].touch()

    assert again == before
    assert read_cached(cases[0], experiment, cache) is None


def test_another_spacing_is_another_entry(experiment, cached):
    other = changed(experiment, data={"spacing_mm": [3, 3, 3]})

    assert read_cached(cached[0].case, other, cached[0].entry.parent) is None


def test_a_truncated_entry_is_built_anew(experiment, cached):
    folder = cached[0].entry.parent
    entry = next(p for p in folder.iterdir() if p.name.startswith(cached[0].case.case_id))
    image = entry / "image.npy"
    expected = np.array(cached[0].image)
    image.write_bytes(image.read_bytes()[:1000])

    (rebuilt,), _ = build_cache([cached[0].case], experiment, folder)

    np.testing.assert_array_equal(rebuilt.image, expected)
    assert not [p for p in folder.iterdir() if p.name.startswith(".")]


def test_a_cached_case_holds_no_file_open(cached):
    before = len(list(Path("/proc/self/fd").iterdir()))

    images = [case.image.shape for case in cached for _ in range(10)]

    assert len(images) == 40
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_case_that_cannot_be_read_is_named_and_the_others_are_used(experiment, cohort, tmp_path):
    scans = shutil.copytree(cohort / "scans", tmp_path / "scans")
    cases = read_data_list(experiment.data.data_list, scans).training
    cases[1].images[0].write_bytes(cases[1].images[0].read_bytes()[:200])

    ready, failures = build_cache(cases, experiment, tmp_path / "cache")

    assert [case.case.case_id for case in ready] == [
        case.case_id for case in cases if case != cases[1]
    ]
    assert [case_id for case_id, _ in failures] == [cases[1].case_id]


def test_two_jobs_that_build_the_same_entry_leave_one_whole(experiment, tmp_path):
    cases = read_data_list(experiment.data.data_list).training[:1]
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build_cache, cases, experiment, tmp_path / "cache") for _ in range(4)]
    images = [job.result()[0][0].image for job in jobs]

    assert all(np.array_equal(image, images[0]) for image in images)
    assert len(list((tmp_path / "cache").iterdir())) == 1


def test_a_cache_that_cannot_be_made_is_an_output_error(experiment, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match=r"set data\.cache_dir"):
        build_cache([], experiment, tmp_path / "file" / "cache")


def test_a_case_whose_scheme_lacks_a_region_is_refused(experiment, cached):
    case = replace(cached[0].case, labels="men-rt")

    with pytest.raises(LabelError, match="knows no region"):
        read_masks(case, experiment)


def test_sample_n_depends_on_the_seed_and_n_alone(experiment, cached):
    first = PatchDataset(cached, experiment)
    second = PatchDataset(cached, experiment)
    for index in range(5):
        _ = second[index]

    torch.testing.assert_close(first[7], second[7], rtol=0, atol=0)
    assert not torch.equal(first[7]["image"], first[8]["image"])


def test_without_foreground_every_case_is_drawn_once_a_round(experiment, cached, monkeypatch):
    drawn = []
    array = CachedCase._array

    def noted(self, name):
        if name == "image":
            drawn.append(self.case.case_id)
        return array(self, name)

    monkeypatch.setattr(CachedCase, "_array", noted)

    dataset = PatchDataset(cached, changed(experiment, data={"foreground_share": 0.0}))
    for index in range(2 * len(cached)):
        dataset[index]

    everyone = sorted(case.case.case_id for case in cached)
    assert sorted(drawn[: len(cached)]) == everyone
    assert sorted(drawn[len(cached) :]) == everyone


def test_a_region_that_one_case_holds_is_drawn_as_often_as_the_others(experiment, cached):
    for case in cached[1:]:
        without_enhancing = np.array(case.foreground)
        without_enhancing[2] = -1
        np.save(case.entry / "foreground.npy", without_enhancing)
        np.save(case.entry / "bits.npy", np.array(case.bits) & 0b011)
    config = changed(
        experiment,
        data={"foreground_share": 1.0, "patch_size": [4, 4, 4]},
        network={"widths": [4, 8]},
        augmentation=dict.fromkeys(("rotate", "scale"), 0.0),
    )
    dataset = PatchDataset(cached, config)

    drawn = sum(bool(dataset[index]["mask"][2].any()) for index in range(90))

    assert [cases.tolist() for _, cases in dataset.holders] == [[0, 1, 2, 3], [0, 1, 2, 3], [0]]
    # A third is centred on it. Drawing the case first would give a twelfth, and what is near.
    assert drawn >= 30 - 10


def test_a_patch_drawn_for_the_foreground_holds_some(experiment, cached):
    config = changed(
        experiment,
        data={"foreground_share": 1.0},
        augmentation=dict.fromkeys(("rotate", "scale", "flip"), 0.0),
    )
    dataset = PatchDataset(cached, config)

    assert all(dataset[index]["mask"].any() for index in range(8))


def test_a_network_of_slices_gets_slices(experiment, cached):
    config = changed(experiment, data={"patch_size": [16, 16]})

    sample = PatchDataset(cached, config)[0]

    assert sample["image"].shape == (4, 16, 16)
    assert sample["mask"].shape == (3, 16, 16)


@pytest.fixture(scope="session")
def run(experiment, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "run"
    fit(experiment, folder)
    return folder


def test_a_run_folder_tells_how_to_repeat_the_run(run, experiment):
    names = {path.name for path in run.iterdir()}

    assert {
        "config.yaml",
        "data_list.json",
        "environment.json",
        "metrics.csv",
        "model.safetensors",
        "checkpoints",
        "tensorboard",
    } == names
    assert load_config(run / "config.yaml") == experiment
    assert {p.name for p in (run / "checkpoints").iterdir()} == {"last.ckpt", "best.ckpt"}
    ours = read_data_list(run / "data_list.json").training
    assert ours == read_data_list(experiment.data.data_list).training


def test_the_table_of_epochs_has_scores_by_region(run):
    rows = read_metrics(run / "metrics.csv")

    assert [row["epoch"] for row in rows] == ["0", "1"]
    regions = [float(rows[0][f"val/dice/{region}"]) for region in ("WT", "TC", "ET")]
    assert float(rows[0]["val/dice/mean"]) == pytest.approx(np.mean(regions), abs=1e-5)


def test_tensorboard_shows_losses_scores_pictures_and_the_config(run):
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = board.Tags()

    wanted = {"train/loss_step", "train/loss_epoch", "val/loss", "lr-AdamW"}
    wanted |= {"train/patches_per_second", "train/data_wait_share"}
    wanted |= {
        f"val/{score}/{region}"
        for score in ("dice", "iou", "precision", "recall")
        for region in ("WT", "TC", "ET", "mean")
    }
    assert wanted <= set(tags["scalars"])
    assert len(board.Scalars("val/dice/WT")) == 2
    assert "config/text_summary" in tags["tensors"]
    assert tags["images"]
    picture = board.Images(tags["images"][0])[0]
    assert picture.width > 100


def test_the_model_file_holds_the_scores_of_the_best_epoch(run):
    model = load_checkpoint(run / "model.safetensors")
    best = best_scores(read_metrics(run / "metrics.csv"))

    assert model.scores["dice/mean"] == pytest.approx(best["dice/mean"], abs=1e-5)


def test_the_same_seed_gives_the_same_weights_to_the_bit(run, experiment, tmp_path):
    fit(experiment, tmp_path / "again")

    first = (run / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first


def test_a_run_is_not_overwritten(run, experiment):
    with pytest.raises(OutputError, match="already holds a run"):
        fit(experiment, run)


def test_a_stopped_run_goes_on_and_ends_like_one_never_stopped(run, experiment, tmp_path):
    part = tmp_path / "part"
    stopped = changed(experiment, training={"max_epochs": 1, "schedule": "constant"})
    whole = changed(experiment, training={"schedule": "constant"})
    fit(stopped, part)

    fit(whole, part, resume=True)
    fit(whole, tmp_path / "whole")

    weights = [
        torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
        for folder in (part, tmp_path / "whole")
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert [row["epoch"] for row in read_metrics(part / "metrics.csv")] == ["0", "1"]


def test_resuming_a_finished_run_changes_nothing(run, experiment):
    model, metrics = (run / name for name in ("model.safetensors", "metrics.csv"))
    before = model.read_bytes(), metrics.read_bytes()

    result = fit(experiment, run, resume=True)

    assert (model.read_bytes(), metrics.read_bytes()) == before
    assert result.scores == best_scores(read_metrics(metrics))


def test_a_run_that_failed_before_its_first_epoch_can_be_started_again(experiment, tmp_path):
    wrong = changed(experiment, data={"data_root": str(tmp_path)})
    with pytest.raises(DataListError, match="no case is left to train on"):
        fit(wrong, tmp_path / "run")

    result = fit(changed(experiment, training={"max_epochs": 1}), tmp_path / "run")

    assert result.model.exists()


def test_a_damaged_checkpoint_is_refused_in_words(run, experiment, tmp_path):
    damaged = shutil.copytree(run, tmp_path / "run")
    last = damaged / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:500])

    with pytest.raises(CheckpointError, match=r"last\.ckpt is damaged"):
        fit(experiment, damaged, resume=True)


def test_resuming_what_is_not_there_or_another_network_is_refused(run, experiment, tmp_path):
    other = changed(experiment, network={"widths": [4, 16]})

    with pytest.raises(CheckpointError, match="without --resume"):
        fit(experiment, tmp_path / "nothing", resume=True)
    with pytest.raises(CheckpointError, match="another network"):
        fit(other, run, resume=True)
    with pytest.raises(CheckpointError, match=r"another data\.batch_size, training\.seed than"):
        fit(changed(experiment, training={"seed": 1}, data={"batch_size": 3}), run, resume=True)


def test_resuming_with_other_cases_or_folds_is_refused(run, experiment, cohort, tmp_path):
    data_list = json.loads((cohort / "list.json").read_text())
    for case in data_list["training"]:
        case["fold"] = 1 - case["fold"]
    (tmp_path / "list.json").write_text(json.dumps(data_list))
    config = changed(
        experiment,
        data={"data_list": str(tmp_path / "list.json"), "data_root": str(cohort / "scans")},
    )

    with pytest.raises(CheckpointError, match="another data list than"):
        fit(config, run, resume=True)


def test_without_a_fold_every_case_trains_and_the_averaged_weights_are_kept(experiment, tmp_path):
    config = changed(experiment, data={"fold": None}, training={"max_epochs": 1, "ema": 0.9})

    result = fit(config, tmp_path / "all")

    last = torch.load(tmp_path / "all" / "checkpoints" / "last.ckpt", weights_only=True)
    kept = load_checkpoint(result.model).network.state_dict()
    for name, tensor in kept.items():
        assert torch.equal(tensor, last["state_dict"][f"averaged.module.{name}"])
    assert result.scores == {}


def test_training_ends_before_max_time_and_is_validated(experiment, tmp_path, monkeypatch):
    config = changed(
        experiment, training={"max_epochs": 500, "max_time": 60, "validate_every": 100}
    )
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds), perf_counter=time.perf_counter)
    monkeypatch.setattr("volseg.training.trainer.time", clock)
    monkeypatch.setattr("volseg.tasks.fit.time", clock)

    result = fit(config, tmp_path / "short")

    # Every look at the clock takes a second: 60 less 10 for the files and 6 for a validation.
    rows = read_metrics(tmp_path / "short" / "metrics.csv")
    assert 45 <= next(seconds) <= 60
    assert int(rows[-1]["step"]) > 20
    assert rows[-1]["val/dice/WT"]
    assert load_checkpoint(result.model).scores["epoch"] == int(rows[-1]["epoch"])


def test_the_last_epoch_is_validated_whatever_validate_every_says(experiment, tmp_path):
    config = changed(experiment, training={"max_epochs": 3, "validate_every": 2})

    fit(config, tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [bool(row["val/dice/WT"]) for row in rows] == [False, True, True]


def test_an_interrupt_reaches_the_caller(experiment, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(SegmentationModule, "training_step", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(experiment, tmp_path / "run")
    finally:
        signal.signal(signal.SIGINT, handler)  # which Lightning has taken away


def test_a_rank_without_a_case_of_its_own_shares_one(experiment, cached):
    data = VolumeDataModule(experiment, cached[1:], cached[:1])
    data.trainer = SimpleNamespace(global_rank=1, world_size=2)

    (case,) = data.val_dataloader()

    assert case is cached[0]


def test_a_cache_that_others_use_may_be_read_by_them(cached):
    entry, folder = cached[0].entry, cached[0].entry.parent

    assert entry.stat().st_mode == folder.stat().st_mode


def test_a_fold_that_is_not_in_the_list_is_refused(experiment, tmp_path):
    config = changed(experiment, data={"fold": 9})

    with pytest.raises(DataListError, match=r"it has the folds \[0, 1\]"):
        fit(config, tmp_path / "run")
