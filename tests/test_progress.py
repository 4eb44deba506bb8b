"""Progress: plain lines with an estimate in a log, a bar on a terminal."""

from __future__ import annotations

import io
import logging

import pytest

from volseg import progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def ticking(monkeypatch):
    """Each look at the clock finds it ten seconds on."""
    now = iter(range(100, 10_000, 10))
    monkeypatch.setattr(progress.time, "monotonic", lambda: float(next(now)))
    monkeypatch.setattr("sys.stderr", io.StringIO())


def test_a_log_gets_a_line_every_fifteen_seconds_with_an_estimate(ticking, caplog):
    caplog.set_level(logging.INFO, logger="volseg.progress")

    done = list(progress.track(iter("abcde"), "reading label maps", total=5))

    assert done == list("abcde")
    # The second item ends after 20 s, so 3 more take 30 s; the fourth after 40 s, so 1 takes 10 s.
    assert caplog.messages == [
        "reading label maps: 2 of 5, about 30 s left",
        "reading label maps: 4 of 5, about 10 s left",
    ]


def test_the_last_item_needs_no_line(ticking, caplog):
    caplog.set_level(logging.INFO, logger="volseg.progress")

    list(progress.track([1, 2], "writing", total=2))

    assert caplog.messages == []


def test_quick_work_says_nothing(caplog, monkeypatch):
    caplog.set_level(logging.INFO, logger="volseg.progress")
    monkeypatch.setattr(progress.time, "monotonic", lambda: 0.0)
    monkeypatch.setattr("sys.stderr", io.StringIO())

    list(progress.track(range(100), "reading", total=100))

    assert caplog.messages == []


def test_a_terminal_gets_a_bar_on_stderr_and_nothing_on_stdout(monkeypatch, capsys, caplog):
    caplog.set_level(logging.INFO, logger="volseg.progress")
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)

    done = list(progress.track([1, 2, 3], "segmenting", total=3))

    assert done == [1, 2, 3]
    assert "segmenting" in stderr.getvalue()
    assert "100%" in stderr.getvalue()
    assert capsys.readouterr().out == ""
    assert caplog.messages == []


def test_the_step_in_work_is_named_beside_the_bar(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("COLUMNS", "100")
    steps = progress.Steps(1)

    def work():
        steps.begin("P1: brain mask [1]")
        yield 1

    assert list(progress.track(work(), "preparing", 1, steps)) == [1]
    assert "P1: brain mask [1]" in stderr.getvalue()


def test_work_within_a_step_is_shown_beside_the_bar_of_the_whole(monkeypatch):
    stderr = Terminal()
    monkeypatch.setattr("sys.stderr", stderr)
    monkeypatch.setenv("COLUMNS", "100")
    steps = progress.Steps(1)

    def work():
        steps.begin("P1, ET")
        yield list(progress.track("abcd", "occluding", 4))

    assert list(progress.track(work(), "explaining", 1, steps)) == [list("abcd")]
    assert "P1, ET: occluding 75 %" in stderr.getvalue()
    assert list(progress.track("ab", "afterwards", 2)) == ["a", "b"]
    assert "afterwards" in stderr.getvalue()


@pytest.mark.parametrize(("total", "lines"), [(1, ["a", "b", "c", "d"]), (2, ["b", "d"])])
def test_steps_of_a_lone_item_have_a_line_each_and_those_of_many_one_now_and_then(
    monkeypatch, caplog, total, lines
):
    caplog.set_level(logging.INFO, logger="volseg.progress")
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr("sys.stderr", io.StringIO())
    steps = progress.Steps(total)

    for word in "abcd":
        now[0] += 10
        steps.begin(word)

    assert caplog.messages == lines


def test_items_come_one_by_one_as_they_are_asked_for(monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    made = []

    def produce():
        for number in range(3):
            made.append(number)
            yield number

    assert next(progress.track(produce(), "making", total=3)) == 0
    assert made == [0]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (61, "1 min 01 s"),
        (3599.9, "1 h 00 min"),
        (7384, "2 h 03 min"),
        (90_000, "25 h 00 min"),
    ],
)
def test_a_duration_reads_as_a_person_would_say_it(seconds, words):
    assert progress.clock(seconds) == words
