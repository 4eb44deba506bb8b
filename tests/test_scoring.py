"""Scores of validation cases: what they are made of, and in which order they come."""

from __future__ import annotations

import shutil
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import write_small_config
from score_rows import scored_row

from volseg import signals
from volseg.cases.data_list import read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.config import ExperimentConfig, load_config
from volseg.images.nifti_writing import write_label_map
from volseg.inference.windows import on_scan_grid
from volseg.metrics import ScoreRow, region_overlaps, slice_rows
from volseg.tasks.fit import fit
from volseg.training import scoring
from volseg.training.cache.case_arrays import read_masks
from volseg.training.cache.cases import CachedCase, build_cache
from volseg.training.case_views import axial, decoded_masks
from volseg.training.module import SegmentationModule
from volseg.training.scoring import CaseScores, Scorer, score_case, scored_box

OPTIONS = {
    "4 mm": [],
    "1 mm": ["data.spacing_mm=[1, 1, 1]"],
    "slices": ["data.patch_size=[16, 16]", "data.spacing_mm=[2, 2, 1]"],
    "cleaned": ["inference.min_component_mm3={TC: 300}", "inference.largest_component=[WT]"],
}


@pytest.fixture
def cached(cohort: Path, tmp_path):
    """Config with these words, and its cases from the cache."""

    def read(*words: str) -> tuple[ExperimentConfig, tuple[CachedCase, ...]]:
        path = write_small_config(tmp_path / "config.yaml", cohort / "list.json")
        config = load_config(path, words)
        cases = read_data_list(config.data.data_list).training
        return config, build_cache(cases, config, tmp_path / "cache")[0]

    return read


def guess(case: CachedCase, seed: int = 0) -> torch.Tensor:
    """Probabilities about the reference, on the grid of the network, that miss part of it."""
    generator = torch.Generator().manual_seed(seed)
    masks = np.stack([case.bits >> region & 1 for region in range(3)])
    noise = torch.rand(masks.shape, generator=generator)
    return torch.from_numpy(masks).float() * 0.3 + noise * 0.7


def plainly(case: CachedCase, probabilities: torch.Tensor, config: ExperimentConfig) -> CaseScores:
    """Scores of the whole scan and of the label map as it is read from its file."""
    regions, name = tuple(config.labels.regions), case.case.case_id
    whole = on_scan_grid(probabilities, case.image_grid, case.scan_grid).numpy()
    prediction = decoded_masks(whole, config, case.scan_grid.voxel_ml)
    reference = dict(zip(regions, read_masks(case.case, config), strict=True))
    overlaps = region_overlaps(prediction, reference)
    rows = [scored_row(name, *item, case.scan_grid.voxel_ml) for item in overlaps.items()]
    turned = [axial(masks, case.scan_grid) for masks in (prediction, reference)]
    of_slices = slice_rows(name, *turned) if config.spatial_dims == 2 else []
    return CaseScores(tuple(rows), tuple(of_slices))


def scored(case: CachedCase, probabilities: torch.Tensor, config: ExperimentConfig) -> CaseScores:
    box = scored_box(case, config)
    part = on_scan_grid(probabilities, case.image_grid, case.scan_grid, box).numpy()
    return score_case(case, part, box, config)


@pytest.mark.parametrize("words", OPTIONS.values(), ids=OPTIONS)
def test_scores_are_those_of_the_whole_scan_and_its_label_map(cached, words):
    config, cases = cached(*words)

    for seed, case in enumerate(cases):
        probabilities = guess(case, seed)
        found = scored(case, probabilities, config)
        assert found == plainly(case, probabilities, config)
        assert 0 < found.rows[0]["dice"] < 1
        assert len(found.slices) == (3 * 40 if config.spatial_dims == 2 else 0)


@pytest.mark.parametrize("labels", ["far from the brain", "none"])
@pytest.mark.parametrize("words", [OPTIONS["4 mm"], OPTIONS["slices"]], ids=["3D", "2D"])
def test_a_reference_beyond_the_brain_counts_and_so_does_an_empty_one(
    cohort, cached, tmp_path, words, labels
):
    config, _ = cached(*words)
    listed = read_data_list(config.data.data_list).training[0]
    changed = np.zeros_like(listed.read_reference()[0])
    if labels != "none":
        changed[0, :2, 0], changed[-1, -1, -1] = 1, 3
    header = listed.read_images(config.data.channels).header
    write_label_map(tmp_path / "seg.nii.gz", changed, header)
    case = VolumeCase("far", "far", listed.images, listed.channels, (tmp_path / "seg.nii.gz",))
    ((entry,), failures) = build_cache([case], config, tmp_path / "cache")

    found = scored(entry, guess(entry), config)

    assert not failures
    assert [row["reference_voxels"] for row in found.rows] == [3 * (labels != "none")] * 2 + [
        labels != "none"
    ]
    assert found == plainly(entry, guess(entry), config)


