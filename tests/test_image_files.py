"""Volumes of MetaImage, NRRD, Analyze, NIfTI and stacks: grid, values, names, faults."""

from __future__ import annotations

import bz2
import gzip
import pickle
import re
import zlib

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from nifti_files import ramp, save
from PIL import Image

from volseg.conversion.image_files.finding import find_image_series
from volseg.errors import ConfigError, ImageError, LabelError, ResourceError

# Axes turned about two axes of the world, in LPS as ITK has them.
OBLIQUE = np.linalg.qr(np.array([[0.9, -0.3, 0.1], [0.2, 0.95, 0.2], [-0.15, -0.1, 0.97]]))[0]
SPACING = (0.8, 0.9, 5.5)
ORIGIN = (-91.25, 30.5, -12.125)


def itk_image(array=None, direction=OBLIQUE):
    image = SimpleITK.GetImageFromArray((ramp() if array is None else array).transpose(2, 1, 0))
    image.SetSpacing(SPACING)
    image.SetOrigin(ORIGIN)
    image.SetDirection(direction.ravel().tolist())
    return image


def affine_by_itk(path):
    """Affine to RAS of a file as ITK reads it."""
    image = SimpleITK.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1, -1, 1, 1]) @ affine


def only(folder, **options):
    """The one series of a folder without a fault."""
    found = find_image_series(folder, **options)
    assert (found.broken, len(found.series)) == ((), 1)
    return found.series[0]


def fault(folder, **options):
    """The sentence on the one fault of a folder without a series."""
    found = find_image_series(folder, **options)
    assert (found.series, len(found.broken)) == ((), 1)
    return found.broken[0].sentence


def write_mha(path, voxels=None, array=None, **keys):
    """An MHA by hand; a key of None is left out."""
    array = ramp() if array is None else array
    header = {
        "ObjectType": "Image",
        "NDims": 3,
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": "1 0 0 0 1 0 0 0 1",
        "Offset": "0 0 0",
        "ElementSpacing": "1 1 1",
        "DimSize": " ".join(map(str, array.shape)),
        "ElementType": "MET_SHORT",
    } | keys
    header["ElementDataFile"] = header.pop("ElementDataFile", "LOCAL")
    text = "".join(f"{key} = {value}\n" for key, value in header.items() if value is not None)
    path.write_bytes(text.encode() + (array.tobytes(order="F") if voxels is None else voxels))
    return path


def write_nrrd(path, voxels=None, array=None, more="", **fields):
    """An NRRD by hand; a field of None is left out, and `_` stands for a space."""
    array = ramp() if array is None else array
    header = {
        "type": "short",
        "dimension": array.ndim,
        "space": "left-posterior-superior",
        "sizes": " ".join(map(str, array.shape)),
        "space_directions": "(1,0,0) (0,1,0) (0,0,1)",
        "kinds": "domain domain domain",
        "endian": "little",
        "encoding": "raw",
        "space_origin": "(0,0,0)",
    } | fields
    lines = [f"{key.replace('_', ' ')}: {v}\n" for key, v in header.items() if v is not None]
    text = "NRRD0004\n# a comment\n" + "".join(lines) + more + "\n"
    path.write_bytes(text.encode() + (array.tobytes(order="F") if voxels is None else voxels))
    return path


# Geometry and values, against ITK and nibabel


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("name", ["P7_t1.mha", "P7_t1.mhd", "P7_t1.nrrd", "P7_t1.nhdr"])
def test_an_oblique_volume_of_itk_lies_where_itk_says(tmp_path, name, compressed):
    SimpleITK.WriteImage(itk_image(), str(tmp_path / name), compressed)

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, affine_by_itk(tmp_path / name), atol=1e-6)
    assert np.array_equal(series.read(), ramp())
    assert (series.read().dtype, series.notes) == (np.int16, ())


@pytest.mark.parametrize(
    "dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.float32]
)
@pytest.mark.parametrize("ending", ["mha", "nrrd"])
def test_every_type_of_voxels_is_read_as_it_is(tmp_path, dtype, ending):
    SimpleITK.WriteImage(itk_image(ramp(dtype=dtype)), str(tmp_path / f"t1.{ending}"))

    read = only(tmp_path).read()

    assert read.dtype == dtype
    assert np.array_equal(read, ramp())


