"""The comparisons with MONAI at a small size: they run, sides agree, the log shows the ratios."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

from volseg.errors import RegistrationError
from volseg.phantoms.cohort import make_cohort
from volseg.tasks.prepare import PrepareOptions, prepare

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


def test_a_refused_registration_is_counted_and_the_next_move_follows(monkeypatch, capsys):
    monkeypatch.syspath_prepend(BENCHMARKS)
    registration = importlib.import_module("registration")
    register, moved = registration.register, []

    def refuses_the_second(moving, fixed):
        moved.append(moving)
        if len(moved) == 2:
            raise RegistrationError("the images do not overlap", remedy="check both")
        return register(moving, fixed)

    monkeypatch.setattr(registration, "register", refuses_the_second)
    monkeypatch.setattr(sys, "argv", ["registration.py", "--small", "--moves", "1"])
    registration.main()

    printed = capsys.readouterr().out
    assert "t2w refused: the images do not overlap" in printed
    rows = [line.split(" | ") for line in printed.splitlines() if line.startswith("| ")]
    counts = {row[0].strip("| "): (row[1], row[2]) for row in rows}
    assert counts["t1n"] == ("1", "0")
    assert counts["t2w"] == ("1", "1")
    assert counts["all"] == ("3", "1")
    errors_mm = next(float(row[3]) for row in rows if row[0] == "| all")
    assert errors_mm < 1


def test_label_maps_come_back_from_a_prepared_folder(tmp_path, monkeypatch, capsys):
    """Channels that fit are copied, so label maps return to the voxel."""
    monkeypatch.syspath_prepend(BENCHMARKS)
    label_maps = importlib.import_module("label_maps")
    make_cohort(tmp_path / "scans", 1, (60, 60, 39), 4.0)
    options = PrepareOptions(strip="mask", spacing_mm=(4.0, 4.0, 4.0), pictures=False)
    prepare(tmp_path / "scans", tmp_path / "prepared", options)
    monkeypatch.setattr(sys, "argv", ["label_maps.py", str(tmp_path / "prepared")])

    label_maps.main()

    rows = [line for line in capsys.readouterr().out.splitlines() if line.startswith("| BraTS")]
    assert rows
    assert all(row.endswith("+0.00 | 1.000 |") for row in rows)
