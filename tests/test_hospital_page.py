"""The page on a hospital's folder: each of its commands, as it stands there, on heads in DICOM."""

from __future__ import annotations

import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from dicom_files import Header, write_series
from hospital import SIEMENS
from hospital_head import write_head
from pages import DOCS, commands_in
from scipy import ndimage
from tiny_models import write_model
from typer.testing import CliRunner

from volseg.cli import app
from volseg.preparation.brain_mask.mask import Proposal
from volseg.preparation.record import read_record, record_path
from volseg.preparation.resampling import resample

COMMANDS = commands_in(DOCS / "tutorials" / "hospital.md")
#: Two of the four channels: the registration of each takes seconds.
CHANNELS = ("t1c", "t2f")
FIRST, SECOND = "PAT-00001-000", "PAT-00001-001"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The current folder, with `hospital` and `model.safetensors`."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        data = {"data_list": "l", "channels": list(CHANNELS), "patch_size": [32, 32, 32]}
        write_model(Path("model.safetensors"), data=data | {"spacing_mm": [4, 4, 4]})
        yield folder


def strip(patch, brain_of):
    """Cases are prepared in this process, with a function that finds their brains."""

    def here(function, items, workers, threads, stop, told):
        yield from ((number, function(item)) for number, item in enumerate(items))

    patch.setattr("volseg.preparation.cases.each_alone", here)
    patch.setattr("volseg.preparation.brain_mask.hd_bet_weights.weights_file", Path)
    patch.setattr(
        "volseg.preparation.brain_mask.hd_bet.hd_bet_brain",
        lambda volumes: Proposal(brain_of(volumes), "HD-BET", tuple(volumes)),
    )


def run(command):
    result = CliRunner().invoke(app, shlex.split(command)[1:])
    assert result.exit_code == 0, f"{command}\n{result.output}"
    return result.output


@pytest.fixture(scope="module")
def done(folder):
    """The folder after all commands of the page, with the examinations and what was said."""
    heads = write_head(folder / "hospital", CHANNELS)

    def brain_of(volumes):
        grid = volumes["t1c"].grid
        return resample(heads[0].brain, grid, np.eye(4), "label").astype(bool)

    with pytest.MonkeyPatch.context() as patch:
        strip(patch, brain_of)
        said = [run(command) for command in COMMANDS]
    return folder, heads, said


def test_the_page_begins_with_the_folder_of_a_hospital_and_ends_with_follow_up():
    words = [command.split()[1] for command in COMMANDS]

    assert words == ["convert", "convert", "prepare", "infer", "overlay", "report"]


def test_a_dry_run_shows_what_the_conversion_then_writes(done):
    _, _, (shown, converted, *_) = done

    assert "would be written" in shown
    for text in (shown, converted):
        assert all(word in text for word in ("t1c", "t2f", FIRST, SECOND, "name says"))


def test_nothing_that_identifies_the_patient_is_in_any_file_but_the_table_of_pseudonyms(done):
    folder, _, _ = done

    made = ("cases", "prepared", "results")
    files = [path for name in made for path in (folder / name).rglob("*") if path.is_file()]
    assert len(files) > 20
    for path in files:
        content = path.read_bytes()
        if path.name.endswith(".nii.gz"):
            content = bytes(nib.load(path).header.binaryblock)
        assert b"SECRET" not in content
        assert b"20200304" not in content
        assert b"ID-HEAD" not in content
    assert "SECRET^HEAD" in (folder / "cases.pseudonyms.csv").read_text(encoding="utf-8")


def test_channels_that_moved_between_sequences_are_brought_back(done):
    folder, heads, _ = done

    for case_id in (FIRST, SECOND):
        record = read_record(record_path(folder / "prepared", case_id))
        found = record.channels["t2f"].world_matrix[:3, 3]
        assert np.allclose(found, heads[0].moved_mm["t2f"], atol=1.5)


def test_label_maps_lie_on_the_grids_of_the_original_series(done):
    folder, heads, _ = done

    for case_id in (FIRST, SECOND):
        for channel in CHANNELS:
            scan = nib.load(folder / "cases" / case_id / f"{case_id}-{channel}.nii.gz")
            labels = nib.load(folder / "results" / "native" / f"{case_id}-{channel}.nii.gz")
            assert labels.shape == scan.shape
            np.testing.assert_array_equal(labels.affine, scan.affine)
            written = heads[0].grids[channel]
            scanned = nib.Nifti1Image(np.zeros(written.shape, np.uint8), written.affine)
            assert _same_place(labels, scanned)


def test_the_pictures_and_the_report_of_the_page_are_there(done):
    folder, _, _ = done

    for name in (f"prepared/preparation/{FIRST}.png", "results/previews.png", "flair.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    page = (folder / "results" / "report.html").read_text(encoding="utf-8")
    assert "PAT-00001" in page
    assert "from baseline" in page.casefold()


#: Endings of the files of the real head, and how a scanner would describe them.
REAL = {"t1c": "_t1c.nii.gz", "t2f": "_fla.nii.gz"}


def test_a_real_head_goes_from_dicom_to_label_maps_on_its_grids(real_data, tmp_path, monkeypatch):
    source = real_data / "raw_unregistered"
    if not source.is_dir():
        pytest.skip(f"no raw scans in {real_data}")
    monkeypatch.chdir(tmp_path)
    data = {"data_list": "l", "channels": list(REAL), "patch_size": [32, 32, 32]}
    write_model(Path("model.safetensors"), data=data | {"spacing_mm": [4, 4, 4]})
    originals = {}
    for number, (channel, ending) in enumerate(REAL.items(), start=1):
        (path,) = source.rglob(f"*{ending}")
        originals[channel] = nib.load(path)
        tags = {**SIEMENS[channel], "SeriesNumber": number, "AcquisitionTime": f"10{number:02d}00"}
        header = Header(patient="REAL", series=str(number), tags=tags)
        values = np.asarray(originals[channel].dataobj)
        write_series(Path("hospital") / channel, values, originals[channel].affine, header)
    strip(monkeypatch, lambda volumes: _inner(volumes["t1c"]))

    for command in COMMANDS[1:4]:
        run(command)

    for channel, original in originals.items():
        labels = nib.load(f"results/native/{FIRST}-{channel}.nii.gz")
        assert _same_place(labels, original)


def _inner(volume):
    """An ellipsoid of 1.5 litres in the middle of a head, for a brain."""
    head = volume.values > np.percentile(volume.values, 60)
    centre = ndimage.center_of_mass(head)
    points = np.moveaxis(np.indices(head.shape), 0, -1) - centre
    return ((points * volume.grid.spacing_mm / (65, 80, 65)) ** 2).sum(-1) < 1


def _same_place(one, other):
    """Whether two images have the same voxels in space, whatever the order of their axes."""

    def corners(image):
        box = np.array(np.meshgrid(*[(0, size - 1) for size in image.shape])).reshape(3, 8)
        return np.sort(nib.affines.apply_affine(image.affine, box.T).round(2), axis=0)

    same = np.abs(corners(one) - corners(other)).max() < 0.02
    return same and sorted(one.shape) == sorted(other.shape)
