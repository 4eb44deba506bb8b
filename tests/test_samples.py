from __future__ import annotations

import json
import logging
import shutil
from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.image import imread
from score_rows import scored_row

from volseg.cases.data_list import read_data_list
from volseg.errors import ImageError
from volseg.evaluation.pairs import CasePair
from volseg.evaluation.samples import pair_view
from volseg.figures.case_view import CaseView
from volseg.figures.colours import REGION_COLOURS
from volseg.figures.figure_files import figure_array
from volseg.figures.planes import slice_numbers
from volseg.figures.samples import (
    Sample,
    choose_samples,
    dice_by_case,
    draw_samples,
    sample_grid,
    samples_title,
    shown_channel,
)
from volseg.images.grid import Grid
from volseg.labels import get_scheme
from volseg.metrics import Overlap, ScoreRow, ScoreTable
from volseg.tasks.evaluate import evaluate


def dice(**of):
    return {case: {"WT": value} for case, value in of.items()}


def test_best_median_and_worst_are_chosen_by_mean_dice():
    cases = {
        "a": {"WT": 0.9, "ET": 0.1},
        "b": {"WT": 0.6, "ET": 0.6},
        "c": {"WT": 0.2, "ET": 0.3},
    }

    assert choose_samples(cases) == {"best": "b", "median": "a", "worst": "c"}


def test_of_an_even_number_the_lower_of_the_middle_two_is_the_median():
    assert choose_samples(dice(a=0.9, b=0.8, c=0.7, d=0.1))["median"] == "c"


def test_fewer_cases_give_fewer_samples_and_none_comes_twice():
    assert choose_samples({}) == {}
    assert choose_samples(dice(a=0.5)) == {"only": "a"}
    assert choose_samples(dice(a=0.5, b=0.9)) == {"best": "b", "worst": "a"}


def test_cases_with_equal_scores_are_ordered_by_name():
    assert choose_samples(dice(c=0.5, a=0.5, b=0.5, d=0.1))["best"] == "a"


@pytest.mark.parametrize("score", [0.0, 0.3, 1.0])
def test_where_all_cases_score_alike_none_is_called_the_best(score):
    cases = dice(c=score, a=score, b=score)

    assert choose_samples(cases) == {"first": "a", "middle": "b", "last": "c"}
    assert choose_samples(dice(b=score, a=score)) == {"first": "a", "last": "b"}
    assert samples_title("Cases of x", cases) == (
        f"Cases of x, all 3 with the same mean Dice of {score:.3f}"
    )
    assert samples_title("Cases of x", cases | dice(d=0.5)) == "Cases of x, chosen by Dice"


@pytest.mark.parametrize(
    ("reference", "prediction", "said"),
    [
        (0, 0, "nothing in the reference or in the prediction; axial slice"),
        (9, 0, "nothing in the prediction; axial slice"),
        (0, 9, "nothing in the reference; axial slice"),
        (9, 9, "Dice WT 0.000; axial slice"),
    ],
)
def test_a_row_says_which_side_is_empty(reference, prediction, said):
    shown = view(reference=block(2, 2 + reference), prediction=block(2, 2 + prediction))

    words = [t.get_text() for t in sample_grid([Sample("only", shown, {"WT": 0.0})], "").texts]

    assert any(said in word for word in words)


def test_cases_without_a_score_are_not_chosen():
    missing = ScoreRow("b", "WT", status="missing")
    table = ScoreTable.of([scored_row("a", "WT", Overlap(1, 1, 1), None), missing])

    assert dice_by_case(table) == {"a": {"WT": 0.5}}


def test_t2f_is_shown_where_there_is_one():
    assert shown_channel(["t1n", "t2f", "t1c"]) == "t2f"
    assert shown_channel(["ct", "pet"]) == "ct"


def block(low, high, shape=(40, 40, 5), slices=slice(None)):
    mask = np.zeros(shape, dtype=bool)
    mask[low:high, low:high, slices] = True
    return mask


def view(name="case", reference=None, prediction=None, **options):
    image = block(2, 38).astype(np.float32)
    return CaseView(
        {"t1n": image * 0.5, "t2f": image},
        {"WT": block(10, 20, slices=slice(1, 3)) if reference is None else reference},
        {"WT": block(22, 32) if prediction is None else prediction},
        name,
        **options,
    )