def test_the_label_map_is_not_read_again(cached, tmp_path):
    config, (case, *_) = cached()
    expected = plainly(case, guess(case), config)
    for file in case.case.label:
        shutil.move(file, tmp_path / "away")
    try:
        assert scored(case, guess(case), config) == expected
    finally:
        shutil.move(tmp_path / "away", case.case.label[0])


def test_scores_come_in_the_order_of_the_cases_whichever_is_done_first():
    second_is_done = threading.Event()

    def first() -> CaseScores:
        assert second_is_done.wait(60)
        return rows_of("first")

    def second() -> CaseScores:
        second_is_done.set()
        return rows_of("second")

    scorer = Scorer(threads=2)
    for score in (first, second, partial(rows_of, "third")):
        scorer.give(score)

    assert [of_case.rows[0].case_id for of_case in scorer.take()] == ["first", "second", "third"]
    assert scorer.take() == []
    assert scoring_now() == []


def rows_of(case_id: str) -> CaseScores:
    return CaseScores((ScoreRow(case_id, "WT"),))


def scoring_now() -> list[str]:
    return [t.name for t in threading.enumerate() if t.name.startswith("scoring")]


def test_no_case_waits_for_a_thread_so_few_are_in_memory():
    scorer, started, free = Scorer(threads=1), [], threading.Event()

    def slow(number: int) -> CaseScores:
        started.append(number)
        assert free.wait(60)
        return rows_of(str(number))

    scorer.give(partial(slow, 0))
    giving = threading.Thread(target=scorer.give, args=(partial(slow, 1),))
    giving.start()
    giving.join(0.2)
    assert giving.is_alive()
    free.set()
    giving.join()
    assert [of_case.rows[0].case_id for of_case in scorer.take()] == ["0", "1"]
    assert started == [0, 1]


def test_threads_are_few_and_one_at_least(monkeypatch):
    for cores, expected in ((1, 1), (2, 1), (3, 2), (64, 2)):
        monkeypatch.setattr(scoring, "cores", lambda processes, cores=cores: cores // processes)
        assert scoring.scoring_threads(1) == expected
    assert scoring.scoring_threads(64) == 1


@pytest.fixture
def small(cohort: Path, tmp_path) -> ExperimentConfig:
    """One step, then a validation of two cases."""
    data = {"batches_per_epoch": 1, "cache_dir": str(tmp_path / "cache")}
    training = {"max_epochs": 1}
    path = write_small_config(
        tmp_path / "c.yaml", cohort / "list.json", data=data, training=training
    )
    return load_config(path)


def test_what_goes_wrong_in_a_thread_ends_the_run_and_leaves_none(small, tmp_path, monkeypatch):
    def fail(case, *_):
        raise ValueError(f"{case.case.case_id} cannot be scored")

    monkeypatch.setattr("volseg.training.module.score_case", fail)

    with pytest.raises(ValueError, match=r"BraTS-GLI-9\d+-000 cannot be scored"):
        fit(small, tmp_path / "run")

    assert scoring_now() == []


def test_a_signal_while_a_case_is_scored_stops_the_run_and_leaves_no_thread(
    small, tmp_path, monkeypatch
):
    monkeypatch.setattr("volseg.tasks.fit.report_scores", lambda *_: None)

    def signalled(*arguments):
        signals._record(signals.STOPPING[0], None)
        return score_case(*arguments)

    monkeypatch.setattr("volseg.training.module.score_case", signalled)
    try:
        with pytest.raises(signals.Stopped, match="after 1 steps"):
            fit(small, tmp_path / "run")
    finally:
        signals.reset()
    assert scoring_now() == []
    monkeypatch.undo()

    result = fit(small, tmp_path / "run", resume=True)

    assert result.scores.keys() >= {"dice/WT", "dice/mean"}
    assert scoring_now() == []


def test_the_seconds_of_a_case_are_told_and_nothing_else_changes(cached):
    config, (case, *_) = cached()
    module = SegmentationModule(config).train()

    assert module.seconds_of_case(case) > 0

    assert module.training
    assert module.network.training
    assert module.losses == {}
    assert module.scorer.take() == []
