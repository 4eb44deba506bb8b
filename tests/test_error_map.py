"""Maps of errors: which voxels are whose, in which slice, in which colour."""

from __future__ import annotations

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from volseg.figures.case_view import CaseView
from volseg.figures.colours import AGREED, ERROR_COLOURS, FALSE_NEGATIVE, FALSE_POSITIVE
from volseg.figures.error_map import error_map, errors
from volseg.figures.figure_files import figure_array

SHAPE = (30, 30, 6)


def cube(low, high, slices):
    mask = np.zeros(SHAPE, bool)
    mask[low:high, 5:15, slices] = True
    return mask


def view(reference, prediction):
    image = np.full(SHAPE, 40.0, np.float32)
    return CaseView({"t1c": image, "t2f": image}, {"WT": reference}, {"WT": prediction})


def near(picture, part):
    """Pixels whose colour lies nearest to that of a part, and not to grey."""
    colour = np.array(to_rgb(ERROR_COLOURS[part])) * 255
    hue = picture.astype(float) - picture.mean(-1, keepdims=True)
    wanted = colour - colour.mean()
    cosine = (hue @ wanted) / (np.linalg.norm(hue, axis=-1) * np.linalg.norm(wanted) + 1e-9)
    return (cosine > 0.97) & (np.linalg.norm(hue, axis=-1) > 30)


def test_voxels_belong_to_one_part():
    parts = errors(view(cube(5, 15, slice(2, 4)), cube(10, 20, slice(2, 4))), "WT")

    assert {part: int(mask.sum()) for part, mask in parts.items()} == {
        AGREED: 5 * 10 * 2,
        FALSE_POSITIVE: 5 * 10 * 2,
        FALSE_NEGATIVE: 5 * 10 * 2,
    }


def test_the_slice_with_most_wrong_voxels_is_shown():
    reference, prediction = cube(5, 15, slice(1, 5)), cube(5, 15, slice(1, 5))
    prediction[5:8, :, 4] = False

    figure = error_map(view(reference, prediction))

    assert figure.axes[0].get_title() == "WT, axial slice 5, t2f"


def test_without_errors_the_largest_slice_is_shown():
    mask = cube(5, 15, slice(1, 3))
    mask[5:25, :, 3] = True

    assert error_map(view(mask, mask)).axes[0].get_title() == "WT, axial slice 4, t2f"


def test_errors_have_their_colours():
    figure = error_map(view(cube(5, 15, slice(2, 3)), cube(5, 15, slice(3, 4))))
    missed = figure_array(figure)[60:-60]
    figure = error_map(view(cube(5, 15, slice(2, 3)), cube(3, 25, slice(2, 3))))
    predicted = figure_array(figure)[60:-60]

    assert near(missed, FALSE_NEGATIVE).sum() > 500
    assert near(missed, FALSE_POSITIVE).sum() < 50
    assert near(predicted, FALSE_POSITIVE).sum() > 500
    assert near(predicted, AGREED).sum() > 500


def test_errors_need_both_sides():
    with pytest.raises(ValueError, match="reference and prediction"):
        error_map(CaseView({"t2f": np.ones(SHAPE)}, None, {"WT": cube(1, 2, slice(1))}))