def test_float64_becomes_float32(tmp_path):
    SimpleITK.WriteImage(itk_image(ramp(dtype=np.float64) / 3), str(tmp_path / "t1.mha"))

    read = only(tmp_path).read()

    assert read.dtype == np.float32
    assert np.array_equal(read, (ramp() / 3).astype(np.float32))


@pytest.mark.parametrize(
    ("space", "orientation"),
    [
        ("RAS", "RAS"),
        ("right-anterior-superior", "RAS"),
        ("left-anterior-superior", "LAS"),
        ("LPS", "LPS"),
    ],
)
def test_a_nrrd_says_the_directions_of_its_space(tmp_path, space, orientation):
    write_nrrd(tmp_path / "t1.nrrd", space=space, space_origin="(10,20,30)")

    grid = only(tmp_path).grid

    assert grid.orientation == orientation
    assert np.allclose(grid.affine, affine_by_itk(tmp_path / "t1.nrrd"))


def test_flipped_and_exchanged_axes_stay_as_in_the_file(tmp_path):
    write_nrrd(tmp_path / "t1.nrrd", space_directions="(0,-2,0) (0,0,-3) (1,0,0)")

    grid = only(tmp_path).grid

    assert (grid.orientation, grid.spacing_mm) == ("AIL", (2, 3, 1))
    assert np.allclose(grid.affine, affine_by_itk(tmp_path / "t1.nrrd"))


def test_a_measurement_frame_does_not_turn_grey_values(tmp_path):
    write_nrrd(tmp_path / "t1.nrrd", measurement_frame="(0,1,0) (-1,0,0) (0,0,1)")

    assert only(tmp_path).grid.orientation == "LPS"


def test_a_metaimage_with_rows_of_directions_is_turned_as_itk_turns_it(tmp_path):
    write_mha(tmp_path / "t1.mha", TransformMatrix="0 1 0 0 0 1 1 0 0", ElementSpacing="1 2 3")

    assert np.allclose(only(tmp_path).grid.affine, affine_by_itk(tmp_path / "t1.mha"))


@pytest.mark.parametrize(
    ("write", "keys"),
    [
        (write_mha, {"BinaryDataByteOrderMSB": "True"}),
        (write_nrrd, {"endian": "big"}),
    ],
)
def test_big_endian_voxels_are_read(tmp_path, write, keys):
    ending = "mha" if write is write_mha else "nrrd"
    write(tmp_path / f"t1.{ending}", ramp().astype(">i2").tobytes(order="F"), **keys)

    assert np.array_equal(only(tmp_path).read(), ramp())


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("gzip", gzip.compress),
        ("bzip2", bz2.compress),
        ("ascii", lambda raw: " ".join(map(str, np.frombuffer(raw, np.int16))).encode()),
    ],
)
def test_packed_voxels_of_nrrd_are_read(tmp_path, encoding, pack):
    write_nrrd(tmp_path / "t1.nrrd", pack(ramp().tobytes(order="F")), encoding=encoding)

    assert np.array_equal(only(tmp_path).read(), ramp())


def test_slices_in_files_of_their_own_are_read_in_order(tmp_path):
    for k in range(6):
        (tmp_path / f"s{k}.raw").write_bytes(ramp()[..., k].tobytes(order="F"))
    names = "".join(f"s{k}.raw\n" for k in range(6)).encode()
    write_mha(tmp_path / "a_t1.mhd", names, ElementDataFile="LIST")
    write_mha(tmp_path / "b_t1.mhd", b"", ElementDataFile="s%d.raw 0 5 1")
    write_nrrd(tmp_path / "c_t1.nhdr", b"", more="data file: s%d.raw 0 5 1\n")
    write_nrrd(tmp_path / "d_t1.nhdr", b"", more=f"data file: LIST\n{names.decode()}")

    found = find_image_series(tmp_path)

    assert (found.broken, len(found.series)) == ((), 4)
    assert all(np.array_equal(series.read(), ramp()) for series in found.series)


def test_voxels_at_the_end_of_a_file_are_found_by_their_number(tmp_path):
    (tmp_path / "voxels.raw").write_bytes(b"another header" + ramp().tobytes(order="F"))
    write_mha(tmp_path / "t1.mhd", b"", ElementDataFile="voxels.raw", HeaderSize=-1)
    write_nrrd(tmp_path / "t2.nhdr", b"", data_file="voxels.raw", byte_skip=-1)

    assert [np.array_equal(s.read(), ramp()) for s in find_image_series(tmp_path).series] == [
        True,
        True,
    ]


