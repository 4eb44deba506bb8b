"""Faults of DICOM from the folder to the exit code: each is named, and the others are converted."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from hospital import write_study
from pydicom import dcmread
from typer.testing import CliRunner

import volseg
from volseg.cli import app


def edit(paths, **tags):
    """Change elements of files; None removes an element."""
    for path in paths:
        ds = dcmread(path)
        for keyword, value in tags.items():
            if value is None:
                delattr(ds, keyword)
            else:
                setattr(ds, keyword, value)
        ds.save_as(path)


def lose_a_slice(paths):
    paths[4].unlink()


def mix_resolutions(paths):
    edit(paths[:5], PixelSpacing=[3, 3])


def lose_geometry(paths):
    edit(paths, ImagePositionPatient=None, ImageOrientationPatient=None)


def repeat_a_position(paths):
    edit(paths[4:5], ImagePositionPatient=dcmread(paths[3]).ImagePositionPatient)


def keep_one_slice(paths):
    for path in paths[1:]:
        path.unlink()


def cut_pixels(paths):
    paths[4].write_bytes(paths[4].read_bytes()[:-500])


def mix_people(paths):
    edit(paths, PatientBirthDate="19990101")


FAULTS = {
    lose_a_slice: "lacks 1 slice: between IM0004.dcm and IM0006.dcm",
    mix_resolutions: "holds two resolutions: ",
    lose_geometry: "has no Image Position (Patient) and no Image Orientation (Patient)",
    repeat_a_position: "holds 2 slices at one position, such as IM0004.dcm and IM0005.dcm",
    keep_one_slice: "holds a single slice, which is no volume",
    cut_pixels: "IM0005.dcm is cut off: ",
    mix_people: "its Patient ID is that of several people: birth dates differ",
}


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A patient for each fault, in the T2 series, one without fault, and files of other kinds."""
    folder = tmp_path_factory.mktemp("source")
    # Implicit little endian without preamble is no fault.
    write_study(folder / "whole", "W", "first", "20200304", syntax="implicit", preamble=False)
    for damage in FAULTS:
        name = damage.__name__
        damage(write_study(folder / name, name, "first", "20200304")["t2w"])
    (folder / "README").write_text("no scan\n")
    (folder / "viewer.exe").write_bytes(b"MZ" + bytes(300))
    (folder / "circle").symlink_to(folder)
    return folder


@pytest.fixture(scope="module")
def converted(source, tmp_path_factory):
    return volseg.convert(source, tmp_path_factory.mktemp("converted") / "cases")


@pytest.mark.parametrize("damage", FAULTS, ids=lambda damage: damage.__name__)
def test_a_fault_is_named_with_its_series_and_a_remedy(converted, damage):
    found = [
        (name, sentence)
        for name, sentence in converted.failures
        if name.startswith(f"{damage.__name__}/003: series 3, t2_tse_tra_512")
    ]

    ((_, sentence),) = found
    assert sentence.startswith(FAULTS[damage])
    assert "; " in sentence


def test_the_other_channels_and_cases_are_converted(converted):
    cases = {
        entry.facts["patient_id"].removeprefix("ID-"): sorted(
            path.name.removeprefix(f"{entry.case_id}-").removesuffix(".nii.gz")
            for path in (converted.folder / entry.case_id).iterdir()
        )
        for entry in converted.plan.table.entries
    }

    expected = {damage.__name__: ["t1c", "t1n", "t2f"] for damage in FAULTS}
    # Nobody knows whose the other series under an id of two people are.
    del expected["mix_people"]
    assert cases == {**expected, "W": ["t1c", "t1n", "t2f", "t2w"]}


def test_the_exit_code_says_that_some_failed(tmp_path):
    lose_a_slice(write_study(tmp_path / "source", "A", "first", "20200304")["t2w"])

    done = CliRunner().invoke(app, ["convert", str(tmp_path / "source"), "-o", str(tmp_path / "c")])

    assert done.exit_code == 3
    assert "1 case written" in done.stdout


@pytest.mark.parametrize("finished", [0, 1, 2])
def test_ctrl_c_leaves_whole_cases_and_the_same_command_resumes(tmp_path, finished):
    for patient in "ABC":
        write_study(tmp_path / "source" / patient, patient, "first", "20200304")
    output = tmp_path / "cases"
    # Ctrl-C as soon as the writing of a further case begins.
    program = (
        "import os, signal, sys\n"
        "from volseg.conversion import cases\n"
        "write, count = cases.write_case, []\n"
        "def interrupted(folder, *more):\n"
        "    record = write(folder, *more)\n"
        "    count.append(folder)\n"
        f"    if len(count) > {finished}:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    return record\n"
        "cases.write_case = interrupted\n"
        "from volseg.cli import app\n"
        "app(sys.argv[1:])\n"
    )
    words = ["convert", str(tmp_path / "source"), "-o", str(output)]

    command = [sys.executable, "-c", program, *words]
    stopped = subprocess.run(command, check=False, capture_output=True, text=True, timeout=120)

    assert stopped.returncode == 130, stopped.stderr
    assert "interrupted" in stopped.stderr
    folders = [path for path in output.iterdir() if path.is_dir()]
    assert [len(list(folder.iterdir())) for folder in folders] == [4] * finished
    assert [path.name for path in tmp_path.rglob(".*")] == []
    outcome = volseg.convert(tmp_path / "source", output).outcome
    assert (len(outcome.written), len(outcome.kept)) == (3 - finished, finished)


def test_a_disk_that_is_really_full_keeps_whole_cases_and_is_resumed(tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here: that needs Linux and root")
    try:
        for patient in "AB":
            write_study(tmp_path / "source" / patient, patient, "first", "20200304")

        full = volseg.convert(tmp_path / "source", disk / "cases")

        assert (len(full.outcome.written), len(full.failures)) == (1, 1)
        assert (
            "No space left on device); give a folder that you may write to" in full.failures[0][1]
        )
        assert len(list(disk.rglob("*.nii.gz"))) == 4
        subprocess.run(["mount", "-o", "remount,size=5m", str(disk)], check=True)
        again = volseg.convert(tmp_path / "source", disk / "cases")
        assert (len(again.outcome.written), len(again.outcome.kept)) == (1, 1)
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_names_with_spaces_and_line_breaks_are_converted_and_shown_in_one_line(tmp_path):
    write_study(tmp_path / "source" / "a b" / "c\nd", "A", "first", "20200304")

    done = CliRunner().invoke(
        app, ["convert", str(tmp_path / "source"), "-o", str(tmp_path / "the cases")]
    )

    assert done.exit_code == 0
    assert "a b/c\\nd/002: series 2" in done.stdout
    assert f"volseg prepare '{tmp_path / 'the cases'}'" in done.stdout


def test_names_that_are_not_utf8_are_converted(tmp_path):
    write_study(tmp_path / "source" / os.fsdecode(b"M\xfcller"), "A", "first", "20200304")

    result = volseg.convert(tmp_path / "source", tmp_path / "cases")

    assert result.failures == ()
    assert len(result.outcome.written) == 1
