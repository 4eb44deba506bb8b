"""What `infer` leaves to look at: previews, contact sheets, the table of volumes."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, write_case, write_images
from typer.testing import CliRunner

from volseg.cli import app
from volseg.confidence.predicted_dice import PredictedDice
from volseg.confidence.verdict import CaseConfidence
from volseg.errors import OutputError
from volseg.figures.case_view import CaseView
from volseg.figures.colours import REGION_COLOURS
from volseg.figures.contact_sheet import MOST_CASES, SheetEntry, draw_sheet
from volseg.figures.grey_images import GreyImages
from volseg.figures.preview import THUMBNAIL, draw_preview
from volseg.files.ownership import is_ours
from volseg.finding.folders import find_cases
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.inference import overview, preview_writer
from volseg.inference.options import InferOptions
from volseg.inference.overview import _doubt
from volseg.inference.predictor import Predictor
from volseg.labels import get_scheme
from volseg.measures import RegionMeasures
from volseg.measures.record import as_record, read_measures
from volseg.results.manifest import read_manifest
from volseg.tasks.infer import infer
from volseg.tasks.info import info

NAMES = ["BraTS2021_00001", "BraTS2021_00002"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two") / "scans"
    for name in NAMES:
        write_case(folder, name)
    return folder


@pytest.fixture(scope="module")
def options(model, scans):
    """Options with which the random model finds each region in about half of the voxels."""
    probabilities = Predictor(model, device="cpu").predict(scans / NAMES[0]).probabilities
    middle = min(np.median(of[of > 0]) for of in probabilities.values())
    return {"overrides": (f"inference.threshold={middle:.6f}",)}


@pytest.fixture(scope="module")
def made(model, scans, options, tmp_path_factory):
    """Folder of results of both cases."""
    folder = tmp_path_factory.mktemp("made") / "output"
    run(scans, model, folder, **options)
    return folder


@pytest.fixture
def output(made, tmp_path):
    """A copy of these results."""
    return Path(shutil.copytree(made, tmp_path / "output"))


def run(scans, model, output, **options):
    return infer(scans, [model], output, InferOptions(device="cpu", **options))


def rows_of(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def pixels(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def has_colour(picture, region):
    """Where a grey picture has a touch of the hue of a region."""
    colour = np.array(to_rgb(REGION_COLOURS[region]))
    hue = colour - colour.mean()
    tint = picture / 255 - (picture / 255).mean(axis=2, keepdims=True)
    along = tint @ (hue / np.linalg.norm(hue))
    return (along > 0.1) & (along > 0.97 * np.linalg.norm(tint, axis=2))


# A preview

SHAPE = (40, 50, 30)


def drawn(path, channels=("t1n", "t1c", "t2w", "t2f"), mask=None, note="", **options):
    """A preview of a bright block of a head, with ET in its middle, and the view."""
    head = np.zeros(SHAPE, np.int16)
    head[4:36, 5:45, 3:27] = 100
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[8:20, 10:22, 8:16] = 2
    label_map[10:14, 12:18, 10:14] = 3
    label_map = label_map if mask is None else mask
    grid = Grid(SHAPE, np.eye(4))
    images = CaseImages(np.stack([head] * len(channels)), grid, None, (), **options)
    view = GreyImages.of(images, channels).view(label_map, get_scheme("brats2023"), "case 7")
    draw_preview(path, view, {"WT": "1.15 ml"}, note)
    return view


def test_each_panel_of_a_preview_has_the_outlines_of_the_regions(tmp_path):
    drawn(tmp_path / "a.png")

    picture = pixels(tmp_path / "a.png")
    # Below the title and above the legend lie three planes in four channels.
    for row in np.array_split(picture[60:-60], 3, axis=0):
        for panel in np.array_split(row, 4, axis=1):
            assert has_colour(panel, "WT").sum() > 50
            assert has_colour(panel, "ET").sum() > 20
    assert has_colour(picture[-60:], "WT").any()  # the legend


def test_a_preview_without_a_predicted_voxel_shows_the_middle_of_the_head(tmp_path):
    view = drawn(tmp_path / "a.png", mask=np.zeros(SHAPE, np.uint8))

    picture = pixels(tmp_path / "a.png")[60:-60]
    assert not has_colour(picture, "WT").any()
    assert (picture > 200).sum() > 1000
    assert view.prediction["WT"].shape == view.images["t2f"].shape


def test_a_single_channel_has_its_planes_side_by_side(tmp_path):
    drawn(tmp_path / "one.png", ["t2f"])

    picture = pixels(tmp_path / "one.png")
    assert picture.shape[1] > picture.shape[0]
    thirds = np.array_split(picture[60:-60], 3, axis=1)
    assert all(has_colour(third, "ET").sum() > 20 for third in thirds)


def test_a_preview_marks_its_axial_slice_for_the_contact_sheet(tmp_path):
    drawn(tmp_path / "a.png")

    with Image.open(tmp_path / "a.png") as picture:
        left, top, right, bottom = map(int, picture.info[THUMBNAIL].split())
    part = pixels(tmp_path / "a.png")[top:bottom, left:right]
    assert has_colour(part, "WT").any()
    assert left > picture.width / 2  # t2f is the last of the channels
    assert bottom < picture.height / 2
    assert is_ours(tmp_path / "a.png")


def test_a_channel_that_another_replaces_is_not_shown(tmp_path):
    view = drawn(tmp_path / "a.png", missing=("t1c",))

    assert list(view.images) == ["t1n", "t2w", "t2f"]


def test_a_preview_says_which_channels_are_missing_and_what_is_in_doubt(tmp_path, monkeypatch):
    notes = []

    def draw(path, _view, _legend, note):
        notes.append(note)
        path.write_bytes(b"picture")

    monkeypatch.setattr(preview_writer, "draw_preview", draw)
    prediction = SimpleNamespace(
        missing=("t1n", "t1c"),
        doubts=["fills 90% of the tissue"],
        confidence=CaseConfidence(unlike_training=("the spacing is 5 mm",)),
        measures={},
        slices=(),
        label_map=None,
        scheme=None,
    )
    writer = preview_writer.PreviewWriter(tmp_path, {}, wanted=True, overwrite=False)

    writer.replace(SimpleNamespace(case_id="a"), prediction, SimpleNamespace(view=lambda *_: None))

    assert notes == ["unlike the training images; t1n, t1c missing; doubt: fills 90% of the tissue"]


def test_the_sheet_shows_the_largest_section_of_a_stack(tmp_path):
    image = np.full((20, 20, 9), 50, np.uint8)
    masks = {"WT": np.zeros(image.shape, np.bool_)}
    masks["WT"][9:11, 9:11, 1:8] = True
    masks["WT"][4:16, 4:16, 6] = True
    view = CaseView({"t2f": image}, None, masks, "a", is_oriented=False)

    draw_preview(tmp_path / "a.png", view, {})

    with Image.open(tmp_path / "a.png") as picture:
        box = [*map(int, picture.info[THUMBNAIL].split())]
    areas = [
        has_colour(pixels(tmp_path / "a.png")[box[1] : box[3], left : left + box[2] - box[0]], "WT")
        for left in (box[0], max(0, box[0] - (box[2] - box[0])))
    ]
    assert areas[0].sum() > 2 * areas[1].sum()


def test_of_images_unlike_those_of_training_the_sheet_gives_no_predicted_dice():
    good = {"WT": PredictedDice(0.9, 0.8, 1.0)}

    assert _doubt(CaseConfidence(good)) == ["predicted Dice WT 0.90"]
    assert _doubt(CaseConfidence(good, ("a",), ("a",))) == [
        *("unlike the training images", "look at this one")
    ]


def test_regions_beyond_the_head_are_shown_too():
    image = np.zeros((1, *SHAPE), np.int16)
    image[:, 10:20, 10:20, 10:20] = 7  # a constant value is white
    label_map = np.zeros(SHAPE, np.uint8)
    label_map[36, 40, 2] = 2

    greys = GreyImages.of(CaseImages(image, Grid(SHAPE, np.eye(4)), None, ()), ["t2f"])
    view = greys.view(label_map, get_scheme("brats2023"), "a")

    assert int(view.prediction["WT"].sum()) == 1
    k = int(np.argwhere(view.prediction["WT"])[0][2])
    assert view.slice_name(k) == "axial slice 3"
    assert int((view.images["t2f"] > 0).sum()) == 1000
    assert view.images["t2f"].shape == view.prediction["WT"].shape


def test_greys_run_from_black_to_white_and_the_background_is_black():
    ramp = np.linspace(-2, 2, 40)[:, None, None] * np.ones((1, 30, 30))
    image = np.zeros((1, 60, 50, 40))
    image[0, 10:50, 10:40, 5:35] = ramp

    greys = GreyImages.of(CaseImages(image, Grid((60, 50, 40), np.eye(4)), None, ()), ["t1c"])
    grey = greys.view(np.zeros((60, 50, 40), np.uint8), get_scheme("brats2023"), "a").images["t1c"]

    assert grey.max() == 255
    assert grey[0].max() == 0
    inside = grey[:, grey.shape[1] // 2, grey.shape[2] // 2]
    assert (np.diff(inside[inside > 0].astype(int)) >= 0).all()


# Results of infer


def test_each_case_has_a_preview_and_the_folder_a_contact_sheet_and_a_table(made):
    assert sorted(path.name for path in made.iterdir()) == [
        *(f"{name}.nii.gz" for name in NAMES),
        "manifest.json",
        "previews",
        "previews.png",
        "volumes.csv",
    ]
    assert sorted(path.name for path in (made / "previews").iterdir()) == [
        f"{name}.png" for name in NAMES
    ]
    assert has_colour(pixels(made / "previews.png"), "WT").any()
    assert has_colour(pixels(made / "previews" / f"{NAMES[0]}.png"), "WT").any()


def test_the_table_says_what_the_label_maps_hold(made, scans, model, options):
    expected = Predictor(model, device="cpu", **options).predict(scans / NAMES[0])

    rows = rows_of(made / "volumes.csv")

    assert [(row["case_id"], row["region"]) for row in rows] == [
        (name, region) for name in NAMES for region in ("WT", "TC", "ET")
    ]
    assert int(rows[0]["voxels"]) == int((expected.label_map > 0).sum()) > 0
    assert float(rows[0]["volume_ml"]) == pytest.approx(expected.volumes_ml["WT"], abs=5e-4)
    across = expected.measures["WT"].diameter
    assert float(rows[0]["longest_mm"]) == pytest.approx(across.longest_mm, abs=0.005)
    assert float(rows[0]["perpendicular_mm"]) == pytest.approx(across.perpendicular_mm, abs=0.005)
    assert int(rows[0]["slice"]) == across.slice_number
    assert int(rows[0]["lesions"]) == expected.measures["WT"].n_lesions


def test_the_manifest_records_measures_without_rounding_and_the_table_rounds_them(
    made, scans, model, options
):
    expected = Predictor(model, device="cpu", **options).predict(scans / NAMES[0])

    record = read_manifest(made)["cases"][NAMES[0]]

    assert read_measures(record) == expected.measures
    assert record["volumes_ml"] == expected.volumes_ml
    row = rows_of(made / "volumes.csv")[0]
    product = record["measures"]["WT"]["diameter"]["product_mm2"]
    assert product == expected.measures["WT"].diameter.product_mm2
    assert float(row["product_mm2"]) == round(product, 2)
    assert float(row["volume_ml"]) == round(record["volumes_ml"]["WT"], 6)


def test_the_manifest_records_measures_and_previews(made):
    record = read_manifest(made)["cases"][NAMES[0]]

    assert record["preview"]["file"] == f"previews/{NAMES[0]}.png"
    assert record["preview"]["bytes"] == (made / "previews" / f"{NAMES[0]}.png").stat().st_size
    measured = read_measures(record)
    assert measured["WT"].volume_ml == record["volumes_ml"]["WT"]
    assert measured["WT"].n_lesions >= 1
    assert as_record(measured)["WT"]["diameter"]["slice_number"] > 0


def test_no_preview_leaves_pictures_out_and_changes_no_label_map(
    made, scans, model, options, tmp_path
):
    result = run(scans, model, tmp_path / "plain", preview=False, **options)

    assert result.pictures == ()
    assert sorted(path.name for path in (tmp_path / "plain").iterdir()) == [
        *(f"{name}.nii.gz" for name in NAMES),
        "manifest.json",
        "volumes.csv",
    ]
    for name in (*(f"{name}.nii.gz" for name in NAMES), "volumes.csv"):
        assert (tmp_path / "plain" / name).read_bytes() == (made / name).read_bytes()


def test_pictures_and_tables_are_the_same_however_a_scan_is_stored(tmp_path, model, options):
    for orientation in ("LPS", "RAS", "PIR"):
        write_case(tmp_path / orientation, "a", orientation)
        run(tmp_path / orientation, model, tmp_path / f"of {orientation}", **options)

    def numbers(orientation):
        return {
            row["region"]: {k: row[k] for k in ("voxels", "longest_mm", "perpendicular_mm")}
            for row in rows_of(tmp_path / f"of {orientation}" / "volumes.csv")
        }

    assert numbers("LPS") == numbers("RAS") == numbers("PIR")
    shown = [
        pixels(tmp_path / f"of {orientation}" / "previews" / "a.png")[110:-60]
        for orientation in ("LPS", "RAS")
    ]
    # Only the numbers of the slices differ.
    assert (shown[0] != shown[1]).any(axis=2).mean() < 0.02


def test_kept_results_keep_their_previews(output, scans, model, options):
    before = {path: path.stat().st_mtime_ns for path in output.rglob("*.png")}

    result = run(scans, model, output, **options)

    assert result.kept == tuple(NAMES)
    assert {path: path.stat().st_mtime_ns for path in output.rglob("*.png")} == before
    assert list(result.measures) == NAMES
    assert result.pictures == (output / "previews.png",)


def change(scans, name):
    """Store a scan anew, in another orientation."""
    shutil.rmtree(scans / name)
    write_case(scans, name, "RAS")


def test_a_case_that_is_segmented_again_is_drawn_again(scans, model, options, tmp_path):
    scans = Path(shutil.copytree(scans, tmp_path / "scans"))
    output = tmp_path / "output"
    run(scans, model, output, **options)
    change(scans, NAMES[0])
    before = read_manifest(output)["cases"]

    result = run(scans, model, output, **options)

    after = read_manifest(output)["cases"]
    assert result.done == (NAMES[0],)
    assert after[NAMES[0]]["preview"]["time_ns"] > before[NAMES[0]]["preview"]["time_ns"]
    assert after[NAMES[1]]["preview"] == before[NAMES[1]]["preview"]


def test_a_case_that_is_segmented_again_without_pictures_keeps_no_old_picture(
    output, scans, model, options
):
    run(scans, model, output, overwrite=True, preview=False, **options)

    assert list((output / "previews").iterdir()) == []
    assert not (output / "previews.png").exists()
    assert "preview" not in read_manifest(output)["cases"][NAMES[0]]


def test_results_without_previews_are_kept_as_they_are(scans, model, options, tmp_path):
    run(scans, model, tmp_path / "output", preview=False, **options)
    manifest = json.loads((tmp_path / "output" / "manifest.json").read_text())
    for record in manifest["cases"].values():
        del record["measures"]  # as an older version wrote them
    (tmp_path / "output" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "output" / "volumes.csv").unlink()

    result = run(scans, model, tmp_path / "output", **options)

    assert (result.done, result.kept) == ((), tuple(NAMES))
    assert result.pictures == ()
    assert not (tmp_path / "output" / "previews").exists()
    (row, *_) = rows_of(tmp_path / "output" / "volumes.csv")
    assert float(row["volume_ml"]) == manifest["cases"][NAMES[0]]["volumes_ml"]["WT"]
    assert row["lesions"] == row["longest_mm"] == ""


@pytest.mark.parametrize("name", ["volumes.csv", "previews.png", "previews/notes.txt", "previews"])
@pytest.mark.parametrize("more", [{}, {"overwrite": True}])
def test_files_of_the_user_are_refused_before_any_work(scans, model, tmp_path, name, more):
    path = tmp_path / "output" / name
    path.parent.mkdir(parents=True)
    path.write_text("of the user")

    with pytest.raises(OutputError, match=r"is there already"):
        run(scans, model, tmp_path / "output", **more)

    assert path.read_text() == "of the user"
    assert [p.name for p in (tmp_path / "output").iterdir()] == [name.partition("/")[0]]


def test_a_picture_of_the_user_among_ours_is_refused(output, model, options, tmp_path):
    write_case(tmp_path / "scans", "BraTS2021_00009")
    mine = output / "previews" / "BraTS2021_00009.png"
    mine.write_bytes(b"of the user")

    with pytest.raises(OutputError, match="no manifest lists it as a picture of volseg"):
        run(tmp_path / "scans", model, output, **options)
    run(tmp_path / "scans", model, output, preview=False, **options)

    assert mine.read_bytes() == b"of the user"


def test_an_edited_picture_stays_where_its_case_is_segmented_again(
    scans, model, options, tmp_path, caplog
):
    scans = Path(shutil.copytree(scans, tmp_path / "scans"))
    output = tmp_path / "output"
    run(scans, model, output, **options)
    edited = output / "previews" / f"{NAMES[0]}.png"
    Image.new("L", (9, 9)).save(edited)
    drawing = edited.read_bytes()
    change(scans, NAMES[0])

    assert run(scans, model, output, **options).done == (NAMES[0],)

    assert edited.read_bytes() == drawing
    assert "was edited after volseg drew it, so it stays as it is" in caplog.text
    assert "preview" not in read_manifest(output)["cases"][NAMES[0]]


@pytest.mark.parametrize("preview", [True, False])
def test_overwriting_all_results_keeps_a_file_that_is_no_picture_of_volseg(
    scans, model, options, output, caplog, preview
):
    mine = output / "previews" / f"{NAMES[0]}.png"
    mine.write_text("drawn-on")

    run(scans, model, output, overwrite=True, preview=preview, **options)

    assert mine.read_text() == "drawn-on"
    is_said = "is there already and volseg did not write it" in caplog.text
    assert is_said == preview
    assert (output / "previews" / f"{NAMES[1]}.png").exists() == preview


def test_a_failed_case_removes_no_file_that_is_no_picture_of_volseg(
    scans, model, options, output, tmp_path
):
    scans = Path(shutil.copytree(scans, tmp_path / "scans"))
    mine = output / "previews" / f"{NAMES[0]}.png"
    mine.write_text("drawn-on")
    next((scans / NAMES[0]).iterdir()).write_bytes(b"damaged")

    result = run(scans, model, output, overwrite=True, **options)

    assert list(result.failures) == [NAMES[0]]
    assert mine.read_text() == "drawn-on"


def test_a_kept_case_without_its_picture_is_named_with_the_way_to_get_it(
    scans, model, options, output, caplog
):
    caplog.set_level("INFO")
    run(scans, model, output, **options)
    assert "without a picture" not in caplog.text
    (output / "previews" / f"{NAMES[0]}.png").unlink()

    run(scans, model, output, preview=False, **options)
    assert "without a picture" not in caplog.text
    run(scans, model, output, **options)

    assert f"1 case kept without a picture, such as {NAMES[0]}: pictures are drawn" in caplog.text
    assert "with --overwrite" in caplog.text


def test_an_error_in_drawing_fails_no_case_and_is_said(
    scans, model, options, tmp_path, monkeypatch, caplog
):
    def broken(*_):
        raise RuntimeError("no pencil")

    monkeypatch.setattr(preview_writer, "draw_preview", broken)

    result = run(scans, model, tmp_path / "output", **options)

    assert (result.done, result.failures) == (tuple(NAMES), {})
    assert f"{NAMES[0]}.png was not drawn: no pencil" in caplog.text
    assert result.pictures == ()
    assert (tmp_path / "output" / "volumes.csv").is_file()


def test_an_error_in_a_contact_sheet_is_said(output, scans, model, options, monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("no pencil")

    monkeypatch.setattr(overview, "draw_sheet", broken)

    result = run(scans, model, output, overwrite=True, **options)

    assert result.done == tuple(NAMES)
    assert "previews.png was not drawn: no pencil" in caplog.text


def test_pictures_among_scans_are_no_scans(output, scans, tmp_path):
    together = Path(shutil.copytree(scans, tmp_path / "together"))
    shutil.copytree(output, together / "results")

    found = find_cases([together])

    assert [case.case_id for case in found.cases] == NAMES
    assert {skipped.sentence.rpartition(": ")[2] for skipped in found.skipped} == {
        "written by volseg"
    }


# Slices


@pytest.fixture(scope="module")
def slice_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors", **OF_SLICES)


def test_slices_have_counts_of_pixels_and_areas_where_their_size_is_known(tmp_path, slice_model):
    folder = tmp_path / "slices" / PATIENTS[0]
    write_images(folder, [f"{PATIENTS[0]}_{n}.tif" for n in (1, 2, 3)])
    found = Predictor(slice_model, device="cpu").predict(folder).probabilities["WT"]
    options = {"overrides": (f"inference.threshold={np.median(found):.6f}",)}

    label_map = Predictor(slice_model, device="cpu", **options).predict(folder).label_map

    run(tmp_path / "slices", slice_model, tmp_path / "unknown", **options)
    run(tmp_path / "slices", slice_model, tmp_path / "known", spacing_mm=(2.0, 2.0, 5.0), **options)

    (unknown,), (known,) = (rows_of(tmp_path / n / "volumes.csv") for n in ("unknown", "known"))
    areas = (label_map > 0).sum(axis=(0, 1))
    assert int(unknown["largest_area_pixels"]) == areas.max()
    assert int(unknown["largest_area_slice"]) == areas.argmax() + 1
    assert (unknown["volume_ml"], unknown["longest_mm"], unknown["largest_area_mm2"]) == ("",) * 3
    assert float(known["largest_area_mm2"]) == 4 * int(known["largest_area_pixels"])
    assert float(known["volume_ml"]) == pytest.approx(int(known["voxels"]) * 0.02, abs=5e-4)
    picture = pixels(tmp_path / "unknown" / "previews" / f"{PATIENTS[0]}.png")
    for row in np.array_split(picture[60:-60], 3, axis=0):
        for panel in np.array_split(row, 3, axis=1):
            assert has_colour(panel, "WT").sum() > 20


def test_a_case_whose_masks_are_called_previews_is_segmented_without_pictures(
    tmp_path, slice_model, caplog
):
    write_images(tmp_path / "slices" / "previews", [f"previews_{n}.tif" for n in (1, 2)])
    write_images(tmp_path / "slices" / "other", [f"other_{n}.tif" for n in (1, 2)])

    result = run(tmp_path / "slices", slice_model, tmp_path / "output")

    assert set(result.done) == {"previews", "other"}
    assert "no picture is drawn, since the masks of case previews have the name" in caplog.text
    assert sorted(p.name for p in (tmp_path / "output" / "previews").iterdir()) == [
        "previews_1.tif",
        "previews_2.tif",
    ]


def test_the_preview_of_a_lone_slice_is_its_tile_of_the_contact_sheet(tmp_path, slice_model):
    write_images(tmp_path / "slices", ["a.png", "b.png"])

    run(tmp_path / "slices", slice_model, tmp_path / "output")

    with Image.open(tmp_path / "output" / "previews" / "a.png") as tile:
        assert max(tile.size) == 240
        assert tile.info["volseg-thumbnail"] == f"0 0 {tile.width} {tile.height}"
    assert (tmp_path / "output" / "previews.png").is_file()


def test_a_lone_image_called_like_the_contact_sheet_keeps_its_mask(tmp_path, slice_model, caplog):
    write_images(tmp_path / "slices", ["previews.png", "b.png"])

    result = run(tmp_path / "slices", slice_model, tmp_path / "output")

    assert len(result.done) == 2
    assert "no picture is drawn" in caplog.text
    assert pixels(tmp_path / "output" / "previews.png").shape == (14, 18, 3)


# Contact sheets


def test_a_contact_sheet_has_a_picture_for_each_case(tmp_path):
    drawn(tmp_path / "a.png")
    entries = [
        SheetEntry("one", tmp_path / "a.png", ["WT 1.20 ml", "t1n missing"]),
        SheetEntry("none", None),
        SheetEntry("lost", tmp_path / "lost.png"),
        SheetEntry("two", tmp_path / "a.png", ["WT 1.20 ml"]),
    ]

    draw_sheet(tmp_path / "sheet.png", "Cases", entries, ["WT", "TC", "ET"])

    cells = np.array_split(pixels(tmp_path / "sheet.png")[60:], 4, axis=1)
    assert [bool(has_colour(cell, "WT").sum() > 10) for cell in cells] == [True, False, False, True]
    assert is_ours(tmp_path / "sheet.png")


@pytest.mark.parametrize(("cases", "width"), [(1, 300), (2, 402), (9, 1578)])
def test_a_contact_sheet_is_as_wide_as_its_cases_and_its_last_line(tmp_path, cases, width):
    draw_sheet(tmp_path / "sheet.png", "Cases", [SheetEntry("one", None)] * cases, ["WT"])

    assert pixels(tmp_path / "sheet.png").shape[1] == width


def test_many_cases_are_on_several_sheets_and_old_sheets_go(tmp_path):
    drawn(tmp_path / "a.png")
    mark = {"file": "a.png", "bytes": 1, "sha256": "x"}
    record = {"preview": mark, "volumes_ml": {"WT": 1.0}}
    records = {f"case {n}": record for n in range(MOST_CASES + 1)}

    overview.write_overview(tmp_path, records, draws=True)
    assert sorted(p.name for p in tmp_path.glob("previews*")) == ["previews-2.png", "previews.png"]
    assert (tmp_path / "previews.png").stat().st_size < 4e6
    (tmp_path / "previews-3.png").write_bytes(b"of the user")
    overview.write_overview(tmp_path, {"case 1": record}, draws=True)

    assert sorted(p.name for p in tmp_path.glob("previews*")) == ["previews-3.png", "previews.png"]


def test_a_contact_sheet_says_small_volumes_and_missing_channels(tmp_path, monkeypatch):
    sheets = []
    monkeypatch.setattr(overview, "draw_sheet", lambda *given: sheets.append(given))
    mark = {"file": "a.png", "bytes": 1, "sha256": "x"}
    volumes = {"WT": 20.104, "TC": 0.05, "ET": 0.003, "RC": 0.0}
    records = {
        "volumes": {"preview": mark, "volumes_ml": volumes, "missing_channels": ["t1n", "t1c"]},
        "slices": {"preview": mark, "measures": as_record({"WT": RegionMeasures(12, None, 1)})},
    }

    overview.write_overview(tmp_path, records, draws=True)

    ((_, _, entries, _),) = sheets
    assert [entry.words for entry in entries] == [
        ["WT 20.10 TC 0.05 ET <0.01 ml", "RC 0.00 ml", "t1n, t1c missing"],
        ["WT 12 pixels"],
    ]


# Tables


def test_infer_prints_a_table_and_where_the_pictures_are(scans, model, options, tmp_path):
    words = ["infer", str(scans), "-m", str(model), "-o", str(tmp_path / "output")]

    told = CliRunner().invoke(app, [*words, "--device", "cpu", *options["overrides"]])

    assert told.exit_code == 0
    assert "diameters (mm)" in told.stdout
    assert NAMES[1] in told.stdout
    assert f"look at the results:\n  {tmp_path / 'output' / 'previews.png'}" in told.stdout
    again = CliRunner().invoke(app, ["info", str(tmp_path / "output")])
    assert "diameters (mm)" in again.stdout
    facts = info(tmp_path / "output")
    assert facts["pictures"] == [
        str(tmp_path / "output" / name) for name in ("previews.png", "previews")
    ]
    row = rows_of(tmp_path / "output" / "volumes.csv")[0]
    assert facts["measures"][NAMES[0]]["WT"]["volume_ml"] == float(row["volume_ml"])


def test_many_cases_are_summarised(capsys):
    from volseg.cli.measures_tables import print_measures

    of = {f"case {n}": {"WT": RegionMeasures(10 * n, float(n), 1)} for n in range(21)}

    print_measures(of)

    printed = capsys.readouterr().out
    assert "20 of 21" in printed
    assert "10.50" in printed  # the median of 1 to 20
    assert "1.00 to 20.00" in printed
    assert "case 7" not in printed
