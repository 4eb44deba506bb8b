"""Training on a real cluster of two nodes: stopped, preempted, killed, and the same in the end.

Every job is submitted as a user would, with `volseg fit --slurm`; `tests/driven.py` in its script
disturbs it as the plan of the test says.
"""

from __future__ import annotations

import json
import os
import random
import re
import shlex
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from slurm_cluster import Cluster

from volseg.phantoms.cohort import make_cohort
from volseg.runs.metrics_table import read_metrics
from volseg.tasks.evaluate import evaluate
from volseg.tasks.infer import infer
from volseg.tasks.split import split
from volseg.training.checkpoints import find_checkpoints, read_checkpoint

DRIVEN = Path(__file__).with_name("driven.py")
STEPS, EPOCHS, STOPS = 6, 4, 20
TIMES = {"seconds", "train/patches_per_second", "train/data_wait_share"}

CONFIG = {
    "labels": "brats2023",
    "data": {
        "data_list": "list.json",
        "fold": 0,
        "spacing_mm": [4, 4, 4],
        "patch_size": [16, 16, 16],
        "batch_size": 1,
        "batches_per_epoch": STEPS,
        "workers": 0,
        "cache_dir": "$VOLSEG_SCRATCH/cache",
    },
    "network": {"name": "unet", "widths": [8, 16], "residual_units": 1},
    "loss": {"batch_dice": False},
    "training": {
        "max_epochs": EPOCHS,
        "learning_rate": 0.02,
        "schedule": "constant",
        "accelerator": "cpu",
        "validate_every": 2,
    },
    "slurm": {
        "nodes": 2,
        "cpus": 1,
        "command": f"{shlex.quote(sys.executable)} {shlex.quote(str(DRIVEN))}",
    },
}


@dataclass
class Study:
    """A folder with scans, their list and a config, and the cluster that works on them."""

    cluster: Cluster
    folder: Path

    def call(self, *words: object, plan: list[dict] | None = None, name: str = "plan") -> str:
        """What a command of volseg prints; its jobs are disturbed as the plan says."""
        path = self.folder / f"{name}.json"
        path.write_text(json.dumps(plan or []), encoding="utf-8")
        env = self.cluster.env | {
            "VOLSEG_PLAN": str(path),
            "VOLSEG_SCRATCH": str(self.folder / "scratch"),
            "OMP_NUM_THREADS": "1",
        }
        done = subprocess.run(
            [sys.executable, "-m", "volseg", *map(str, words)],
            cwd=self.folder,
            env=env,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def fit(self, name: str, *words: str, slurm: str = "defaults", plan=None, resume=False) -> str:
        """Number of the job that trains into the folder `name`."""
        said = self.call(
            *("fit", "config.yaml", "-o", name, f"--slurm={slurm}", *words),
            *(["--resume"] if resume else []),
            plan=plan,
            name=f"plan-{name}",
        )
        return re.search(r"Job (\d+) was submitted", said)[1]

    def wait(self, job: str, timeout: float = 600) -> str:
        """The log of a job that must come to its end, and be completed."""
        self.cluster.wait_for_end(job, timeout=timeout)
        log = self.cluster.job_log(job)
        assert self.cluster.state(job) == "COMPLETED", log
        return log

    def wait_for(self, job: str, text: str, timeout: float = 600) -> None:
        """Wait until the log of a job says something."""
        self.cluster.wait_until(
            lambda: text in self.cluster.job_log(job), timeout, f"{text!r} in the log of {job}"
        )

    def assert_like(self, name: str, other: Path) -> None:
        """Weights, tables and scores of two runs are the same, and nothing else is left behind."""
        run = self.folder / name
        one, two = (load_file(folder / "model.safetensors") for folder in (run, other))
        assert all(torch.equal(one[key], two[key]) for key in two)
        one, two = (read_checkpoint(find_checkpoints(folder)[0]) for folder in (run, other))
        assert one["global_step"] == two["global_step"] == STEPS * EPOCHS
        for key in ("state_dict", "optimizer_states", "lr_schedulers"):
            assert str(one[key]) == str(two[key])
        assert table(run) == table(other)
        assert (run / "scores.csv").read_bytes() == (other / "scores.csv").read_bytes()
        left = {path.name for path in run.iterdir()} - {path.name for path in other.iterdir()}
        assert left <= {"slurm"}
        assert len(find_checkpoints(run)) == len(list((run / "checkpoints").iterdir())) == 2
        assert {p.name.partition("-")[0] for p in (run / "slurm").iterdir()} <= {
            *("job.sh", "job_id", "config.yaml"),
            *(path.name for path in (run / "slurm").glob("*.log")),
        }


def waiting_rank_1(step: int) -> dict[str, object]:
    """Rank 1 does not end a step before it is disturbed, however fast this machine is."""
    return {"rank": 1, "do": "wait", "steps": [step]}


def table(run: Path) -> list[dict[str, str]]:
    return [
        {name: value for name, value in row.items() if name not in TIMES}
        for row in read_metrics(run / "metrics.csv")
    ]


@pytest.fixture(scope="module")
def study(cluster: Cluster, tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    make_cohort(folder / "scans", cases=5, shape=(48, 56, 40))
    split([folder / "scans"], folder / "list.json", folds=2)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG), encoding="utf-8")
    return Study(cluster, folder)


