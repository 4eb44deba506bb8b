"""What memory there is, by the machine, its groups and its limits, and the words where it ends."""

from __future__ import annotations

import re

import pytest
from typer.testing import CliRunner

from volseg import memory
from volseg.cases.volume_case import VolumeCase
from volseg.cli import app
from volseg.errors import ResourceError


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """A place for the files of control groups, without limits of the machine or the process."""
    monkeypatch.setattr(memory, "_CGROUPS", tmp_path)
    monkeypatch.setattr(memory, "_of_machine", lambda: 10**12)
    monkeypatch.setattr(memory, "_of_limit", lambda: None)

    def of_process(*lines: str) -> None:
        real = memory._lines
        monkeypatch.setattr(
            memory, "_lines", lambda path: list(lines) if path.name == "cgroup" else real(path)
        )

    def group(place: str, **files: str) -> None:
        (tmp_path / place).mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            (tmp_path / place / name.replace("__", ".")).write_text(text)

    return of_process, group


def test_the_limit_of_any_group_above_counts(groups):
    of_process, group = groups
    of_process("0::/job/step")
    group("job/step", memory__max="max\n", memory__current="5\n")
    group("job", memory__max="1000\n", memory__current="600\n", memory__stat="inactive_file 50\n")

    # What files take of it is given back on demand.
    assert memory.available() == 450


def test_groups_of_the_first_version_count_as_well(groups):
    of_process, group = groups
    of_process("5:cpu:/elsewhere", "4:memory:/job", "0::/")
    group("memory/job", memory__limit_in_bytes="700", memory__usage_in_bytes="100")

    assert memory.available() == 600


def test_a_place_that_is_not_seen_in_a_container_is_its_root(groups):
    of_process, group = groups
    of_process("0::/docker/abc")
    group(".", memory__max="900", memory__current="100")

    assert memory.available() == 800


def test_without_limits_the_machine_counts(groups):
    of_process, _ = groups
    of_process("0::/")

    assert memory.available() == 10**12


def test_a_limit_of_the_process_counts(monkeypatch):
    import resource

    monkeypatch.setattr(resource, "getrlimit", lambda _: (10**18, 10**18))
    assert memory._of_limit() < 10**18
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1, 1))
    assert memory.available() == 0


def test_what_needs_more_than_there_is_is_refused_with_both_numbers(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 2 * 10**9)

    memory.require(2 * 10**9, "case a")
    with pytest.raises(ResourceError, match=r"^case a would take 2\.5 GB of memory, but 2\.0 GB"):
        memory.require(2_500_000_000, "case a")
    monkeypatch.setattr(memory, "available", lambda: None)
    memory.require(10**18, "case a")


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        MemoryError("Unable to allocate 3.25 PiB for an array"),
        RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("can't start new thread"),
        OSError(12, "Cannot allocate memory"),
        ImportError("libtorch.so: failed to map segment from shared object"),
    ],
)
def test_memory_that_ran_out_is_one_sentence(error):
    words = r"^case a: memory ran out with .* available \(.*\); use"
    with pytest.raises(ResourceError, match=words), memory.in_words("case a"):
        raise error


@pytest.mark.parametrize(
    "told",
    [
        "shapes differ",
        "out of resource: shared memory, Required: 262144, Hardware limit: 232448",
        "unable to open shared memory object </torch_7_1_0> in read-write mode: "
        "Too many open files (24)",
    ],
)
def test_other_errors_stay_what_they_are(told):
    with pytest.raises(RuntimeError, match=re.escape(told)), memory.in_words("case a"):
        raise RuntimeError(told)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError(
            "DataLoader worker (pid 7) is killed by signal: Bus error. It is possible that "
            "dataloader's workers are out of shared memory. Please try to raise your limit."
        ),
        RuntimeError("unable to write to file </torch_7_1_0>: No space left on device (28)"),
        RuntimeError("unable to allocate shared memory(shm) for file </torch_7_1_0>: (28)"),
    ],
)
def test_shared_memory_that_ran_out_names_its_size_and_the_option(error):
    words = r"^training: .* shared memory than /dev/shm has \(.*\); set data.workers=0, or"
    with pytest.raises(ResourceError, match=words), memory.in_words("training"):
        raise error


def test_a_command_that_runs_out_of_memory_ends_with_a_sentence(monkeypatch, tmp_path):
    def split(*_: object) -> None:
        raise MemoryError("Unable to allocate 3.25 PiB")

    monkeypatch.setattr("volseg.tasks.split.split", split)

    result = CliRunner().invoke(app, ["split", str(tmp_path), "-o", str(tmp_path / "a.json")])

    assert result.exit_code == 2
    assert "Error: volseg: memory ran out" in result.stderr
    assert "Traceback" not in result.output


def test_memory_that_one_case_lacks_is_there_for_the_others(monkeypatch):
    from volseg.inference import case_steps

    def work() -> str:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried 9 bytes")

    case = VolumeCase("a", "a", (), ())

    assert case_steps.tried(case, lambda: "done") == "done"
    assert case_steps.tried(case, work).startswith("memory ran out with")
