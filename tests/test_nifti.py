"""Reading scans, comparing grids, and writing results on the grid of the input."""

from __future__ import annotations

import errno
import gzip
import subprocess
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nifti_files import LPS, SHAPE, ramp, save, save_raw

from volseg.errors import GeometryError, ImageError, LabelError, OutputError
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_reading import read_case, read_case_grid, read_header, read_label_map
from volseg.images.nifti_writing import write_label_map, write_map

GEOMETRY = (
    *("pixdim", "xyzt_units", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d"),
    *("qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z"),
)


def read_one(path: Path):
    return read_case([path], ["t1c"], ["t1c"])


# Reading


def test_channels_come_in_the_order_asked_for_and_files_stay_as_they_are(tmp_path):
    files = [save(tmp_path / f"{n}.nii.gz", ramp() + 1000 * n) for n in range(3)]
    before = [path.read_bytes() for path in files]

    images = read_case(files, ["t1n", "t1c", "t2f"], ["t2f", "t1n"])

    assert images.array.dtype == np.int16
    assert np.array_equal(images.array, [ramp() + 2000, ramp()])
    assert images.grid.shape == SHAPE
    assert np.array_equal(images.grid.affine, LPS)
    assert images.header["srow_y"].tolist() == [0, -1, 0, 239]
    assert images.notes == ()
    assert [path.read_bytes() for path in files] == before


def test_a_header_that_scales_gives_float32(tmp_path):
    path = save_raw(tmp_path / "scaled.nii", scl_slope=0.5, scl_inter=10)

    images = read_one(path)

    assert images.array.dtype == np.float32
    assert np.array_equal(images.array[0], ramp() / 2 + 10)


@pytest.mark.parametrize(
    ("types", "read"),
    [(("i4", "f4"), "f4"), (("u8", "i8"), "f4"), (("u2", "i2"), "i4"), (("u1", "f4"), "f4")],
)
def test_channels_of_different_types_share_one_that_holds_both(tmp_path, types, read):
    values = np.arange(np.prod(SHAPE)).reshape(SHAPE) % 200
    for name, dtype in zip(("t1n", "t1c"), types, strict=True):
        header = nib.Nifti1Header()
        header.set_data_dtype(dtype)
        array = values.astype(dtype)
        nib.save(nib.Nifti1Image(array, np.eye(4), header), tmp_path / f"{name}.nii")

    files = [tmp_path / "t1n.nii", tmp_path / "t1c.nii"]
    images = read_case(files, ["t1n", "t1c"], ["t1c", "t1n"])

    assert images.array.dtype == read
    assert all(np.array_equal(channel, values) for channel in images.array)


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize(("stored", "read"), [("<f8", "f4"), (">i2", "i2"), ("|u1", "u1")])
def test_every_kind_of_nifti_gives_the_same_numbers(tmp_path, image_class, stored, read):
    header = image_class.header_class(endianness=">" if stored[0] == ">" else "<")
    header.set_data_dtype(stored)
    path = tmp_path / "image.nii.gz"
    nib.save(image_class(ramp(), LPS, header), path)

    images = read_one(path)

    assert images.array.dtype == np.dtype(read)
    assert np.array_equal(images.array[0], ramp())
    assert np.array_equal(images.grid.affine, LPS)


@pytest.mark.parametrize("shape", [(*SHAPE, 4), (*SHAPE, 1, 4)], ids=["MSD", "ITK"])
def test_channels_of_one_4d_file_go_by_name(tmp_path, shape):
    volumes = ramp(shape)
    path = save(tmp_path / "BRATS_001.nii.gz", volumes)

    images = read_case([path], ["t2f", "t1n", "t1c", "t2w"], ["t1n", "t2w"])

    volumes = volumes.reshape(*SHAPE, 4)
    assert np.array_equal(images.array, [volumes[..., 1], volumes[..., 3]])
    assert images.grid.shape == SHAPE


def test_a_fourth_axis_of_one_volume_is_dropped(tmp_path):
    images = read_one(save(tmp_path / "image.nii.gz", ramp((*SHAPE, 1))))

    assert images.array.shape == (1, *SHAPE)


def test_compression_is_seen_in_the_file_not_in_its_name(tmp_path):
    content = save(tmp_path / "image.nii").read_bytes()
    (tmp_path / "plain.nii.gz").write_bytes(content)
    # Two members one after the other, as bgzip writes them.
    (tmp_path / "zipped.nii").write_bytes(
        gzip.compress(content[:400]) + gzip.compress(content[400:])
    )

    for name in ("image.nii", "plain.nii.gz", "zipped.nii"):
        assert np.array_equal(read_one(tmp_path / name).array[0], ramp())
        assert read_header(tmp_path / name)[0].shape == SHAPE


def truncated_gzip(path: Path) -> None:
    path.write_bytes(gzip.compress(save(path).read_bytes())[:200])


def rgb(path: Path) -> None:
    save(path, np.zeros(SHAPE, [("R", "u1"), ("G", "u1"), ("B", "u1")]))


def with_nan(path: Path) -> None:
    array = ramp(dtype=np.float32)
    array[0, 0, :3] = np.nan, np.inf, -np.inf
    save(path, array)


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "does not exist; correct the path or the data list"),
    "folder": (lambda path: path.mkdir(), r"cannot be read \(Is a directory\); "),
    "truncated gzip": (truncated_gzip, r"is a truncated or damaged gzip file \(.*\); copy"),
    "gzip of garbage": (lambda path: path.write_bytes(b"\x1f\x8b\x08\0" + b"q" * 99), "damaged"),
    "web page": (
        lambda path: path.write_text("<!DOCTYPE html>" * 40),
        "is not a NIfTI file: it begins with b'<!DOCTYP'; download it again or convert",
    ),
    "empty": (lambda path: path.write_bytes(b""), "is empty; download it again"),
    "header cut": (lambda path: path.write_bytes(b"\x5c\x01\0\0" + bytes(99)), "is not a NIfTI"),
    "magic": (lambda path: save_raw(path, magic=b"xyz"), "invalid NIfTI header.*magic"),
    "type": (lambda path: save_raw(path, datatype=999), "invalid NIfTI header.*999"),
    "truncated": (
        lambda path: path.write_bytes(save(path.with_name("x.nii")).read_bytes()[:500]),
        "is truncated: it holds 500 bytes, but its header announces 592; copy or download",
    ),
    "RGB": (rgb, r"holds voxels of type \[.*\], but numbers are expected; export grey"),
    "2D": (
        lambda path: save(path, ramp((4, 5))),
        r"has shape \(4, 5\), but one volume of 3 axes is expected; give one 3D image",
    ),
    "4D": (
        lambda path: save(path, ramp((4, 5, 6, 3))),
        r"has shape \(4, 5, 6, 3\), but one volume of 3 axes is expected",
    ),
    "no voxels": (
        lambda path: save_raw(path, dim=[3, 0, 5, 6, 1, 1, 1, 1]),
        r"has shape \(0, 5, 6\)",
    ),
    "NaN": (with_nan, "holds 3 NaN or infinite voxels, but every voxel must be a number; repair"),
    "too large": (lambda path: save(path, ramp(dtype=float) * 1e300), "holds 119 NaN or infinite"),
    "constant": (
        lambda path: save(path, np.full(SHAPE, 7, np.int16)),
        "is constant, 7 in every voxel, but an image has contrast; replace the image",
    ),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_named_with_what_is_wrong(tmp_path, kind):
    path = tmp_path / "case1_t1c.nii"
    breaks, message = BROKEN[kind]
    breaks(path)

    with pytest.raises(ImageError, match=f"^(t1c in )?/.*case1_t1c.nii.* {message}"):
        read_one(path)