@pytest.mark.parametrize(
    ("slope", "offset", "dtype"), [(2, -1024, np.int16), (1, 40000, np.int32), (0.5, 0, np.float32)]
)
def test_slope_and_intercept_give_integers_where_that_is_exact(tmp_path, slope, offset, dtype):
    keys = {"ElementToIntensityFunctionSlope": slope, "ElementToIntensityFunctionOffset": offset}
    write_mha(tmp_path / "t1.mha", **keys)

    read = only(tmp_path).read()

    assert read.dtype == dtype
    assert np.array_equal(read, ramp(dtype=int) * slope + offset)


def test_scaled_nifti_gives_integers_where_that_is_exact(tmp_path):
    image = nib.Nifti1Image(ramp(), np.eye(4))
    image.header["scl_slope"], image.header["scl_inter"] = 1, -1024
    raw = image.header.copy()
    raw["vox_offset"] = 352
    (tmp_path / "ct.nii").write_bytes(raw.binaryblock + bytes(4) + ramp().tobytes(order="F"))

    read = only(tmp_path).read()

    assert (read.dtype, read.min()) == (np.int16, -1024)


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".img", ".hdr"])
def test_nifti_in_one_file_or_two_lies_where_nibabel_says(tmp_path, ending):
    affine = affine_for(OBLIQUE)
    kind = nib.Nifti1Image if ".nii" in ending else nib.Nifti1Pair
    nib.save(kind(ramp(), affine), tmp_path / f"P7_t1{ending}")

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, nib.load(tmp_path / f"P7_t1{ending}").affine)
    assert np.array_equal(series.read(), ramp())


def affine_for(direction):
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * SPACING, ORIGIN
    return affine


def test_a_packed_pair_is_read(tmp_path):
    nib.save(nib.Nifti1Pair(ramp(), affine_for(OBLIQUE)), tmp_path / "t1.img")
    for name in ("t1.hdr", "t1.img"):
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((tmp_path / name).read_bytes()))
        (tmp_path / name).unlink()

    assert np.array_equal(only(tmp_path).read(), ramp())


# What a file does not say is said, given, or refused


def test_analyze_is_taken_as_las_and_says_so(tmp_path):
    image = nib.AnalyzeImage(ramp(), np.diag([-2, 3, 4, 1]))
    nib.save(image, tmp_path / "P7_t1.img")

    series = only(tmp_path)

    assert series.grid.orientation == "LAS"
    assert series.notes == (
        "the file says no orientation: LAS assumed, as SPM does",
        "the file says no position: its centre is taken as 0",
    )
    assert np.allclose(series.grid.affine, nib.load(tmp_path / "P7_t1.img").affine)


def test_the_origin_of_spm_is_used(tmp_path):
    affine = np.array([[-2, 0, 0, 4], [0, 3, 0, -6], [0, 0, 4, -8], [0, 0, 0, 1]])
    image = nib.Spm99AnalyzeImage(ramp(), None)
    image.header.set_zooms((2, 3, 4))
    image.header["origin"][:3] = 3
    nib.save(image, tmp_path / "t1.img")

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, affine)
    assert series.notes == ("the file says no orientation: LAS assumed, as SPM does",)


def test_the_matrix_of_spm_is_used(tmp_path):
    nib.save(nib.Spm99AnalyzeImage(ramp(), affine_for(OBLIQUE)), tmp_path / "t1.img")

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, affine_for(OBLIQUE))
    assert series.notes == ("position and orientation by t1.mat, as SPM does",)


def test_the_slope_of_spm_is_used_and_said(tmp_path):
    image = nib.Spm99AnalyzeImage(ramp() * 0.25, np.diag([-1, 1, 1, 1]))
    image.set_data_dtype(np.int16)
    nib.save(image, tmp_path / "t1.img")
    slope = float(nib.load(tmp_path / "t1.img").dataobj.slope)

    series = only(tmp_path)

    assert np.allclose(series.read(), ramp() * 0.25, atol=slope)
    assert any(note.startswith("values multiplied by") for note in series.notes)


def test_a_given_orientation_replaces_an_assumed_one_but_not_that_of_a_file(tmp_path):
    nib.save(nib.AnalyzeImage(ramp(), np.eye(4)), tmp_path / "a_t1.img")
    write_nrrd(tmp_path / "b_t1.nrrd")

    found = find_image_series(tmp_path, orientation="RAS")

    assert [series.grid.orientation for series in found.series] == ["RAS", "LPS"]
    assert found.series[0].notes[0] == "the file says no orientation: RAS, as given"


