"""Pictures of a scan with the regions of a label map on top."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform
from PIL import Image
from tiny_scans import CORE, ENHANCING, PATIENTS, WHOLE, write_case, write_images
from typer.testing import CliRunner

from volseg.cli import app
from volseg.errors import ConfigError, DataListError, GeometryError, LabelError, OutputError
from volseg.figures.colours import REGION_COLOURS
from volseg.files.ownership import is_ours
from volseg.tasks.overlay import OverlayOptions, overlay

CASE = "BraTS2021_00001"
CLEAN = OverlayOptions(text=False)


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    """Pictures of few pixels, which are drawn faster."""
    monkeypatch.setattr("volseg.figures.overlay._DPI", 75)


def write_labels(path: Path, orientation="LPS", values=(2, 1, 4)):
    """A label map of the tumour of `write_case`, which has these values of ED, NCR and ET."""
    array = np.zeros((20, 22, 18), np.uint8)
    for box, value in zip((WHOLE, CORE, ENHANCING), values, strict=True):
        array[box] = value
    image = nib.Nifti1Image(array, np.eye(4))
    turn = ornt_transform(io_orientation(np.eye(4)), axcodes2ornt(orientation))
    nib.save(image.as_reoriented(turn), path)
    return path


@pytest.fixture
def case(tmp_path):
    """Folder of a case with its label map."""
    folder = write_case(tmp_path)
    write_labels(folder / f"{CASE}_seg.nii.gz")
    return folder


@pytest.fixture
def slices(tmp_path):
    """Folder of a case of three slices; the mask of the second has a square at the upper left."""
    folder = tmp_path / PATIENTS[0]
    names = [f"{PATIENTS[0]}_{number}.tif" for number in (1, 2, 3)]
    write_images(folder, names)
    for number, name in enumerate(names):
        mask = np.zeros((14, 18), np.uint8)
        mask[2:6, 2:7] = 255 * (number == 1)
        Image.fromarray(mask).save(folder / name.replace(".tif", "_mask.tif"))
    return folder


def copy(mask, path):
    """A mask in another format."""
    Image.fromarray(pixels(mask)[..., 0]).save(path)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def place(path, region):
    """Mean row and column of a region's colour, as shares of the picture, and its pixels."""
    array = pixels(path) / 255
    rows, columns = np.nonzero(np.abs(array - to_rgb(REGION_COLOURS[region])).max(axis=2) < 0.12)
    assert rows.size > 20
    return rows.mean() / array.shape[0], columns.mean() / array.shape[1], rows.size


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "SRA"])
def test_the_patients_right_is_on_the_left_whatever_the_orientation_of_the_file(
    tmp_path, orientation
):
    folder = write_case(tmp_path, orientation=orientation)
    labels = write_labels(tmp_path / f"{CASE}_seg.nii.gz", orientation)

    overlay(folder, labels, tmp_path / "out.png", CLEAN)

    # WHOLE is to the patient's left and back of the middle.
    row, column, _ = place(tmp_path / "out.png", "WT")
    assert row > 0.5
    assert column > 0.5


def test_the_slice_with_the_largest_area_is_chosen_and_said(case, tmp_path):
    result = overlay(case, case, tmp_path / "out.png")

    assert result.slices == ("axial slice 5",)
    assert result.chosen_by == "the largest area of the label map"
    assert is_ours(tmp_path / "out.png")


def test_a_slice_has_its_number_in_the_file(case, tmp_path):
    # Along the second axis of an LPS file, slices are counted from the front.
    options = OverlayOptions(plane="coronal", slice=12)

    result = overlay(case, case, tmp_path / "out.png", options)

    assert result.slices == ("coronal slice 12",)
    with pytest.raises(ConfigError, match="coronal slices are numbered 1 to 22; choose one"):
        overlay(case, case, tmp_path / "out.png", replace(options, slice=23))


def test_a_montage_shows_the_fullest_slice_and_others(case, tmp_path):
    one = overlay(case, case, tmp_path / "one.png", CLEAN)
    four = overlay(case, case, tmp_path / "four.png", replace(CLEAN, montage=4))

    assert set(one.slices) < set(four.slices)
    assert len(four.slices) == 4
    assert pixels(tmp_path / "four.png").shape[1] > pixels(tmp_path / "one.png").shape[1]