def test_a_4d_file_must_hold_a_volume_for_each_channel(tmp_path):
    path = save(tmp_path / "BRATS_001.nii.gz", ramp((*SHAPE, 3)))

    with pytest.raises(ImageError, match=r"\(4, 5, 6, 3\), but 4 volumes of 3 axes is expected"):
        read_case([path], ["t2f", "t1n", "t1c", "t2w"], ["t1n"])


def test_headers_alone_tell_the_grid_and_the_errors_of_a_case(tmp_path):
    good = save(tmp_path / "t1c.nii.gz")
    files = [good, save(tmp_path / "t2f.nii.gz", ramp((4, 5, 7)))]
    four = save(tmp_path / "four.nii", np.stack([ramp()] * 3, axis=3))

    grid = read_case_grid([good], ["t1c"], ["t1c"])

    assert grid.shape == SHAPE
    assert np.array_equal(grid.affine, LPS)
    for images, held, wanted in (
        (files, ["t1c", "t2f"], ["t1c", "t2f"]),
        (files, ["t1c", "t2f"], ["t1c", "t1n"]),
        ([four], ["t1c", "t2f"], ["t1c"]),
        ([tmp_path / "none.nii"], ["t1c"], ["t1c"]),
    ):
        with pytest.raises((ImageError, GeometryError)) as whole:
            read_case(images, held, wanted)
        with pytest.raises(type(whole.value)) as header:
            read_case_grid(images, held, wanted)
        assert str(header.value) == str(whole.value)


