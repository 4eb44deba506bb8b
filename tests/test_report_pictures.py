"""Pictures of the cases of a report."""

from __future__ import annotations

import numpy as np

from volseg.figures.case_view import CaseView
from volseg.reporting.pictures import _without_rows_of_air, case_pictures


def view_of(rows):
    """A head whose slices 3 to 8 fill these rows of 60, and slice 2 fills all rows."""
    image = np.zeros((40, 60, 12), np.float32)
    image[10:30, :, 2] = image[10:30, rows, 3:9] = 5
    mask = np.zeros(image.shape, bool)
    mask[15:20, 30:34, 4:7] = True
    return CaseView({"t1n": image, "t1c": image}, None, {"WT": mask}, numbers={"axial": range(12)})


def test_rows_of_slices_are_without_the_air_above_and_below():
    view = view_of(slice(25, 40))

    found, index = _without_rows_of_air(view, 5)

    # 15 rows and a margin of two on both sides.
    assert found.images["t1n"].shape == found.prediction["WT"].shape == (40, 19, 12)
    assert found.prediction["WT"].sum() == view.prediction["WT"].sum()
    assert found.slice_name(index) == view.slice_name(5)


def test_pictures_of_flat_slices_are_lower_than_those_of_high_slices():
    low, high = (case_pictures(view_of(rows)) for rows in (slice(25, 40), slice(60)))

    assert [one.title for one in low] == [one.title for one in high]
    assert low[1].height < 0.6 * high[1].height