def test_channels_stand_side_by_side(case, tmp_path):
    overlay(case, case, tmp_path / "one.png", replace(CLEAN, channels=("t1c",)))
    overlay(case, case, tmp_path / "two.png", replace(CLEAN, channels=("t1c", "t2f")))

    one, two = (pixels(tmp_path / f"{name}.png").shape for name in ("one", "two"))
    assert one[0] / one[1] == pytest.approx(2 * two[0] / two[1], rel=0.01)


def test_a_channel_has_all_its_names_and_one_that_the_case_lacks_is_refused(case, tmp_path):
    ours, alias = (replace(CLEAN, channels=names) for names in (("t2f", "t1c"), ("FLAIR", "t1ce")))
    overlay(case, case, tmp_path / "ours.png", ours)
    overlay(case, case, tmp_path / "alias.png", alias)

    assert np.array_equal(pixels(tmp_path / "ours.png"), pixels(tmp_path / "alias.png"))
    sentence = "has no channel ct, but t1n, t1c, t2w, t2f; choose among them with --channel"
    with pytest.raises(ConfigError, match=sentence):
        overlay(case, case, tmp_path / "out.png", replace(CLEAN, channels=("ct",)))

    (case / f"{CASE}_t1.nii.gz").unlink()
    overlay(case, case, tmp_path / "lacking.png", replace(CLEAN, channels=("t2f", "t1c")))
    assert np.array_equal(pixels(tmp_path / "ours.png"), pixels(tmp_path / "lacking.png"))


def test_inner_regions_show_within_outer_ones_when_filled(case, tmp_path):
    overlay(
        case, case, tmp_path / "out.png", OverlayOptions(text=False, fill=1, outline=0, slice=7)
    )

    # Slice 7 holds 42 voxels of WT, of which 12 are TC alone and 4 are ET; edges are blurred.
    areas = {region: place(tmp_path / "out.png", region)[2] for region in ("WT", "TC", "ET")}
    assert areas["WT"] > 1.5 * areas["TC"] > 1.5 * 1.5 * areas["ET"]


@pytest.mark.parametrize("words", [["WT,TC"], ["WT", "--region", "TC"]])
def test_only_the_named_regions_are_drawn(case, tmp_path, words):
    options = ["-o", str(tmp_path / "a.png"), "--no-text", "--fill", "1", "--outline", "0"]
    options += ["--slice", "7", "--region", *words]
    told = CliRunner().invoke(app, ["overlay", str(case), str(case), *options])

    assert told.exit_code == 0, told.output
    assert min(place(tmp_path / "a.png", region)[2] for region in ("WT", "TC")) > 1000
    hue = np.abs(pixels(tmp_path / "a.png") / 255 - to_rgb(REGION_COLOURS["ET"])).max(axis=2)
    assert not (hue < 0.12).any()


def test_a_region_that_no_label_map_defines_is_refused(case, tmp_path):
    with pytest.raises(ConfigError, match="region is XX, but the label maps define WT, TC, ET"):
        overlay(case, case, tmp_path / "a.png", replace(CLEAN, regions=("WT", "XX")))

    assert not (tmp_path / "a.png").exists()


def test_text_is_left_out_of_a_clean_picture(case, tmp_path):
    overlay(case, case, tmp_path / "clean.png", CLEAN)
    overlay(case, case, tmp_path / "text.png")

    clean, text = (pixels(tmp_path / f"{name}.png") for name in ("clean", "text"))
    assert len(text) > len(clean)
    assert text[-20:].max() > 100
    assert clean[-20:].max() < 100


@pytest.mark.parametrize("ending", [".jpg", ".svg", ".pdf", ".webp", ".gif"])
def test_every_kind_of_picture_is_ours_and_replaced(case, tmp_path, ending):
    path = tmp_path / f"out{ending}"

    for _ in range(2):
        overlay(case, case, path, OverlayOptions(plane="sagittal"))

    assert is_ours(path)