def test_a_missing_channel_is_named(tmp_path):
    path = save(tmp_path / "t1c.nii.gz")

    with pytest.raises(ImageError, match=r"^no t2w t2f, but only t1c; add the missing"):
        read_case([path], ["t1c"], ["t2w", "t1c", "t2f"])


def test_as_many_files_as_channels_are_needed(tmp_path):
    path = save(tmp_path / "t1c.nii.gz")

    with pytest.raises(ImageError, match="2 files, but channels t1n t1c t2w; give one file"):
        read_case([path, path], ["t1n", "t1c", "t2w"], ["t1n"])


def test_a_header_that_announces_more_than_can_be_there_asks_for_no_memory(tmp_path):
    path = save_raw(tmp_path / "image.nii", dim=[3, 30000, 30000, 30000, 1, 1, 1, 1])
    zipped = tmp_path / "image.nii.gz"
    zipped.write_bytes(gzip.compress(path.read_bytes()))

    for file in (path, zipped):
        with pytest.raises(ImageError, match=r"is truncated: .* announces 54000000000352; copy"):
            read_one(file)


def test_a_wrong_checksum_is_seen(tmp_path):
    path = save(tmp_path / "image.nii.gz")
    content = bytearray(path.read_bytes())
    content[-8] ^= 1
    path.write_bytes(content)

    with pytest.raises(ImageError, match="truncated or damaged gzip file"):
        read_one(path)


def test_real_files_hold_what_nibabel_reads(real_data):
    folders = [
        real_data / "brats2021" / "BraTS2021_00006",
        *(real_data / "brats2018/HGG").glob("*"),
    ]
    for folder in folders:
        files = sorted(path for path in folder.glob("*.nii.gz") if "_seg" not in path.name)
        names = [path.name for path in files]
        images = read_case(files, names, names)
        for channel, path in zip(images.array, files, strict=True):
            expected = nib.load(path)
            assert np.array_equal(channel, np.asarray(expected.dataobj))
            assert np.array_equal(images.grid.affine, expected.affine)
        label = next(folder.glob("*_seg.nii.gz"))
        assert np.array_equal(read_label_map(label)[0], np.asarray(nib.load(label).dataobj))


# Grids


def test_a_grid_knows_its_spacing_and_the_volume_of_a_voxel():
    grid = Grid((2, 2, 2), np.array([[0, -2.0, 0, 5], [1, 0, 0, 5], [0, 0, 3, 5], [0, 0, 0, 1]]))

    assert grid.spacing_mm == (1, 2, 3)
    assert grid.voxel_ml == pytest.approx(0.006)


def test_channels_of_different_shape_are_refused(tmp_path):
    t1c = save(tmp_path / "case1_t1c.nii.gz")
    t2f = save(tmp_path / "case1_flair.nii.gz", ramp((4, 5, 5)))

    with pytest.raises(GeometryError) as caught:
        read_case([t1c, t2f], ["t1c", "t2f"], ["t1c", "t2f"])

    assert str(caught.value) == (
        "case1_flair.nii.gz: t2f has shape (4, 5, 5), but t1c has (4, 5, 6); "
        "co-register the images of a case first: volseg prepare CASES -o prepared"
    )


