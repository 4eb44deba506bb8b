"""Signals that are noted, which process this is among several, and what each says and returns."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from experiments import write_experiment
from typer.testing import CliRunner

from volseg import cli, ranks, signals
from volseg.cli.log import PlainLog
from volseg.files.writing import remove_unfinished


@pytest.fixture
def held():
    signals.record()
    yield
    signals.reset()


@pytest.fixture(autouse=True)
def _alone(monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID", "NODE_RANK", "SLURM_CPUS_PER_TASK"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.usefixtures("held")
def test_the_first_signal_is_noted_and_does_nothing_else():
    assert signals.received() is None

    signal.raise_signal(signal.SIGUSR1)
    signal.raise_signal(signal.SIGTERM)

    assert signals.received() == signal.SIGUSR1


def test_after_forgetting_all_is_as_before(held):
    signal.raise_signal(signal.SIGTERM)

    signals.reset()

    assert signals.received() is None
    handlers = {number: signal.getsignal(number) for number in signals.STOPPING}
    assert handlers.pop(signal.SIGINT) is signal.default_int_handler
    assert set(handlers.values()) == {signal.SIG_DFL}


@pytest.mark.usefixtures("held")
def test_blocked_signals_wait():
    with signals.blocked():
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)
        while_blocked = signals.received()

    assert while_blocked is None
    assert signals.received() == signal.SIGTERM


def test_a_process_that_ignores_signals_outlives_them():
    script = "import os\nfrom volseg import signals\nsignals.ignore()\n"
    script += "for number in signals.STOPPING:\n    os.kill(os.getpid(), number)\n"

    done = subprocess.run([sys.executable, "-c", script], check=False, timeout=600)

    assert done.returncode == 0


def run(script: str, *words: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script, *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_the_second_signal_of_a_kind_ends_the_process_at_once(name):
    script = f"""
import signal
from volseg import signals
signals._SECONDS_OF_ONE_REQUEST = 0
signals.record("stopping")
for number in (signal.SIGUSR1, signal.{name}, signal.{name}):
    signal.raise_signal(number)
    print(number.name, signals.received().name, flush=True)
"""
    done = run(script)

    assert done.returncode == -getattr(signal, name)
    assert done.stdout == f"SIGUSR1 SIGUSR1\n{name} SIGUSR1\n"
    assert done.stderr == ("stopping" if name == "SIGINT" else "")


@pytest.mark.usefixtures("held")
def test_what_starts_a_process_and_a_group_may_send_one_request_twice(monkeypatch):
    again = SimpleNamespace(sleep=lambda _: signal.raise_signal(signal.SIGTERM))
    monkeypatch.setattr(signals, "time", again)

    signal.raise_signal(signal.SIGTERM)

    assert (signals.received(), signals.exit_code()) == (signal.SIGTERM, 75)
    # The system ends the process at the next, also where Python has no turn.
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("held")
def test_a_command_stopped_by_ctrl_c_says_so_by_its_code():
    signal.raise_signal(signal.SIGINT)

    assert (signals.received(), signals.exit_code()) == (signal.SIGINT, 130)


INTERRUPTED_IN_IMPORT = """
import os, signal, sys

module = sys.argv[1]

class Interrupt:
    def find_spec(self, name, *_):
        if name == module:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from volseg.__main__ import main
sys.argv = ["volseg", *sys.argv[2:]]
main()
"""


@pytest.mark.parametrize(
    ("command", "module"),
    [
        ("check", "volseg.signals"),
        ("check", "volseg.cli"),
        ("check", "torch"),
        ("fit", "torch"),
        ("infer", "numpy"),
    ],
)
def test_ctrl_c_in_an_import_ends_a_command_with_a_line_and_no_traceback(tmp_path, command, module):
    config = write_experiment(tmp_path)
    words = ["-m", tmp_path] if command == "infer" else []
    words += ["-o", tmp_path / "out"] if command != "check" else []

    done = run(INTERRUPTED_IN_IMPORT, module, command, config, *words)

    # Before there are words, it is as any other program.
    expected = (-2, "") if module == "volseg.signals" else (130, "Error: interrupted\n")
    assert (done.returncode, done.stderr, done.stdout) == (*expected, "")
    assert not (tmp_path / "out").exists()


def test_a_stop_while_fit_is_imported_ends_it_before_it_writes(tmp_path):
    config = write_experiment(tmp_path)
    script = INTERRUPTED_IN_IMPORT.replace("SIGINT", "SIGTERM")

    done = run(script, "torch", "fit", config, "-o", tmp_path / "run")

    assert done.returncode == 75
    assert done.stderr == "stopped before the training began; call again\n"
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("held")
def test_ctrl_c_is_noted_once_there_is_something_to_save():
    signals.record_interrupts()
    assert signal.getsignal(signal.SIGINT) is signals._record
    signals.exit_at_once()

    signals.record_interrupts()
    signal.raise_signal(signal.SIGINT)

    assert signals.received() == signal.SIGINT


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", -15)])
def test_a_signal_that_ends_a_command_removes_what_was_begun(tmp_path, name, code):
    script = """
