"""Brain masks: which method finds them, their limits, and programs of the user."""

from __future__ import annotations

import shlex
import stat
import sys
import time

import numpy as np
import pytest
from scipy import ndimage
from skulls import with_skull

from volseg.errors import BrainMaskError, GeometryError
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_case
from volseg.phantoms.head import make_phantom
from volseg.preparation.brain_mask import hd_bet_weights, stripped
from volseg.preparation.brain_mask.command import check_command, run_command
from volseg.preparation.brain_mask.finding import check_method, find_mask
from volseg.preparation.brain_mask.mask import Proposal, cleaned, preferred
from volseg.preparation.brain_mask.stripped import stripped_brain
from volseg.preparation.volume import Volume

MM = 4.0
SHAPE = (60, 60, 39)
GRID = Grid(SHAPE, np.diag([MM, MM, MM, 1.0]))
VOXEL_ML = MM**3 / 1000  # 0.064


@pytest.fixture(scope="module")
def brain():
    """A stripped phantom of two channels."""
    phantom = make_phantom(np.random.default_rng(7), SHAPE)
    return {name: Volume(phantom.images[name], GRID) for name in ("t1n", "t2f")}


@pytest.fixture(scope="module")
def head(brain):
    return with_skull(brain, seed=3)


def block(ml, at=(2, 2, 2), size=(40, 44)):
    """A stripped scan whose tissue is a block of a volume, rounded to slices of 112.64 ml."""
    values = np.zeros(SHAPE, np.int16)
    i, j, k = at
    values[i : i + size[0], j : j + size[1], k : k + round(ml / (size[0] * size[1] * VOXEL_ML))] = 5
    return {"t1n": Volume(values, GRID)}


def test_a_stripped_brain_is_taken_as_it_is(brain):
    found = find_mask(brain, "auto")

    tissue = np.any([volume.values != 0 for volume in brain.values()], axis=0)
    assert found.method == "already stripped"
    assert np.array_equal(found.mask, tissue)
    assert found.volume_ml == pytest.approx(tissue.sum() * VOXEL_ML)


@pytest.mark.parametrize("zero_air", [False, True])
def test_a_head_without_the_weights_is_refused_with_the_remedy(brain, monkeypatch, zero_air):
    monkeypatch.setattr(hd_bet_weights, "weights_file", lambda number=0: None)

    with pytest.raises(BrainMaskError) as caught:
        find_mask(with_skull(brain, seed=3, zero_air=zero_air).volumes, "auto")

    assert str(caught.value) == "the skull is not stripped; pip install 'volseg[strip]'"


def test_a_head_goes_to_hd_bet_and_a_stripped_brain_does_not(head, brain, monkeypatch):
    seen = []

    def found(volumes):
        seen.append(tuple(volumes))
        return Proposal(head.brain, "HD-BET", ("t1n",))

    monkeypatch.setattr(hd_bet_weights, "weights_file", lambda number=0: "there")
    monkeypatch.setattr("volseg.preparation.brain_mask.hd_bet.hd_bet_brain", found)

    assert find_mask(brain, "auto").method == "already stripped"
    assert find_mask(head.volumes, "auto").method == "HD-BET"
    assert seen == [("t1n", "t2f")]


