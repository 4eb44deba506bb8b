"""Pictures of maps over scans, and of the shares of channels."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from volseg.figures.case_view import CaseView
from volseg.figures.figure_files import figure_array
from volseg.figures.heat_map import HeatMap, heat_figure
from volseg.figures.share_bars import share_bars

SHAPE = (24, 20, 16)
#: A region on the patient's left, at the front and below.
LEFT_FRONT = np.s_[3:8, 12:17, 4:7]


@pytest.fixture(autouse=True)
def _small(monkeypatch):
    monkeypatch.setattr("volseg.figures.heat_map._DPI", 40)


def mask(where=LEFT_FRONT):
    found = np.zeros(SHAPE, np.bool_)
    found[where] = True
    return found


def heat(**changes):
    values = np.zeros(SHAPE, np.float32)
    values[LEFT_FRONT] = 1
    return replace(HeatMap(values, mask(), "t1c", "share"), **changes)


def view(**changes):
    return replace(CaseView({"t1c": np.full(SHAPE, 90, np.uint8)}, name="P7"), **changes)


def opacities(figure):
    """Largest opacity of the map in each quarter of the lower left panel, the upper two first."""
    panel = figure.axes[1]
    image = np.asarray(panel.images[1].get_array())[..., 3]
    rows, columns = (size // 2 for size in image.shape)
    parts = [image[:rows, :columns], image[:rows, columns:]]
    return [part.max() for part in (*parts, image[rows:, :columns], image[rows:, columns:])]


def test_the_slices_go_through_the_region_in_all_planes():
    figure = heat_figure(view(), heat(), "P7: saliency of ET")

    words = [text.get_text() for text in figure.texts]
    assert {"axial slice 5, t1c", "coronal slice 13, t1c", "sagittal slice 4, t1c"} <= set(words)
    assert "P7: saliency of ET" in words
    assert any("not for clinical use" in text for text in words)
    assert figure_array(figure).max() > 100


def test_only_the_marked_voxels_are_coloured_and_the_patients_right_is_on_the_left():
    figure = heat_figure(view(), heat(), "")

    # Low indices of the first axis are the patient's left, which is drawn on the right.
    upper_left, upper_right, *lower = opacities(figure)
    assert upper_right == pytest.approx(0.85, abs=0.01)
    assert [upper_left, *lower] == [0, 0, 0]


def test_a_slice_stack_is_drawn_in_its_own_plane():
    figure = heat_figure(view(is_oriented=False), heat(), "")

    words = [text.get_text() for text in figure.texts]
    assert [word for word in words if word.startswith("slice")] == [
        *("slice 5, t1c", "slice 6, t1c", "slice 7, t1c")
    ]


def test_a_slice_stack_shows_the_slice_of_the_largest_value_too():
    values = np.zeros(SHAPE, np.float32)
    values[2, 2, 13] = -1
    figure = heat_figure(view(is_oriented=False), heat(values=values), "")

    words = [text.get_text() for text in figure.texts]
    assert [word for word in words if word.startswith("slice")] == [
        *("slice 5, t1c", "slice 6, t1c", "slice 7, t1c", "slice 14, t1c")
    ]


def test_colours_reach_to_the_largest_shown_value_but_for_lone_voxels():
    values = np.full((20, 100), 0.1, np.float32)
    values[0, 0] = 1
    none = np.zeros((20, 100), np.float32)

    assert heat().shades([values, none]).norm.vmax == pytest.approx(0.1, rel=0.01)
    assert heat().shades([values * 3, values]).norm.vmax == pytest.approx(0.3, rel=0.01)
    assert heat().shades([none]).norm.vmax == 1


def test_values_in_hidden_slices_do_not_make_the_shown_ones_pale():
    faint = heat().values * np.float32(0.1)
    faint[20, 3, 14] = 1

    *_, bar = heat_figure(view(), heat(values=faint), "").axes

    assert bar.get_ylim()[1] == pytest.approx(0.1)


def test_negative_values_have_colours_of_their_own():
    shades = heat(signed=True).shades([np.ones((1, 1), np.float32)])

    red, blue, clear = shades.to_rgba(np.array([1.0, -1.0, 0.0]))

    assert red[0] > red[2]
    assert blue[0] < blue[2]
    assert clear[3] < 0.01


def test_a_lone_voxel_is_marked_by_a_ring():
    lone = heat(target=mask(np.s_[5, 14, 6]))

    figure = heat_figure(view(), lone, "")

    # Drawn from high to low indices, along both axes; the box of the view has no margin here.
    (ring,) = figure.axes[0].lines
    assert (ring.get_xdata()[0], ring.get_ydata()[0]) == (24 - 1 - 5, 20 - 1 - 14)


def test_outlines_are_of_prediction_and_reference():
    both = view(prediction={"ET": mask()}, reference={"ET": mask(np.s_[4:9, 12:17, 4:7])})

    figure = heat_figure(both, heat(), "")

    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["ET", "reference", "prediction"]
    assert all(len(panel.collections) == 2 for panel in figure.axes[:2])


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        (np.s_[20:23, 2:5, 12:15], "the reference lies in none of these slices, but from "),
        (np.s_[:0, :0, :0], "the reference has no voxel of this region"),
    ],
)
@pytest.mark.parametrize(
    ("is_oriented", "ends"),
    [(True, "axial slice 13 to axial slice 15"), (False, "slice 13 to slice 15")],
)
def test_a_reference_that_no_slice_shows_is_said(reference, expected, is_oriented, ends):
    missed = view(
        is_oriented=is_oriented, prediction={"ET": mask()}, reference={"ET": mask(reference)}
    )

    figure = heat_figure(missed, heat(), "")

    notes = [text.get_text() for text in figure.texts if "reference" in text.get_text()]
    assert notes == [expected + ends * expected.endswith("from ")]


def test_bars_are_in_percent_by_channel_and_region():
    figure = share_bars({"WT": {"t1c": 0.25, "t2f": 0.75}, "ET": {"t1c": 1.0}}, "P7")

    panel = figure.axes[0]
    heights = [[bar.get_height() for bar in group] for group in panel.containers]
    assert heights == [[25, 75], [100, 0]]
    assert [label.get_text() for label in panel.get_xticklabels()] == ["t1c", "t2f"]
    assert any("not for clinical use" in text.get_text() for text in figure.texts)
