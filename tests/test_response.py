"""Changes over time and the thresholds of RANO 2.0."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from volseg.images.grid import Grid
from volseg.measures import Diameters, RegionMeasures, measure
from volseg.measures.record import as_record, read_measures
from volseg.measures.response import (
    PRODUCT,
    VOLUME,
    Change,
    changes,
    is_measurable,
    product_changes,
    product_mm2,
    volume_changes,
)

GRID = Grid((40, 40, 50), np.eye(4))


def cross(width, height, slices):
    """A cross of lines one voxel of 1 mm wide, in this number of slices."""
    mask = np.zeros(GRID.shape, bool)
    mask[20 - width // 2 : 21 + width // 2, 20, 2 : 2 + slices] = True
    mask[20, 20 - height // 2 : 21 + height // 2, 2 : 2 + slices] = True
    return measure({"ET": mask}, GRID)["ET"]


@pytest.fixture(scope="module")
def three():
    """Crosses of 51 voxels in 40 slices, 31 in 20, and 39 in 30."""
    return [cross(31, 21, 40), cross(21, 11, 20), cross(25, 15, 30)]


def test_volumes_of_three_time_points_are_those_counted_by_hand(three):
    baseline, small, grown = volume_changes(three)

    assert [one.value for one in (baseline, small, grown)] == pytest.approx([2.04, 0.62, 1.17])
    assert (baseline.from_baseline_percent, baseline.reached) == (None, "baseline")
    # (0.62 - 2.04) / 2.04, beyond -65.
    assert small.from_baseline_percent == small.from_nadir_percent == pytest.approx(-69.6078, 1e-5)
    assert small.reached == "partial response"
    # (1.17 - 2.04) / 2.04, but (1.17 - 0.62) / 0.62 from the nadir, beyond +40.
    assert grown.from_baseline_percent == pytest.approx(-42.6471, 1e-5)
    assert grown.from_nadir_percent == pytest.approx(88.7097, 1e-5)
    assert grown.reached == "progression"


def test_products_of_three_time_points_are_those_counted_by_hand(three):
    baseline, small, grown = product_changes(three)

    # 31 x 21, 21 x 11, 25 x 15 mm.
    assert [one.value for one in (baseline, small, grown)] == pytest.approx([651, 231, 375])
    assert small.from_baseline_percent == pytest.approx(100 * (231 - 651) / 651)
    assert small.reached == "partial response"
    assert grown.from_nadir_percent == pytest.approx(100 * (375 - 231) / 231)
    assert grown.reached == "progression"


def reached(values, thresholds, measurable=None):
    known = measurable or [True] * len(values)
    return [one.reached for one in changes(values, known, thresholds)]


@pytest.mark.parametrize(
    ("thresholds", "values", "expected"),
    [
        (VOLUME, [100, 35, 49], ["baseline", "partial response", "progression"]),
        (VOLUME, [100, 35.1, 49.1], ["baseline", "neither", "neither"]),
        (VOLUME, [0.1, 0.14], ["baseline", "progression"]),
        (PRODUCT, [100, 50, 62.5], ["baseline", "partial response", "progression"]),
        (PRODUCT, [100, 50.1, 62.6], ["baseline", "neither", "neither"]),
        (PRODUCT, [100, 124.9, 125], ["baseline", "neither", "progression"]),
    ],
)
def test_a_threshold_is_reached_where_it_is_met(thresholds, values, expected):
    assert reached(values, thresholds) == expected


def test_growth_counts_from_the_smallest_size_before_and_not_after():
    found = changes([100, 60, 90, 30], [True] * 4, VOLUME)

    assert [one.from_nadir_percent for one in found] == [None, -40, 50, -50]
    assert [one.reached for one in found] == [
        "baseline",
        "neither",
        "progression",
        "partial response",
    ]


def test_a_region_that_is_gone_and_comes_back_has_progressed():
    found = changes([100, 0, 20], [True, False, True], VOLUME)

    assert [one.reached for one in found] == ["baseline", "gone", "progression"]
    assert [one.from_nadir_percent for one in found] == [None, -100, None]
    assert found[2].from_baseline_percent == -80


def test_a_region_measurable_at_baseline_may_respond_below_ten_millimetres():
    shrunk = [cross(31, 31, 20), cross(9, 9, 20)]

    (_, by_product), (_, by_volume) = product_changes(shrunk), volume_changes(shrunk)

    assert [is_measurable(of) for of in shrunk] == [True, False]
    assert by_product.reached == by_volume.reached == "partial response"
    assert product_changes([*shrunk, cross(9, 9, 20)])[2].reached == "partial response"


def test_progression_needs_a_measurable_region_and_response_a_measurable_baseline():
    grown, small, least = cross(15, 15, 9), cross(9, 9, 9), cross(5, 5, 9)

    assert product_changes([least, small])[1].reached == "not measurable"
    assert product_changes([small, grown])[1].reached == "progression"
    assert product_changes([small, least])[1].reached == "not measurable"
    assert reached([100, 0, 20], VOLUME, [True, False, False])[2] == "not measurable"
    assert reached([10, 2], VOLUME, [False, False]) == ["baseline", "not measurable"]
    assert reached([10, 50], VOLUME, [False, True]) == ["baseline", "progression"]
    assert reached([0, 0], VOLUME, [False, False]) == ["baseline", "not measurable"]


def test_without_diameters_it_is_not_known_whether_a_threshold_counts():
    old = [RegionMeasures(voxels=9, volume_ml=ml, n_lesions=1) for ml in (10.0, 20.0, 5.0)]

    assert [one.reached for one in volume_changes(old)] == ["baseline", "not known", "not known"]
    assert [one.value for one in product_changes(old)] == [None, None, None]
    assert [one.reached for one in product_changes(old)] == [None, None, None]


def test_a_time_point_without_a_size_is_passed_over():
    found = changes([10, None, 15], [True, None, True], VOLUME)

    assert (found[1].value, found[1].reached) == (None, None)
    assert (found[2].from_nadir_percent, found[2].reached) == (50, "progression")
    assert reached([None, 5], VOLUME) == [None, None]


def test_a_region_of_a_few_fine_voxels_is_not_gone_after_it_was_recorded():
    before, small = cross(15, 15, 9), RegionMeasures(voxels=3, volume_ml=3 * 0.00004, n_lesions=1)
    small = replace(small, diameter=Diameters(0.5, 0.3, 1))

    read = read_measures({"measures": as_record({"ET": small})})["ET"]

    assert read == small
    assert volume_changes([before, read])[1].from_baseline_percent > -100
    assert volume_changes([before, read])[1].reached == "partial response"
    rounded = replace(read, volume_ml=0.0)  # as older versions recorded it
    assert volume_changes([before, rounded])[1] == Change(None)


@pytest.mark.parametrize(
    ("longest", "perpendicular", "expected"), [(10, 10, True), (30, 9.9, False), (9, 9, False)]
)
def test_both_diameters_of_a_measurable_region_are_at_least_ten_millimetres(
    longest, perpendicular, expected
):
    of = RegionMeasures(
        voxels=9, volume_ml=1.0, n_lesions=1, diameter=Diameters(longest, perpendicular, 3)
    )

    assert is_measurable(of) is expected
    assert product_mm2(of) == longest * perpendicular


def test_an_empty_region_has_a_product_of_zero_and_is_not_measurable():
    empty = RegionMeasures(voxels=0, volume_ml=0.0, n_lesions=0)

    assert product_mm2(empty) == 0
    assert is_measurable(empty) is False
    assert str(PRODUCT) == (
        "product of diameters: partial response from 50 % below the baseline, progression from "
        "25 % above the nadir"
    )
