"""Damaged files of every kind, read by every reader: a sentence or a right result, in time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_five_hundred_damaged_files_are_refused_in_a_sentence_or_read_right():
    script = Path(__file__).with_name("fuzz.py")

    done = subprocess.run(
        [sys.executable, str(script), "--count", "500"], capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    assert "500 damaged files of 29 kinds, 0 failures" in done.stdout
