"""Axial, coronal and sagittal pictures: sides, numbers and proportions of a patient in any file."""

from __future__ import annotations

import itertools

import nibabel as nib
import numpy as np
import pytest
from matplotlib.colors import to_rgb

from volseg.errors import GeometryError
from volseg.figures.case_view import CaseView
from volseg.figures.colours import REGION_COLOURS
from volseg.figures.figure_files import figure_array
from volseg.figures.montage import gallery
from volseg.figures.planes import PLANE_AXES, slice_numbers
from volseg.images.grid import Grid

SIDES = {
    "axial": {"left": "R", "right": "L", "top": "A", "bottom": "P"},
    "coronal": {"left": "R", "right": "L", "top": "S", "bottom": "I"},
    "sagittal": {"left": "A", "right": "P", "top": "S", "bottom": "I"},
}
SHAPE, SPACING_MM = (36, 40, 30), (2.0, 1.0, 3.0)


def stored(orientation, shape=SHAPE):
    """Grid of a file whose axes point to these sides, such as LPS."""
    ornt = nib.orientations.axcodes2ornt(orientation)
    affine = np.diag([*SPACING_MM, 1.0])
    turned = affine @ nib.orientations.inv_ornt_aff(ornt, shape)
    axes = np.argsort(ornt[:, 0])
    return Grid(tuple(shape[axis] for axis in axes), turned)


def marked(grid, name="case"):
    """View of a file with a head and a marker at the patient's left, front and top."""
    index = np.indices(grid.shape).reshape(3, -1)
    world = (grid.affine[:3, :3] @ index + grid.affine[:3, 3:]).reshape(3, *grid.shape)
    low, high = (of(world.reshape(3, -1), axis=1) for of in (np.min, np.max))
    share = (world - low[:, None, None, None]) / (high - low)[:, None, None, None]
    r, a, s = share
    head = (abs(share - 0.5) < 0.45).all(axis=0)
    marker = (abs(r - 0.2) < 0.1) & (abs(a - 0.8) < 0.1) & (abs(s - 0.8) < 0.1)
    image, mask = (head * 100).astype(np.int16), marker
    return CaseView(
        {"t2f": grid.to_ras(image)},
        prediction={"WT": grid.to_ras(mask)},
        name=name,
        spacing_mm=grid.ras.spacing_mm,
        numbers=slice_numbers(grid.ras, grid),
    )


def letters_near_the_marker(view):
    """Letters of the sides that the drawn marker is nearer to than to their opposites."""
    figure = gallery([view], "")
    panel = figure.axes[0]
    drawn = figure_array(figure)
    height = len(drawn)
    box = panel.get_window_extent()
    inside = drawn[height - int(box.y1) : height - int(box.y0), int(box.x0) : int(box.x1)]
    hue = np.array(to_rgb(REGION_COLOURS["WT"])) * 255
    rows, columns = np.nonzero(abs(inside - hue).max(axis=2) < 60)
    assert rows.size
    place = columns.mean() / inside.shape[1], 1 - rows.mean() / inside.shape[0]
    texts = [text for text in panel.texts if len(text.get_text()) == 1]
    to_share = panel.transData - panel.transAxes
    apart = {
        text.get_text(): np.hypot(*np.subtract(place, to_share.transform(text.get_position())))
        for text in texts
    }
    pairs = ("RL", "AP", "SI")
    return {min(pair, key=apart.get) for pair in pairs if set(pair) <= set(apart)}


@pytest.mark.parametrize("plane", PLANE_AXES)
def test_a_plane_shows_its_sides(plane):
    assert marked(stored("RAS")).in_plane(plane).sides == SIDES[plane]


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "LAS", "PIR", "SAL"])
@pytest.mark.parametrize("plane", PLANE_AXES)
def test_a_marker_lies_at_the_same_letters_however_the_file_is_stored(plane, orientation):
    view = marked(stored(orientation)).in_plane(plane)

    near = letters_near_the_marker(view)

    assert near == {"L", "A", "S"} & set(SIDES[plane].values())


@pytest.mark.parametrize("plane", PLANE_AXES)
@pytest.mark.parametrize(
    "file",
    [
        "brats2023_unlabelled/BraTS-GLI-00027-000",
        "orientation_ras/BraTS-MET-00110-000",
        "raw_unregistered/TCGA-FG-6692",
    ],
)
def test_a_marker_in_a_real_file_lies_at_the_same_letters(real_data, file, plane):
    first = min((real_data / file).rglob("*.nii.gz"))
    image = nib.load(first)

    near = letters_near_the_marker(marked(Grid(image.shape, image.affine)).in_plane(plane))

    assert near == {"L", "A", "S"} & set(SIDES[plane].values())


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "PIR"])
def test_each_slice_has_the_number_of_the_slice_in_the_file(orientation):
    grid = stored(orientation)
    view = marked(grid)
    mask = np.zeros(grid.shape, bool)
    voxel = (3, 5, 7)
    mask[voxel] = True

    for plane, (*_, through) in PLANE_AXES.items():
        turned = grid.to_ras(mask).transpose(PLANE_AXES[plane])
        index = int(turned.any(axis=(0, 1)).argmax())
        axis = int(grid.ras_axes[through])
        name = view.in_plane(plane).slice_name(index)
        assert name == f"{plane} slice {voxel[axis] + 1}"


def test_a_voxel_keeps_its_proportions_in_each_plane():
    view = marked(stored("RAS"))

    aspects = {plane: view.in_plane(plane).aspect for plane in PLANE_AXES}

    assert aspects == {"axial": 1 / 2, "coronal": 3 / 2, "sagittal": 3 / 1}


@pytest.mark.parametrize(("first", "second"), list(itertools.permutations(PLANE_AXES, 2)))
def test_a_plane_is_the_same_by_way_of_another(first, second):
    view = marked(stored("LPS"))

    detour, direct = view.in_plane(first).in_plane(second), view.in_plane(second)

    assert np.array_equal(detour.images["t2f"], direct.images["t2f"])
    assert np.shares_memory(detour.images["t2f"], view.images["t2f"])
    assert np.array_equal(detour.prediction["WT"], direct.prediction["WT"])
    assert list(detour.spacing_mm) == list(direct.spacing_mm)
    assert detour.reference is None


def test_slices_without_orientation_have_no_other_plane():
    stack = CaseView({"t2f": np.ones((4, 4, 2))}, name="p7", is_oriented=False)

    assert stack.in_plane("axial") is stack
    with pytest.raises(GeometryError, match="p7 has slices of unknown orientation"):
        stack.in_plane("coronal")
