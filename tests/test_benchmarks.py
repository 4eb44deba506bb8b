"""The comparisons with MONAI at a small size: they run, sides agree, the log shows the ratios."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="they read memory from /proc")
@pytest.mark.parametrize("name", ["preprocessing", "patches", "infer", "metrics"])
def test_a_comparison_runs_and_prints_its_ratios(name, capsys):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", "--small"],
        capture_output=True,
        text=True,
        check=False,
    )

    # Each ends with an error where the sides do not agree. How fast they are is not asserted.
    assert done.returncode == 0, done.stderr[-3000:]
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) > 2
    with capsys.disabled():
        print(f"\n{name}, small:\n{done.stdout}")