def test_a_nrrd_without_space_is_taken_as_itk_takes_it(tmp_path):
    fields = {"space_directions": None, "space_origin": None, "spacings": "1 2 3"}
    write_nrrd(tmp_path / "t1.nrrd", space=None, **fields)

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, affine_by_itk(tmp_path / "t1.nrrd"))
    assert series.notes[0] == "the file says no orientation: LPS assumed, as ITK does"


def test_a_metaimage_without_directions_is_taken_as_itk_takes_it(tmp_path):
    write_mha(tmp_path / "t1.mha", TransformMatrix=None, Offset=None)

    series = only(tmp_path)

    assert np.allclose(series.grid.affine, affine_by_itk(tmp_path / "t1.mha"))
    assert len(series.notes) == 2


@pytest.mark.parametrize(
    ("write", "fields"),
    [
        (write_mha, {"ElementSpacing": None}),
        (write_nrrd, {"space_directions": None}),
    ],
)
def test_the_size_of_a_voxel_is_never_guessed(tmp_path, write, fields):
    write(tmp_path / f"t1.{'mha' if write is write_mha else 'nrrd'}", **fields)

    assert fault(tmp_path) == (
        "does not say the size of its voxels; give it in mm, such as --spacing 0.5,0.5,3"
    )
    assert only(tmp_path, spacing_mm=(1, 2, 3)).grid.spacing_mm == (1, 2, 3)


def test_impossible_options_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"--spacing is 1,2,0, expected three numbers from 0\.05"):
        find_image_series(tmp_path, spacing_mm=(1, 2, 0))
    with pytest.raises(ConfigError, match="--orientation is 'RAR', expected one letter each"):
        find_image_series(tmp_path, orientation="RAR")


# Stacks


def write_stack(folder, name="{:03}.png", first=1):
    folder.mkdir(parents=True, exist_ok=True)
    for k in range(6):
        image = Image.fromarray(ramp(dtype=np.uint8)[..., k].T.copy())
        image.save(folder / name.format(k + first))
    return folder


@pytest.mark.parametrize("name", ["{:03}.png", "{}.tif", "IM-{:04}.png", "scan_{}.png"])
def test_numbered_slices_are_a_volume_named_by_their_folder(tmp_path, name):
    write_stack(tmp_path / "P7" / "t1c", name, first=5)

    series = only(tmp_path, spacing_mm=(0.5, 0.6, 3))

    assert np.array_equal(series.read(), ramp())
    assert (series.grid.orientation, series.grid.spacing_mm) == ("LPS", (0.5, 0.6, 3))
    assert (series.study.key, series.facts.description) == ("P7", "t1c")
    assert series.notes == (
        "voxels of 0.5,0.6,3 mm, as given",
        "the file says no orientation: LPS assumed, columns to the left, rows to the back, slices "
        "to the head in their order",
    )


def test_slices_of_several_channels_in_one_folder_are_sorted_by_their_names(tmp_path):
    write_stack(tmp_path / "P7", "P7_t1_{:02}.png")
    write_stack(tmp_path / "P7", "P7_flair_{:02}.png")

    found = find_image_series(tmp_path, spacing_mm=(1, 1, 1))

    assert [s.facts.description for s in found.series] == ["P7_flair", "P7_t1"]
    assert {s.study.key for s in found.series} == {"P7"}


def test_pages_of_a_tiff_are_a_volume(tmp_path):
    pages = [Image.fromarray(ramp(dtype=np.uint16)[..., k].T.copy()) for k in range(6)]
    pages[0].save(tmp_path / "P7_t1.tif", save_all=True, append_images=pages[1:])

    series = only(tmp_path, spacing_mm=(1, 1, 2), orientation="RAS")

    assert np.array_equal(series.read(), ramp())
    assert series.grid.orientation == "RAS"


def test_a_stack_without_a_size_of_voxels_is_refused(tmp_path):
    write_stack(tmp_path / "P7" / "t1c")

    assert fault(tmp_path).startswith("does not say the size of its voxels; give it in mm")


def test_missing_slices_are_named(tmp_path):
    folder = write_stack(tmp_path / "P7" / "t1c")
    (folder / "003.png").unlink()
    (folder / "004.png").unlink()

    assert fault(tmp_path, spacing_mm=(1, 1, 1)) == (
        "lacks 2 of the slices 1 to 6 (3, 4); add the missing slices, or number the slices without "
        "gaps"
    )