def coloured(picture):
    hue = np.array(to_rgb(REGION_COLOURS["WT"])) * 255
    return np.abs(picture.astype(float) - hue).max(axis=2) < 60


def test_columns_show_the_image_the_reference_the_prediction_and_both():
    figure = sample_grid([Sample("best", view(), {"WT": 0.5})], "Samples")

    words = [text.get_text() for text in figure.texts]
    assert words[0] == "Samples"
    assert words[2:6] == ["image", "reference", "prediction", "both"]
    picture = coloured(figure_array(figure)[90:-60])
    image, reference, prediction, both = (p.sum() for p in np.array_split(picture, 4, axis=1))
    assert image == 0
    assert min(reference, prediction) > 50
    assert both > max(reference, prediction)


def test_rows_are_named_with_case_scores_slice_and_channel():
    samples = [
        Sample("best", view("first"), {"WT": 0.91234, "ET": 0.5}),
        Sample("worst", view("last", numbers={"axial": [11, 12, 13, 14, 15]}), {"WT": 0.1}),
    ]

    words = [text.get_text() for text in sample_grid(samples, "").texts]

    assert "best: first, Dice WT 0.912, ET 0.500; axial slice 2, t2f" in words
    assert "worst: last, Dice WT 0.100; axial slice 12, t2f" in words


@pytest.mark.parametrize("is_oriented", [True, False])
def test_sides_are_named_where_the_files_say_how_the_patient_lies(is_oriented):
    shown = replace(view("a"), is_oriented=is_oriented)

    figure = sample_grid([Sample("best", shown, {"WT": 0.5})], "")

    letters = [[text.get_text() for text in panel.texts] for panel in figure.axes]
    assert letters == [["R", "L", "A", "P"] if is_oriented else []] * 4
    (row,) = (text.get_text() for text in figure.texts if "best" in text.get_text())
    assert ("axial" in row) == is_oriented


def test_without_a_reference_the_slice_with_most_of_the_prediction_is_shown():
    nothing = block(0, 0)
    only = Sample("best", view(reference=nothing, prediction=block(5, 9, slices=slice(3, 4))), {})
    neither = Sample("best", view(reference=nothing, prediction=nothing), {})

    assert only.index == 3
    assert neither.index == 0


def test_a_stack_of_one_slice_is_drawn():
    flat = {"WT": block(10, 20, (40, 40, 1))}
    one = CaseView({"image": np.full((40, 40, 1), 7, dtype=np.uint8)}, flat, flat, "slice")

    picture = figure_array(sample_grid([Sample("best", one, {"WT": 1.0})], ""))

    assert coloured(picture).sum() > 100


def test_slices_bear_the_numbers_of_their_file_whichever_way_it_is_stored():
    downwards = np.diag([-1.0, 1, -2, 1])
    downwards[2, 3] = 20
    file = Grid((4, 4, 10), downwards)

    numbers = slice_numbers(file.ras, file)
    assert numbers["axial"] == [10, 9, 8, 7, 6, 5, 4, 3, 2, 1]
    assert (numbers["sagittal"], numbers["coronal"]) == ([4, 3, 2, 1], [1, 2, 3, 4])
    # Three slices are cut off below.
    cropped = file.ras.crop((slice(0, 4), slice(0, 4), slice(3, 5)))
    assert slice_numbers(cropped, file)["axial"] == [7, 6]


def test_slices_of_a_sagittal_file_are_counted_along_its_axis():
    affine = np.array([[0, 0, 1.0, 0], [1, 0, 0, 0], [0, 1, 0, 5], [0, 0, 0, 1]])
    sagittal = Grid((8, 3, 7), affine)

    numbers = slice_numbers(sagittal.ras, sagittal)
    assert numbers["axial"] == [1, 2, 3]
    assert numbers["coronal"] == list(range(1, 9))


