"""What every kind of case keeps to: it is listed, written and read back as one and the same."""

from __future__ import annotations

from dataclasses import replace
from inspect import isabstract

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.kinds import kind_of
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.errors import GeometryError
from volseg.images.grid import Grid

LABEL_MAP = np.zeros((4, 3, 2), np.uint8)
LABEL_MAP[1:3, 1, :] = 1


def volume_case(folder):
    """Two channels and a label map."""
    paths = [folder / f"{name}.nii.gz" for name in ("ct", "adc", "seg")]
    for number, path in enumerate(paths):
        values = LABEL_MAP if number == 2 else LABEL_MAP + np.uint8(number)
        nib.save(nib.Nifti1Image(values, np.eye(4)), path)
    return VolumeCase("a", "p", tuple(paths[:2]), ("ct", "adc"), (paths[2],), "binary", fold=1)


def slice_stack_case(folder):
    """Two slices with masks, of known size."""
    images = tuple(folder / f"{number}.png" for number in (1, 2))
    masks = tuple(path.with_name(f"{path.stem}_mask.png") for path in images)
    for page, image, mask in zip(LABEL_MAP.transpose(2, 1, 0), images, masks, strict=True):
        Image.fromarray(page * 200 + np.uint8(9)).save(image)
        Image.fromarray(page).save(mask)
    return SliceStackCase("a", "p", images, ("ct",), masks, spacing_mm=(1.0, 1.0, 5.0))


KINDS = pytest.mark.parametrize("make", [volume_case, slice_stack_case])


def test_every_kind_is_tried_here():
    kinds = {kind for kind in Case.__subclasses__() if not isabstract(kind)}

    assert kinds == {VolumeCase, SliceStackCase}
    assert isabstract(Case)


@KINDS
def test_a_case_is_the_same_after_a_data_list(tmp_path, make):
    case = make(tmp_path)

    write_data_list(tmp_path / "list.json", DataList("l", ("pet",), (case,)), tmp_path)

    assert read_data_list(tmp_path / "list.json").training == (case,)
    assert kind_of([path.name for path in case.images]) is type(case)


@KINDS
def test_headers_show_the_grid_that_is_read(tmp_path, make):
    case = make(tmp_path)

    images = case.read_images(case.channels)
    label_map, grid = case.read_reference()

    assert np.array_equal(label_map, LABEL_MAP)
    for other in (images.grid, case.read_grid(case.channels), case.read_reference_grid()):
        assert other.shape == grid.shape
        assert np.array_equal(other.affine, grid.affine)
    case.check_sizes()


@KINDS
def test_a_result_lies_where_the_case_says_and_is_read_back(tmp_path, make):
    case, output = make(tmp_path), tmp_path / "out"
    output.mkdir()
    images = case.read_images(case.channels)
    case.check_room(output)

    case.write_label_map(output, LABEL_MAP, images.header, binary=False)

    files = case.label_map_files(output)
    assert sorted(path for path in output.rglob("*") if path.is_file()) == sorted(files)
    assert {path.parent for path in files} == {case.result_folder(output)}
    label_map, grid = case.read_prediction(files)
    assert np.array_equal(label_map, LABEL_MAP)
    assert case.check_prediction_grid(files, grid, images.grid) == []
    assert case.result_files(output, ["WT"]) == [*files, output / "a_WT.nii.gz"]


@KINDS
def test_a_prediction_on_another_grid_is_refused_with_what_to_do(tmp_path, make):
    case = make(tmp_path)
    grid = case.read_grid(case.channels)
    other = Grid((5, 3, 2), grid.affine)

    with pytest.raises(GeometryError, match=f"; {case.grid_remedy}"):
        case.check_prediction_grid([tmp_path / "a.nii.gz"], other, grid)


def test_slices_have_the_size_that_the_user_says_and_volumes_their_own(tmp_path):
    spacing_mm = (2.0, 2.0, 6.0)
    volume, stack = volume_case(tmp_path), slice_stack_case(tmp_path)

    assert volume.with_spacing(spacing_mm) is volume
    assert (volume.spacing_mm, volume.has_size) == (None, True)
    assert stack.with_spacing(spacing_mm).read_reference_grid().spacing_mm == spacing_mm
    assert not replace(stack, spacing_mm=None).has_size


def test_what_is_counted_and_compared_by_slice_is_so_of_slices_alone(tmp_path):
    volume, stack = volume_case(tmp_path), slice_stack_case(tmp_path)

    assert (volume.slices, stack.slices) == ((), stack.images)
    assert volume.compared_files == tuple((path,) for path in volume.images)
    assert stack.compared_files == (stack.images,)
    assert volume.inputs == {"ct": str(volume.images[0]), "adc": str(volume.images[1])}
    assert stack.inputs == [str(path) for path in stack.images]
    assert len(list(volume.read_first_slices())) == 2
    assert list(stack.read_first_slices()) == []


def test_masks_of_another_size_than_their_images_are_refused(tmp_path):
    case = slice_stack_case(tmp_path)
    for path in case.label:
        Image.fromarray(np.zeros((3, 7), np.uint8)).save(path)

    with pytest.raises(GeometryError, match="images have 4 x 3 pixels, but their masks 7 x 3"):
        case.check_sizes()


def test_masks_of_several_slices_have_a_folder_and_one_mask_lies_beside_others(tmp_path):
    volume, stack = volume_case(tmp_path), slice_stack_case(tmp_path)

    assert volume.label_map_files(tmp_path) == [tmp_path / "a.nii.gz"]
    assert stack.label_map_files(tmp_path) == [tmp_path / "a" / f"{n}.png" for n in (1, 2)]
    single = replace(stack, images=stack.images[:1])
    assert single.label_map_files(tmp_path) == [tmp_path / "1.png"]