def test_a_displaced_channel_is_refused_with_its_distance(tmp_path):
    shifted = LPS + np.outer([3, 4, 0, 0], [0, 0, 0, 1.0])
    files = [save(tmp_path / "t1c.nii.gz"), save(tmp_path / "t2f.nii.gz", affine=shifted)]

    with pytest.raises(
        GeometryError, match=r"t2f.nii.gz: t2f lies 5 mm away from t1c, but at most"
    ):
        read_case(files, ["t1c", "t2f"], ["t1c", "t2f"])


def test_a_tiny_displacement_is_noted(tmp_path):
    shifted = LPS + np.outer([0, 0, 0.0078125, 0], [0, 0, 0, 1.0])
    files = [save(tmp_path / "t1c.nii.gz"), save(tmp_path / "t2f.nii.gz", affine=shifted)]

    images = read_case(files, ["t1c", "t2f"], ["t1c", "t2f"])

    assert images.notes == ("t2f lies 0.0078 mm away from t1c: accepted",)
    assert np.array_equal(images.grid.affine, LPS)


def test_rotation_counts_at_the_corners_of_the_volume():
    angle = 1e-3
    turned = np.eye(4)
    turned[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    grids = {"a": Grid((100, 1, 1), np.eye(4)), "b": Grid((100, 1, 1), turned)}

    # The far corner is 99.5 mm away from the first voxel, about which b is turned.
    with pytest.raises(GeometryError, match=r"b lies 0.0995 mm away from a"):
        check_same_grid(grids)
    assert check_same_grid(grids, tolerance_mm=0.1) == ["b lies 0.1 mm away from a: accepted"]
    assert check_same_grid({"a": grids["a"], "c": grids["a"]}) == []


DEGENERATE: dict[str, dict[str, object]] = {
    "no third axis": {"srow_z": 0},
    "parallel axes": {"srow_x": [-1, -1, 0, 90], "srow_y": 0},
    "NaN": {"srow_x": [np.nan, 0, 0, 0]},
    "spacing of 0": {"sform_code": 0, "pixdim": [1, 1, 0, 1, 0, 0, 0, 0]},
    "quaternion too long": {"sform_code": 0, "qform_code": 1, "quatern_b": 2},
}


@pytest.mark.parametrize("kind", DEGENERATE)
def test_a_degenerate_affine_is_refused(tmp_path, kind):
    path = save_raw(tmp_path / "image.nii", **DEGENERATE[kind])

    with pytest.raises(ImageError, match=r"image.nii has a degenerate affine .*; repair its"):
        read_header(path)


def test_a_header_is_read_without_the_voxels(tmp_path):
    path = save(tmp_path / "image.nii.gz", np.random.default_rng(0).random((48, 48, 48)))
    path.write_bytes(path.read_bytes()[:-1000])

    grid, header = read_header(path)

    assert grid.shape == (48, 48, 48)
    assert np.array_equal(grid.affine, LPS)
    assert header.get_data_dtype() == np.float64


def test_a_qfac_of_0_stands_for_1_and_is_kept(tmp_path, capfd):
    pixdim = [0, 2, 2, 2, 0, 0, 0, 0]
    path = save_raw(tmp_path / "image.nii", sform_code=0, qform_code=1, pixdim=pixdim)
    out = tmp_path / "out.nii"

    grid, header = read_header(path)
    write_label_map(out, np.zeros(SHAPE, np.uint8), header)

    assert grid.spacing_mm == (2, 2, 2)
    assert read_header(out)[1]["pixdim"][0] == 0
    assert capfd.readouterr() == ("", "")


# Label maps


def test_a_label_map_is_uint8_whatever_the_type_of_its_file(tmp_path):
    labels = np.array([0, 1, 2, 4] * 30).reshape(SHAPE)
    for dtype in (np.uint8, np.int16, np.uint16, np.float32, np.float64):
        path = save(tmp_path / "seg.nii.gz", labels.astype(dtype))

        label_map, grid = read_label_map(path)

        assert label_map.dtype == np.uint8
        assert np.array_equal(label_map, labels)
        assert grid.shape == SHAPE


@pytest.mark.parametrize("shape", [(4, 5, 6, 2), (4, 5)])
def test_a_label_map_of_other_than_three_axes_has_a_remedy_for_label_maps(tmp_path, shape):
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(np.ones(shape, np.uint8), np.eye(4)), path)

    with pytest.raises(ImageError) as error:
        read_label_map(path)

    assert str(error.value) == (
        f"{path} has shape {shape}, but one volume of 3 axes is expected; "
        "give one 3D label map of the case"
    )


