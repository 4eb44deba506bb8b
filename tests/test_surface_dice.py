import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_erosion, distance_transform_edt

from volseg.metrics import dice, iou, surface_dice


def plain_surface_dice(reference, prediction, spacing_mm, tolerance_mm):
    """The definition, word by word."""
    surfaces = [mask & ~binary_erosion(mask) for mask in (reference, prediction)]
    distances = [
        distance_transform_edt(~there, spacing_mm)[here]
        for here, there in (surfaces, surfaces[::-1])
    ]
    return sum(float(np.mean(side <= tolerance_mm)) for side in distances) / 2


@settings(max_examples=100, deadline=None)
@given(
    arrays(bool, (5, 6, 4)).filter(np.any),
    arrays(bool, (5, 6, 4)).filter(np.any),
    st.tuples(*[st.sampled_from([0.5, 0.75, 1.0, 2.0])] * 3),
    st.sampled_from([0.0, 0.5, 1.0, 2.5]),
)
def test_any_two_masks_agree_with_the_definition(reference, prediction, spacing_mm, tolerance_mm):
    ours = surface_dice(reference, prediction, spacing_mm, tolerance_mm)

    theirs = plain_surface_dice(reference, prediction, spacing_mm, tolerance_mm)
    assert ours == pytest.approx(theirs, abs=1e-12)
    assert ours == surface_dice(prediction, reference, spacing_mm, tolerance_mm)


def test_empty_masks_score_as_in_brats():
    empty, full = np.zeros((3, 3, 3), bool), np.ones((3, 3, 3), bool)

    assert surface_dice(empty, empty, (1, 1, 1), 1.0) == 1.0
    assert surface_dice(empty, full, (1, 1, 1), 1.0) == 0.0
    assert surface_dice(full, empty, (1, 1, 1), 1.0) == 0.0
    assert dice(empty, empty) == iou(empty, empty) == 1.0
    assert dice(empty, full) == iou(full, empty) == 0.0


def test_a_spacing_for_each_axis_is_demanded():
    mask = np.ones((2, 2, 2), bool)

    with pytest.raises(ValueError, match=r"3 spacings are needed, got \(1.0, 1.0\)"):
        surface_dice(mask, mask, (1.0, 1.0), 1.0)
