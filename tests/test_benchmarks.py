"""The comparisons with MONAI at a small size: they run, sides agree, the log shows the ratios."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="they read memory from /proc"
)
# Holds 400 MB, gives them back and runs another program.
RUN = """\
import sys
from pathlib import Path
import numpy as np
from side_by_side import run
np.ones(50 * 2**20)
print(run([sys.executable, "-c", "import numpy"], Path(sys.argv[1])).peak_mb)
"""


@pytest.mark.parametrize("name", ["preprocessing", "patches", "infer", "metrics", "lesionwise"])
def test_a_comparison_runs_and_prints_its_ratios(name, capsys):
    done = subprocess.run(
        [sys.executable, BENCHMARKS / f"{name}.py", "--small"],
        capture_output=True,
        text=True,
        check=False,
    )

    # Each ends with an error where the sides do not agree, but for `infer`, which tells in how many
    # voxels they do. How fast they are is not asserted.
    assert done.returncode == 0, done.stderr[-3000:]
    table = [line for line in done.stdout.splitlines() if line.startswith("|")]
    assert len(table) > 2
    with capsys.disabled():
        print(f"\n{name}, small:\n{done.stdout}")


@pytest.mark.parametrize("computes", [True, False])
def test_bf16_is_compared_where_the_processor_computes_in_it(monkeypatch, computes):
    monkeypatch.syspath_prepend(BENCHMARKS)
    infer = importlib.import_module("infer")
    monkeypatch.setattr(infer, "cpu_computes_in_bf16", lambda: computes)

    assert ("volseg, bf16" in infer.our_sides(small=False)) is computes
    assert infer.our_sides(small=True) == ["volseg"]


def test_the_memory_of_a_program_is_its_own(tmp_path):
    command = [sys.executable, "-c", RUN, tmp_path / "log"]

    done = subprocess.run(command, cwd=BENCHMARKS, capture_output=True, text=True, check=True)

    assert 0 < float(done.stdout) < 300