def test_an_animation_shows_all_slices_with_tissue(case, tmp_path):
    result = overlay(case, case, tmp_path / "out.webp", OverlayOptions(frames_per_second=5))

    # The brain is an ellipsoid around slice 10 with half an axis of 7 voxels, without a margin.
    assert result.slices[0] == "axial slice 3"
    assert result.slices[-1] == "axial slice 17"
    assert result.chosen_by == "all with tissue, 5 a second"
    with Image.open(tmp_path / "out.webp") as image:
        assert image.n_frames == 15


def test_a_file_of_another_program_stays_and_so_do_the_inputs(case, tmp_path):
    Image.new("L", (4, 4)).save(tmp_path / "out.png")
    before = (tmp_path / "out.png").read_bytes()

    with pytest.raises(OutputError, match=r"out.png is there already and volseg did not write it"):
        overlay(case, case, tmp_path / "out.png")

    assert (tmp_path / "out.png").read_bytes() == before


def test_a_mask_is_never_replaced_by_the_picture_of_it(slices):
    image, mask = slices / f"{PATIENTS[0]}_2.tif", slices / f"{PATIENTS[0]}_2_mask.png"
    copy(slices / f"{PATIENTS[0]}_2_mask.tif", mask)

    with pytest.raises(OutputError, match=r"_mask.png is an input and would be replaced"):
        overlay(image, mask, mask)


def test_a_label_map_on_another_grid_is_refused_in_words(case, tmp_path):
    small = nib.Nifti1Image(np.zeros((20, 22, 17), np.uint8), np.eye(4))
    nib.save(small, tmp_path / f"{CASE}_seg.nii.gz")

    with pytest.raises(GeometryError, match=r"shape \(20, 22, 17\), but the scan has \(20, 22, 18"):
        overlay(case, tmp_path / f"{CASE}_seg.nii.gz", tmp_path / "out.png")
    assert not (tmp_path / "out.png").exists()


def write_results(folder, name, scheme):
    """A folder of results whose manifest records one result and its label scheme."""
    folder.mkdir()
    record = {"output": name}
    content = {"models": [], "labels": scheme, "cases": {CASE: record}, "failures": {}}
    (folder / "manifest.json").write_text(json.dumps(content))
    return folder


def test_the_scheme_is_that_of_the_results_of_volseg(case, tmp_path):
    results = write_results(tmp_path / "results", f"{CASE}.nii.gz", "brats2023")
    write_labels(results / f"{CASE}.nii.gz", values=(2, 1, 3))

    overlay(case, results, tmp_path / "folder.png", replace(CLEAN, slice=7))
    overlay(case, results / f"{CASE}.nii.gz", tmp_path / "file.png", replace(CLEAN, slice=7))

    assert place(tmp_path / "folder.png", "ET") == place(tmp_path / "file.png", "ET")


def test_an_unclear_scheme_is_asked_for(case, tmp_path):
    labels = write_labels(tmp_path / "seg_of_mine.nii.gz", values=(1, 2, 3))

    with pytest.raises(LabelError, match=r"not clear: 1 case .* give it with --labels NAME"):
        overlay(case, labels, tmp_path / "out.png")
    with pytest.raises(LabelError, match=r"not clear: 1 case .* give it with --reference-labels"):
        overlay(case, case, tmp_path / "out.png", OverlayOptions(reference=labels))
    with pytest.raises(LabelError, match=r"holds \[3\], but .*; use --labels brats2023 or"):
        overlay(case, labels, tmp_path / "out.png", OverlayOptions(labels="brats2021"))

    overlay(case, labels, tmp_path / "msd.png", replace(CLEAN, labels="msd", slice=7))

    assert place(tmp_path / "msd.png", "ET")


