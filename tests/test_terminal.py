"""What is printed cannot change the terminal, and a reader that has gone stops nothing."""

from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from typer.testing import CliRunner

from volseg.cli import app
from volseg.cli.app import complain
from volseg.cli.log import configure_logging
from volseg.cli.tables import print_listing, print_table, say
from volseg.cli.terminal import visible
from volseg.files.writing import atomic_write

ODD = "sub\x1b[2J\u202e\udce9\n.nii"
SHOWN = r"sub\x1b[2J\u202e\udce9\n.nii"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller, 中文, Δ", "Müller, 中文, Δ"),
        (ODD, SHOWN),
        ("\x07\x9b31m\r\u2066\u200b", r"\x07\x9b31m\r\u2066\u200b"),
        ("not valid:\n  one\n  two", "not valid:\n  one\n  two"),
    ],
)
def test_characters_that_change_a_terminal_are_escaped(text, expected):
    assert visible(text) == expected


def test_every_way_of_printing_escapes(capsys):
    say(f"Data list: {ODD}")
    print_table("Left out", ("file", "reason"), [(ODD, "[bold]no[/bold]")])
    print_table("By run", ("run",), [(f"a\n{ODD[:4]}",)], lines=True)
    complain(f"{ODD} cannot be read")

    printed = capsys.readouterr()
    assert f"Data list: {SHOWN}\n" in printed.out
    assert f"│ {SHOWN} │ [bold]no[/bold] │" in printed.out
    assert "│ a       │\n│ sub\\x1b │" in printed.out
    assert printed.err == f"Error: {SHOWN} cannot be read\n"
    assert "\x1b[2J" not in printed.out


@pytest.fixture
def narrow(monkeypatch):
    """A terminal of 80 columns."""
    monkeypatch.setattr(
        "volseg.cli.tables.console", lambda stream, *_: Console(file=stream, width=80)
    )


def test_names_of_cases_stay_whole_in_a_narrow_table(narrow, capsys):
    row = ("PAT-00001-000", *["some words of a cell"] * 6)

    print_table("Prepared", ("case", *"abcdef"), [row])

    printed = capsys.readouterr().out.splitlines()
    assert max(map(len, printed)) <= 80
    assert "│ PAT-00001-000 │" in printed[4]


def test_a_listing_folds_its_lines_beside_the_name(narrow, capsys):
    print_listing("Series", [("P1", [("t1c", ["word " * 20, ODD[:4]])]), ("", [("flair2", ["x"])])])

    assert [line.rstrip() for line in capsys.readouterr().out.splitlines()] == [
        "Series",
        "P1",
        f"  t1c     {' '.join(['word'] * 14)}",
        f"          {' '.join(['word'] * 6)}",
        r"          sub\x1b",
        "  flair2  x",
    ]


def test_the_log_escapes_messages_and_keeps_tracebacks(capsys):
    configure_logging()
    logger = logging.getLogger("volseg.test")

    try:
        raise ValueError("why")
    except ValueError:
        logger.exception("%s failed", ODD)

    printed = capsys.readouterr().err
    assert printed.startswith(f"{SHOWN} failed\nTraceback (most recent call last):\n")
    assert printed.endswith("ValueError: why\n")


def test_a_command_escapes_the_names_that_it_is_given(tmp_path):
    done = CliRunner().invoke(app, ["info", str(tmp_path / ODD[:8])])

    assert done.exit_code == 2
    assert r"sub\x1b[2J" in done.stderr
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_reader_that_has_gone_stops_nothing(tmp_path, stream):
    program = f"""
import logging, sys
from volseg.cli.log import configure_logging
from volseg.cli.tables import print_table, say
configure_logging()
sys.std{stream[3:]}.flush()
for number in range(20000):
    say("a line of some length, so that the pipe is full") if "{stream}" == "stdout" else (
        logging.getLogger("volseg").info("a line of some length"))
print_table("Table", ("a",), [("b",)])
open({str(tmp_path / "done")!r}, "w").close()
sys.exit(3)
"""
    redirected = "" if stream == "stdout" else "2>&1 >/dev/null"
    command = f'"$0" -c "$1" {redirected} | head -1 >/dev/null; exit "${{PIPESTATUS[0]}}"'

    done = subprocess.run(
        ["bash", "-c", command, sys.executable, program],
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert (done.returncode, done.stderr) == (3, "")
    assert (tmp_path / "done").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk to be full")
@pytest.mark.parametrize(
    ("words", "redirected", "code"),
    [
        ("--version", ">&-", 0),
        ("--version", ">/dev/full", 2),
        ("--help", ">/dev/full", 2),
        ("info nowhere", "2>&-", 2),
        ("info nowhere", ">&- 2>/dev/full <&-", 2),
    ],
)
def test_streams_that_are_closed_or_full_leave_no_traceback(words, redirected, code):
    done = subprocess.run(
        ["bash", "-c", f'"$0" -m volseg {words} {redirected}', sys.executable],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    said = "Error: stdout cannot be written (No space left on device); send it"
    assert done.returncode == code
    assert done.stderr.startswith(said) if redirected == ">/dev/full" else done.stderr == ""


def test_what_is_no_utf_8_cannot_be_written_and_is_named(tmp_path):
    from volseg.errors import OutputError

    def write() -> None:
        with atomic_write(tmp_path / "scores.csv") as temporary:
            temporary.write_text("case_id\ncaf\udce9", encoding="utf-8")

    with pytest.raises(OutputError, match=r"caf.udce9' in it is not UTF-8; rename"):
        write()

    assert list(tmp_path.iterdir()) == []
