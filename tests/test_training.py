"""Patches, cache, module and trainer."""

from __future__ import annotations

import copy
import csv
import errno
import hashlib
import io
import itertools
import json
import logging
import os
import re
import shutil
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import reduce
from operator import getitem
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from experiments import write_small_config
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.custom_scalar import layout_pb2
from typer.testing import CliRunner

from volseg import signals
from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cli import app
from volseg.confidence.training_profile import TrainingProfile
from volseg.config import ExperimentConfig, TrainingConfig, load_config
from volseg.errors import (
    CheckpointError,
    ConfigError,
    DataListError,
    LabelError,
    ModelError,
    OutputError,
    TrainingError,
)
from volseg.files.writing import MODEL_FILE
from volseg.images.grid import Grid
from volseg.inference.predictor import Predictor
from volseg.metrics import Overlap, ScoreTable, hausdorff_95
from volseg.metrics.scores import COUNTED_SCORES
from volseg.model_file import load_model
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.folds import choose_cases
from volseg.runs.metrics_table import best_row, best_scores, read_metrics, standing
from volseg.tasks.fit import FitResult, fit
from volseg.training.announcements import missing_channel_lines
from volseg.training.cache import cases as cache_module
from volseg.training.cache.case_arrays import read_masks
from volseg.training.cache.cases import CachedCase, build_cache, read_cached
from volseg.training.cache.location import cache_folder
from volseg.training.case_views import axial
from volseg.training.checkpoint_contents import misfit
from volseg.training.checkpoints import newest_good, read_checkpoint
from volseg.training.datamodule import (
    EpochSampler,
    PatchDataset,
    TrainingLoader,
    VolumeDataModule,
    cut,
    loader_workers,
)
from volseg.training.distances import measure_hd95
from volseg.training.epoch_sums import EpochSums
from volseg.training.limits import TimeLimit
from volseg.training.module import SegmentationModule
from volseg.training.optimizer import changes, rate_factor
from volseg.training.outcome import read_scores, score_lines
from volseg.training.preparation import prepare_cases
from volseg.training.trainer import build_trainer


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


def test_a_stopped_epoch_goes_on_behind_the_samples_that_are_done_and_the_next_one_is_whole():
    sampler = EpochSampler(4, rank=1, world_size=2)
    sampler.set_epoch(1)
    sampler.done = 3

    assert list(sampler) == [15]
    assert list(sampler) == [9, 11, 13, 15]


def test_a_loader_knows_what_it_handed_out_and_goes_on_behind_it():
    loader, other = (
        TrainingLoader(range(12), batch_size=2, sampler=EpochSampler(6)) for _ in range(2)
    )
    states = [loader.state_dict(), *(loader.state_dict() for _ in loader)]
    other.load_state_dict(states[2])

    assert [state["batches"] for state in states] == [0, 1, 2, 0]
    assert [batch.tolist() for batch in other] == [[4, 5]]
    assert other.state_dict() == {"batches": 0}
    assert [batch.tolist() for batch in other] == [[0, 1], [2, 3], [4, 5]]


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


