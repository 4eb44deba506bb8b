"""Charts of reports: colours and shapes of regions, axes and their numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from volseg.figures.colours import REGION_COLOURS
from volseg.labels import LABEL_SCHEMES
from volseg.metrics import PROTOCOLS
from volseg.reporting.axes import size_axis, x_axis
from volseg.reporting.charts import curves, looks, scatter

REGION_SETS = {name: tuple(of.regions) for name, of in (*PROTOCOLS.items(), *LABEL_SCHEMES.items())}
# Linear RGB as readers without one kind of cone see it (Machado et al., IEEE TVCG 15(6), 2009).
SIGHTS = {
    "trichromacy": np.eye(3),
    "protanopia": np.array(
        [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]]
    ),
    "deuteranopia": np.array(
        [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]]
    ),
    "tritanopia": np.array(
        [[1.256, -0.077, -0.179], [-0.078, 0.931, 0.148], [0.005, 0.691, 0.304]]
    ),
}


def linear(colour):
    value = np.array(to_rgb(colour))
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("sight", SIGHTS)
def test_colours_of_the_regions_of_a_set_differ_for_every_reader(sight):
    for regions in REGION_SETS.values():
        seen = [SIGHTS[sight] @ linear(REGION_COLOURS[region]) for region in regions]
        assert all(np.abs(a - b).max() > 0.1 for a, b in itertools.combinations(seen, 2)), regions


def test_a_region_looks_the_same_in_every_set():
    found = {}
    for regions in REGION_SETS.values():
        of = looks(regions)
        assert len({shape for _, shape in of.values()}) == len(regions)
        for region, look in of.items():
            assert found.setdefault(region, look) == look
    assert found["ET"] == ("#D55E00", "triangle")


def test_a_region_that_is_not_known_gets_a_shape_not_in_use():
    assert looks(["cyst", "WT", "TC", "bleeding"]) == {
        "cyst": ("#E69F00", "triangle"),
        "WT": ("#56B4E9", "circle"),
        "TC": ("#F0E442", "square"),
        "bleeding": ("#009E73", "diamond"),
    }


def texts(axis):
    return [tick.text for tick in axis.ticks]


def test_a_logarithmic_axis_has_ticks_at_round_values_around_the_sizes():
    assert texts(size_axis([43.0, 135.0])) == ["20", "50", "100", "200"]
    assert texts(size_axis([30.0, 30.0])) == ["20", "50", "100", "200"]
    assert texts(size_axis([0.049, 140.8])) == ["0.01", "0.1", "1", "10", "100", "1000"]
    assert texts(size_axis([])) == ["1", "2", "5", "10"]


def test_zero_has_a_tick_of_its_own_below_a_marked_break():
    x, y = x_axis([0.0, 0.5, 20.0], is_log=True), size_axis([0.0, 3.0, 20.0])

    assert texts(x) == ["0", "0.5", "1", "2", "5", "10", "20"]
    assert x.place(0) == x.start < x.break_place < x.place(0.5) < x.place(20) == x.end
    assert y.place(0) == y.start > y.break_place > y.place(2)
    drawn = scatter({"WT": {"a": (0.0, 3.0)}}, (x, y), ("", "", ""))
    assert len(drawn.breaks) == 4
    unbroken = curves({"WT": [(1, 3)]}, (x_axis([1]), size_axis([3.0])), ("", "", ""))
    assert not unbroken.breaks


def test_a_linear_axis_ends_at_the_first_round_value_after_the_largest():
    assert texts(x_axis([373.13, 8.0])) == ["0", "100", "200", "300", "400"]
    assert texts(x_axis([161.8])) == ["0", "50", "100", "150", "200"]
    assert texts(x_axis([100.0])) == ["0", "20", "40", "60", "80", "100"]