def test_single_images_are_no_volume_with_most_slices_missing(tmp_path):
    folder = write_stack(tmp_path / "images", "{}.png")
    for k in range(2, 7):
        (folder / f"{k}.png").rename(folder / f"{300 * k}.png")

    sentence = fault(tmp_path, spacing_mm=(1, 1, 1))

    assert "have 6 of the numbers 1 to 1800" in sentence
    assert "leave single 2D images as they are, which split and infer read" in sentence


def test_two_files_of_a_slice_are_refused(tmp_path):
    folder = write_stack(tmp_path / "t1c")
    (folder / "3.png").write_bytes((folder / "003.png").read_bytes())

    assert fault(tmp_path, spacing_mm=(1, 1, 1)).startswith("has two files of slice 3")


def test_a_slice_of_another_size_is_refused(tmp_path):
    folder = write_stack(tmp_path / "t1c")
    Image.new("L", (9, 9)).save(folder / "003.png")

    assert "003.png has 9 x 9 pixels, but" in fault(tmp_path, spacing_mm=(1, 1, 1))


def test_colours_are_no_grey_values(tmp_path):
    for k in range(3):
        Image.new("RGB", (4, 5), (k, 0, 9)).save(tmp_path / f"t1_{k}.png")
    pages = [Image.new("RGB", (4, 5), (k, 0, 0)) for k in range(3)]
    pages[0].save(tmp_path / "t2.tif", save_all=True, append_images=pages[1:])

    found = find_image_series(tmp_path, spacing_mm=(1, 1, 1))

    assert found.broken[0].sentence.startswith("has a page of mode RGB, but grey values are")
    with pytest.raises(ImageError, match="is 8-bit RGB with colours"):
        found.series[0].read()


def test_a_single_picture_is_no_volume(tmp_path):
    Image.new("L", (4, 5)).save(tmp_path / "figure.png")

    (left,) = find_image_series(tmp_path).left_out

    assert left.name == "figure.png"
    assert left.reason.startswith("a single 2D image")


# Names: patients, studies, label maps


def test_the_layout_of_brats_2015_is_one_case_with_its_label_map(tmp_path):
    case = tmp_path / "HGG" / "brats_2013_pat0001_1"
    for number, kind in enumerate(["MR_T1", "MR_T1c", "MR_T2", "MR_Flair", "OT"]):
        more = "_3more" if kind == "OT" else ""
        name = f"VSD.Brain{more}.XX.O.{kind}.{54513 + number}"
        (case / name).mkdir(parents=True)
        write_mha(case / name / f"{name}.mha", array=ramp() % 5)

    found = find_image_series(tmp_path)

    assert found.broken == ()
    assert {series.study.key for series in found.series} == {"brats_2013_pat0001_1"}
    labels = [series for series in found.series if series.facts.is_label]
    assert [".OT." in series.name for series in labels] == [True]
    assert labels[0].read().dtype == np.uint8


@pytest.mark.parametrize(
    ("names", "study"),
    [
        (("P7_t1", "P7_t1ce", "P7_seg"), "P7"),
        (("P7/t1", "P7/t1ce", "P7/seg"), "P7"),
        (("P7/P7_t1", "P7/P7_t1ce", "P7/odd"), "P7"),
        (("P7/visit/SE_2_t1", "P7/visit/SE_13_t1c", "P7/visit/SE_5_fla"), "P7_visit"),
    ],
)
def test_files_of_one_examination_share_a_study(tmp_path, names, study):
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        write_nrrd(tmp_path / f"{name}.nrrd", array=ramp() % 5)

    series = find_image_series(tmp_path).series

    assert {one.study.key for one in series} == {study}
    assert {one.patient.key for one in series} == {"p7"}


def test_the_same_name_means_the_same_in_all_formats(tmp_path):
    write_mha(tmp_path / "P7_t1.mha")
    write_nrrd(tmp_path / "P7_t2.nrrd")
    nib.save(nib.AnalyzeImage(ramp(), np.eye(4)), tmp_path / "P7_flair.img")
    save(tmp_path / "P7_t1ce.nii.gz")

    series = find_image_series(tmp_path).series

    assert {one.study.key for one in series} == {"P7"}
    assert sorted(one.facts.description for one in series) == [
        "P7_flair",
        "P7_t1",
        "P7_t1ce",
        "P7_t2",
    ]


