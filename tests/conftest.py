"""Fixtures for the whole suite."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest
from experiments import write_experiment
from hypothesis import settings
from slurm_cluster import Cluster, must_run, running_cluster, why_not

# One thread each: several tests share two cores in CI, and sums are then always in one order.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# A test that is slow on a busy machine is not wrong.
settings.register_profile("volseg", deadline=None)
settings.load_profile("volseg")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the cluster come first: they wait for minutes, and the others run beside them."""
    items.sort(key=lambda item: "cluster" not in getattr(item, "fixturenames", ()))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Tests of a file share a process and its fixtures; those of Slurm share a cluster."""
    from xdist.scheduler import LoadScopeScheduling

    class ByFile(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = nodeid.partition("::")[0]
            return "slurm" if "test_slurm_" in file else file

    return ByFile(config, log)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape names of files that are no UTF-8, which no report can carry to another process."""
    report = yield
    report.sections = [
        (name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections
    ]
    return report


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of real scans, read in place: VOLSEG_REAL_DATA or shared/data beside the checkout."""
    named = os.environ.get("VOLSEG_REAL_DATA")
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(named) if named else beside
    if not (folder / "brats2021").is_dir():
        pytest.skip(f"no real scans: set VOLSEG_REAL_DATA to their folder ({folder} has none)")
    return folder


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with `scans`, four small phantoms in BraTS layout, and `list.json`, of two folds."""
    from volseg.phantoms.cohort import make_cohort
    from volseg.tasks.split import split

    folder = tmp_path_factory.mktemp("cohort")
    make_cohort(folder / "scans", cases=4, shape=(48, 56, 40))
    split([folder / "scans"], folder / "list.json", folds=2)
    return folder


@pytest.fixture
def experiment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Config of a small experiment in the current folder, whose data list has three folds."""
    monkeypatch.chdir(tmp_path)
    return write_experiment(Path())


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A real SLURM cluster of two nodes on this machine, the same for all tests."""
    reason = why_not()
    if reason and must_run():
        pytest.fail(f"no SLURM in CI: {reason}")
    if reason:
        pytest.skip(reason)
    with running_cluster() as running:
        yield running