import signal, sys
from pathlib import Path
from volseg import signals
from volseg.files.writing import atomic_write
signals.exit_at_once()
with atomic_write(Path(sys.argv[1])) as temporary:
    temporary.touch()
    signal.raise_signal(signal.Signals[sys.argv[2]])
"""
    assert run(script, tmp_path / "list.json", name).returncode == code
    assert list(tmp_path.iterdir()) == []


def test_a_stop_is_no_failure_that_one_goes_on_after():
    assert not issubclass(signals.Stopped, Exception)


@pytest.mark.parametrize(
    ("environment", "number"),
    [
        ({}, 0),
        ({"SLURM_PROCID": "3"}, 3),
        ({"LOCAL_RANK": "1", "SLURM_PROCID": "5"}, 1),
        ({"RANK": "4", "LOCAL_RANK": "0", "SLURM_PROCID": "1"}, 4),
        # The first process of the first node is known by both numbers.
        ({"NODE_RANK": "0"}, 0),
        ({"NODE_RANK": "1"}, 1),
        ({"NODE_RANK": "1", "LOCAL_RANK": "2"}, 2),
        ({"NODE_RANK": "1", "RANK": "0"}, 0),
    ],
)
def test_the_number_of_a_process_is_what_launchers_tell(monkeypatch, environment, number):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert ranks.rank() == number


def test_cores_are_those_of_the_task_or_a_share_of_the_usable_ones(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(12)), raising=False)

    assert (ranks.cores(), ranks.cores(4), ranks.cores(20)) == (12, 3, 1)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "5")
    assert (ranks.cores(), ranks.cores(4)) == (5, 5)
    monkeypatch.delenv("SLURM_CPUS_PER_TASK")
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert ranks.cores(2) == 3


@pytest.mark.parametrize(
    ("error", "rank", "code", "said"),
    [
        (signals.Stopped("stopped; resume it"), 0, 75, "stopped; resume it\n"),
        # The first tells of all, and its code alone counts.
        (signals.Stopped("stopped"), 1, 0, ""),
        (ranks.RankLost("lost another"), 0, 1, "Error: lost another\n"),
        (ranks.RankLost("lost another"), 2, 1, "Error on rank 2: lost another\n"),
    ],
)
def test_what_ends_training_has_an_exit_code(monkeypatch, tmp_path, error, rank, code, said):
    def ended(*_, **__):
        raise error

    (tmp_path / "config.yaml").write_text("labels: lgg\ndata: {data_list: list.json}\n")
    monkeypatch.setattr("volseg.tasks.fit.fit", ended)
    monkeypatch.setenv("RANK", str(rank))

    result = CliRunner().invoke(cli.app, ["fit", str(tmp_path / "config.yaml")])

    assert (result.exit_code, result.stderr) == (code, said)


def test_of_several_processes_the_first_tells_and_the_others_their_errors(monkeypatch):
    def shown(name, level):
        return PlainLog().filter(logging.LogRecord(name, level, "", 0, "", None, None))

    levels = (logging.INFO, logging.WARNING, logging.ERROR)
    assert [shown("volseg.tasks.fit", level) for level in levels] == [True, True, True]
    assert [shown("torch", level) for level in levels] == [False, True, True]
    monkeypatch.setenv("RANK", "1")
    assert [shown("volseg.tasks.fit", level) for level in levels] == [False, False, True]
    assert [shown("torch", level) for level in levels] == [False, False, True]


def test_what_a_killed_process_began_to_write_goes_and_nothing_else(tmp_path):
    begun = tmp_path / ".volseg-0123abcd-metrics.csv"
    kept = [tmp_path / name for name in ("metrics.csv", ".bashrc", ".0123-a", ".0123abcg-a")]
    for path in (begun, *kept):
        path.touch()
    (tmp_path / ".volseg-0123abcd-folder").mkdir()

    remove_unfinished(tmp_path, {"metrics.csv"}.__contains__)

    assert not begun.exists()
    assert all(path.exists() for path in kept)
    assert (tmp_path / ".volseg-0123abcd-folder").exists()
