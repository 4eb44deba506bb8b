import numpy as np
import pytest
import surface_distance
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays

from volseg.metrics.border_distances import GridPoints
from volseg.metrics.nsd import nsd
from volseg.metrics.official import area_hd95
from volseg.metrics.official.area_hd95 import area_hd95_mm, surface_hd95_mm
from volseg.metrics.official.matching_by_touch import Matching
from volseg.metrics.official.parts import Parts
from volseg.metrics.official.surface_elements import SurfaceElements

SPACING_MM = (1.0, 0.7, 2.0)


@pytest.fixture
def always_bounded(monkeypatch):
    """Even a small surface is searched only where the percentile can be."""
    monkeypatch.setattr(area_hd95, "_MANY", 0)


def specks(seed, n, shape=(30, 34, 26)):
    generator = np.random.default_rng(seed)
    mask = np.zeros(shape, bool)
    for corner in generator.integers(1, np.array(shape) - 4, (n, 3)):
        sizes = generator.integers(1, 4, 3)
        mask[tuple(slice(at, at + size) for at, size in zip(corner, sizes, strict=True))] = True
    return mask


@pytest.mark.usefixtures("always_bounded")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the package
@settings(max_examples=80, deadline=None)
@given(arrays(bool, (7, 6, 8)).filter(np.any), arrays(bool, (7, 6, 8)).filter(np.any))
def test_any_two_masks_have_the_distance_of_surface_distance(reference, prediction):
    theirs = surface_distance.compute_robust_hausdorff(
        surface_distance.compute_surface_distances(reference, prediction, SPACING_MM), 95
    )

    assert area_hd95_mm(reference, prediction, SPACING_MM) == pytest.approx(theirs, abs=1e-9)


@pytest.mark.usefixtures("always_bounded")
@pytest.mark.parametrize("seed", range(4))
def test_lesions_of_many_components_have_the_scores_of_their_masks(seed):
    lesions = Parts.of(specks(seed, 40), 0, (0, 0, 0))
    components = Parts.of(specks(seed + 10, 90), 2, (0, 0, 0))
    matching = Matching(lesions, components, SPACING_MM, (0.5, 2.0))
    sizes = np.bincount(components.numbers.ravel())[1:]

    found = {
        number: lesion
        for number, lesion in enumerate(matching.lesion_list(0), start=1)
        if lesion.n_predicted
    }

    assert sizes.max() > 0.5 * sizes.sum()
    assert len(found) >= 4
    for number, lesion in found.items():
        mask = lesions.numbers == number
        touching = np.unique(components.numbers[mask & components.mask])
        masks = mask, np.isin(components.numbers, touching)
        assert lesion.hd95_mm == pytest.approx(area_hd95_mm(*masks, SPACING_MM), abs=1e-12)
        assert lesion.nsd == pytest.approx(nsd(*masks, SPACING_MM, (0.5, 2.0)))


@pytest.mark.usefixtures("always_bounded")
def test_a_share_of_exactly_95_percent_is_that_of_the_whole_sum():
    row = np.arange(20)[:, None] * [1, 0, 0]
    here = SurfaceElements(GridPoints(row, (1.0, 1.0, 1.0)), np.ones(20))
    there = SurfaceElements(GridPoints(row[:1], (1.0, 1.0, 1.0)), np.ones(1))

    assert surface_hd95_mm([here], [there]) == 18.0
