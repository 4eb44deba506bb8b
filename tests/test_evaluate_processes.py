"""Scoring in several processes: equal scores, and processes that end."""

import logging
import os
import signal
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import numpy as np
import pytest
from disturbed_cases import KilledCase, OnceKilledCase, SyntheticCase, pair_of

from volseg import memory
from volseg.errors import LabelError
from volseg.evaluation import processes
from volseg.evaluation.processes import score_cases

TESTS = Path(__file__).parent


def test_two_processes_give_the_scores_of_one_in_the_same_order():
    pairs = [pair_of(SyntheticCase, name) for name in "bac"]

    in_two = score_cases(pairs, 2)

    assert in_two == score_cases(pairs, 1)
    assert [scores.case_id for scores in in_two] == ["b", "a", "c"]


def test_a_process_that_is_killed_costs_its_case_alone():
    kinds = {"a": SyntheticCase, "b": KilledCase, "c": SyntheticCase}

    scored = score_cases([pair_of(kind, name) for name, kind in kinds.items()], 2)

    assert [scores.status for scores in scored] == ["scored", "failed", "scored"]
    assert scored[1].failure.startswith("the process that scored the case was killed, as happens")


def test_a_case_whose_process_was_killed_is_scored_again_alone(tmp_path):
    pairs = [pair_of(OnceKilledCase, "a", tmp_path / "a"), pair_of(SyntheticCase, "b")]

    assert [scores.status for scores in score_cases(pairs, 2)] == ["scored", "scored"]


def test_of_several_labels_without_a_scheme_the_first_is_named(tmp_path):
    pairs = [pair_of(SyntheticCase, "a"), *(pair_of(WrongCase, name) for name in "bcd")]

    with pytest.raises(LabelError, match=r"holds \[9\].*\(case b\)"):
        score_cases(pairs, 2)


class WrongCase(SyntheticCase):
    """A label map that contradicts its scheme."""

    def read_prediction(self, files):
        label_map, grid = super().read_prediction(files)
        return label_map * 9, grid


class ShiftedCase(SyntheticCase):
    """A prediction a hair away from the reference."""

    def read_prediction(self, files):
        label_map, grid = super().read_prediction(files)
        moved = np.eye(4)
        moved[0, 3] = 0.001
        return label_map, type(grid)(grid.shape, moved)


def test_what_another_process_logs_is_logged(caplog):
    with caplog.at_level(logging.INFO):
        score_cases([pair_of(ShiftedCase, name) for name in "ab"], 2)

    assert [message for message in caplog.messages if "accepted" in message] == [
        f"{name}: prediction lies 0.001 mm away from reference: accepted" for name in "ab"
    ]


def test_where_no_process_starts_this_one_scores(monkeypatch, caplog):
    def refused(*_, **__):
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(ProcessPoolExecutor, "submit", refused)

    (scores, _) = score_cases([pair_of(SyntheticCase, name) for name in "ab"], 2)

    assert scores.status == "scored"
    assert "one after another: no process starts (Cannot allocate memory)" in caplog.text


def test_where_a_process_is_killed_while_it_starts_the_reason_is_given(monkeypatch, caplog):
    def killed(*_, **__):
        raise BrokenProcessPool

    monkeypatch.setattr(ProcessPoolExecutor, "submit", killed)

    score_cases([pair_of(SyntheticCase, name) for name in "ab"], 2)

    assert "one after another: one of 2 processes was killed while it started" in caplog.text


@pytest.mark.parametrize(
    ("cases", "protocols", "room", "expected"),
    [
        (10, (), 1e12, 1),  # less than four seconds of work
        (30, (), 1e12, 4),  # a process for each core
        (6, ("brats2023-gli",), 1e12, 4),
        (30, (), 1.3e9, 2),  # 50 bytes a voxel of 8.9 million, and 150 MB
        (30, (), 1e8, 1),
    ],
)
def test_processes_are_started_for_enough_work_and_within_memory(
    monkeypatch, cases, protocols, room, expected
):
    monkeypatch.setattr(processes, "_voxels", lambda pair: 240 * 240 * 155)
    monkeypatch.setattr(processes, "cores", lambda: 4)
    monkeypatch.setattr(memory, "available", lambda: room)
    pair = pair_of(SyntheticCase, "a")
    object.__setattr__(pair, "protocols", protocols)

    assert processes._useful([pair] * cases) == expected


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no signals")
@pytest.mark.parametrize("name", ["SIGINT", "SIGKILL"])
def test_processes_end_with_the_one_that_started_them(name):
    paths = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    with subprocess.Popen(
        [sys.executable, TESTS / "disturbed_cases.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths},
    ) as process:
        assert [process.stdout.readline() for _ in "ab"] == ["scoring\n", "scoring\n"]
        process.send_signal(signal.Signals[name])
        # stdout ends with the last process that holds it.
        _, said = process.communicate(timeout=100)

    assert process.returncode == {"SIGINT": 130, "SIGKILL": -9}[name]
    assert said == ("Error: interrupted\n" if name == "SIGINT" else "")