@pytest.mark.parametrize(
    ("name", "kind"),
    [("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)],
)
def test_the_optimizer_is_that_of_the_config(name, kind, experiment):
    config = changed(experiment, training={"optimizer": name, "weight_decay": 0.25})

    optimizer = SegmentationModule(config).configure_optimizers()["optimizer"]

    assert type(optimizer) is kind
    assert optimizer.defaults["weight_decay"] == 0.25


def test_loader_processes_are_those_configured_or_few():
    assert loader_workers(3) == 3
    assert 1 <= loader_workers(None) <= 8


@pytest.fixture(scope="session")
def experiment(cohort: Path, tmp_path_factory) -> ExperimentConfig:
    folder = tmp_path_factory.mktemp("experiment")
    path = write_small_config(
        folder / "config.yaml",
        cohort / "list.json",
        data={"cache_dir": str(folder / "cache")},
        network={"name": "unet", "residual_units": 1},
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
    masks = read_masks(case.case, experiment, case.scan_grid)

    assert case.image.dtype == np.float16
    assert case.image.shape[1:] == case.bits.shape
    # 4 mm voxels from 2 mm ones: an eighth as many, but for what the border rounds.
    share = (case.bits & 1).sum() * 8 / masks[0].sum()
    assert share == pytest.approx(1, abs=0.15)
    whole = case.foreground[0]
    assert all(case.bits[tuple(voxel)] & 1 for voxel in whole[:100])


def entries(cache: Path) -> list[Path]:
    return [path for path in cache.iterdir() if path.name != ".lock"]


def test_a_whole_entry_is_used_again_and_a_changed_source_is_not(experiment, cohort, tmp_path):
    scans = shutil.copytree(cohort / "scans", tmp_path / "scans")
    cases = read_data_list(experiment.data.data_list, scans).training[:1]
    cache = tmp_path / "cache"
    build_cache(cases, experiment, cache)
    (entry,) = entries(cache)
    before = (entry / "image.npy").stat().st_mtime_ns

    build_cache(cases, experiment, cache)
    again = (entry / "image.npy").stat().st_mtime_ns
    cases[0].images[0].touch()

    assert again == before
    assert read_cached(cases[0], experiment, cache) is None


def test_another_spacing_is_another_entry(experiment, cached):
    other = changed(experiment, data={"spacing_mm": [3, 3, 3]})

    assert read_cached(cached[0].case, other, cached[0].entry.parent) is None


@pytest.mark.parametrize(
    ("name", "kept"),
    [("image.npy", 1000), ("tissue.npy", 0), ("bits.npy", 60), ("meta.json", 40), ("meta.json", 0)],
)
def test_a_truncated_entry_is_built_anew(experiment, cached, name, kept):
    folder = cached[0].entry.parent
    entry = next(p for p in folder.iterdir() if p.name.startswith(cached[0].case.case_id))
    file = entry / name
    expected = np.array(cached[0].image)
    file.write_bytes(file.read_bytes()[:kept])

    (rebuilt,), _ = build_cache([cached[0].case], experiment, folder)

    np.testing.assert_array_equal(rebuilt.image, expected)
    assert not [p for p in entries(folder) if p.name.startswith(".")]


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


def build_at_once(cases, experiment, cache):
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(build_cache, cases, experiment, cache) for _ in range(4)]
    return [job.result()[0][0].image for job in jobs]


def test_of_several_jobs_one_builds_the_cache(experiment, tmp_path, monkeypatch):
    built = []
    build = cache_module._build

    def noted(case, config, folder):
        built.append(case.case_id)
        return build(case, config, folder)

    monkeypatch.setattr(cache_module, "_build", noted)
    cases = read_data_list(experiment.data.data_list).training
    images = build_at_once(cases, experiment, tmp_path / "cache")

    assert sorted(built) == sorted(case.case_id for case in cases)
    assert all(np.array_equal(image, images[0]) for image in images)
    assert len(entries(tmp_path / "cache")) == len(cases)


def test_where_nothing_can_be_locked_jobs_leave_one_whole_entry(experiment, tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no locks available")

    monkeypatch.setattr(cache_module.FileLock, "acquire", refuse)
    cases = read_data_list(experiment.data.data_list).training[:1]
    images = build_at_once(cases, experiment, tmp_path / "cache")

    assert all(np.array_equal(image, images[0]) for image in images)
    assert len(entries(tmp_path / "cache")) == 1


def test_what_a_killed_process_began_to_build_goes(experiment, cached):
    begun = cached[0].entry.parent / f".{cached[0].entry.name}-12345678"
    begun.mkdir()
    others = [begun.with_name(name) for name in (".vscode-server", ".a-12345678", "mine-1")]
    for other in others:
        other.mkdir()
    (begun / "image.npy").write_bytes(b"half")
    shutil.rmtree(cached[0].entry)

    build_cache([cached[0].case], experiment, begun.parent)

    assert not begun.exists()
    assert all(other.exists() for other in others)


def test_a_cache_that_cannot_be_made_is_an_output_error(experiment, tmp_path):
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(OutputError, match=r"set data\.cache_dir"):
        build_cache([], experiment, tmp_path / "file" / "cache")


@pytest.fixture
def signal_noted():
    signals.record()
    signal.raise_signal(signal.SIGTERM)
    yield
    signals.reset()


@pytest.mark.usefixtures("signal_noted")
def test_a_signal_ends_the_building_of_a_cache_and_leaves_nothing_half_done(experiment, tmp_path):
    cases = read_data_list(experiment.data.data_list).training

    with pytest.raises(signals.Stopped, match="stopped while preparing the cases; call again"):
        build_cache(cases, experiment, tmp_path / "cache")

    assert entries(tmp_path / "cache") == []


@pytest.mark.usefixtures("signal_noted")
def test_a_signal_ends_the_waiting_for_another_process_that_builds(experiment, tmp_path):
    cases = read_data_list(experiment.data.data_list).training
    (tmp_path / "cache").mkdir()

    with (
        cache_module.FileLock(tmp_path / "cache" / ".lock"),
        pytest.raises(signals.Stopped, match="stopped while waiting for the cache"),
    ):
        build_cache(cases, experiment, tmp_path / "cache")


def test_the_folder_of_the_cache_may_name_environment_variables(experiment, tmp_path, monkeypatch):
    monkeypatch.setenv("SCRATCH", str(tmp_path))
    monkeypatch.setenv("EMPTY", "")
    monkeypatch.delenv("GONE", raising=False)

    def folder(named):
        return cache_folder(changed(experiment, data={"cache_dir": named}), Path("runs/a"))

    assert folder("$SCRATCH/cache") == folder("${SCRATCH}/cache") == tmp_path / "cache"
    assert folder("~/cache") == Path.home() / "cache"
    assert folder(None) == Path("runs/cache")
    for name in ("GONE", "EMPTY"):
        with pytest.raises(ConfigError, match=rf"variable {name}, which is not set"):
            folder(f"$SCRATCH/${{{name}}}/cache")


def test_a_run_whose_cache_has_no_place_leaves_no_folder(experiment, tmp_path, monkeypatch):
    monkeypatch.delenv("GONE", raising=False)

    with pytest.raises(ConfigError, match="which is not set here"):
        fit(changed(experiment, data={"cache_dir": "$GONE"}), tmp_path / "run")

    assert not (tmp_path / "run").exists()


def test_a_case_whose_scheme_lacks_a_region_is_refused(experiment, cached):
    case = replace(cached[0].case, labels="men-rt")

    with pytest.raises(LabelError, match="have no region"):
        read_masks(case, experiment)


def test_sample_n_depends_on_the_seed_and_n_alone(experiment, cached):
    first = PatchDataset(cached, experiment)
    second = PatchDataset(cached, experiment)
    for index in range(5):
        _ = second[index]

    torch.testing.assert_close(first[7], second[7], rtol=0, atol=0)
    assert not torch.equal(first[7]["image"], first[8]["image"])


def test_a_channel_dropped_in_training_is_replaced_by_the_one_that_stands_in(experiment, cached):
    config = changed(
        experiment, data={"fill_missing": "t2w"}, augmentation={"channel_dropout": 1, "noise": 0}
    )
    kept = PatchDataset(cached, changed(config, augmentation={"channel_dropout": 0}))

    image = PatchDataset(cached, config)[3]["image"]

    assert list(config.data.channels).index("t2w") == 2
    assert torch.equal(image, kept[3]["image"][[2, 2, 2, 2]])


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
        np.save(case.entry / "bits.npy", np.load(case.entry / "bits.npy") & 0b011)
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
        "scores.csv",
        "scores.json",
        "curves.png",
        "samples.png",
        "worst.png",
    } == names
    assert load_config(run / "config.yaml") == experiment
    assert {p.name for p in (run / "checkpoints").iterdir()} == {
        "step-00000003.ckpt",
        "step-00000006.ckpt",
    }
    ours = read_data_list(run / "data_list.json").training
    assert ours == read_data_list(experiment.data.data_list).training


def test_the_table_of_epochs_has_scores_by_region(run):
    rows = read_metrics(run / "metrics.csv")

    assert [row["epoch"] for row in rows] == ["1", "2"]
    regions = [float(rows[0][f"val/dice/{region}"]) for region in ("WT", "TC", "ET")]
    assert float(rows[0]["val/dice/mean"]) == pytest.approx(np.mean(regions), abs=1e-5)


def test_tensorboard_shows_losses_scores_pictures_and_the_config(run):
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()
    tags = board.Tags()

    scores = (*(score.name for score in COUNTED_SCORES), "dice_of_patches", "iou_of_patches")
    assert set(tags["scalars"]) == {
        *("loss/step", "loss/train", "loss/validation"),
        *("speed/patches_per_second", "speed/data_wait_share"),
        "training/learning_rate",
        *(f"{score}/{region}" for score in scores for region in ("WT", "TC", "ET", "mean")),
    }
    rows = read_metrics(run / "metrics.csv")
    logged = {"loss/train": "train/loss", "loss/validation": "val/loss", "dice/WT": "val/dice/WT"}
    for name, column in logged.items():
        expected = [float(row[column]) for row in rows]
        assert [point.value for point in board.Scalars(name)] == pytest.approx(expected, rel=1e-4)
    assert len(board.Scalars("loss/step")) == 2
    assert "config/text_summary" in tags["tensors"]
    assert tags["images"]
    picture = board.Images(tags["images"][0])[0]
    assert picture.width > 100


def test_tensorboard_has_a_chart_of_all_regions_for_each_score_and_one_of_losses(run):
    board = EventAccumulator(str(run / "tensorboard")).Reload()
    (tensor,) = (event.tensor_proto for event in board.Tensors("custom_scalars__config__"))
    layout = layout_pb2.Layout.FromString(tensor.string_val[0])

    charts = {
        chart.title: [
            tag
            for pattern in chart.multiline.tag
            for tag in board.Tags()["scalars"]
            if re.match(pattern, tag)
        ]
        for category in layout.category
        for chart in category.chart
    }
    assert charts["Dice"] == ["dice/WT", "dice/TC", "dice/ET", "dice/mean"]
    assert charts["IoU"] == ["iou/WT", "iou/TC", "iou/ET", "iou/mean"]
    assert charts["Dice of patches"] == [f"dice_of_patches/{r}" for r in ("WT", "TC", "ET", "mean")]
    assert charts["loss"] == ["loss/train", "loss/validation"]


def test_the_worst_case_of_the_last_validation_is_drawn_with_its_score(run):
    """Of the two epochs, the last is the best here too, so its scores are in the file."""
    document = json.loads((run / "scores.json").read_text())
    assert document["epoch"] == 2
    means = {
        name: np.mean([of["dice"] for of in case["regions"].values()])
        for name, case in document["cases"].items()
    }
    worst = min(sorted(means, reverse=True), key=means.get)

    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()

    tags = [tag for tag in board.Tags()["images"] if tag.startswith("worst_case/")]
    assert tags == [f"worst_case/{worst}"]
    with Image.open(run / "worst.png") as picture:
        shown = board.Images(tags[0])[0]
        assert picture.size == (shown.width, shown.height)


def test_hd95_of_the_kept_model_is_that_of_its_results_on_the_grids_of_the_files(run, experiment):
    listed = read_data_list(experiment.data.data_list)
    training, validation = choose_cases(listed, experiment)
    data, _ = prepare_cases(training, validation, experiment, cache_folder(experiment, run))

    measured = measure_hd95(run / MODEL_FILE, data.validation, experiment, torch.device("cpu"))

    predictor, found = Predictor(run), {"WT": [], "TC": [], "ET": []}
    for case in validation:
        prediction = predictor.predict(case).label_map
        reference, grid = case.read_reference()
        for region, distances in found.items():
            masks = (experiment.labels.masks(of)[region] for of in (prediction, reference))
            distances.append(hausdorff_95(*masks, grid.spacing_mm))
    means = {region: np.mean(distances) for region, distances in found.items()}
    assert measured == pytest.approx(means)


def test_hd95_is_not_measured_where_it_takes_long_or_has_no_size_and_fails_no_run(
    run, experiment, stacks, monkeypatch, caplog
):
    cpu = torch.device("cpu")
    volume = SimpleNamespace(case=SimpleNamespace(has_size=True))

    def failing(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr("volseg.training.distances.segment", failing)

    assert measure_hd95(run / MODEL_FILE, [volume] * 21, experiment, cpu) == {}
    soon = time.monotonic() + 10
    assert measure_hd95(run / MODEL_FILE, [volume], experiment, cpu, soon) == {}
    slices = [SimpleNamespace(case=stacks.training[0])]
    assert measure_hd95(run / MODEL_FILE, slices, experiment, cpu) == {}
    assert not caplog.messages
    volume.image = np.zeros(1)
    assert measure_hd95(run / MODEL_FILE, [volume], experiment, cpu) == {}
    assert caplog.messages == ["HD95 was not measured: no memory"]


def test_the_end_of_fit_is_a_table_of_the_kept_model_and_the_paths_to_look_at(run, monkeypatch):
    scores = {"loss": 0.4, "precision/WT": 0.7, "dice/WT": 0.5, "iou/WT": 0.3, "dice/mean": 0.5}
    result = FitResult(
        *(run, run / MODEL_FILE, scores), kept_epoch=7, n_validated=2, hd95_mm={"WT": 12.3456}
    )
    monkeypatch.setattr("volseg.tasks.fit.fit", lambda *_, **__: result)

    said = CliRunner().invoke(app, ["fit", str(run / "config.yaml")]).stdout

    assert said.startswith("Validation of the kept model (epoch 7, 2 cases)")
    heading, whole, mean = (line for line in said.splitlines() if re.search("region|WT|mean", line))
    assert re.findall(r"[\w().]+(?: \(mm\))?", heading) == [
        *("region", "Dice", "IoU", "HD95 (mm)", "precision")
    ]
    assert re.findall(r"[\w.-]+", whole) == ["WT", "0.500", "0.300", "12.35", "0.700"]
    assert re.findall(r"[\w.-]+", mean) == ["mean", "0.500", "-", "12.35", "-"]
    for name in ("curves.png", "samples.png", "worst.png", "scores.json", "model.safetensors"):
        assert f": {run / name}\n" in said
    assert f"tensorboard --logdir {run}" in said


def test_the_files_of_scores_are_those_of_the_kept_model(run):
    document = json.loads((run / "scores.json").read_text())
    rows = read_metrics(run / "metrics.csv")
    best = best_row(rows)

    assert document["network"] == "unet"
    assert document["epoch"] == int(best["epoch"])
    assert list(document["losses"]) == list(document["cases"])
    assert np.mean(list(document["losses"].values())) == pytest.approx(
        float(best["val/loss"]), rel=1e-5
    )
    for region in ("WT", "TC", "ET"):
        mean = document["summary"][region]["dice"]["mean"]
        assert mean == pytest.approx(float(best[f"val/dice/{region}"]), abs=1e-5)
    lines = (run / "scores.csv").read_text().splitlines()
    assert len(lines) == 1 + 3 * len(document["cases"])
    assert "slices" not in document


def test_training_scores_are_of_the_pooled_voxels_of_the_epoch(experiment, tmp_path, monkeypatch):
    seen = []
    count = EpochSums.add
    losses = []

    def noted(self, logits, mask, loss):
        seen.append((torch.sigmoid(logits.detach()).numpy() >= 0.3, mask.numpy() > 0))
        losses.append(float(loss))
        count(self, logits, mask, loss)

    monkeypatch.setattr(EpochSums, "add", noted)
    config = changed(
        experiment, data={"fold": None}, training={"max_epochs": 2}, inference={"threshold": 0.3}
    )
    fit(config, tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    of_epochs = (losses[:3], losses[3:])
    assert [float(row["train/loss"]) for row in rows] == pytest.approx(
        [np.mean(of_epoch) for of_epoch in of_epochs], rel=1e-5
    )
    for row, batches in zip(rows, (seen[:3], seen[3:]), strict=True):
        predicted, expected = (np.concatenate(side) for side in zip(*batches, strict=True))
        for index, region in enumerate(("WT", "TC", "ET")):
            both = (predicted[:, index] & expected[:, index]).sum()
            sizes = predicted[:, index].sum() + expected[:, index].sum()
            assert float(row[f"train/dice/{region}"]) == pytest.approx(2 * both / sizes, rel=1e-5)
            assert float(row[f"train/iou/{region}"]) == pytest.approx(
                both / (sizes - both), rel=1e-5
            )
        assert float(row["train/dice/mean"]) == pytest.approx(
            np.mean([float(row[f"train/dice/{region}"]) for region in ("WT", "TC", "ET")]), rel=1e-5
        )


def test_sums_of_batches_add_up_and_those_of_ranks_are_summed():
    sums = EpochSums(("WT", "TC", "ET"), 0.5)
    logits = torch.full((1, 3, 1, 2, 2), -1.0)
    logits[0, 0, 0, 0] = 1.0  # two voxels of WT
    mask = torch.zeros(1, 3, 1, 2, 2)
    mask[0, :2, 0, :, 0] = 1.0  # two voxels of WT and of TC, one of them predicted as WT
    sums.add(logits, mask, torch.tensor(0.5))
    sums.add(logits, mask, torch.tensor(1.0))
    asked = []

    def two_ranks(sums, reduce_op):
        asked.append(reduce_op)
        sums *= 2  # in place, as all_reduce does it
        return sums

    strategy = SimpleNamespace(reduce=two_ranks, root_device=torch.device("cpu"))
    total = sums.of_all_ranks(strategy)

    assert total.counts.overlaps() == {
        "WT": Overlap(4, 4, 4),
        "TC": Overlap(0, 0, 8),
        "ET": Overlap(0, 0, 0),
    }
    assert float(total.loss) == 0.75
    assert asked == ["sum", "sum"]
    assert sums.counts.overlaps()["WT"] == Overlap(2, 2, 2)
    assert sums.losses.tolist() == [1.5, 2]


def test_with_deep_supervision_the_finest_output_is_counted(experiment, monkeypatch):
    module = SegmentationModule(experiment)
    fine, coarse = torch.ones(1, 3, 4, 4, 4), torch.ones(1, 3, 2, 2, 2)
    module.network = torch.nn.Identity()
    monkeypatch.setattr(module.network, "forward", lambda image: [fine, coarse])
    monkeypatch.setattr(module, "loss", torch.nn.Identity())
    monkeypatch.setattr(module.loss, "forward", lambda logits, mask: mask.sum())
    monkeypatch.setattr(module, "log", lambda *_, **__: None)

    module.training_step({"image": fine, "mask": torch.ones_like(fine)}, 0)

    assert module.sums.counts.overlaps()["WT"] == Overlap(64, 0, 0)


def test_the_model_file_holds_the_scores_of_the_best_epoch(run):
    model = load_model(run / "model.safetensors")
    best = best_scores(read_metrics(run / "metrics.csv"))

    assert model.scores["dice/mean"] == pytest.approx(best["dice/mean"], abs=1e-5)


def test_the_model_file_describes_the_training_cases(run, experiment):
    training, _ = choose_cases(read_data_list(experiment.data.data_list), experiment)

    profile = TrainingProfile.from_dict(load_model(run / "model.safetensors").training_data, "m")

    assert profile.cases == len(training)
    assert profile.ranges["spacing_mm/S"].span == "2"
    assert set(profile.backgrounds) == set(experiment.data.channels)
    assert "p50/t1n" in profile.ranges
    assert len(json.dumps(profile.to_dict())) < 8000


def test_the_same_seed_gives_the_same_weights_to_the_bit(run, experiment, tmp_path):
    fit(experiment, tmp_path / "again")

    first = (run / "model.safetensors").read_bytes()
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == first


def test_a_run_is_not_overwritten(run, experiment):
    with pytest.raises(OutputError, match="already holds a run"):
        fit(experiment, run)


def test_a_stopped_run_goes_on_and_ends_like_one_never_stopped(run, experiment, tmp_path, caplog):
    part = tmp_path / "part"
    stopped = changed(experiment, training={"max_epochs": 1, "schedule": "constant"})
    whole = changed(experiment, training={"schedule": "constant"})
    fit(stopped, part)

    with caplog.at_level(logging.INFO, "volseg"):
        fit(whole, part, resume=True)
    assert re.search(r"trained in \d+ s since the run was resumed; ", caplog.messages[-1])
    fit(whole, tmp_path / "whole")

    weights = [
        torch.load(find_checkpoints(folder)[0], weights_only=True)["state_dict"]
        for folder in (part, tmp_path / "whole")
    ]
    torch.testing.assert_close(*weights, rtol=0, atol=0)
    assert [row["epoch"] for row in read_metrics(part / "metrics.csv")] == ["1", "2"]


def test_resuming_a_finished_run_changes_nothing_and_says_so(run, experiment, caplog):
    model, metrics = (run / name for name in ("model.safetensors", "metrics.csv"))
    before = model.read_bytes(), metrics.read_bytes()
    samples = (run / "samples.png").stat().st_mtime_ns

    with caplog.at_level(logging.INFO, "volseg"):
        result = fit(experiment, run, resume=True)

    assert caplog.messages[-1] == (
        "this run is finished (2 of 2 epochs), so nothing was trained; "
        f"to train longer: volseg fit --resume {run} training.max_epochs=N"
    )
    assert not any("Dice" in message for message in caplog.messages)
    assert not result.trained
    assert (model.read_bytes(), metrics.read_bytes()) == before
    assert (run / "samples.png").stat().st_mtime_ns == samples
    assert result.scores == best_scores(read_metrics(metrics))


def test_of_many_cases_that_cannot_be_read_some_are_named(
    experiment, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr("volseg.training.preparation._FAILURES_SHOWN", 1)
    with pytest.raises(DataListError, match="the first of 4 problems"):
        fit(changed(experiment, data={"data_root": str(tmp_path)}), tmp_path / "run")

    named, more = [text for text in caplog.messages if "left out" in text]
    assert named.startswith(f"case BraTS-GLI-90001-000 is left out: {tmp_path}")
    assert more == "and 3 more cases are left out"


def test_a_run_that_failed_before_its_first_epoch_can_be_started_again(experiment, tmp_path):
    wrong = changed(experiment, data={"data_root": str(tmp_path)})
    with pytest.raises(DataListError, match="no case is left to train on"):
        fit(wrong, tmp_path / "run")

    result = fit(changed(experiment, training={"max_epochs": 1}), tmp_path / "run")

    assert result.model.exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_run_stopped_between_its_first_model_and_checkpoint_starts_again(
    experiment, tmp_path, resume
):
    config, folder = changed(experiment, training={"max_epochs": 1}), tmp_path / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("volseg.training.curves.draw_curves", stop)
        handler = signal.getsignal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            fit(config, folder)
        signal.signal(signal.SIGINT, handler)  # which Lightning has taken away
    assert (folder / "model.safetensors").exists()
    assert len(read_metrics(folder / "metrics.csv")) == 1

    assert fit(config, folder, resume=resume).scores

    assert len(read_metrics(folder / "metrics.csv")) == 1


def stop(*_):
    raise KeyboardInterrupt


def test_a_run_that_lost_its_checkpoints_is_neither_overwritten_nor_said_to_go_on(
    run, experiment, tmp_path
):
    copied = shutil.copytree(run, tmp_path / "run", ignore=shutil.ignore_patterns("checkpoints"))
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(run / "model.safetensors", alone)

    for folder in (copied, alone):
        with pytest.raises(OutputError, match="already holds a run; choose another -o"):
            fit(experiment, folder)
        with pytest.raises(CheckpointError, match="holds no checkpoint; choose another -o"):
            fit(experiment, folder, resume=True)


def test_a_run_without_a_good_checkpoint_is_refused_in_words(run, experiment, tmp_path):
    damaged = shutil.copytree(run, tmp_path / "run")
    checkpoints = find_checkpoints(damaged)
    for path in checkpoints:
        path.write_bytes(path.read_bytes()[:500])

    assert len(checkpoints) == 2
    with pytest.raises(CheckpointError, match=r"000006\.ckpt is damaged .*; start a new run"):
        fit(experiment, damaged, resume=True)


@pytest.mark.parametrize("damage", [lambda b: b[:-1000], lambda b: b[:5000] + b"!" + b[5001:]])
def test_a_damaged_checkpoint_is_passed_over_and_said_so(run, experiment, tmp_path, caplog, damage):
    damaged = shutil.copytree(run, tmp_path / "run")
    newest, before = find_checkpoints(damaged)
    newest.write_bytes(damage(newest.read_bytes()))

    with caplog.at_level(logging.INFO):
        fit(experiment, damaged, resume=True)

    (warning,) = [text for text in caplog.messages if "skipped" in text]
    assert f"{newest.name} is damaged" in warning
    assert "resuming from step-00000003.ckpt, after 3 steps" in caplog.messages
    assert find_checkpoints(damaged) == [newest, before]
    weights, whole = (
        torch.load(find_checkpoints(folder)[0], weights_only=True)["state_dict"]
        for folder in (damaged, run)
    )
    torch.testing.assert_close(weights, whole, rtol=0, atol=0)


def with_digest(content: bytes) -> bytes:
    return content + hashlib.sha256(content).digest()


def saved(state: object) -> bytes:
    buffer = io.BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is damaged"),
        (b"PK and no archive", "is damaged"),
        (saved({"weights": torch.zeros(3)})[:-100], "is damaged"),
        (saved(Path("an object")), "is damaged"),
        (saved([1, 2]), "was not written by a training of volseg"),
        (saved({"state_dict": {}, "global_step": "3"}), "was not written by a training of volseg"),
    ],
)
def test_a_checkpoint_of_other_content_is_passed_over(
    run, experiment, tmp_path, caplog, content, said
):
    foreign = shutil.copytree(run, tmp_path / "run")
    newest, _ = find_checkpoints(foreign)
    newest.write_bytes(with_digest(content))

    with caplog.at_level(logging.INFO):
        path, found = newest_good(foreign)

    assert (path.name, found["global_step"]) == ("step-00000003.ckpt", 3)
    (warning,) = [text for text in caplog.messages if "skipped" in text]
    assert f"{newest.name} {said}" in warning


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: {k: v for k, v in state.items() if "0" not in k}, "of another network"),
        (lambda state: {k: v[:1] if v.ndim else v for k, v in state.items()}, "of another"),
        (lambda state: {k: v * torch.nan for k, v in state.items()}, "that are not finite"),
    ],
)
def test_a_checkpoint_whose_weights_cannot_be_used_is_passed_over(
    run, experiment, tmp_path, caplog, change, said
):
    foreign = shutil.copytree(run, tmp_path / "run")
    newest, _ = find_checkpoints(foreign)
    found = dict(read_checkpoint(newest))
    newest.write_bytes(with_digest(saved(found | {"state_dict": change(found["state_dict"])})))

    fit(experiment, foreign, resume=True)

    (warning,) = [text for text in caplog.messages if "skipped" in text]
    assert f"{newest.name} holds weights {said}" in warning
    assert read_metrics(foreign / "metrics.csv")[-1]["epoch"] == "2"


