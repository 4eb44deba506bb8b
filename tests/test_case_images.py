"""Images of a case, volumes or slices; channels that another channel replaces."""

from __future__ import annotations

import re

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.errors import DataListError, ImageError

RGB = ("t1n", "t2f", "t1c")
VALUES = np.arange(24, dtype=np.uint8).reshape(2, 3, 4)


def stack(folder, channels=RGB, same=(), **more):
    """Two slices of 2 rows and 4 columns; the channels `same` equal t2f."""
    images, masks = [], []
    for n in range(2):
        colours = np.moveaxis(VALUES, 1, 2) + np.uint8(100 * n)
        for channel in same:
            colours[..., RGB.index(channel)] = colours[..., 1]
        images.append(folder / f"{n}.png")
        Image.fromarray(colours if len(channels) > 1 else colours[..., 1]).save(images[-1])
        masks.append(folder / f"{n}_mask.png")
        Image.fromarray((colours[..., 1] > 105) * np.uint8(255)).save(masks[-1])
    return SliceStackCase("c1", "p1", tuple(images), channels, tuple(masks), **more)


def volumes(folder, channels=RGB, equal=()):
    """A NIfTI file for each channel; those of `equal` are that of t2f."""
    paths = []
    for n, channel in enumerate(channels):
        paths.append(folder / f"{channel}.nii.gz")
        factor = channels.index("t2f") if channel in equal else n
        nib.save(nib.Nifti1Image(VALUES + np.uint8(50 * factor), np.eye(4)), paths[-1])
    return VolumeCase("c1", "p1", tuple(paths), channels, (paths[0],))


def test_a_stack_and_volumes_are_read_alike(tmp_path):
    slices, files = stack(tmp_path, spacing_mm=(0.5, 0.5, 5.0)), volumes(tmp_path)

    for case, shape in ((slices, (4, 2, 2)), (files, (2, 3, 4))):
        images = case.read_images(("t1c", "t2f"))
        label_map, grid = case.read_reference()
        assert images.array.shape == (2, *shape)
        assert images.missing == ()
        assert label_map.shape == shape
        for other in (images.grid, case.read_grid(("t1c",)), case.read_reference_grid()):
            assert other.shape == shape
            assert np.array_equal(other.affine, grid.affine)
    assert slices.read_reference()[0].sum() == 6
    assert slices.read_grid(RGB).spacing_mm == (0.5, 0.5, 5)


@pytest.mark.parametrize("make", [stack, volumes])
def test_a_channel_stands_in_for_those_that_are_missing(tmp_path, make):
    case = make(tmp_path, ("t2f",))

    images = case.read_images(RGB, fill="t2f")

    assert images.missing == ("t1n", "t1c")
    assert images.notes == ("t1n, t1c missing: t2f stands in",)
    assert np.array_equal(images.array[[0, 2]], images.array[[1, 1]])
    assert images.array.transpose(0, 3, 2, 1).flags.c_contiguous
    assert case.read_grid(RGB, "t2f").shape == images.grid.shape
    for read in (case.read_images, case.read_grid):
        with pytest.raises(ImageError, match="case c1: no t1n t1c, but only t2f"):
            read(RGB)


def test_the_channel_that_stands_in_must_be_there(tmp_path):
    with pytest.raises(ImageError, match="case c1: no t1c, but only t2f"):
        stack(tmp_path, ("t2f",)).read_images(RGB, fill="t1c")


def test_a_channel_that_equals_the_one_that_stands_in_is_missing(tmp_path):
    for case in (stack(tmp_path, same=["t1c"]), volumes(tmp_path, equal=["t1c"])):
        assert case.read_images(RGB, fill="t2f").missing == ("t1c",)
        assert case.read_images(RGB).missing == ()


def test_a_case_without_a_label_map_has_no_reference(tmp_path):
    case = SliceStackCase("c1", "p1", (tmp_path / "a.png",), ("t2f",))

    with pytest.raises(DataListError, match="case c1: no label map"):
        case.read_reference()


def test_a_real_patient_lacks_two_contrasts(real_data):
    folder = real_data / "lgg" / "kaggle_3m" / "TCGA_FG_A60K_20040224"
    files = [path for path in folder.iterdir() if "mask" not in path.name]
    files.sort(key=lambda path: int(re.findall(r"\d+", path.stem)[-1]))
    case = SliceStackCase(folder.name, folder.name, tuple(files), RGB)

    assert case.read_images(RGB, fill="t2f").missing == ("t1n", "t1c")
