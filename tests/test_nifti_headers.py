"""Headers of NIfTI files that say something odd: converted, noted, or refused before memory is."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from isal import igzip
from nifti_files import LPS, SHAPE, ramp, save, save_raw

from volseg import memory
from volseg.errors import GeometryError, ImageError, ResourceError
from volseg.images.nifti_file import read_first_slice
from volseg.images.nifti_reading import read_case, read_case_grid, read_header, read_label_map
from volseg.images.nifti_writing import write_label_map

UNITS = {"meter": 1e-3, "mm": 1.0, "micron": 1e3}


def in_unit(path: Path, unit: str, array=None, affine=LPS) -> Path:
    """An image whose header says the same in another unit of length."""
    scaled = affine.copy()
    scaled[:3] *= UNITS[unit]
    image = nib.Nifti1Image(ramp() if array is None else array, scaled)
    image.header.set_xyzt_units(unit, "sec")
    nib.save(image, path)
    return path


def read_one(path: Path):
    return read_case([path], ["t1c"], ["t1c"])


# Units


@pytest.mark.parametrize("unit", UNITS)
def test_a_grid_is_in_mm_whatever_the_unit_of_its_header(tmp_path, unit):
    path = in_unit(tmp_path / "t1c.nii.gz", unit, affine=LPS @ np.diag([2, 3, 4, 1]))

    for grid in (read_one(path).grid, read_header(path)[0], read_label_map(path)[1]):
        assert grid.spacing_mm == pytest.approx((2, 3, 4), rel=1e-6)
        assert grid.voxel_ml == pytest.approx(0.024)
        assert grid.affine[:3, 3].tolist() == pytest.approx([0, 239, 0], abs=1e-3)


def test_channels_in_different_units_lie_on_one_grid(tmp_path):
    files = [in_unit(tmp_path / f"{unit}.nii", unit) for unit in UNITS]

    images = read_case(files, ["t1n", "t1c", "t2f"], ["t1n", "t1c", "t2f"])

    assert images.grid.spacing_mm == pytest.approx((1, 1, 1))
    assert all("accepted" in note for note in images.notes)
    moved = in_unit(tmp_path / "moved.nii", "micron", affine=LPS + np.diag([0.1, 0, 0, 0]))
    with pytest.raises(GeometryError, match="mm away"):
        read_case([files[0], moved], ["t1n", "t1c"], ["t1n", "t1c"])


def test_a_result_keeps_the_unit_of_its_scan(tmp_path):
    _, header = read_header(in_unit(tmp_path / "scan.nii", "micron"))

    write_label_map(tmp_path / "out.nii", np.zeros(SHAPE, np.uint8), header)

    grid, written = read_header(tmp_path / "out.nii")
    assert int(written["xyzt_units"]) == int(header["xyzt_units"])
    assert written["srow_x"].tolist() == header["srow_x"].tolist()
    assert grid.spacing_mm == pytest.approx((1, 1, 1))


@pytest.mark.parametrize(
    ("units", "size", "notes"),
    [
        (0, 1, ()),
        (0, 0.1, ("t1c: the header names no unit of length: mm assumed",)),
        (2 + 8, 0.1, ()),
        (7, 1, ("t1c: the header names an unknown unit of length: mm assumed",)),
        (4, 1, ("t1c: the header names an unknown unit of length: mm assumed",)),
    ],
)
def test_a_unit_that_is_assumed_is_noted_where_it_may_be_another(tmp_path, units, size, notes):
    rows = {f"srow_{axis}": row * size for axis, row in zip("xyz", LPS, strict=False)}
    path = save_raw(tmp_path / "t1c.nii", xyzt_units=units, **rows)

    assert read_one(path).notes == notes
    assert read_case_grid([path], ["t1c"], ["t1c"]).notes == notes


@pytest.mark.parametrize(
    ("units", "size", "words"),
    [
        (2, 0.04, r"0\.04 x 0\.04 x 0\.04 mm \(0\.04 .* in its header, which names mm\)"),
        (0, 21, r"21 x 21 x 21 mm \(21 .* which names no unit\)"),
        (1, 1, r"1000 x 1000 x 1000 mm \(1 x 1 x 1 in its header, which names m\)"),
        (3, 1, r"0\.001 x .* mm \(1 x 1 x 1 in its header, which names µm\)"),
    ],
)
@pytest.mark.parametrize("read", [read_one, read_label_map])
def test_voxels_of_no_size_that_a_scan_has_are_refused(tmp_path, read, units, size, words):
    rows = {f"srow_{axis}": row * size for axis, row in zip("xyz", LPS, strict=False)}
    path = save_raw(tmp_path / "t1c.nii", xyzt_units=units, **rows)

    with pytest.raises(ImageError, match=rf"t1c\.nii has voxels of {words}, but 0\.05 to 20 mm"):
        read(path)
    # What it is can be looked at all the same.
    assert read_header(path)[0].shape == SHAPE


# Orientation


def test_an_orientation_that_no_code_tells_is_noted(tmp_path):
    path = save_raw(tmp_path / "t1c.nii", sform_code=0, qform_code=0)

    (note,) = read_one(path).notes

    assert note == "t1c: qform_code and sform_code are 0: orientation LAS assumed"


def test_a_qform_that_says_otherwise_is_noted_and_one_that_is_rounded_is_not(tmp_path):
    image = nib.Nifti1Image(ramp(), LPS)
    image.set_sform(LPS, 1)
    for name, moved, notes in (
        ("rounded", 0.05, ()),
        ("moved", 5, ("t1c: qform and sform lie 5 mm apart: the sform is used",)),
    ):
        image.set_qform(LPS + np.outer([moved, 0, 0, 0], [0, 0, 0, 1]), 1)
        nib.save(image, tmp_path / f"{name}.nii")

        images = read_one(tmp_path / f"{name}.nii")

        assert images.notes == notes
        assert np.array_equal(images.grid.affine, LPS)


def test_a_qform_that_is_none_is_noted(tmp_path):
    path = save_raw(tmp_path / "t1c.nii", sform_code=1, qform_code=1, quatern_b=2)

    assert read_one(path).notes == ("t1c: qform and sform differ: the sform is used",)


@pytest.mark.parametrize("offset", [np.inf, np.nan])
def test_a_qform_beyond_all_numbers_is_noted_without_a_warning_of_numpy(tmp_path, offset):
    path = save_raw(tmp_path / "t1c.nii", sform_code=1, qform_code=1, qoffset_x=offset)

    assert read_one(path).notes == ("t1c: qform and sform differ: the sform is used",)
    with pytest.raises(ImageError, match="degenerate affine"):
        read_one(save_raw(path, sform_code=0, qform_code=1, qoffset_x=offset, pixdim=[1] * 8))


def test_a_note_of_several_channels_is_one(tmp_path):
    files = [save_raw(tmp_path / f"{n}.nii", sform_code=0, qform_code=0) for n in "ab"]

    images = read_case(files, ["t1n", "t1c"], ["t1n", "t1c"])

    assert images.notes == ("t1n, t1c: qform_code and sform_code are 0: orientation LAS assumed",)


# Sizes


@pytest.mark.parametrize(
    "offset", [np.nan, np.inf, -np.inf, -352, 351, 352.5, 2.9e9, 3e38, 2**24 + 16]
)
@pytest.mark.parametrize("packed", [False, True])
def test_voxels_begin_at_a_byte_after_the_header(tmp_path, offset, packed):
    path = save_raw(tmp_path / "a.nii", vox_offset=offset)
    if packed:
        path.write_bytes(gzip.compress(path.read_bytes()))

    with pytest.raises(ImageError, match=r"a\.nii (says that its voxels begin|has an invalid)"):
        read_one(path)


def test_extensions_before_the_voxels_are_passed_over(tmp_path):
    content = save_raw(tmp_path / "a.nii", vox_offset=352 + 3200).read_bytes()
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(content[:352] + bytes(3200) + content[352:]))

    assert np.array_equal(read_one(path).array[0], ramp())


@pytest.mark.parametrize("packed", [False, True])
def test_a_little_after_the_voxels_is_no_matter_and_much_is_not_unpacked(tmp_path, packed):
    content = save(tmp_path / "a.nii").read_bytes()
    path = tmp_path / "b.nii.gz"
    pack = igzip.compress if packed else bytes

    path.write_bytes(pack(content + bytes(100)))
    assert np.array_equal(read_one(path).array[0], ramp())

    path.write_bytes(pack(content + bytes(17 * 2**20)))
    with pytest.raises(ImageError, match="holds more than 16777216 bytes after the voxels"):
        read_one(path)


def test_a_checksum_after_a_little_more_than_the_voxels_is_looked_at(tmp_path):
    path = tmp_path / "a.nii.gz"
    content = bytearray(gzip.compress(save(tmp_path / "a.nii").read_bytes() + bytes(5000)))
    content[-8] ^= 1
    path.write_bytes(content)

    with pytest.raises(ImageError, match="truncated or damaged gzip file"):
        read_one(path)


def test_a_scan_that_the_memory_does_not_hold_is_refused_with_what_it_takes(tmp_path, monkeypatch):
    files = [save(tmp_path / f"{n}.nii") for n in "abcd"]
    monkeypatch.setattr(memory, "available", lambda: 900)

    # 4 channels of 120 voxels of two bytes.
    with pytest.raises(ResourceError, match=r"^4 channels of 4 x 5 x 6 voxels would take"):
        read_case(files, ["1", "2", "3", "4"], ["1", "2", "3", "4"])
    with pytest.raises(ResourceError, match=r"a\.nii would take .* 0\.0 MB are available; use"):
        read_label_map(save(files[0], ramp(dtype=np.float64)))


def test_a_large_scan_is_refused_before_its_file_is_read(tmp_path, monkeypatch):
    dim = [3, 1500, 1500, 600, 1, 1, 1, 1]
    path = save_raw(tmp_path / "a.nii", dim=dim, datatype=64, bitpix=64)
    os.truncate(path, 352 + 1500 * 1500 * 600 * 8)
    monkeypatch.setattr(memory, "available", lambda: 8 * 10**9)

    with pytest.raises(
        ResourceError,
        match=r"4 channels of 1500 x 1500 x 600 voxels would take 21\.6 GB of memory, but 8\.0 GB",
    ):
        read_case([path] * 4, ["1", "2", "3", "4"], ["1", "2", "3", "4"])


def test_a_named_pipe_is_no_scan(tmp_path):
    os.mkfifo(tmp_path / "a.nii")

    for read in (read_one, read_label_map, read_header):
        with pytest.raises(ImageError, match=r"cannot be read \(it is a named pipe, but a file"):
            read(tmp_path / "a.nii")


def test_a_gzip_that_is_whole_and_holds_too_little_is_truncated(tmp_path):
    path = tmp_path / "a.nii.gz"
    path.write_bytes(gzip.compress(save(tmp_path / "a.nii").read_bytes()[:-20]))

    with pytest.raises(ImageError, match=r"is truncated: it holds 572 bytes, but .* 592; copy"):
        read_one(path)


def test_a_header_that_leaves_the_first_voxel_open_means_the_byte_after_it(tmp_path):
    path = save_raw(tmp_path / "a.nii", vox_offset=0)

    assert np.array_equal(read_one(path).array[0], ramp())


def test_a_first_slice_larger_than_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = save_raw(tmp_path / "a.nii", dim=[3, 3000, 3000, 1, 1, 1, 1, 1], datatype=4, bitpix=16)
    os.truncate(path, 352 + 3000 * 3000 * 2)
    monkeypatch.setattr(memory, "available", lambda: 10**6)

    with pytest.raises(ResourceError, match=r"a\.nii would take"):
        read_first_slice(path, str(path), 1)