@pytest.fixture(scope="module")
def often_stopped(study) -> str:
    """Job of one process that is stopped after many of its steps; it goes on beside the others."""
    # After the last step of an epoch without validation, it stops at the next.
    last = [STEPS * epoch - 1 for epoch in (1, 3, 4)]
    steps = random.Random(0).sample(sorted(set(range(STEPS * EPOCHS)) - set(last)), STOPS)
    plan = [{"rank": 0, "steps": steps, "do": "USR1"}]
    return study.fit("often", "data.batch_size=2", slurm="nodes=1,nodelist=n1", plan=plan)


@pytest.fixture(scope="module")
def one_process(study) -> Path:
    """Run of one process without a cluster, with the batch that two have together."""
    run = study.folder / "one"
    study.call("fit", "config.yaml", "-o", run, "data.batch_size=2")
    return run


@pytest.fixture(scope="module")
def two_nodes(study, often_stopped) -> Path:
    """Undisturbed run of two nodes."""
    study.wait(study.fit("two"))
    return study.folder / "two"


def test_two_nodes_train_together_as_one_process_does(study, two_nodes, one_process, tmp_path):
    log = next((two_nodes / "slurm").glob("*.log")).read_text(encoding="utf-8")
    assert "0: batch of 2 (1 a process, 2 processes), 6 steps an epoch, learning rate 0.02" in log
    # The second rank joined, and left the telling to the first.
    assert re.findall(r"^1: .*", log, re.MULTILINE) == [], log

    ours, expected = (
        json.loads((run / "scores.json").read_text()) for run in (two_nodes, one_process)
    )
    assert list(ours["cases"]) == list(expected["cases"])
    assert (
        max(of["dice"] for case in ours["cases"].values() for of in case["regions"].values()) > 0.3
    )
    for case, scores in expected["cases"].items():
        assert ours["losses"][case] == pytest.approx(expected["losses"][case], abs=1e-5)
        for region, values in scores["regions"].items():
            assert ours["cases"][case]["regions"][region] == pytest.approx(values, abs=1e-6)

    # The very weights of two nodes, scored by one process.
    infer(study.folder / "list.json", [two_nodes], tmp_path / "maps", fold_of(0))
    alone = evaluate(tmp_path / "maps", study.folder / "list.json", tmp_path / "scores", fold=0)
    for score in ("dice", "iou"):
        for region, value in alone.table.means(score).items():
            mean = [case["regions"][region][score] for case in ours["cases"].values()]
            assert sum(mean) / len(mean) == pytest.approx(value, abs=1e-6)


def fold_of(number: int):
    from volseg.inference.options import InferOptions

    return InferOptions(fold=number)


def test_a_time_limit_with_a_slow_rank(study, two_nodes):
    # The signal comes 15 s after the first start: while rank 1 waits for it in a step, or on a busy
    # machine before the first one.
    job = study.fit("limit", slurm="time=00:02:00,signal=USR1@105", plan=[waiting_rank_1(3)])
    study.cluster.wait_until(lambda: study.cluster.restarts(job) >= 1, 600, "the restart")
    study.cluster.call("scontrol", "update", f"JobId={job}", "TimeLimit=00:30:00")
    log = study.wait(job)

    assert "stopped in good order" in log
    assert study.cluster.restarts(job) >= 1
    study.assert_like("limit", two_nodes)