def test_what_only_looks_like_a_checkpoint_is_passed_over_and_left_alone(
    run, experiment, tmp_path, caplog
):
    foreign = shutil.copytree(run, tmp_path / "run")
    newest, _ = find_checkpoints(foreign)
    found = dict(read_checkpoint(newest))
    newest.write_bytes(with_digest(saved(found | {"loops": {}})))
    folder, pipe = (newest.with_name(f"step-9999999{n}.ckpt") for n in (8, 9))
    folder.mkdir()
    os.mkfifo(pipe)

    fit(experiment, foreign, resume=True)

    assert [text for text in caplog.messages if "ckpt" in text and "resuming from" not in text] == [
        f"{pipe} has the name of a checkpoint, but is no file; ignored",
        f"{folder} has the name of a checkpoint, but is no file; ignored",
        f"checkpoint {newest} does not fit this training (its part loops differs); skipped",
    ]
    assert folder.is_dir()
    assert pipe.is_fifo()
    names = [path.name for path in find_checkpoints(foreign)]
    assert names == ["step-00000006.ckpt", "step-00000003.ckpt"]


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (("pytorch-lightning_version",), 7),
        (("max_epochs",), "2"),
        (("epoch_sums", "voxels"), torch.zeros(2, 1, dtype=torch.int64)),
        (("callbacks",), {}),
        (("callbacks", "KeepBestModel", "best"), "0.5"),
        (("callbacks", "StopEarly", "since"), None),
        (("lr_schedulers",), []),
        (("lr_schedulers", 0, "last_epoch"), -1),
        (("optimizer_states", 0), {}),
        (("optimizer_states", 0, "param_groups", 0, "lr"), None),
        (("optimizer_states", 0, "param_groups", 0, "params"), [0]),
        (("optimizer_states", 0, "state"), {}),
        (("optimizer_states", 0, "state", 0, "exp_avg"), torch.zeros(1)),
        (("loops", "fit_loop", "epoch_progress"), 3),
        (("loops", "fit_loop", "epoch_loop.batch_progress", "current", "ready"), "3"),
        (("loops", "fit_loop", "state_dict", "combined_loader"), "3"),
        (("kept_files",), {"../scores.json": torch.zeros(1, dtype=torch.uint8)}),
    ],
)
def test_a_part_of_a_checkpoint_that_a_training_cannot_go_on_with_is_named(
    run, experiment, tmp_path, place, value
):
    trainer = build_trainer(experiment, tmp_path, validate=True, started=0)
    trainer.strategy.connect(SegmentationModule(experiment))
    found = copy.deepcopy(dict(read_checkpoint(find_checkpoints(run)[0])))
    assert misfit(found, trainer) is None

    reduce(getitem, place[:-1], found)[place[-1]] = value

    assert ".".join(map(str, place)).startswith(misfit(found, trainer))


