"""Several processes on one machine, as Lightning or torchrun starts them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from experiments import write_small_config
from safetensors.torch import load_file
from score_rows import scored_row

from volseg.cases.data_list import read_data_list
from volseg.config import load_config
from volseg.inference.windows import on_scan_grid, segment
from volseg.metrics import ScoreTable, region_overlaps
from volseg.model_file import load_model
from volseg.runs.checkpoint_files import find_checkpoints
from volseg.runs.metrics_table import read_metrics
from volseg.tasks.fit import fit
from volseg.training.cache.case_arrays import read_masks
from volseg.training.cache.cases import build_cache
from volseg.training.case_views import decoded_masks

DRIVEN = Path(__file__).with_name("driven.py")
# Stops count as failures for torchrun, so its processes are told apart by their launcher.
LIGHTNING = [sys.executable, str(DRIVEN)]
TORCHRUN = [
    *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"),
    str(DRIVEN),
]
TWO = "training.devices=2"


@pytest.fixture(scope="module")
def study(cohort: Path, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("several")
    write_small_config(
        folder / "config.yaml",
        cohort / "list.json",
        data={"batch_size": 1, "channel_dropout": 0.5},
        network={"dropout": 0.2},
        training={"ema": 0.9},
        # Low enough that networks of six steps find something.
        inference={"threshold": 0.011},
    )
    return folder


def call(study: Path, program: list[str], *words: str, plan=None) -> tuple[int, str]:
    """Exit code and stderr of a `fit`; one that hangs fails in the end."""
    path = study / f"plan-{len(list(study.glob('plan-*.json')))}.json"
    path.write_text(json.dumps(plan or []), encoding="utf-8")
    done = subprocess.run(
        [*program, "fit", "config.yaml", *words],
        cwd=study,
        env=os.environ | {"VOLSEG_PLAN": str(path), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.fixture(scope="module")
def undisturbed(study) -> Path:
    code, said = call(study, LIGHTNING, "-o", "whole", TWO)
    assert code == 0, said
    return study / "whole"


def assert_same_weights(run: Path, other: Path) -> None:
    one, two = (load_file(folder / "model.safetensors") for folder in (run, other))
    assert all(torch.equal(one[key], two[key]) for key in two)


def test_ranks_stop_together_where_one_got_the_signal_and_end_like_one_run(study, undisturbed):
    plan = [
        {"rank": 1, "do": "sleep", "seconds": 0.1},
        {"rank": 1, "steps": [1], "do": "TERM"},
        # The last batch of all: what is left is the validation.
        {"rank": 0, "steps": [5], "do": "USR1"},
    ]
    words = ("-o", "stopped", TWO, "data.workers=1")
    code, said = call(study, LIGHTNING, *words, plan=plan[:2])
    assert code == 75, said
    assert "stopped by a signal to another rank after 2 steps" in said
    code, said = call(study, LIGHTNING, *words, "--resume", plan=[plan[0], plan[2]])
    assert code == 75, said
    shutil.copytree(study / "stopped", study / "alone")
    code, said = call(study, LIGHTNING, *words, "--resume")

    assert code == 0, said
    assert_same_weights(study / "stopped", undisturbed)


def test_one_process_has_the_scores_of_two(study, undisturbed, caplog):
    # Stopped before its last validation by the test above.
    fit(load_config(study / "config.yaml"), study / "alone", resume=True)

    row, other = (read_metrics(run / "metrics.csv")[-1] for run in (study / "alone", undisturbed))
    names = [name for name in row if "/dice/" in name or "/loss" in name or "/iou/" in name]
    assert len(names) == 18
    for name in names:
        assert float(row[name]) == pytest.approx(float(other[name]), abs=1e-6)
    assert_same_weights(study / "alone", undisturbed)
    assert "the batch size was 2 in 2 processes, and is 1 in 1 from here on" in caplog.messages


def test_two_processes_score_to_the_bit_as_the_whole_scans_and_label_maps_are_scored(
    study, undisturbed
):
    model = load_model(undisturbed)
    config, network = model.config, model.network.eval()
    _, validation = read_data_list(config.data.data_list).split(0)
    expected = []
    for case in build_cache(validation, config, study / "cache")[0]:
        probabilities = segment(network, np.asarray(case.image), config, device="cpu")
        whole = on_scan_grid(probabilities, case.image_grid, case.scan_grid).numpy()
        masks = decoded_masks(whole, config, case.scan_grid.voxel_ml)
        reference = dict(zip(masks, read_masks(case.case, config), strict=True))
        overlaps = region_overlaps(masks, reference)
        expected += [
            scored_row(case.case.case_id, *item, case.scan_grid.voxel_ml)
            for item in overlaps.items()
        ]

    assert len(expected) == 6
    found = json.loads((undisturbed / "scores.json").read_text())
    assert found["cases"] == ScoreTable.of(expected).to_dict()["cases"]


def test_torchrun_trains_as_lightning_does_and_what_it_starts_again_goes_on(study, undisturbed):
    program = [*TORCHRUN[:-1], "--max-restarts=1", TORCHRUN[-1]]
    code, said = call(study, program, "-o", "again", plan=[{"rank": 1, "steps": [4], "do": "KILL"}])

    assert code == 0, said
    assert "batch of 2 (1 a process, 2 processes)" in said
    assert "resuming from step-00000003.ckpt, after 3 steps" in said
    assert_same_weights(study / "again", undisturbed)
    assert [row["epoch"] for row in read_metrics(study / "again" / "metrics.csv")] == ["1", "2"]


@pytest.mark.parametrize(("program", "words"), [(LIGHTNING, [TWO]), (TORCHRUN, [])])
def test_an_error_on_one_rank_ends_all_with_its_message(study, program, words):
    name = f"failed{len(program)}"
    plan = [{"rank": 1, "steps": [1], "do": "raise"}]
    code, said = call(study, program, "-o", name, *words, plan=plan)

    assert code not in (0, 75)
    assert "ValueError: the plan says so" in said, said
    # What the others say is a line, if they come to say anything.
    assert "[rank0]" not in said
    assert not find_checkpoints(study / name)
