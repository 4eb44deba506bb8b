import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy.ndimage import binary_dilation, generate_binary_structure, label

from volseg.images.components import components, dilated

masks = arrays(bool, (7, 6, 8), elements=st.integers(0, 5).map(lambda value: value == 0))


@settings(max_examples=60, deadline=None)
@given(masks, st.integers(0, 3))
def test_a_mask_grows_as_with_scipy(mask, steps):
    structure = generate_binary_structure(3, 2)
    # Zero iterations mean "until nothing changes" to scipy.
    theirs = binary_dilation(mask, structure, iterations=steps) if steps else mask

    assert np.array_equal(dilated(mask, steps), theirs)


@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from("CF"))
def test_components_are_numbered_by_their_first_voxels_in_c_order(mask, order):
    numbers, n = components(np.asarray(mask, order=order))
    theirs, n_theirs = label(mask, np.ones((3, 3, 3)))

    assert n == n_theirs
    assert np.array_equal(numbers, theirs)


def test_few_components_take_a_byte_for_each_voxel():
    mask = np.zeros((3, 3, 3), bool)
    mask[0, 0, 0] = mask[2, 2, 2] = True

    numbers, n = components(mask)

    assert (n, numbers.dtype) == (2, np.uint8)


@pytest.mark.parametrize("steps", [0, 2])
def test_the_mask_stays_as_it_is(steps):
    mask = np.zeros((3, 3, 3), bool)
    mask[1, 1, 1] = True

    dilated(mask, steps)

    assert mask.sum() == 1