def test_the_reference_is_a_second_outline_in_dashes_of_a_scheme_of_its_own(case, tmp_path):
    labels = write_labels(tmp_path / "mine.nii.gz", values=(1, 2, 3))
    whole = replace(CLEAN, labels="msd", slice=5)

    overlay(case, labels, tmp_path / "one.png", whole)
    result = overlay(case, labels, tmp_path / "two.png", replace(whole, reference=case))

    # The same outline twice: the dashes of the reference are wider than the line on top of them.
    assert place(tmp_path / "two.png", "WT")[2] > 1.1 * place(tmp_path / "one.png", "WT")[2]
    assert result.chosen_by == "as asked for"


def test_slices_are_drawn_as_stored_with_the_masks_beside_them(slices, tmp_path):
    result = overlay(slices, slices, tmp_path / "out.png", CLEAN)

    assert result.slices == ("slice 2",)
    row, column, _ = place(tmp_path / "out.png", "WT")
    assert row < 0.4
    assert column < 0.4
    with pytest.raises(GeometryError, match="unknown orientation, so there are no coronal"):
        overlay(slices, slices, tmp_path / "out.png", OverlayOptions(plane="coronal"))


def test_a_folder_of_masks_and_a_single_slice_with_its_mask(slices, tmp_path):
    results = tmp_path / "results" / slices.name
    results.mkdir(parents=True)
    for mask in slices.glob("*_mask.tif"):
        copy(mask, results / mask.name.replace("_mask.tif", ".png"))
    second = f"{PATIENTS[0]}_2"

    of_folder = overlay(slices, tmp_path / "results", tmp_path / "a.png", CLEAN)
    of_masks = overlay(slices, results, tmp_path / "b.png", CLEAN)
    alone = overlay(slices / f"{second}.tif", results / f"{second}.png", tmp_path / "c.png", CLEAN)

    assert of_folder.slices == of_masks.slices == ("slice 2",)
    assert alone.slices == ("slice 1",)
    assert place(tmp_path / "a.png", "WT") == place(tmp_path / "b.png", "WT")


def test_a_file_has_the_channel_in_its_name(case, tmp_path):
    labels = case / f"{CASE}_seg.nii.gz"

    overlay(case / f"{CASE}_t1ce.nii.gz", labels, tmp_path / "file.png", CLEAN)
    overlay(case, case, tmp_path / "folder.png", replace(CLEAN, channels=("t1c",)))

    assert np.array_equal(pixels(tmp_path / "file.png"), pixels(tmp_path / "folder.png"))


def test_the_volumes_of_a_4d_file_are_its_channels(case, tmp_path):
    files = [case / f"{CASE}_{name}.nii.gz" for name in ("t1", "t1ce")]
    both = np.stack([np.asarray(nib.load(file).dataobj) for file in files], axis=-1)
    nib.save(nib.Nifti1Image(both, nib.load(files[0]).affine), tmp_path / "both.nii.gz")
    labels = case / f"{CASE}_seg.nii.gz"
    second = replace(CLEAN, channels=("volume2",))

    overlay(tmp_path / "both.nii.gz", labels, tmp_path / "4d.png", second)
    overlay(case, case, tmp_path / "folder.png", replace(CLEAN, channels=("t1c",)))

    assert np.array_equal(pixels(tmp_path / "4d.png"), pixels(tmp_path / "folder.png"))


def test_an_image_in_colours_is_shown_in_one_of_them(tmp_path):
    write_images(tmp_path / "mine", ["a.png", "b.png"])
    mask = np.zeros((14, 18), np.uint8)
    mask[2:6, 2:7] = 255
    Image.fromarray(mask).save(tmp_path / "m.png")
    options = OverlayOptions(labels="binary", channels=("green",))

    overlay(tmp_path / "mine" / "a.png", tmp_path / "m.png", tmp_path / "out.png", options)

    assert place(tmp_path / "out.png", "foreground")


def test_an_empty_label_map_gives_the_largest_slice_of_the_scan(case, tmp_path):
    labels = write_labels(tmp_path / f"{CASE}_seg.nii.gz", values=(0, 0, 0))

    result = overlay(case, labels, tmp_path / "out.png")

    assert result.chosen_by == "the label map is empty: the largest area of the scan"