def test_the_date_of_a_study_is_that_of_its_name(tmp_path):
    write_mha(tmp_path / "TCGA_CS_4941_19960909_t1.mha")

    assert str(only(tmp_path).study.date) == "1996-09-09"


@pytest.mark.parametrize("name", ["P7.seg.nrrd", "P7_t1c.seg.nrrd", "Segmentation.seg.nrrd"])
def test_a_segmentation_of_slicer_is_a_label_map_with_names(tmp_path, name):
    keys = "".join(
        f"Segment{n}_Name:={text}\nSegment{n}_LabelValue:={n + 1}\nSegment{n}_Layer:=0\n"
        for n, text in enumerate(["necrosis", "edema"])
    )
    write_mha(tmp_path / "P7_t1.mha")
    write_nrrd(tmp_path / name, array=ramp() % 3, more=keys)

    images = find_image_series(tmp_path).series

    (labels,) = [one for one in images if one.facts.is_label]
    assert labels.notes[0] == "labels by 3D Slicer: 1 = necrosis, 2 = edema"
    assert labels.study.key == "P7" or name == "Segmentation.seg.nrrd"


def test_a_segmentation_in_layers_is_refused_in_words(tmp_path):
    directions = "none (1,0,0) (0,1,0) (0,0,1)"
    array = ramp((2, 4, 5, 6)) % 2
    kinds = {"kinds": "list domain domain domain", "space_directions": directions}
    write_nrrd(tmp_path / "P7.seg.nrrd", array=array, **kinds)

    assert fault(tmp_path) == (
        "holds segments that overlap, in layers of 2 x 4 x 5 x 6 voxels, but a label map has one "
        "label in each voxel; in 3D Slicer, export the segments as a label map"
    )


def test_segments_in_two_layers_or_of_one_label_are_refused(tmp_path):
    keys = "Segment0_Layer:=0\nSegment1_Layer:=1\n"
    write_nrrd(tmp_path / "a.seg.nrrd", array=ramp() % 2, more=keys)
    keys = "Segment0_LabelValue:=1\nSegment1_LabelValue:=1\n"
    write_nrrd(tmp_path / "b.seg.nrrd", array=ramp() % 2, more=keys)

    first, second = find_image_series(tmp_path).broken

    assert first.sentence.startswith("holds segments that overlap, in 2 layers")
    assert second.sentence.startswith("gives label 1 to two segments")


def test_a_label_map_with_fractions_is_refused(tmp_path):
    array = (ramp() / 7).astype(np.float32)
    SimpleITK.WriteImage(itk_image(array), str(tmp_path / "P7_seg.mha"))

    with pytest.raises(LabelError, match=r"P7_seg.mha holds 0\.14.* and \d+ more such voxels"):
        only(tmp_path).read()


def test_an_empty_label_map_is_a_label_map(tmp_path):
    write_mha(tmp_path / "P7_seg.mha", array=ramp() * 0)

    assert not only(tmp_path).read().any()