def test_a_scaled_label_map_is_rounded(tmp_path):
    path = save_raw(tmp_path / "seg.nii", scl_slope=1 / 119)

    # 1/119 in float32, times 119, is not quite 1; the others of the ramp are no integers.
    with pytest.raises(LabelError, match="and 117 more such voxels"):
        read_label_map(path)
    path = save_raw(tmp_path / "seg.nii", scl_slope=1 - 1e-6)
    assert np.array_equal(read_label_map(path)[0], ramp())


@pytest.mark.parametrize(
    ("value", "shown"), [(0.25, "0.25"), (np.nan, "nan"), (256, "256.0"), (-1, "-1.0")]
)
def test_anything_but_small_integers_is_no_label_map(tmp_path, value, shown):
    labels = np.zeros(SHAPE, np.float32)
    labels[0, :2, 0] = value
    path = save(tmp_path / "seg.nii.gz", labels)

    with pytest.raises(LabelError, match=f"seg.nii.gz holds {shown} and 1 more such voxels, but"):
        read_label_map(path)


# Writing


def rotation(angles: tuple[float, float, float]) -> np.ndarray:
    matrix = np.eye(3)
    for axis, angle in enumerate(angles):
        turn = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        turn[first, [first, second]] = np.cos(angle), -np.sin(angle)
        turn[second, [first, second]] = np.sin(angle), np.cos(angle)
        matrix = turn @ matrix
    return matrix


coordinates = st.floats(-300, 300, width=32)


@st.composite
def affines(draw) -> np.ndarray:
    """Any rotation, spacing and offset, mirrored or not."""
    spacing = [draw(st.floats(0.25, 8, width=32)) for _ in range(3)]
    mirrored = [draw(st.sampled_from([-1, 1])) for _ in range(3)]
    affine = np.eye(4)
    turn = rotation(tuple(draw(st.floats(-np.pi, np.pi)) for _ in range(3)))
    affine[:3, :3] = turn * spacing * mirrored
    affine[:3, 3] = [draw(coordinates) for _ in range(3)]
    return affine


@settings(max_examples=60)
@given(
    shape=st.lists(st.integers(1, 4), min_size=3, max_size=4),
    qform=affines(),
    sform=affines(),
    codes=st.tuples(st.sampled_from([0, 1, 2, 4]), st.sampled_from([0, 1, 2, 4])),
    kind=st.tuples(
        st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]),
        st.sampled_from("<>"),
        st.sampled_from([0, 2, 3, 10]),
    ),
    seed=st.integers(0, 2**32 - 1),
)
def test_a_result_lies_on_exactly_the_grid_of_its_input(
    tmp_path_factory, shape, qform, sform, codes, kind, seed
):
    image_class, endianness, units = kind
    folder = tmp_path_factory.mktemp("grid")
    header = image_class.header_class(endianness=endianness)
    header["intent_code"], header["descrip"] = 1002, b"Name^Of^Patient"
    scan = image_class(np.zeros(shape, np.int16), np.eye(4), header)
    scan.set_qform(qform, codes[0])
    scan.set_sform(sform, codes[1])
    scan.header["xyzt_units"] = units
    scan.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Name^Of^Patient"))
    nib.save(scan, folder / "scan.nii.gz")
    scan = nib.load(folder / "scan.nii.gz")
    labels = np.random.default_rng(seed).integers(0, 5, shape[:3], np.uint8)

    write_label_map(folder / "result.nii.gz", labels, read_header(folder / "scan.nii.gz")[1])

    result = nib.load(folder / "result.nii.gz")
    assert np.array_equal(np.asanyarray(result.dataobj), labels)
    assert np.array_equal(result.affine, scan.affine)
    for coded in ("get_qform", "get_sform"):
        (found, code), (wanted, wanted_code) = (getattr(i, coded)(True) for i in (result, scan))
        assert code == wanted_code
        assert np.array_equal(found, wanted) if code else found is wanted is None
    assert result.header.get_zooms() == scan.header.get_zooms()[:3]
    for field in GEOMETRY:
        assert np.array_equal(result.header[field], scan.header[field]), field
    assert type(result) is type(scan)
    assert result.header.get_data_dtype() == np.uint8
    assert result.header["intent_code"] == 0
    written = read_header(folder / "result.nii.gz")[1]
    assert (written["scl_slope"], written["scl_inter"]) == (1, 0)
    assert not result.header.extensions
    assert b"Patient" not in gzip.decompress((folder / "result.nii.gz").read_bytes())


