"""Charts of reports: colours and shapes of regions, axes and their numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from volseg.figures.colours import REGION_COLOURS
from volseg.labels import LABEL_SCHEMES
from volseg.metrics import PROTOCOLS
from volseg.reporting.charts import looks

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