def test_a_checkpoint_that_has_changed_in_any_byte_is_found(run, tmp_path):
    content = find_checkpoints(run)[0].read_bytes()
    path = tmp_path / "changed.ckpt"
    # The ends are what torch and zip tell of the file; its middle is weights.
    places = [*range(200), *range(200, len(content), 997), *range(len(content) - 200, len(content))]
    for place in places:
        path.write_bytes(content[:place] + bytes([content[place] ^ 4]) + content[place + 1 :])
        with pytest.raises(CheckpointError, match="is damaged"):
            read_checkpoint(path)
    path.unlink()
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_checkpoint(path)


def test_what_else_lies_among_the_checkpoints_is_no_checkpoint_and_stays(run, experiment, tmp_path):
    part = tmp_path / "part"
    fit(changed(experiment, training={"max_epochs": 1, "schedule": "constant"}), part)
    (checkpoint,) = find_checkpoints(part)
    others = [checkpoint.with_name(name) for name in ("step-best.ckpt", "step-3.ckpt", "a.ckpt")]
    for other in others:
        other.touch()
    begun = [
        checkpoint.with_name(".volseg-0123abcd-step-00000006.ckpt"),
        part / ".volseg-0123abcd-metrics.csv",
    ]
    for path in begun:
        path.touch()

    fit(changed(experiment, training={"schedule": "constant"}), part, resume=True)

    assert find_checkpoints(part) == [checkpoint.with_name("step-00000006.ckpt"), checkpoint]
    assert all(other.exists() for other in others)
    assert not any(path.exists() for path in begun)


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

    last = torch.load(find_checkpoints(tmp_path / "all")[0], weights_only=True)
    kept = load_model(result.model).network.state_dict()
    for name, tensor in kept.items():
        assert torch.equal(tensor, last["state_dict"][f"averaged.module.{name}"])
    assert result.scores == {}