def test_probabilities_are_float32_and_may_go_uncompressed(tmp_path):
    header = read_header(save(tmp_path / "scan.nii.gz"))[1]
    probabilities = np.linspace(0, 1, 120, dtype=np.float32).reshape(SHAPE)

    for name in ("p.nii", "p.nii.gz"):
        write_map(tmp_path / name, probabilities, header)

        image = nib.load(tmp_path / name)
        assert image.get_data_dtype() == np.float32
        assert np.array_equal(np.asanyarray(image.dataobj), probabilities)
    assert (tmp_path / "p.nii").stat().st_size == 352 + 4 * 120


def test_the_same_result_is_the_same_file(tmp_path, monkeypatch):
    header = read_header(save(tmp_path / "scan.nii.gz"))[1]
    labels = (ramp() % 3).astype(np.uint8)

    write_label_map(tmp_path / "a.nii.gz", labels, header)
    monkeypatch.setattr("time.time", lambda: 4e9)
    write_label_map(tmp_path / "b.nii.gz", np.asfortranarray(labels), header)

    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_an_array_that_does_not_fit_its_header_is_a_bug(tmp_path):
    header = read_header(save(tmp_path / "scan.nii.gz"))[1]

    with pytest.raises(ValueError, match=r"shape \(1, 2, 3\), header of \(4, 5, 6\)"):
        write_label_map(tmp_path / "a.nii.gz", np.zeros((1, 2, 3), np.uint8), header)
    with pytest.raises(ValueError, match="type int64 cannot be written as uint8"):
        write_label_map(tmp_path / "a.nii.gz", np.zeros(SHAPE, np.int64), header)


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    header = read_header(save(tmp_path / "scan.nii.gz"))[1]
    out = tmp_path / "out.nii.gz"
    out.write_text("older result")
    write_bytes = Path.write_bytes

    def full(path: Path, content: bytes) -> int:
        write_bytes(path, content[:20])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match=r"out.nii.gz \(No space left on device\); give a folder"):
        write_label_map(out, np.zeros(SHAPE, np.uint8), header)

    assert out.read_text() == "older result"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.nii.gz", "scan.nii.gz"]


def test_nothing_half_written_stays_on_a_disk_that_is_really_full(tmp_path):
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here: that needs Linux and root")
    try:
        noise = np.random.default_rng(0).random((32, 32, 32), dtype=np.float32)
        header = nib.Nifti1Image(noise, np.eye(4)).header

        with pytest.raises(OutputError, match="No space left on device"):
            write_map(tmp_path / "out.nii", noise, header)

        assert list(tmp_path.iterdir()) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_an_unwritable_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("not a folder")

    header = read_header(save(tmp_path / "scan.nii.gz"))[1]

    for folder, reason in (("missing", "No such file"), ("file", "Not a directory")):
        path = tmp_path / folder / "a.nii"
        with pytest.raises(OutputError, match=rf"cannot write .*a.nii \({reason}.*; give a folder"):
            write_label_map(path, np.zeros(SHAPE, np.uint8), header)


def test_results_for_real_scans_lie_on_their_grid(real_data, tmp_path):
    out = tmp_path / "out.nii.gz"
    folders = ("brats2021/BraTS2021_00006", "brats2024_labels", "brats2023", "orientation_ras")
    for folder in folders:
        path = sorted((real_data / folder).rglob("*.nii.gz"))[0]
        grid, header = read_header(path)

        write_label_map(out, np.zeros(grid.shape, np.uint8), header)

        scan, result = nib.load(path), nib.load(out)
        assert result.shape == scan.shape
        assert np.array_equal(result.affine, scan.affine)
        assert np.array_equal(grid.affine, scan.affine)
        for field in GEOMETRY:
            assert np.array_equal(result.header[field], scan.header[field]), field
