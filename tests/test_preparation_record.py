"""Tests of the record of a prepared case."""

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from volseg import DataListError, find_cases
from volseg.cases.sources import fingerprint
from volseg.images.nifti_reading import read_header
from volseg.images.nifti_writing import write_label_map
from volseg.preparation.record import (
    FileMark,
    PreparationRecord,
    PreparedChannel,
    RecordedGrid,
    Step,
    find_record,
    matrix_rows,
    read_record,
    record_path,
    write_record,
)


@pytest.fixture
def prepared(tmp_path):
    """A folder with one prepared case of one channel, and its record."""
    native = tmp_path / "scan.nii.gz"
    header = nib.Nifti1Header()
    header.set_data_shape((4, 5, 6))
    header.set_qform(_oblique(), code=1)
    header.set_sform(None, code=0)
    header.set_xyzt_units("mm")
    write_label_map(native, np.zeros((4, 5, 6), np.uint8), header)
    home = tmp_path / "prepared"
    written = home / "P1" / "P1-t1c.nii.gz"
    written.parent.mkdir(parents=True)
    (home / "preparation").mkdir()
    write_label_map(written, np.ones((4, 5, 6), np.uint8), header)
    recorded = RecordedGrid.of(*read_header(native))
    channel = PreparedChannel(
        source=str(native),
        native=recorded,
        matrix=matrix_rows(np.eye(4)),
        alignment="reference",
        quality={},
        file=_mark(written, "P1/P1-t1c.nii.gz"),
    )
    record = PreparationRecord(
        volseg="0",
        case_id="P1",
        options={"strip": "none"},
        sources=(_mark(native, str(native)),),
        reference="t1c",
        space="t1c",
        grid=recorded,
        channels={"t1c": channel},
        steps=(Step(name="resampling", seconds=1.5, outcome="done"),),
        seconds=2.0,
    )
    write_record(home, record)
    return home, native, record


def test_a_record_is_read_as_it_was_written(prepared):
    home, _, record = prepared

    assert read_record(record_path(home, "P1")) == record


def test_a_label_map_returns_to_the_last_bit_of_the_affine_of_its_scan(prepared, tmp_path):
    home, native, _ = prepared
    record = read_record(record_path(home, "P1"))

    back = tmp_path / "back.nii.gz"
    header = record.channels["t1c"].native.header()
    write_label_map(back, np.ones((4, 5, 6), np.uint8), header)

    assert read_header(back)[0] == read_header(native)[0]
    assert np.array_equal(nib.load(back).affine, nib.load(native).affine)
    assert int(nib.load(back).header["sform_code"]) == 0


def test_the_record_of_a_case_is_found_from_its_images(prepared):
    home, _, record = prepared
    (case,) = find_cases(home, ["t1c"]).cases

    assert find_record(case) == record


def test_a_case_that_was_not_prepared_has_no_record(prepared, tmp_path):
    (case,) = find_cases(prepared[0], ["t1c"]).cases
    record_path(prepared[0], "P1").unlink()

    assert find_record(case) is None


def test_a_prepared_image_that_was_changed_is_refused(prepared):
    home, *_ = prepared
    (case,) = find_cases(home, ["t1c"]).cases
    image = home / "P1" / "P1-t1c.nii.gz"
    image.write_bytes(image.read_bytes() + b"\0")

    with pytest.raises(DataListError, match="was changed after it was prepared; prepare the case"):
        find_record(case)


@pytest.mark.parametrize(
    ("key", "value", "named"),
    [
        ("reference", "t2w", "names t2w as reference, but has no such channel"),
        ("seconds", "long", "seconds"),
        ("grid", {}, "grid.shape"),
        ("more", 1, "more"),
    ],
)
def test_a_damaged_record_is_refused_in_a_sentence(prepared, key, value, named):
    path = record_path(prepared[0], "P1")
    path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    with pytest.raises(DataListError, match=named):
        read_record(path)


def test_the_folder_of_records_is_no_scan(prepared):
    finding = find_cases(prepared[0], ["t1c"])

    assert [case.case_id for case in finding.cases] == ["P1"]
    assert finding.skipped == ()


def test_a_folder_named_preparation_with_scans_is_searched(prepared):
    home, native, _ = prepared
    native.rename(home / "preparation" / "P2-t1c.nii.gz")

    assert {case.case_id for case in find_cases(home, ["t1c"]).cases} == {"P1", "P2"}


def _oblique():
    angle = np.deg2rad(12.3)
    affine = np.eye(4)
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    affine[:3, :3] *= 1.1
    affine[:3, 3] = [-71.3, 12.7, 3.1]
    return affine


def _mark(path: Path, name: str) -> FileMark:
    return FileMark(path=name, **fingerprint(path))