def test_preemption_with_loader_workers(study, two_nodes):
    job = study.fit("preempted", "data.workers=2", plan=[waiting_rank_1(8)])
    study.wait_for(job, "epoch 1 of 4")
    script = study.folder / "urgent.sh"
    script.write_text("#!/bin/bash\nexit 0\n", encoding="utf-8")
    urgent = study.cluster.submit(
        script, "--partition=high", "--nodes=2", "--exclusive", "--output=/dev/null"
    )

    log = study.wait(job)

    assert study.cluster.state(urgent) == "COMPLETED"
    assert "stopped by SIGTERM" in log
    assert study.cluster.restarts(job) == 1
    study.assert_like("preempted", two_nodes)


def test_a_killed_rank(study, two_nodes):
    plan = [{"rank": 1, "steps": [15], "do": "KILL"}]
    job = study.fit("killed", plan=plan)
    log = study.wait(job)

    assert "failure 1 in a row" in log
    assert "resuming from step-00000012.ckpt" in log
    assert study.cluster.restarts(job) == 1
    study.assert_like("killed", two_nodes)


def test_a_truncated_checkpoint(study, two_nodes):
    run = shutil.copytree(two_nodes, study.folder / "truncated")
    shutil.rmtree(run / "slurm")
    newest = find_checkpoints(run)[0]
    os.truncate(newest, newest.stat().st_size - 1000)

    log = study.wait(study.fit("truncated", resume=True))

    assert re.search(r"step-00000024.ckpt is damaged \(.*\); skipped", log)
    assert "resuming from step-00000018.ckpt" in log
    study.assert_like("truncated", two_nodes)


def test_an_array_over_folds(study, one_process):
    job = study.fit("folds", "--folds=all", "data.batch_size=2", slurm="nodes=1")
    for task in (0, 1):
        study.wait(f"{job}_{task}")

    assert table(study.folder / "folds" / "fold0") == table(one_process)
    other = load_file(study.folder / "folds" / "fold1" / "model.safetensors")
    ours = load_file(one_process / "model.safetensors")
    assert not all(torch.equal(other[key], ours[key]) for key in ours)


def test_a_sharded_infer(study, one_process):
    words = ("infer", "scans", "-m", one_process)
    study.call(*words, "-o", "whole")
    said = study.call(*words, "-o", "shared", "--slurm=config.yaml,nodes=1,shards=3")
    job = re.search(r"Job (\d+) was submitted", said)[1]
    for task in (1, 2, 3):
        study.wait(f"{job}_{task}")

    whole, shared = study.folder / "whole", study.folder / "shared"
    maps = sorted(path.name for path in whole.glob("*.nii.gz"))
    assert len(maps) == 5
    for name in maps:
        assert (shared / name).read_bytes() == (whole / name).read_bytes()
    names = {path.name for path in whole.iterdir()}
    assert {"manifest.json", "volumes.csv", "previews.png", "previews"} < names
    assert {path.name for path in shared.iterdir()} == {*names, "slurm"}
    ours, expected = (json.loads((of / "manifest.json").read_text()) for of in (shared, whole))
    assert set(ours["cases"]) == set(expected["cases"])


def test_twenty_stops_in_a_row(study, often_stopped, one_process):
    log = study.wait(often_stopped, timeout=600)

    # The job that preempts another takes this one's node, too, and may come at a planned stop.
    stops = re.findall(r"stopped by SIG(?:USR1|TERM) after (\d+) steps", log)
    assert len(set(stops)) >= STOPS
    assert study.cluster.restarts(often_stopped) >= STOPS
    study.assert_like("often", one_process)


def test_a_killed_node(study, two_nodes, often_stopped):
    # Last, since all that ran on the node is gone.
    job = study.fit("node", plan=[waiting_rank_1(STEPS * 2 + 1)])
    checkpoint = study.folder / "node" / "checkpoints" / "step-00000012.ckpt"
    study.cluster.wait_until(checkpoint.exists, 600, "the second epoch")

    study.cluster.kill_node("n2")
    study.cluster.wait_until(lambda: study.cluster.restarts(job) == 1, 600, "the restart")
    study.cluster.start_node("n2")
    log = study.wait(job)

    assert "resuming from step-00000012.ckpt" in log, log
    study.assert_like("node", two_nodes)