# Faults


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        ({"ElementDataFile": "gone.raw"}, "has its voxels in gone.raw, which does not exist; copy"),
        ({"DimSize": "4 5 7"}, "is truncated: it holds 240 bytes of voxels, but the header announ"),
        ({"DimSize": "4 5 5"}, "holds 240 bytes of voxels, but the header announces 200; correct"),
        ({"DimSize": "4 5"}, "has 4 x 5 voxels, but one volume of 3 axes is expected; export one"),
        ({"DimSize": "4 5 0"}, "has 4 x 5 x 0 voxels, but 1 to 32767 along each axis are expect"),
        ({"DimSize": "4 5 x"}, "has DimSize '4 5 x' in its header, but numbers are expected; cor"),
        ({"ElementNumberOfChannels": 3}, "holds 3 values in each voxel, but one grey value is e"),
        ({"ElementType": "MET_STRING"}, "has the type of voxels 'MET_STRING' in its header, but"),
        ({"ElementSpacing": "1 1 0"}, "has a degenerate geometry"),
        ({"ElementSpacing": "1 1 nan"}, "has a degenerate geometry"),
        ({"ElementSpacing": "0.001 1 1"}, "has voxels of 0.001 x 1 x 1 mm, but 0.05 to 20 mm are"),
        ({"TransformMatrix": "2 0 0 0 1 0 0 0 1"}, "has directions of length 2, 1, 1 in its Tra"),
        ({"TransformMatrix": "1 0 0 1 0 0 0 0 1"}, "has a degenerate geometry"),
        ({"TransformMatrix": "1 0 0 0"}, "has TransformMatrix '1 0 0 0' in its header, but 9 num"),
        ({"ElementDataFile": None}, "is no MetaImage: its header has no ElementDataFile; copy"),
        ({"DistanceUnits": "cm"}, "has DistanceUnits 'cm' in its header, but mm is expected"),
        ({"ElementDataFile": "s%d.raw 1 x 1"}, "has a pattern of files '1 x 1' in its header"),
        ({"CompressedData": "True", "DimSize": "4000 4000 4000"}, "is truncated: it holds 240"),
    ],
)
def test_a_faulty_metaimage_is_named_in_one_sentence(tmp_path, keys, sentence):
    write_mha(tmp_path / "t1.mha", **keys)
    write_mha(tmp_path / "t2.mha")

    found = find_image_series(tmp_path)

    assert [one.name for one in found.series] == ["t2.mha"]
    assert found.broken[0].sentence.startswith(sentence)
    assert "\n" not in found.broken[0].sentence
    assert "; " in found.broken[0].sentence


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"space": "scanner-xyz"}, "has space 'scanner-xyz' in its header, but RAS, LAS or LPS is"),
        ({"type": "block"}, "has the type of voxels 'block' in its header, but a type of numbers"),
        ({"encoding": "hex"}, "has encoding 'hex' in its header, but raw, gzip, bzip2 or text is"),
        ({"endian": None}, "has no endian in its header; export it again"),
        ({"sizes": "3 4 5 2"}, "has 3 x 4 x 5 x 2 voxels with axes of the kinds domain domain"),
        ({"space_directions": "(1,0,0) (0,1,0)"}, "has space directions '(1,0,0) (0,1,0)' in its"),
        ({"space_directions": "(1,0,0) (0,1,0) (1,1,0)"}, "has a degenerate geometry"),
        ({"space_units": '"cm" "cm" "cm"'}, "has space units 'cm' in its header, but mm is expe"),
        ({"data_file": "gone.raw"}, "has its voxels in gone.raw, which does not exist; copy that"),
    ],
)
def test_a_faulty_nrrd_is_named_in_one_sentence(tmp_path, fields, sentence):
    write_nrrd(tmp_path / "t1.nrrd", **fields)

    assert fault(tmp_path).startswith(sentence)


def test_a_missing_slice_of_a_list_is_named(tmp_path):
    for k in range(5):
        (tmp_path / f"s{k}.raw").write_bytes(ramp()[..., k].tobytes(order="F"))
    names = "".join(f"s{k}.raw\n" for k in range(6)).encode()
    write_mha(tmp_path / "t1.mhd", names, ElementDataFile="LIST")
    write_mha(tmp_path / "t2.mhd", names[:-7], ElementDataFile="LIST")

    first, second = find_image_series(tmp_path).broken

    assert first.sentence.startswith("has its voxels in s5.raw, which does not exist")
    assert second.sentence.startswith("names 5 files of voxels, but its header announces 6 slices")


@pytest.mark.parametrize("cut", [30, 200])
def test_truncated_packed_voxels_are_refused(tmp_path, cut):
    rng = np.random.default_rng(0)
    array = rng.integers(0, 2000, (4, 5, 6), np.int16)
    packed = zlib.compress(array.tobytes(order="F"))[:cut]
    write_mha(tmp_path / "t1.mha", packed, CompressedData="True")
    write_nrrd(tmp_path / "t2.nrrd", gzip.compress(array.tobytes())[:cut], encoding="gzip")
    save(tmp_path / "t1c.nii.gz", array)
    (tmp_path / "t1c.nii.gz").write_bytes((tmp_path / "t1c.nii.gz").read_bytes()[: cut + 100])

    for series in find_image_series(tmp_path).series:
        with pytest.raises(ImageError, match=r"damaged|truncated"):
            series.read()


def test_more_packed_voxels_than_announced_are_refused(tmp_path):
    packed = zlib.compress(bytes(10**6))
    write_mha(tmp_path / "t1.mha", packed, CompressedData="True")

    with pytest.raises(ImageError, match="holds more than 240 bytes of voxels"):
        only(tmp_path).read()