def test_what_stops_the_drawing_is_logged_and_an_older_picture_goes(tmp_path, caplog):
    def unreadable(case_id):
        raise ImageError(f"{case_id} is damaged; copy it again")

    draw_samples(tmp_path / "samples.png", dice(a=0.5), view, "")
    assert (tmp_path / "samples.png").is_file()
    with caplog.at_level(logging.WARNING):
        draw_samples(tmp_path / "samples.png", dice(a=0.5), unreadable, "")

    assert list(tmp_path.iterdir()) == []
    assert "samples.png was not drawn: a is damaged; copy it again" in caplog.text


def test_nothing_scored_is_nothing_drawn(tmp_path):
    draw_samples(tmp_path / "samples.png", {}, view, "")

    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def predictions(cohort, tmp_path):
    """Label maps of the references themselves, as if they were predicted."""
    folder = tmp_path / "predictions"
    folder.mkdir()
    for case in read_data_list(cohort / "list.json").training:
        shutil.copy(case.label[0], folder / f"{case.case_id}.nii.gz")
    return folder


def test_evaluate_draws_samples_of_a_data_list(predictions, cohort, tmp_path):
    evaluate(predictions, cohort / "list.json", tmp_path / "scores", "brats2023")

    picture = (imread(tmp_path / "scores" / "samples.png")[..., :3] * 255).astype(np.uint8)
    assert coloured(picture[90:-60]).sum() > 100
    assert not coloured(picture[90:-60, :240]).any()


def test_evaluate_draws_nothing_where_there_are_label_maps_alone(predictions, tmp_path, caplog):
    with caplog.at_level(logging.INFO):
        evaluate(predictions, predictions, tmp_path / "scores", "brats2023", "brats2023")

    assert not (tmp_path / "scores" / "samples.png").exists()
    assert "the reference has label maps but no images" in caplog.text


def test_evaluate_scores_what_it_cannot_draw(predictions, cohort, tmp_path, caplog):
    scans = shutil.copytree(cohort / "scans", tmp_path / "scans")
    for path in scans.rglob("*t2f*"):
        path.write_bytes(b"damaged")
    output = tmp_path / "scores"

    result = evaluate(predictions, cohort / "list.json", output, "brats2023", data_root=scans)

    assert len(result.table.cases("scored")) == 4
    assert "samples.png was not drawn" in caplog.text
    assert json.loads((output / "scores.json").read_text())["failed"] == []


def test_a_compared_case_is_drawn_as_its_files_hold_it(cohort, predictions):
    scheme = get_scheme("brats2023")
    case = read_data_list(cohort / "list.json").training[0]
    path = predictions / f"{case.case_id}.nii.gz"

    shown = pair_view(CasePair(case, (path,), scheme, scheme))

    assert list(shown.images) == ["t2f"]
    assert list(shown.reference) == ["WT", "TC", "ET"]
    image = shown.images["t2f"]
    assert image.shape == shown.reference["WT"].shape
    # Where there is tumour there is brain, in whatever way the file is stored.
    assert image[shown.reference["WT"]].all()
    np.testing.assert_array_equal(shown.reference["ET"], shown.prediction["ET"])
    assert sorted(shown.numbers["axial"]) == list(range(1, image.shape[2] + 1))


def test_slices_of_real_patients_are_drawn(real_data):
    folder = real_data / "lgg" / "kaggle_3m" / "TCGA_CS_4941_19960909"
    from volseg.cases.slice_stack_case import SliceStackCase

    images = sorted(
        (path for path in folder.glob("*.tif") if not path.stem.endswith("_mask")),
        key=lambda path: int(path.stem.rpartition("_")[2]),
    )
    masks = tuple(path.with_name(f"{path.stem}_mask.tif") for path in images)
    case = SliceStackCase("a", "a", tuple(images), ("t1n", "t2f", "t1c"), masks, "lgg")
    lgg = get_scheme("lgg")

    shown = pair_view(CasePair(case, masks, lgg, lgg))
    drawn = Sample("best", shown, {"WT": 1.0})

    areas = [int((imread(mask) > 0).sum()) for mask in masks]
    assert shown.slice_name(drawn.index) == f"slice {int(np.argmax(areas)) + 1}"
    # As it is stored, so it is shown: rows from front to back, columns from right to left.
    stored = imread(images[drawn.index])[..., 1]
    np.testing.assert_array_equal(shown.images["t2f"][..., drawn.index][::-1, ::-1].T, stored)
