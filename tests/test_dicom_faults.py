"""Faults of DICOM series and files: a sentence each, and the others are used."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from dicom_files import Header, compress, uid, write_mosaic, write_multi_frame, write_series
from pydicom import dcmread
from pydicom.uid import MPEG4HP41

from volseg.conversion.dicom.finding import find_dicom_series
from volseg.errors import DataListError, ImageError

AXIAL = np.diag([-1.5, -1.25, 3, 1])
AXIAL[:3, 3] = 9, 6, -9


def voxels(slices=8, seed=0):
    return np.random.default_rng(seed).integers(0, 1000, (12, 10, slices)).astype(np.uint16)


def write(folder, series="1", slices=8, **writing):
    """Write a series `NAME: series 1, scan`."""
    header = Header(series=series, tags={"SeriesDescription": "scan", **writing.pop("tags", {})})
    return write_series(folder, voxels(slices), writing.pop("affine", AXIAL), header, **writing)


def the_fault(folder):
    """Sentence of the one fault of a folder, whose other series is found."""
    write(folder / "other", series="other", tags={"SeriesNumber": 9})
    finding = find_dicom_series(folder)
    assert [series.name for series in finding.series] == ["other: series 9, scan"]
    (broken,) = finding.broken
    assert broken.patient in (None, finding.series[0].patient.key)
    return f"{broken.name}: {broken.sentence}"


def test_a_missing_slice_is_a_gap(tmp_path):
    paths = write(tmp_path / "in")
    paths[3].unlink()

    assert the_fault(tmp_path) == (
        "in: series 1, scan: lacks 1 slice: between IM0003.dcm and IM0005.dcm lie 6 mm, elsewhere "
        "3 mm; export the whole series again"
    )


def test_several_gaps_are_counted(tmp_path):
    paths = write(tmp_path / "in", slices=16)
    for k in (3, 9, 10):
        paths[k].unlink()

    assert the_fault(tmp_path) == (
        "in: series 1, scan: lacks 3 slices: between IM0003.dcm and IM0005.dcm lie 6 mm, elsewhere "
        "3 mm, and 1 more gap; export the whole series again"
    )


def test_slices_at_two_distances_are_no_grid(tmp_path):
    write(
        tmp_path / "in", each=lambda k: {"ImagePositionPatient": [0, 0, 3 * k + 2 * max(k - 4, 0)]}
    )

    assert the_fault(tmp_path) == (
        "in: series 1, scan: has slices at distances from 3.00 to 5.00 mm; convert a series with "
        "slices at one distance: reconstruct or export it again"
    )


def test_every_second_slice_is_no_series(tmp_path):
    paths = write(tmp_path / "in", tags={"SpacingBetweenSlices": "3"})
    for path in paths[::2]:
        path.unlink()

    assert the_fault(tmp_path) == (
        "in: series 1, scan: holds each second slice only, by instance numbers and Spacing Between "
        "Slices; export the whole series again"
    )


def test_positions_rounded_to_a_tenth_of_a_millimetre_are_a_grid_with_a_note(tmp_path):
    places = np.round(0.94 * np.arange(8), 1)
    write(tmp_path, each=lambda k: {"ImagePositionPatient": [0, 0, places[k]]})

    (series,) = find_dicom_series(tmp_path).series

    assert series.notes == ("slices lie up to 0.057 mm off a regular grid: accepted",)
    assert series.grid.spacing_mm[2] == pytest.approx(0.94, abs=0.01)


def test_two_slices_at_one_position_need_something_that_tells_them_apart(tmp_path):
    write(tmp_path / "in", each=lambda k: {"ImagePositionPatient": [0, 0, 3 * (k - (k == 5))]})

    assert the_fault(tmp_path).startswith(
        "in: series 1, scan: holds 2 slices at one position, such as IM0005.dcm and IM0006.dcm, "
        "and nothing that tells time points apart; "
    )


def test_slices_of_one_name_at_one_position_are_named_with_the_folder(tmp_path):
    write(tmp_path / "in")
    write(tmp_path / "in" / "again", slices=2, each=lambda k: {"SOPInstanceUID": uid("again", k)})

    assert "such as IM0001.dcm and IM0001.dcm in again, and nothing that" in the_fault(tmp_path)


def test_a_slice_that_was_acquired_again_does_not_replace_the_first(tmp_path):
    write(tmp_path / "in")
    write(
        tmp_path / "again",
        slices=1,
        first=9,
        each=lambda k: {"AcquisitionNumber": 2, "InstanceNumber": 9},
    )

    finding = find_dicom_series(tmp_path)

    assert [series.name for series in finding.series] == ["series 1, scan, time point 1 of 2"]
    (broken,) = finding.broken
    assert broken.name == "series 1, scan, time point 2 of 2"
    assert broken.sentence.startswith("holds 1 slice, other time points 8; ")


def test_two_resolutions_under_one_series_are_refused(tmp_path):
    write(tmp_path / "in")
    small = Header(tags={"SeriesDescription": "scan"})
    write_series(tmp_path / "in", voxels()[:6, :5, :3], AXIAL * [2, 2, 1, 1], small, first=20)

    assert the_fault(tmp_path) == (
        "in: series 1, scan: holds two resolutions: 8 slices of 12 x 10 pixels of 1.5 x 1.25 mm, "
        "and 3 of 6 x 5 pixels of 3 x 2.5 mm; export the series again, or separate its files"
    )


def test_two_orientations_under_one_series_are_refused(tmp_path):
    write(tmp_path / "in", slices=20)
    turned = np.array([[0, 0, 3, 0], [-1.5, 0, 0, 0], [0, -1.25, 0, 0], [0, 0, 0, 1]])
    write(tmp_path / "in", slices=18, affine=turned, first=30)

    assert the_fault(tmp_path) == (
        "in: series 1, scan: holds slices in 2 orientations: 20, 18 slices; export the series "
        "again, or separate its files"
    )


def test_slices_before_and_after_contrast_agent_are_no_volume(tmp_path):
    after = {"ContrastBolusAgent": "Gd", "AcquisitionNumber": 2, "AcquisitionTime": "104500"}
    write(tmp_path / "in", each=lambda k: after if k >= 5 else {})

    assert the_fault(tmp_path) == (
        "in: series 1, scan: holds 3 slices with the tag of a contrast agent, and 5 without; "
        "export the series again, or separate its files"
    )


@pytest.mark.parametrize("tags", [("Gd", "Gadovist 7.5 ml"), ("NONE", "")])
def test_tags_that_say_the_same_of_a_contrast_agent_may_differ(tmp_path, tags):
    write(tmp_path / "in", each=lambda k: {"ContrastBolusAgent": tags[k % 2]})

    assert len(find_dicom_series(tmp_path).series) == 1


def test_a_few_slices_in_three_directions_are_a_localiser(tmp_path):
    for k, axes in enumerate(([0, 1, 2], [1, 2, 0], [2, 0, 1])):
        write(tmp_path, slices=3, affine=AXIAL[[*axes, 3]], first=1 + 3 * k)

    (left_out,) = find_dicom_series(tmp_path).left_out

    assert left_out.reason == "a localiser: a few slices in each of several directions"


@pytest.mark.parametrize(
    ("tags", "sentence"),
    [
        (
            {"ImagePositionPatient": None, "ImageOrientationPatient": None},
            "has no Image Position (Patient) and no Image Orientation (Patient), so side and "
            "distances are unknown; export it again from the archive, with its geometry",
        ),
        (
            {"PixelSpacing": ["0", "0"]},
            "has a Pixel Spacing of 0 x 0 mm, but 0.01 to 50 mm is possible; export it again from "
            "the archive, with its geometry",
        ),
        (
            {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]},
            "has an Image Orientation (Patient) whose directions are no perpendicular unit "
            "vectors; export it again from the archive, with its geometry",
        ),
        (
            {"ModalityLUTSequence": [Header().dataset()]},
            "IM0001.dcm gives its values by a table (Modality LUT), which volseg does not apply; "
            "export it with slope and intercept",
        ),
    ],
)
def test_geometry_and_values_must_be_known(tmp_path, tags, sentence):
    write(tmp_path / "in", tags=tags)

    assert the_fault(tmp_path) == f"in: series 1, scan: {sentence}"


def test_a_single_slice_is_no_volume(tmp_path):
    write(tmp_path / "in", slices=1)

    assert the_fault(tmp_path) == (
        "in: series 1, scan: holds a single slice, which is no volume; export the whole series "
        "again"
    )


def test_a_file_that_is_cut_off_is_named(tmp_path):
    path = write(tmp_path / "in")[4]
    path.write_bytes(path.read_bytes()[:-100])

    assert the_fault(tmp_path) == (
        "in: series 1, scan: IM0005.dcm is cut off: 140 of 240 bytes of pixels; copy or export it "
        "again"
    )


def test_a_file_that_is_cut_off_within_its_header_is_broken_with_its_series(tmp_path):
    path = write(tmp_path / "in")[4]
    path.write_bytes(path.read_bytes()[:400])

    finding = find_dicom_series(tmp_path)

    assert finding.series == ()
    assert {broken.name for broken in finding.broken} == {"in: series 1, scan", "in/IM0005.dcm"}


@pytest.mark.parametrize(
    ("bytes_left", "sentence"),
    [
        (0, "is empty, though named as a DICOM file; export it again, or remove it"),
        (140, "is cut off or damaged: it has no SOP Class UID; export it again, or remove it"),
        (400, "is cut off or damaged: it has no SOP Class UID; export it again, or remove it"),
    ],
)
def test_a_bad_copy_of_the_last_slice_does_not_go_unnoticed(tmp_path, bytes_left, sentence):
    path = write(tmp_path)[-1]
    path.write_bytes(path.read_bytes()[:bytes_left])

    finding = find_dicom_series(tmp_path)

    assert finding.series == ()
    assert {broken.name: broken.sentence for broken in finding.broken} == {
        "IM0008.dcm": sentence,
        "series 1, scan": "lacks perhaps its first or last slice in IM0008.dcm, which is damaged; "
        "copy or export that file again, or remove it if it is of another series",
    }


def test_a_damaged_slice_is_of_the_series_that_its_header_names(tmp_path):
    paths = write(tmp_path)
    write(tmp_path, series="2", tags={"SeriesNumber": 2, "EchoTime": "2"}, pattern="XX{:04d}.dcm")
    path = paths[0].rename(tmp_path / "XX0009.dcm")
    class_uid = b"\x08\x00\x16\x00UI"
    path.write_bytes(path.read_bytes().replace(class_uid, b"\x08\x00\x17\x00UI"))

    finding = find_dicom_series(tmp_path)

    assert [series.name for series in finding.series] == ["series 2, scan"]
    sentences = {broken.name: broken.sentence for broken in finding.broken}
    assert "XX0009.dcm" in sentences
    assert sentences["series 1, scan"].startswith("lacks its slice in XX0009.dcm, which is damaged")


@pytest.mark.parametrize("content", [b"", bytes(500), b"<html>not found</html>"])
def test_a_file_without_a_header_is_of_the_series_whose_numbers_it_continues(tmp_path, content):
    write(tmp_path, series="1", slices=4, pattern="IM{:04d}")
    write(
        tmp_path,
        series="2",
        slices=4,
        pattern="IM{:04d}",
        first=6,
        tags={"SeriesNumber": 2, "EchoTime": "2"},
    )
    write(
        tmp_path,
        series="3",
        slices=4,
        pattern="IM{:04d}",
        first=10,
        tags={"SeriesNumber": 3, "EchoTime": "3"},
    )
    (tmp_path / "IM0014").write_bytes(content)

    finding = find_dicom_series(tmp_path)

    assert [series.name for series in finding.series] == ["series 1, scan", "series 2, scan"]
    assert {broken.name for broken in finding.broken} == {"IM0014", "series 3, scan"}


def test_a_file_without_header_or_number_may_be_of_each_series_of_its_folder(tmp_path):
    write(tmp_path / "one", series="1")
    write(tmp_path / "two", series="2", tags={"SeriesNumber": 2, "EchoTime": "2"})
    (tmp_path / "one" / "slice.dcm").write_bytes(b"")

    finding = find_dicom_series(tmp_path)

    assert [series.name for series in finding.series] == ["two: series 2, scan"]


def test_compressed_pixels_that_are_damaged_are_found_when_they_are_read(tmp_path):
    path = write(tmp_path, syntax="JPEG 2000")[2]
    content = bytearray(path.read_bytes())
    content[-60:-20] = bytes(40)
    path.write_bytes(content[:-30])

    (series,) = find_dicom_series(tmp_path).series

    with pytest.raises(ImageError, match=r"^series 1, scan: the pixels of IM0003.dcm cannot"):
        series.read()


def test_a_file_that_vanished_is_named_when_it_is_read(tmp_path):
    paths = write(tmp_path)
    (series,) = find_dicom_series(tmp_path).series
    paths[0].unlink()

    with pytest.raises(ImageError, match=r"pixels of IM0001.dcm cannot be read \(No such file"):
        series.read()


def test_a_compression_without_a_decoder_is_refused(tmp_path):
    for path in write(tmp_path / "in"):
        compress(path, "RLE")
        ds = dcmread(path)
        ds.file_meta.TransferSyntaxUID = MPEG4HP41
        ds.save_as(path)

    assert the_fault(tmp_path) == (
        "in: series 1, scan: IM0001.dcm is compressed as MPEG-4 AVC/H.264 High Profile / Level "
        "4.1, which cannot be decoded here; export it uncompressed (Explicit VR Little Endian)"
    )


def test_an_enhanced_file_must_describe_all_its_frames(tmp_path):
    path = write_multi_frame(tmp_path / "in" / "IM1", [voxels()], AXIAL)
    ds = dcmread(path)
    del ds.PerFrameFunctionalGroupsSequence[-2:]
    ds.save_as(path)

    assert the_fault(tmp_path) == (
        "in/IM1: holds 8 frames, but describes 6; export it again, or remove it"
    )


def test_a_mosaic_without_its_private_header_is_refused(tmp_path):
    path = write_mosaic(tmp_path / "in" / "IM1", voxels(), AXIAL)
    ds = dcmread(path)
    del ds[0x00291010]
    ds.save_as(path)

    assert the_fault(tmp_path) == (
        "in/IM1: is a mosaic without the private header that gives its slices; export the series "
        "as an enhanced file, or as single slices"
    )


def test_two_contents_under_one_uid_are_refused_together(tmp_path):
    write(tmp_path / "in")
    path = write(tmp_path / "again", slices=1)[0]
    ds = dcmread(path)
    ds.PixelData = bytes(240)
    ds.save_as(path)

    broken = {entry.name: entry.sentence for entry in find_dicom_series(tmp_path).broken}

    sentence = "has the SOP Instance UID of IM0001.dcm, but another content"
    assert broken["in/IM0001.dcm"].startswith(sentence)
    assert broken["again/IM0001.dcm"].startswith(sentence)


@pytest.mark.parametrize("syntax", ["explicit", "RLE"])
def test_copies_of_files_are_left_out_however_they_are_compressed(tmp_path, syntax):
    write(tmp_path / "in")
    write(tmp_path / "again", syntax=syntax)

    finding = find_dicom_series(tmp_path)

    assert len(finding.series) == 1
    assert [(entry.name, entry.reason) for entry in finding.left_out] == [
        ("in", "8 files are copies of others")
    ]


def test_a_copy_of_a_series_with_new_uids_is_left_out(tmp_path):
    write(tmp_path / "one")
    write(tmp_path / "two", series="2", tags={"SeriesNumber": 2})

    finding = find_dicom_series(tmp_path)

    assert [series.name for series in finding.series] == ["one: series 1, scan"]
    assert [(entry.name, entry.reason) for entry in finding.left_out] == [
        ("two: series 2, scan", "a copy of one: series 1, scan")
    ]


def test_colour_images_are_left_out(tmp_path):
    for path in write(tmp_path):
        ds = dcmread(path)
        ds.SamplesPerPixel, ds.PhotometricInterpretation, ds.PlanarConfiguration = 3, "RGB", 0
        ds.PixelData = bytes(720)
        ds.save_as(path)

    (left_out,) = find_dicom_series(tmp_path).left_out

    assert (left_out.name, left_out.reason) == ("series 1, scan", "a colour image")


def test_derived_alone_does_not_leave_a_series_out(tmp_path):
    write(tmp_path, tags={"ImageType": ["DERIVED", "PRIMARY", "M", "NORM"]})

    (series,) = find_dicom_series(tmp_path).series

    assert series.notes == ("Image Type is DERIVED, but names no derivation: taken for a scan",)


@pytest.mark.parametrize(
    ("tags", "labels"),
    [
        ("EchoTime", [("20", "TE 20 ms"), ("80", "TE 80 ms")]),
        ("EchoNumbers", [(1, "echo 1"), (2, "echo 2")]),
        ("DiffusionBValue", [(0.0, "b 0"), (1000.0, "b 1000")]),
        ("ImageType", [(["ORIGINAL", "PRIMARY", k], f"ORIGINAL/PRIMARY/{k}") for k in "WF"]),
        ("TemporalPositionIdentifier", [(k, f"time point {k} of 2") for k in (1, 2)]),
        ("AcquisitionTime", [("101500.5", "time point 1 of 2"), ("101501.5", "time point 2 of 2")]),
    ],
)
def test_volumes_under_one_series_are_separated(tmp_path, tags, labels):
    for number, (value, _) in enumerate(labels):
        header = Header(tags={tags: value})
        first = 1 + 8 * number
        write_series(tmp_path, voxels(seed=number), AXIAL, header, first=first)

    found = {series.name: series for series in find_dicom_series(tmp_path).series}

    assert set(found) == {f"series 1, {label}" for _, label in labels}
    for number, (_, label) in enumerate(labels):
        np.testing.assert_array_equal(found[f"series 1, {label}"].read(), voxels(seed=number))


def test_time_points_by_instance_numbers_alone_are_noted(tmp_path):
    for number in range(2):
        write_series(tmp_path, voxels(seed=number), AXIAL, first=1 + 8 * number)

    first, second = find_dicom_series(tmp_path).series

    assert first.notes == ("time points are separated by the order of instance numbers",)
    np.testing.assert_array_equal(first.read(), voxels(seed=0))
    np.testing.assert_array_equal(second.read(), voxels(seed=1))


def test_a_folder_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataListError, match="does not exist; give a folder of DICOM files"):
        find_dicom_series(tmp_path / "none")


@pytest.mark.parametrize("content", [b"", b"text\n", b"MZ" + bytes(300), b"\x08\0\5\0"])
def test_files_of_other_kinds_are_left_out(tmp_path, content):
    (tmp_path / "file").write_bytes(content)

    (left_out,) = find_dicom_series(tmp_path).left_out

    assert left_out.name == "file"


def test_damaged_files_never_end_the_search(tmp_path):
    rng = np.random.default_rng(0)
    whole = write(tmp_path / "a")[0].read_bytes()
    enhanced = write_multi_frame(tmp_path / "b" / "IM1", [voxels()], AXIAL).read_bytes()
    for number in range(60):
        content = bytearray((whole, enhanced)[number % 2])
        for place in rng.integers(132, len(content), 12):
            content[place] = rng.integers(256)
        (tmp_path / f"damaged{number}").write_bytes(content[: rng.integers(140, len(content) + 1)])

    finding = find_dicom_series(tmp_path)

    for series in finding.series:
        with contextlib.suppress(ImageError):
            assert series.read().shape == series.grid.shape


def test_hidden_files_and_circles_of_links_are_passed_over(tmp_path):
    write(tmp_path / "in")
    (tmp_path / ".DS_Store").write_bytes(b"hidden")
    (tmp_path / "in" / "up").symlink_to(tmp_path)

    finding = find_dicom_series(tmp_path)

    assert len(finding.series) == 1
    assert finding.left_out == finding.broken == ()


def test_a_dataset_without_pixels_is_named(tmp_path):
    ds = dcmread(write(tmp_path / "in", slices=1)[0])
    for keyword in ("PixelData", "BitsAllocated"):
        delattr(ds, keyword)
    ds.SOPInstanceUID = uid("without pixels")
    save_path = tmp_path / "in" / "IM0001.dcm"
    ds.save_as(save_path)

    assert the_fault(tmp_path) == (
        "in: series 1, scan: IM0001.dcm holds no pixels; export it again, or remove it"
    )