def slab_of(volumes):
    """Ten slices of 4 mm through the middle."""
    grid = next(iter(volumes.values())).grid
    i, j, k = grid.shape
    box = (slice(0, i), slice(0, j), slice(k // 2 - 5, k // 2 + 5))
    return {name: Volume(v.values[box], grid.crop(box)) for name, v in volumes.items()}


def small(volumes):
    """The same in the size of a young child."""
    grid = next(iter(volumes.values())).grid
    smaller = Grid(grid.shape, grid.affine @ np.diag([0.72, 0.72, 0.72, 1]))
    return {name: Volume(v.values, smaller) for name, v in volumes.items()}


@pytest.mark.parametrize("part", [slab_of, small, lambda volumes: slab_of(small(volumes))])
@pytest.mark.parametrize("channel", ["t1n", "t2f"])
def test_a_part_of_a_head_is_not_taken_for_a_stripped_brain(brain, part, channel):
    zero_air = with_skull(brain, seed=3, zero_air=True).volumes
    volumes = part({channel: zero_air[channel]})
    tissue = volumes[channel].values != 0

    assert tissue.sum() * volumes[channel].grid.voxel_ml < 2200  # so its volume says nothing
    assert stripped_brain(volumes, 2200) is None
    assert stripped_brain(part(brain), 2200).method == "already stripped"


def test_a_slab_of_a_real_head_without_air_is_no_brain_and_a_real_brain_is(real_data):
    (path,) = real_data.glob("raw_unregistered/*/T1_AX_O*.nii.gz")
    images = read_case([path], ["t1n"], ["t1n"])
    box = (*(slice(0, size) for size in images.grid.shape[:2]), slice(10, 20))
    values = images.array[0][box]
    air = values < 0.12 * np.percentile(values, 98)
    head = {"t1n": Volume(np.where(air, 0, values), images.grid.crop(box))}
    path = real_data / "brats2021" / "BraTS2021_01479" / "BraTS2021_01479_t1.nii.gz"
    images = read_case([path], ["t1n"], ["t1n"])

    assert stripped_brain(head, 2200) is None
    assert stripped_brain({"t1n": Volume(images.array[0], images.grid)}, 2200) is not None


def test_bone_is_bright_in_ct(brain):
    ct = np.where(brain["t1n"].values != 0, 40, 0)
    near = ndimage.distance_transform_edt(ct == 0) * MM
    head = np.where((ct == 0) & (near < 8), 900, ct)
    head = np.where((ct == 0) & (near >= 8) & (near < 16), 30, head)

    assert stripped_brain(slab_of({"ct": Volume(head.astype(np.int16), GRID)}), 2200) is None
    assert stripped_brain({"ct": Volume(ct.astype(np.int16), GRID)}, 2200) is not None


@pytest.mark.parametrize("share", [0.2, None])
def test_what_is_neither_clearly_a_brain_nor_a_head_is_refused(brain, monkeypatch, share):
    monkeypatch.setattr(stripped, "skull_share", lambda *args: share)
    seen = (
        "too little of its surface is in the field of view"
        if share is None
        else "20% of the lines into it cross what looks like bone"
    )

    with pytest.raises(BrainMaskError) as caught:
        find_mask(brain, "auto")

    assert str(caught.value) == (
        f"whether the skull is stripped already is not clear: {seen}; give --strip mask if it is "
        "stripped, or a command if it is not"
    )


def test_the_tissue_of_a_head_is_no_brain(head):
    with pytest.raises(BrainMaskError, match=r"found by background measures \d+ ml, but a brain"):
        find_mask(head.volumes, "mask")


def test_a_skull_that_is_kept_is_said(head):
    found = find_mask(head.volumes, "none")

    assert found.mask.all()
    assert "the skull is kept" in found.notes[0]


@pytest.mark.parametrize(("ml", "fits"), [(800, False), (1014, True), (2140, True), (2253, False)])
def test_a_brain_measures_900_to_2200_ml(ml, fits):
    # Blocks of 7, 9, 19 and 20 slices; all lie in a field of view of 60 mm or more.
    volumes = block(ml)
    volumes["t1n"].values[50, 50, [0, -1]] = 1  # the field of view has its whole height
    volumes["t1n"].values[[0, -1], 0, 0] = 1
    volumes["t1n"].values[0, [0, -1], 0] = 1
    if fits:
        assert find_mask(volumes, "mask").volume_ml == pytest.approx(ml, abs=1)
        return
    with pytest.raises(BrainMaskError) as caught:
        find_mask(volumes, "mask")
    measured = round(volumes["t1n"].values.astype(bool).sum() * VOXEL_ML)
    assert str(caught.value) == (
        f"the mask found by background measures {measured} ml, but a brain 900 to 2200 ml; look at "
        "the images, or choose another method with --strip"
    )


def test_half_a_brain_is_enough_where_the_field_of_view_is_half_as_high():
    # 14 slices of 4 mm are 56 of 110 mm: 458 ml are enough.
    grid = Grid((60, 60, 14), GRID.affine)
    values = np.zeros(grid.shape, np.int16)
    values[[0, -1], 0, 0] = values[0, [0, -1], 0] = 5
    values[20:40, 20:47] = 5  # 20 x 27 x 14 voxels

    found = find_mask({"t1n": Volume(values, grid)}, "mask")

    assert found.volume_ml == pytest.approx((20 * 27 * 14 + 3) * VOXEL_ML)  # 484 ml
    values[40 - 3 : 40] = 0
    with pytest.raises(BrainMaskError, match="411 ml, but a brain 458 to 2200 ml in a field of "):
        find_mask({"t1n": Volume(values, grid)}, "mask")


def test_a_field_of_view_that_ends_within_the_brain_is_said():
    # 40 x 44 voxels of 4 mm: 281.6 cm².
    found = find_mask(block(1100, at=(10, 8, 0)), "mask")

    assert (
        "the field of view ends at the bottom within the brain, which measures 282 cm² there: what "
        "lies beyond is missing, and a tumour that reaches there is measured too small; look at "
        "the picture, and give a series of the whole head if there is one"
    ) in found.notes


def test_an_empty_mask_is_refused():
    empty = {"t1n": Volume(np.zeros(SHAPE, np.int16), GRID)}

    with pytest.raises(BrainMaskError, match="measures 0 ml"):
        find_mask(empty, "mask")


def test_channels_on_two_grids_are_refused(brain):
    other = Grid(SHAPE, np.diag([MM, MM, MM + 1, 1.0]))

    with pytest.raises(GeometryError):
        find_mask({**brain, "t2f": Volume(brain["t2f"].values, other)}, "none")


def test_the_largest_part_is_kept_with_its_holes_filled():
    mask = np.zeros((12, 12, 12), bool)
    mask[1:8, 1:8, 1:8] = True  # 343
    mask[4, 4, 4] = False
    mask[10, 10, 10] = True

    found = cleaned(Proposal(mask, "a method"))

    assert found.mask.sum() == 343
    assert found.notes == ("left out: 1 smaller part of the mask, 0.3% of it",)


def test_t1_without_contrast_agent_is_looked_at_first():
    volume = Volume(np.zeros(SHAPE), GRID)

    assert preferred({"t1c": volume, "t1n": volume}) == "t1n"
    assert preferred({"t2w": volume, "t2f": volume}) == "t2f"
    assert preferred({"pd": volume}) == "pd"


# Programs of the user.

COPY = "import shutil, sys; shutil.copy(sys.argv[1], sys.argv[2])"


def program(code):
    """A command that runs Python code with the paths of input and output."""
    return f"{shlex.quote(sys.executable)} -c {shlex.quote(code)} {{input}} {{output}}"


def test_a_program_in_a_folder_with_spaces_gives_the_mask(brain, tmp_path):
    script = tmp_path / "my tools" / "strip it.py"
    script.parent.mkdir()
    script.write_text(f"#!{sys.executable}\n{COPY}\n")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)

    found = find_mask(brain, f"{shlex.quote(str(script))} {{input}} {{output}}")

    assert np.array_equal(found.mask, cleaned(Proposal(brain["t1n"].values != 0, "")).mask)
    assert (found.method, found.channels) == ("command strip it.py", ("t1n",))


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("autp", "'autp' is neither auto, mask, none nor a folder of masks, and as a"),
        ("bet {input}", "lacks {output}"),
        ("", "lacks {input} and {output}"),
        ("bet 'x {input} {output}", "cannot be read"),
        ("no-such-program {input} {output}", "'no-such-program' for brain masks is not on the"),
        ("true {input} {output}{gz}", "braces other than {input} and {output}"),
    ],
)
def test_a_command_that_cannot_be_run_is_refused_before_any_case(command, said):
    with pytest.raises(BrainMaskError) as caught:
        check_method(command)

    assert said in str(caught.value)
    assert caught.value.remedy