def test_a_header_of_huge_sizes_takes_no_memory(tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.memory.available", lambda: 10**6)
    voxels = zlib.compress(bytes(2**24))
    write_mha(tmp_path / "t1.mha", voxels, DimSize="256 256 128", CompressedData="True")

    with pytest.raises(ResourceError, match=r"t1\.mha would take"):
        only(tmp_path).read()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_voxels_that_are_no_numbers_are_refused(tmp_path, value):
    array = ramp(dtype=np.float32)
    array[1, 2, 3] = value
    SimpleITK.WriteImage(itk_image(array), str(tmp_path / "t1.mha"))

    with pytest.raises(ImageError, match=r"t1.mha holds 1 NaN or infinite voxels"):
        only(tmp_path).read()


def test_headers_and_voxels_of_analyze_belong_together(tmp_path):
    nib.save(nib.AnalyzeImage(ramp(), np.eye(4)), tmp_path / "a_t1.img")
    (tmp_path / "a_t1.hdr").unlink()
    nib.save(nib.AnalyzeImage(ramp(), np.eye(4)), tmp_path / "b_t1.img")
    (tmp_path / "b_t1.img").unlink()
    (tmp_path / "c.hdr").write_text("ENVI\n")

    found = find_image_series(tmp_path)

    assert [one.sentence for one in found.broken] == [
        "voxels without a header a_t1.hdr beside them; copy the header too",
        "has its voxels in b_t1.img, which does not exist; copy that file too, into the same "
        "folder",
    ]
    assert [one.name for one in found.left_out] == ["c.hdr"]


def test_an_analyze_header_of_other_slices_needs_an_orientation(tmp_path):
    nib.save(nib.AnalyzeImage(ramp(), np.eye(4)), tmp_path / "t1.img")
    header = bytearray((tmp_path / "t1.hdr").read_bytes())
    header[252] = 2
    (tmp_path / "t1.hdr").write_bytes(header)

    assert fault(tmp_path).startswith("has orient 2 in its header, but only 0 (axial slices)")
    assert only(tmp_path, orientation="ASL").grid.orientation == "ASL"


def test_volumes_of_time_and_vectors_are_refused(tmp_path):
    save(tmp_path / "a_t1.nii.gz", ramp((4, 5, 6, 2)))
    write_mha(tmp_path / "b_t1.mha", DimSize="4 5 3 2", NDims=4)

    by_nifti, by_mha = find_image_series(tmp_path).broken

    assert by_nifti.sentence.startswith("has shape (4, 5, 6, 2), but one volume of 3 axes is exp")
    assert by_mha.sentence.startswith("has 4 x 5 x 3 x 2 voxels, but one volume of 3 axes is exp")


def test_other_files_are_not_mentioned(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "IM1.img").write_bytes(bytes(128) + b"DICM" + bytes(100))

    found = find_image_series(tmp_path)

    assert (found.series, found.left_out, found.broken) == ((), (), ())


def test_texts_of_headers_are_not_passed_on(tmp_path):
    write_mha(tmp_path / "a_t1.mha", Comment="DOE^JANE", PatientName="DOE^JANE")
    write_nrrd(tmp_path / "b_t1.nrrd", more="PatientName:=DOE^JANE\n", content='"DOE^JANE"')
    image = nib.AnalyzeImage(ramp(), np.eye(4))
    nib.save(image, tmp_path / "c_t1.img")
    header = bytearray((tmp_path / "c_t1.hdr").read_bytes())
    header[148:156] = b"DOE^JANE"
    (tmp_path / "c_t1.hdr").write_bytes(header)

    found = find_image_series(tmp_path)

    assert len(found.series) == 3
    assert not re.search("DOE", repr(found))


def test_a_series_travels_to_other_processes(tmp_path):
    write_mha(tmp_path / "t1.mha")
    write_stack(tmp_path / "t1c")

    for series in find_image_series(tmp_path, spacing_mm=(1, 1, 1)).series:
        assert np.array_equal(pickle.loads(pickle.dumps(series)).read(), ramp())


def test_the_real_case_of_brats_2015_lies_where_itk_says(real_data):
    found = find_image_series(real_data / "brats2015_mha")

    assert (found.broken, len(found.series)) == ((), 5)
    for series in found.series:
        assert np.allclose(series.grid.affine, affine_by_itk(series.files[0]), atol=1e-6)
        by_itk = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(series.files[0])))
        assert np.array_equal(series.read(), by_itk.transpose(2, 1, 0))
