"""Tests of the values that `volseg prepare` writes where a channel shows nothing."""

import shutil

import nibabel as nib
import numpy as np
import pytest
from ct_scans import make_ct

from volseg import find_cases
from volseg.images.grid import Grid
from volseg.preparation.case import prepare_case
from volseg.preparation.grids import on_grid
from volseg.preparation.masking import background_value, masked
from volseg.preparation.options import StepOptions
from volseg.preparation.volume import Volume


def scan(folder, values, mm=4.0, name="ct"):
    """A case of one channel, CT by default; returns it and a folder for the prepared case."""
    affine = np.diag([-mm, -mm, mm, 1.0])
    file = folder / "scans" / "P1" / f"P1_{name}.nii.gz"
    file.parent.mkdir(parents=True)
    nib.save(nib.Nifti1Image(values, affine), file)
    home = folder / "prepared"
    (home / "preparation").mkdir(parents=True)
    (case,) = find_cases(folder / "scans", [name], required=[]).cases
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


@pytest.mark.parametrize("outlier", [3e38, 500.0])
def test_zero_in_the_brain_becomes_small_beside_usual_values(outlier):
    values = np.full((10, 10, 10), 100, np.float32)
    values[5, 5, 5], values[4, 4, 4] = outlier, 0

    found = masked(values, np.ones((10, 10, 10), bool))

    assert found[4, 4, 4] == np.float32(1e-4)
    assert np.count_nonzero(found != values) == 1


def test_equal_channels_and_huge_values_are_noted(tmp_path):
    points = np.indices((40, 40, 40)) - 19.5
    brain = np.linalg.norm(points, axis=0) < 16
    values = np.where(brain, np.random.default_rng(0).uniform(50, 99, brain.shape), 0)
    values[20, 20, 20] = 3e38
    case, home = scan(tmp_path, values.astype(np.float32), name="t1c")
    file = tmp_path / "scans" / "P1" / "P1_t1c.nii.gz"
    shutil.copy(file, file.with_name("P1_t2f.nii.gz"))
    (case,) = find_cases(tmp_path / "scans", ["t1c", "t2f"]).cases

    record = prepare_case(case, StepOptions(strip="auto", spacing_mm=(4, 4, 4)), home)

    text = " ".join(record.notes)
    assert "t1c and t2f are equal in every voxel: if one stands in for a missing channel" in text
    for name in ("t1c", "t2f"):
        assert f"{name}: 1 voxel of up to 3e+38, where 99.9 % of all values are at most " in text
