from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from volseg.images.boxes import bounding_box

MASKS = arrays(bool, (3, 4, 2))


@given(MASKS)
def test_the_bounding_box_holds_all_and_touches_each_side(mask):
    inside = mask[bounding_box(mask)]

    assert inside.sum() == mask.sum()
    if mask.any():
        for axis in range(mask.ndim):
            sides = np.moveaxis(inside, axis, 0)
            assert sides[0].any()
            assert sides[-1].any()
    else:
        assert inside.size == 0


def test_a_margin_ends_at_the_array():
    mask = np.zeros((6, 4), dtype=bool)
    mask[1:3, 2] = True

    assert bounding_box(mask, margin=2) == (slice(0, 5), slice(0, 4))


def test_a_margin_around_nothing_is_nothing():
    assert bounding_box(np.zeros((3, 4), dtype=bool), margin=2) == (slice(0, 0), slice(0, 0))


@given(arrays(np.uint8, (3, 4, 2), elements=st.sampled_from([0, 0, 0, 2, 4])))
def test_the_box_of_a_label_map_holds_all_but_background(label_map):
    assert bounding_box(label_map) == bounding_box(label_map > 0)
