"""Animations through the slices of a case."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from PIL import Image, ImageSequence

from volseg.errors import OutputError
from volseg.figures.case_view import CaseView
from volseg.figures.colours import REGION_COLOURS
from volseg.figures.looks import Look
from volseg.figures.sweep import sweep, sweep_bytes
from volseg.files.ownership import is_ours
from volseg.finding.folders import find_cases
from volseg.labels import get_scheme

CLEAN = Look(words=False)


@pytest.fixture
def view():
    """A brain of slices 2 to 9, tumour in slices 4 to 7; low I is the patient's left."""
    image = np.zeros((40, 60, 12), np.float32)
    # Neighbouring slices differ in every plane: equal frames would become a single one.
    image[4:36, 4:56, 2:10] = 40 + 60 * (np.indices((32, 52, 8)).sum(axis=0) % 2)
    mask = np.zeros(image.shape, bool)
    mask[6:14, 10:20, 4:8] = True
    return CaseView({"t2f": image}, prediction={"WT": mask})


def frames(content):
    with Image.open(io.BytesIO(content)) as image:
        return [np.asarray(frame.convert("RGB")) for frame in ImageSequence.Iterator(image)]


def near(frame, colour):
    """Pixels that have about this colour."""
    return np.abs(frame / 255 - to_rgb(colour)).max(axis=2) < 0.25


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_frame_for_each_slice_with_tissue_outlines_the_regions_of_that_slice(view, kind):
    drawn = frames(sweep_bytes(view, "t2f", kind, CLEAN))

    outlined = [bool(near(frame, REGION_COLOURS["WT"]).sum() > 50) for frame in drawn]
    assert outlined == [False, False, True, True, True, True, False, False]


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_the_patients_left_is_on_the_right_and_the_back_is_at_the_bottom(view, kind):
    frame = frames(sweep_bytes(view, "t2f", kind, CLEAN))[3]

    rows, columns = np.nonzero(near(frame, REGION_COLOURS["WT"]))
    assert columns.mean() > 0.6 * frame.shape[1]
    assert rows.mean() > 0.6 * frame.shape[0]


def test_frames_are_cropped_and_keep_the_proportions_in_mm(view):
    high = CaseView(view.images, view.prediction, spacing_mm=(1.0, 2.0, 5.0))

    square, tall = (frames(sweep_bytes(one, "t2f", "webp", CLEAN))[0] for one in (view, high))

    # 32 x 52 voxels of brain, with a margin of 2 on each side.
    assert square.shape[0] / square.shape[1] == pytest.approx(56 / 36, rel=0.01)
    assert tall.shape[0] / tall.shape[1] == pytest.approx(2 * 56 / 36, rel=0.01)


def test_other_planes_are_swept_too(view):
    assert len(frames(sweep_bytes(view.in_plane("coronal"), "t2f"))) == 52
    assert len(frames(sweep_bytes(view.in_plane("sagittal"), "t2f"))) == 32


def test_the_inner_region_fills_its_voxels_and_the_outer_region_the_rest(view):
    inner = np.zeros_like(view.prediction["WT"])
    inner[6:14, 10:15] = view.prediction["WT"][6:14, 10:15]
    nested = CaseView(view.images, prediction={"ET": inner, "WT": view.prediction["WT"]})

    frame = frames(sweep_bytes(nested, "t2f", "webp", Look(outline=0, fill=1, words=False)))[3]

    areas = [near(frame, REGION_COLOURS[region]).sum() for region in ("ET", "WT")]
    assert areas[0] == pytest.approx(areas[1], rel=0.1)


def test_an_outline_of_opacity_0_leaves_the_image_alone(view):
    plain = CaseView(view.images)

    without = sweep_bytes(view, "t2f", "webp", Look(outline=0, words=False))

    assert np.array_equal(frames(without), frames(sweep_bytes(plain, "t2f", "webp", CLEAN)))


def test_the_reference_is_dashed(view):
    both = CaseView(view.images, reference=view.prediction)

    solid, dashed = (
        near(frames(sweep_bytes(one, "t2f", "webp", CLEAN))[3], REGION_COLOURS["WT"]).sum()
        for one in (view, both)
    )

    assert 0.3 * solid < dashed < 0.8 * solid


def test_words_take_rows_below_the_image(view):
    clean, worded = (frames(sweep_bytes(view, "t2f", "webp", look))[0] for look in (CLEAN, Look()))

    height, width = clean.shape[:2]
    below = worded[height + 36 :]
    # Letters of the sides stand outside the image, 18 pixels on each side.
    assert worded.shape[1] >= width + 36
    assert (below.max(axis=2) > 150).sum() > 200


def test_narrow_frames_are_as_wide_as_their_words():
    narrow = CaseView({"t2f": np.ones((8, 100, 3), np.float32)})

    assert frames(sweep_bytes(narrow, "t2f"))[0].shape[1] >= 220


@pytest.mark.parametrize("kind", ["webp", "gif"])
def test_a_file_that_would_be_too_large_is_made_with_rougher_settings(view, kind, monkeypatch):
    fine = len(sweep_bytes(view, "t2f", kind))
    monkeypatch.setattr("volseg.figures.sweep._MOST_BYTES", fine - 1)

    content = sweep_bytes(view, "t2f", kind)

    assert len(content) < fine
    assert len(frames(content)) == 8


def test_a_real_case_takes_at_most_a_megabyte(real_data):
    case = next(c for c in find_cases(real_data / "brats2021").cases if c.label)
    images, (label_map, grid) = case.read_images(["t2f"]), case.read_reference()
    masks = get_scheme("brats2021").masks(grid.to_ras(label_map))
    view = CaseView({"t2f": grid.to_ras(images.array[0])}, masks)

    drawn = {kind: sweep_bytes(view, "t2f", kind) for kind in ("webp", "gif")}

    assert all(200_000 < len(content) <= 1_000_000 for content in drawn.values())
    with Image.open(io.BytesIO(drawn["webp"])) as image:
        assert max(image.size) >= 512


@pytest.mark.parametrize("name", ["sweep.webp", "sweep.gif"])
def test_a_file_of_ours_is_replaced_and_one_of_others_is_not(view, tmp_path, name):
    path = tmp_path / name
    Image.new("RGB", (4, 4)).save(path)
    with pytest.raises(OutputError, match=f"{name} is there already and volseg did not write it"):
        sweep(view, "t2f", path)
    path.unlink()

    sweep(view, "t2f", path)
    sweep(view, "t2f", path, frames_per_second=4)

    assert is_ours(path)
    with Image.open(path) as image:
        image.load()
        assert image.info["duration"] == 250
        assert image.info["loop"] == 0


def test_a_case_without_tissue_has_a_frame():
    assert len(frames(sweep_bytes(CaseView({"t2f": np.zeros((8, 8, 5))}), "t2f"))) == 1