@pytest.mark.parametrize(
    ("scan", "labels", "problem"),
    [
        ("missing", "case", "missing does not exist; give a scan"),
        ("notes.txt", "case", "notes.txt is no image by its name; give a NIfTI file"),
        ("case/{0}_seg.nii.gz", "case", "_seg.nii.gz is a label map by its name; give the scan"),
        ("slices/{1}_1_mask.tif", "slices", "_mask.tif is a label map by its name; give the scan"),
        (".", "case", "holds 2 cases, such as BraTS2021_00001, BraTS2021_00002, but one is"),
        ("case", "missing", "missing does not exist; give a label map"),
        ("case", "notes.txt", "notes.txt is no label map by its name"),
        ("case", "empty", "empty holds no label map of BraTS2021_00001; give its file"),
        (
            "case",
            "slices/{1}_1_mask.tif",
            "the mask of one slice, but .* is a volume; give a NIfTI",
        ),
        ("slices", "slices/{1}_1_mask.tif", "one slice, but .* is 3 slices; give the folder of"),
    ],
)
def test_what_is_no_scan_or_has_no_label_map_is_refused(case, tmp_path, scan, labels, problem):
    write_case(tmp_path, "BraTS2021_00002")
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "empty").mkdir()
    other = tmp_path / "other" / PATIENTS[0]
    write_images(other, [f"{PATIENTS[0]}_{number}.tif" for number in (1, 2, 3)])
    for number in (1, 2, 3):
        Image.new("L", (18, 14)).save(other / f"{PATIENTS[0]}_{number}_mask.tif")
    folders = {"case": case, "slices": other, ".": tmp_path}

    def path(text):
        first, _, rest = text.format(CASE, PATIENTS[0]).partition("/")
        return folders.get(first, tmp_path / first) / rest

    with pytest.raises(DataListError, match=problem):
        overlay(path(scan), path(labels), tmp_path / "out.png")


@pytest.mark.parametrize(
    ("name", "options", "problem"),
    [
        ("out.bmp", {}, r"has no ending of a picture; use one of .png, .jpg"),
        ("out.png", {"plane": "oblique"}, "plane is 'oblique'; use one of axial, coronal, sagi"),
        ("out.png", {"fill": 2}, "fill is 2, but an opacity from 0 to 1 is expected"),
        ("out.png", {"outline": 0}, "outline and fill are both 0, so no region would show"),
        ("out.png", {"slice": 3, "montage": 2}, "has both one slice and a montage of slices"),
        ("out.png", {"frames_per_second": 3}, "is a single picture, but has a number of frames"),
        ("out.gif", {"slice": 3}, "moves through all slices, but has one slice or a montage"),
        ("out.webp", {"channels": ("t1c", "t2f")}, "moves in one channel, but has t1c and t2f"),
    ],
)
def test_options_that_contradict_each_other_are_refused_before_a_scan_is_read(
    tmp_path, name, options, problem
):
    with pytest.raises(ConfigError, match=problem):
        overlay("missing", "missing", tmp_path / name, OverlayOptions(**options))


def test_the_command_says_what_is_shown(case, tmp_path):
    out = tmp_path / "new" / "out.png"
    words = ["overlay", str(case), str(case), "-o", str(out), "--fill", "0.3", "--no-text"]

    done = CliRunner().invoke(app, [*words, "--channel", "t1c", "--plane", "sagittal"])

    assert done.exit_code == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("Shown: sagittal slice ")
    assert first.endswith(" (the largest area of the label map)")
    assert second == f"Picture: {out}"
    assert out.is_file()


def test_the_command_counts_the_slices_of_an_animation(case, tmp_path):
    out = tmp_path / "out.gif"

    done = CliRunner().invoke(app, ["overlay", str(case), str(case), "-o", str(out)])

    assert done.stdout.splitlines()[0] == "Shown: 15 slices (all with tissue, 12 a second)"


def test_a_real_case_with_its_reference_is_drawn(real_data, tmp_path):
    folder = next(real_data.glob("brats2021/*01479"))

    result = overlay(folder, folder, tmp_path / "out.png", CLEAN)

    assert result.slices == ("axial slice 90",)
    for region in ("WT", "TC", "ET"):
        assert place(tmp_path / "out.png", region)