def test_training_ends_before_max_time_and_is_validated(experiment, tmp_path, monkeypatch):
    config = changed(
        experiment, training={"max_epochs": 500, "max_time": 60, "validate_every": 100}
    )
    seconds = itertools.count()
    clock = SimpleNamespace(monotonic=lambda: next(seconds), perf_counter=time.perf_counter)
    for module in ("training.limits", "training.epoch_log", "tasks.fit"):
        monkeypatch.setattr(f"volseg.{module}.time", clock)

    result = fit(config, tmp_path / "short")

    # Every look at the clock takes a second: 60 less 10 for the files and some for a validation.
    rows = read_metrics(tmp_path / "short" / "metrics.csv")
    assert 45 <= next(seconds) <= 60
    assert int(rows[-1]["step"]) > 20
    assert rows[-1]["val/dice/WT"]
    assert load_model(result.model).scores["epoch"] == int(rows[-1]["epoch"])


def test_a_training_whose_loss_is_no_number_any_more_ends_without_a_model(experiment, tmp_path):
    config = changed(experiment, training={"max_epochs": 9, "learning_rate": 1e30})

    with pytest.raises(TrainingError, match=r"loss is nan in epoch 1, .* without a model; start"):
        fit(config, tmp_path / "run")

    assert find_checkpoints(tmp_path / "run") == []
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_loss_that_is_no_number_ends_a_long_epoch_in_its_midst(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.training.finite._BATCHES", 2)
    steps = []
    average = SegmentationModule.move_average
    monkeypatch.setattr(
        SegmentationModule, "move_average", lambda module: steps.append(1) or average(module)
    )
    config = changed(experiment, data={"batches_per_epoch": 9}, training={"learning_rate": 1e30})

    with pytest.raises(TrainingError, match="the training loss is nan in epoch 1"):
        fit(config, tmp_path / "run")

    assert len(steps) < 9


@pytest.mark.parametrize(
    ("part", "options", "what"),
    [
        ("network", {}, "weights of the network are not finite"),
        ("averaged", {"ema": 0.5}, "weights of the network are not finite"),
        # Not even looked at where nothing is validated.
        ("network", {"validate_every": 3}, "weights of the network are not finite"),
    ],
)
def test_weights_that_are_no_numbers_take_the_place_of_no_good_ones(
    experiment, tmp_path, monkeypatch, part, options, what
):
    config, run = changed(experiment, training={"max_epochs": 3} | options), tmp_path / "run"
    average = SegmentationModule.move_average

    def spoil(module):
        average(module)
        # The last step of the second epoch, whose loss was still a number.
        if module.global_step == 6:
            parameter = next(getattr(module, part).parameters())
            parameter.data.view(-1)[0] = float("nan")

    monkeypatch.setattr(SegmentationModule, "move_average", spoil)
    # Whatever is validated is better than all before.
    better = itertools.count()
    monkeypatch.setattr("volseg.training.callbacks.standing", lambda *_: (next(better), 0.0))
    with pytest.raises(TrainingError, match=f"{what} in epoch 2") as error:
        fit(config, run)

    rows = read_metrics(run / "metrics.csv")
    assert [row["epoch"] for row in rows] == ["1"]
    assert [path.name for path in find_checkpoints(run)] == ["step-00000003.ckpt"]
    if "validate_every" not in options:
        assert f"the last good model of epoch 1 is {run / 'model.safetensors'}" in str(error.value)
        assert load_model(run).scores["epoch"] == 1


def test_a_stop_by_a_signal_saves_no_weights_that_are_no_numbers(experiment, tmp_path, monkeypatch):
    def spoil(module):
        signal.raise_signal(signal.SIGTERM)
        next(module.network.parameters()).data.view(-1)[0] = float("inf")

    monkeypatch.setattr(SegmentationModule, "move_average", spoil)
    signals.record()
    try:
        with pytest.raises(TrainingError, match="weights of the network are not finite"):
            fit(experiment, tmp_path / "run")
    finally:
        signals.reset()

    assert find_checkpoints(tmp_path / "run") == []


def test_all_ranks_end_where_the_numbers_of_one_are_not_finite(experiment, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr("volseg.training.finite.on_any_rank", lambda own: asked.append(own) or True)

    with pytest.raises(TrainingError, match="the training loss of another rank is not finite"):
        fit(experiment, tmp_path / "run")

    assert asked == [False]


def test_of_equal_scores_the_lower_loss_is_kept(experiment, tmp_path, monkeypatch):
    losses = iter([0.9, 0.9, 0.7, 0.7, 0.8, 0.8])
    monkeypatch.setattr(ScoreTable, "means", lambda *_: {"WT": 0.0})
    monkeypatch.setattr(SegmentationModule, "_case_loss", lambda *_: next(losses))

    result = fit(changed(experiment, training={"max_epochs": 3}), tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [row["val/loss"] for row in rows] == ["0.9", "0.7", "0.8"]
    assert load_model(result.model).scores["epoch"] == 2
    assert best_row(rows) == rows[1]


@pytest.mark.parametrize(
    ("score", "other"),
    [
        ((0.5, 0.9), (0.4, 0.1)),
        ((0.0, 0.8), (0.0, 0.9)),
        ((0.0, 0.8), (0.0, float("nan"))),
        ((0.0, float("nan")), (float("nan"), 0.1)),
        # Equal in the table, which has six digits.
        ((0.12345670, 0.8), (0.12345674, 0.9)),
    ],
)
def test_a_model_stands_above_another_by_dice_and_then_by_loss(score, other):
    assert standing(*score) > standing(*other)


@pytest.mark.parametrize("epochs", [20, 5])
def test_a_changed_number_of_epochs_tells_what_becomes_of_the_learning_rate(experiment, epochs):
    config = changed(
        experiment,
        data={"batches_per_epoch": 5},
        training={"max_epochs": epochs, "schedule": "poly", "learning_rate": 0.01},
    )
    checkpoint = {"processes": 1, "max_epochs": 10, "global_step": 25}

    (change,) = changes(checkpoint, config, 1)

    rates = {10: 0.01 * 0.5**0.9, 20: 0.01 * 0.75**0.9, 5: 0.0}
    assert change == (
        f"training.max_epochs was 10 and is {epochs}, and the learning rate depends on it: from "
        f"here on {rates[epochs]:.3g} instead of {rates[10]:.3g}"
    )
    constant = changed(config, training={"schedule": "constant"})
    assert list(changes(checkpoint, constant, 1)) == []
    assert list(changes({"processes": 1, "global_step": 25}, config, 1)) == []


def test_a_model_that_finds_nothing_or_had_nothing_to_learn_is_told_of(
    experiment, tmp_path, monkeypatch, caplog
):
    drawn = CachedCase.foreground.fget
    never_et = np.array([0, 0, -1])[:, None, None]
    monkeypatch.setattr(CachedCase, "foreground", property(lambda c: drawn(c) | never_et))
    config = changed(experiment, training={"max_epochs": 1}, inference={"threshold": 0.999})

    with caplog.at_level(logging.WARNING, "volseg"):
        fit(config, tmp_path / "run")

    first, *doubts = caplog.messages
    assert first == "ET in none of 2 training cases: the network cannot learn it"
    assert doubts == read_scores(tmp_path / "run" / "scores.json")["doubts"]
    assert doubts[0] == "WT is in no prediction, but in the reference of 2 of 2 cases"


def test_the_last_epoch_is_validated_whatever_validate_every_says(experiment, tmp_path, caplog):
    config = changed(experiment, training={"max_epochs": 3, "validate_every": 2})

    with caplog.at_level(logging.INFO):
        fit(config, tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    assert [bool(row["val/dice/WT"]) for row in rows] == [False, True, True]
    # Between validations the log tells how the patches are segmented.
    lines = [text.split("; ")[1] for text in caplog.messages if text.startswith("epoch ")]
    for line, row, words, kind in zip(
        lines, rows, ("Dice of patches", "Dice", "Dice"), ("train", "val", "val"), strict=True
    ):
        assert line.startswith(f"{words} WT {float(row[f'{kind}/dice/WT']):.3f}, TC ")


def test_early_stopping_counts_validations_and_not_epochs(experiment, tmp_path):
    # The rate is so low that no validation is better than the first, after the second epoch.
    config = changed(
        experiment,
        training={
            **{"max_epochs": 20, "validate_every": 2, "early_stopping": 2},
            **{"learning_rate": 1e-12, "warmup_epochs": 0},
        },
    )

    fit(config, tmp_path / "run")

    rows = read_metrics(tmp_path / "run" / "metrics.csv")
    validated = [int(row["epoch"]) for row in rows if row["val/dice/WT"]]
    assert validated == [2, 4, 6]
    assert len(rows) == 6


def test_an_interrupt_reaches_the_caller_and_the_log_tells_how_to_go_on(
    experiment, tmp_path, monkeypatch, caplog
):
    step = SegmentationModule.training_step
    stop_in = 1

    def interrupted(self, batch, batch_index):
        if self.trainer.current_epoch == stop_in:
            raise KeyboardInterrupt
        return step(self, batch, batch_index)

    handler = signal.getsignal(signal.SIGINT)
    monkeypatch.setattr(SegmentationModule, "training_step", interrupted)
    try:
        with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.INFO):
            fit(experiment, tmp_path / "run")
        assert f"interrupted; resume with: volseg fit --resume {tmp_path}/run" in caplog.messages
        caplog.clear()
        stop_in = 0
        with pytest.raises(KeyboardInterrupt), caplog.at_level(logging.INFO):
            fit(experiment, tmp_path / "other")
        assert not any("resume with" in message for message in caplog.messages)
    finally:
        signal.signal(signal.SIGINT, handler)  # which Lightning has taken away


def test_only_the_first_of_several_processes_prints_the_result(monkeypatch, tmp_path):
    scores = {"dice/WT": 0.5}
    (tmp_path / "config.yaml").write_text("labels: lgg\ndata: {data_list: list.json}\n")
    printed = []
    for rank in (0, 1):
        result = FitResult(tmp_path, tmp_path / "model.safetensors", scores, rank=rank)
        monkeypatch.setattr("volseg.tasks.fit.fit", lambda *_, found=result, **__: found)
        printed.append(CliRunner().invoke(app, ["fit", str(tmp_path / "config.yaml")]).stdout)

    assert "0.500" in printed[0]
    assert printed[1] == ""


def test_time_is_left_to_segment_the_drawn_cases_once_more(monkeypatch):
    seconds = iter([100.0, 110.0, 110.0])
    monkeypatch.setattr(
        "volseg.training.limits.time", SimpleNamespace(monotonic=lambda: next(seconds))
    )
    trainer = SimpleNamespace(
        datamodule=SimpleNamespace(validation=[None] * 12), world_size=2, should_stop=False
    )
    limit = TimeLimit(1000, started=0, keeper=None)

    limit.on_validation_start(trainer, None)
    limit.on_validation_end(trainer, None)

    # Six cases a rank took 10 s; another 5 s for three samples and 10 / 6 s for the worst case, and
    # a fifth more of it all.
    assert limit.validation == pytest.approx(20)
    assert not trainer.should_stop


def test_each_case_is_validated_by_one_rank_and_one_without_a_case_goes_along(experiment, cached):
    data = VolumeDataModule(experiment, cached[3:], cached[:3])
    of_ranks = []
    for rank in range(4):
        data.trainer = SimpleNamespace(global_rank=rank, world_size=4)
        of_ranks.append([case and case.case.case_id for case in data.val_dataloader()])

    assert of_ranks == [*([case.case.case_id] for case in cached[:3]), [None]]


def test_a_cache_that_others_use_may_be_read_by_them(cached):
    entry, folder = cached[0].entry, cached[0].entry.parent

    assert entry.stat().st_mode == folder.stat().st_mode


def test_a_fold_that_is_not_in_the_list_is_refused(experiment, tmp_path):
    config = changed(experiment, data={"fold": 9})

    with pytest.raises(DataListError, match=r"the list has the folds \[0, 1\]"):
        fit(config, tmp_path / "run")


@pytest.fixture(scope="session")
def stacks(tmp_path_factory) -> DataList:
    """Five patients of four slices each: t2f shows a bright square, and its file is t1n as well."""
    folder = tmp_path_factory.mktemp("stacks")
    cases = []
    for patient in range(5):
        generator = np.random.default_rng(patient)
        images, masks = [], []
        for number in range(4):
            mask = np.zeros((40, 36), dtype=np.uint8)
            if number in (1, 2):
                mask[10 + patient : 20 + patient, 8:20] = 255
            tissue = generator.integers(60, 90, mask.shape) + (mask > 0) * 100
            t1n = tissue if patient == 4 else generator.integers(60, 90, mask.shape)
            image = np.stack([t1n, tissue, tissue[::-1]], axis=-1).astype(np.uint8)
            images.append(folder / f"p{patient}_{number + 1}.png")
            masks.append(folder / f"p{patient}_{number + 1}_mask.png")
            Image.fromarray(image).save(images[-1])
            Image.fromarray(mask).save(masks[-1])
        name = f"p{patient}"
        cases.append(
            SliceStackCase(
                *(name, name, tuple(images), ("t1n", "t2f", "t1c"), tuple(masks), "lgg"),
                fold=int(patient < 2),
                groups={"site": "A" if patient < 4 else "B"},
            )
        )
    data_list = DataList("stacks", ("t1n", "t2f", "t1c"), tuple(cases))
    write_data_list(folder / "list.json", data_list, folder)
    return data_list


@pytest.fixture(scope="session")
def slice_experiment(stacks) -> ExperimentConfig:
    folder = stacks.training[0].place
    return ExperimentConfig.from_dict(
        {
            "labels": "lgg",
            "data": {
                "data_list": str(folder / "list.json"),
                "channels": ["t1n", "t2f", "t1c"],
                "fill_missing": "t2f",
                "patch_size": [32, 32],
                "batch_size": 4,
                "batches_per_epoch": 4,
                "workers": 0,
                "cache_dir": str(folder / "cache"),
            },
            "network": {"name": "unet", "widths": [4, 8], "residual_units": 1},
            "training": {"max_epochs": 2, "learning_rate": 0.01, "accelerator": "cpu"},
        }
    )


@pytest.fixture(scope="session")
def slice_run(slice_experiment, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slice_runs") / "run"
    messages = []
    handler = logging.Handler()
    handler.emit = lambda record: messages.append((record.levelname, record.getMessage()))
    log = logging.getLogger("volseg")
    log.addHandler(handler)
    level = log.level
    log.setLevel(logging.INFO)
    fit(slice_experiment, folder)
    log.removeHandler(handler)
    log.setLevel(level)
    return folder, messages


def test_a_network_of_slices_is_scored_by_slice_too(slice_run, slice_experiment):
    run, _ = slice_run
    document = json.loads((run / "scores.json").read_text())
    rows = read_metrics(run / "metrics.csv")
    best = rows[document["epoch"] - 1]
    with (run / "slices.csv").open(newline="") as file:
        slices = list(csv.DictReader(file))

    assert [(row["case_id"], row["slice"]) for row in slices] == [
        (case, str(number)) for case in ("p2", "p3", "p4") for number in (1, 2, 3, 4)
    ]
    with_tumour = [row for row in slices if row["slice"] in "23"]
    for name, chosen in (("all", slices), ("tumour", with_tumour)):
        mean = np.mean([float(row["dice"]) for row in chosen])
        assert float(best[f"val/{name}_slice_dice/WT"]) == pytest.approx(mean, abs=1e-5)
        assert document["slices"]["WT"][f"{name}_slices"]["n"] == len(chosen)
    model = load_model(run / "model.safetensors")
    assert model.scores["tumour_slice_dice/WT"] == pytest.approx(
        float(best["val/tumour_slice_dice/WT"]), abs=1e-5
    )


def test_scores_of_slices_without_a_known_size_have_voxels_and_no_ml(slice_run):
    scores = json.loads((slice_run[0] / "scores.json").read_text())["cases"]["p3"]["regions"]["WT"]

    assert scores["volume_ml"] is None
    assert scores["reference_voxels"] == 2 * 10 * 12


def test_what_is_known_of_the_cases_stands_beside_their_scores(slice_run):
    document = json.loads((slice_run[0] / "scores.json").read_text())

    assert document["groups"] == {
        case: {"site": site} for case, site in zip(("p2", "p3", "p4"), "AAB", strict=True)
    }
    assert document["missing_channels"] == {"p4": ["t1n"]}
    assert list(document["group_scores"]["site"]) == ["A", "B"]


def test_the_log_names_cases_that_lack_channels_and_their_scores(slice_run):
    run, messages = slice_run
    cases = json.loads((run / "scores.json").read_text())["cases"]
    dice = {case: f"{of['regions']['WT']['dice']:.3f}" for case, of in cases.items()}

    assert ("INFO", "p4 (validation): t1n missing: t2f stands in") in messages
    (warning,) = [text for level, text in messages if level == "WARNING"]
    assert warning.startswith("cases lack channels, and the network learns to handle this from no")
    assert ("INFO", f"p3: Dice WT {dice['p3']}") in messages
    assert ("INFO", f"p4: Dice WT {dice['p4']} (t1n missing: t2f stands in)") in messages
    assert ("INFO", "scores by site, missing channels are in groups.csv") in messages


def test_pictures_of_slices_are_drawn(slice_run):
    run, _ = slice_run
    board = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0}).Reload()

    # The log of the run names p2 with the lowest Dice.
    assert board.Tags()["images"] == ["cases/p2", "cases/p3", "worst_case/p2"]
    assert {"curves.png", "samples.png", "worst.png"} <= {path.name for path in run.iterdir()}


def test_slices_of_a_volume_are_axial_however_its_file_is_stored():
    mask = np.zeros((4, 5, 6), dtype=bool)
    mask[:, 3] = True
    coronal_first = np.array([[1.0, 0, 0, 0], [0, 0, 1, 0], [0, -1, 0, 0], [0, 0, 0, 1]])

    turned = axial({"WT": mask}, Grid((4, 5, 6), coronal_first))["WT"]

    assert turned.shape == (4, 6, 5)
    assert turned[:, :, 3].all()
    assert turned.sum() == mask.sum()
    lps = Grid((4, 5, 6), np.diag([-1.0, -1, 1, 1]))
    np.testing.assert_array_equal(axial({"WT": mask}, lps)["WT"], mask)


def lacking_case(name, *missing):
    return SimpleNamespace(case=SimpleNamespace(case_id=name), missing=missing)


def test_training_without_dropped_channels_is_warned_of_where_cases_lack_some(experiment):
    training, validation = [lacking_case("a", "t1n"), lacking_case("b")], [lacking_case("c", "t1c")]
    config = changed(experiment, data={"fill_missing": "t2f"})
    dropping = changed(config, augmentation={"channel_dropout": 0.2})

    lines, warning = missing_channel_lines(training, validation, config)

    assert lines == [
        "a (training): t1n missing: t2f stands in",
        "c (validation): t1c missing: t2f stands in",
    ]
    assert "learns to handle this only from 1 of its training cases" in warning
    assert missing_channel_lines(training, validation, dropping) == (lines, None)
    assert missing_channel_lines(training[1:], [], config) == ([], None)


def test_of_many_cases_that_lack_channels_some_are_named(experiment):
    many = [lacking_case(f"c{number}", "t1n") for number in range(25)]

    lines, _ = missing_channel_lines(many, [], changed(experiment, data={"fill_missing": "t2f"}))

    assert len(lines) == 21
    assert lines[-1] == "and 5 more cases that lack channels"


def test_of_many_cases_and_values_the_files_tell():
    cases = {f"c{n}": {"regions": {"WT": {"dice": 0.5}}} for n in range(21)}
    value, single = ({"WT": {"n": n, "dice": {"mean": 0.5}}} for n in (3, 1))
    groups = {
        "age": {str(n): value for n in range(11)},
        "site": {"A": value, "B": value},
        "grade": {"1": value, "2": single},
        "tissue": {"brain": value},
    }

    lines = score_lines({"cases": cases, "group_scores": groups}, None)

    assert lines == [
        "scores of each of the 21 cases are in scores.csv",
        "site A: Dice WT 0.500 (mean of 3)",
        "site B: Dice WT 0.500 (mean of 3)",
        "scores by age, grade, tissue are in groups.csv",
    ]


def test_a_case_without_a_score_has_none_in_its_line():
    lines = score_lines({"cases": {"a": {"regions": {"WT": {"dice": None}}}}}, None)

    assert lines == ["a: Dice -"]


def test_damaged_scores_are_no_scores(tmp_path):
    (tmp_path / "scores.json").write_text("{")

    assert read_scores(tmp_path / "scores.json") is None
    assert read_scores(tmp_path / "nothing.json") is None


@pytest.fixture
def with_encoder(slice_experiment, tmp_path):
    network = {
        "name": "deeplabv3plus",
        "encoder": "resnet10",
        "encoder_width": 4,
        "width": 8,
        "low_level_width": 4,
        "encoder_weights": str(tmp_path / "encoder.pt"),
    }
    options = slice_experiment.to_dict() | {"network": network}
    options["data"] |= {"batches_per_epoch": 1, "fold": None}
    options["training"] |= {"max_epochs": 1, "learning_rate": 1e-12, "ema": 0.5}
    return ExperimentConfig.from_dict(options)


def test_training_starts_from_the_weights_of_the_encoder(with_encoder, tmp_path):
    torch.manual_seed(7)
    encoder = SegmentationModule(with_encoder).network.encoder.backbone
    torch.save(encoder.state_dict(), tmp_path / "encoder.pt")

    result = fit(with_encoder, tmp_path / "run")

    (tmp_path / "encoder.pt").unlink()  # a model and a checkpoint have weights of their own
    kept = load_model(result.model).network.encoder.backbone
    torch.testing.assert_close(kept.conv1.weight, encoder.conv1.weight, rtol=0, atol=1e-6)
    fit(with_encoder, tmp_path / "run", resume=True)


def test_weights_that_cannot_be_read_are_found_before_the_cache_is_built(with_encoder, tmp_path):
    config = changed(with_encoder, data={"cache_dir": str(tmp_path / "cache")})

    with pytest.raises(ModelError, match=r"encoder weights .*encoder\.pt cannot be read"):
        fit(config, tmp_path / "run")

    assert not (tmp_path / "cache").exists()


@pytest.fixture(scope="module")
def troubled(experiment, tmp_path_factory):
    """Scores and log of a run whose pictures cannot be drawn and whose loss is not a number."""

    def failing(*_):
        raise RuntimeError("no memory")

    run, messages = tmp_path_factory.mktemp("troubled") / "run", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("volseg.training.outcome.segmented_view", failing)
        patch.setattr("volseg.training.curves.curves", failing)
        patch.setattr(SegmentationModule, "_case_loss", lambda *_: float("nan"))
        patch.setattr(
            logging.getLogger("volseg.figures.figure_files"),
            "warning",
            lambda *words: messages.append(words),
        )
        fit(changed(experiment, training={"max_epochs": 1}), run)
    return json.loads((run / "scores.json").read_text()), [m % tuple(of) for m, *of in messages]


def test_a_run_does_not_fail_by_its_pictures(troubled):
    scores, messages = troubled

    assert scores["cases"]
    assert [message.rpartition("/")[2] for message in messages] == [
        "curves.png was not drawn: no memory",
        "curves.png was not drawn: no memory",
        "samples.png was not drawn: no memory",
    ]


def test_a_loss_that_is_not_finite_is_none_in_the_scores(troubled):
    assert set(troubled[0]["losses"].values()) == {None}


def test_sums_of_an_epoch_do_not_depend_on_where_it_was_stopped():
    losses = torch.rand(200, generator=torch.Generator().manual_seed(0))
    logits = torch.zeros(2, 3, 4, 4, 4)
    whole, parts = EpochSums("ABC", 0.5), [EpochSums("ABC", 0.5) for _ in range(3)]
    for number, loss in enumerate(losses):
        whole.add(logits, torch.ones_like(logits), loss)
        parts[number % 3].add(logits, torch.ones_like(logits), loss)

    together = sum(part.losses for part in parts)

    assert torch.equal(together, whole.losses)
    assert whole.loss.item() == pytest.approx(losses.mean().item(), rel=1e-6)


def test_a_disk_that_is_full_under_tensorboard_is_told_of_in_a_sentence(
    experiment, tmp_path, monkeypatch
):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)

    said = r"run cannot be written \(No space left on device\); free some space, then resume with"
    with pytest.raises(OutputError, match=said) as error:
        fit(changed(experiment, training={"max_epochs": 1}), tmp_path / "run")

    assert "\n" not in str(error.value)