def test_braces_of_other_words_stay_as_they_are():
    words = check_command("true '{print $1}' {input} --to={output}")

    assert words == ["true", "{print $1}", "{input}", "--to={output}"]


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import sys; print('no licence'); sys.exit(7)",
            "exited with 7, and its last line was: no licence",
        ),
        ("import os; os.kill(os.getpid(), 9)", "was ended by signal 9"),
        ("pass", "succeeded but wrote no file at {output}"),
        ("import sys; open(sys.argv[2], 'w').write('no image')", "is no brain mask ("),
    ],
)
def test_a_program_that_fails_is_named(brain, code, said):
    with pytest.raises(BrainMaskError) as caught:
        run_command(program(code), brain)

    assert said in str(caught.value)
    assert caught.value.remedy


def test_a_mask_on_another_grid_is_refused(brain):
    code = (
        "import nibabel, sys; image = nibabel.load(sys.argv[1]); "
        "nibabel.save(image.slicer[1:], sys.argv[2])"
    )

    with pytest.raises(BrainMaskError, match="is no brain mask"):
        run_command(program(code), brain)


def test_an_empty_mask_of_a_program_is_refused(brain):
    code = (
        "import nibabel, sys; image = nibabel.load(sys.argv[1]); "
        "nibabel.save(nibabel.Nifti1Image(image.get_fdata() * 0, image.affine), sys.argv[2])"
    )

    with pytest.raises(BrainMaskError, match="is no brain mask"):
        find_mask(brain, program(code))


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_program_that_hangs_is_ended_with_what_it_started(brain, tmp_path):
    alive = tmp_path / "alive"
    child = f"import time\nwhile True: open({str(alive)!r}, 'a').write('x'); time.sleep(.01)"
    code = (
        "import subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(99)"
    )

    with pytest.raises(BrainMaskError, match=r"did not end within 2 s"):
        run_command(program(code), brain, timeout_s=2)

    size = alive.stat().st_size
    time.sleep(0.2)
    assert alive.stat().st_size == size > 0
