"""Tests of the values that `volseg prepare` writes where a channel shows nothing."""

import nibabel as nib
import numpy as np
import pytest
from ct_scans import make_ct

from volseg import find_cases
from volseg.images.grid import Grid
from volseg.preparation.case import prepare_case
from volseg.preparation.grids import on_grid
from volseg.preparation.masking import background_value
from volseg.preparation.options import StepOptions
from volseg.preparation.volume import Volume


def scan(folder, values, mm=4.0):
    """A case of a CT alone; returns it and a folder for the prepared case."""
    affine = np.diag([-mm, -mm, mm, 1.0])
    file = folder / "scans" / "P1" / "P1_ct.nii.gz"
    file.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(values, affine), file)
    home = folder / "prepared"
    (home / "preparation").mkdir(parents=True)
    (case,) = find_cases(folder / "scans", ["ct"], required=[]).cases
    return case, home


def written(home):
    return np.asarray(nib.load(home / "P1" / "P1-ct.nii.gz").dataobj)


def test_air_surrounds_a_ct_beyond_its_field_of_view(tmp_path):
    head = make_ct(np.random.default_rng(1), (60, 60, 40)).images["ct"]
    case, home = scan(tmp_path, head)

    # 160 mm are 37.2 voxels of 4.3 mm, so the last slice lies beyond the scan.
    prepare_case(case, StepOptions(strip="none", spacing_mm=(4.3, 4.3, 4.3)), home)

    assert (written(home)[:, :, -1] == -1024).all()


def test_in_a_stripped_ct_air_is_0_and_water_is_not(tmp_path):
    points = np.indices((40, 40, 40)) - 19.5
    brain = np.linalg.norm(points, axis=0) < 16
    values = np.where(brain, 30, -1024).astype(np.int16)
    values[18:22, 18:22, 18:22] = 0
    case, home = scan(tmp_path, values)

    record = prepare_case(case, StepOptions(strip="auto", spacing_mm=(4, 4, 4)), home)

    found = written(home)
    assert record.mask.method == "already stripped"
    assert dict(zip(*np.unique(found, return_counts=True), strict=True)) == {
        0: found.size - brain.sum(),
        1: 4**3,
        30: brain.sum() - 4**3,
    }


def test_the_background_of_noisy_air_is_that_of_ct_or_0():
    noise = np.random.default_rng(0).normal(0, 40, (32, 32, 32))
    head = np.zeros((32, 32, 32))
    head[6:26, 6:26, 6:26] = 1000

    assert background_value(np.rint(noise + head - 1000).astype(np.int16)) == -1000
    assert background_value(abs(noise) + head) == 0
    assert background_value(head) == 0


@pytest.mark.parametrize(("moved_mm", "copied"), [(0.008, True), (0.02, False), (0.1, False)])
def test_voxels_are_copied_only_where_they_lie_within_a_hundredth_of_a_mm(moved_mm, copied):
    shape = (200, 4, 4)  # the longest axis makes the tolerance no larger
    values = np.arange(np.prod(shape), dtype=np.int16).reshape(shape)
    grid, matrix = Grid(shape, np.diag([2.0, 2, 2, 1])), np.eye(4)
    matrix[0, 3] = moved_mm

    found = on_grid(Volume(values, grid), grid, matrix)

    assert np.array_equal(found, values) == copied
    assert (found.dtype == values.dtype) == copied
