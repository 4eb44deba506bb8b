"""`volseg prepare --strip FOLDER`: brain masks of the user."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ct_scans import make_ct
from scipy import ndimage
from skulls import with_skull

from volseg import PrepareOptions, find_cases, prepare
from volseg.errors import BrainMaskError, GeometryError
from volseg.images.grid import Grid
from volseg.phantoms.cohort import make_cohort
from volseg.preparation import cases
from volseg.preparation.case import prepare_case
from volseg.preparation.foreground import outline_of
from volseg.preparation.options import StepOptions
from volseg.preparation.own_masks import is_masks_folder, mask_file
from volseg.preparation.volume import Volume

MM = 4.0
CASE = "BraTS-GLI-90001-000"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cohort")
    make_cohort(folder, 1, (60, 60, 39), MM)
    for path in folder.glob("*/*-t2?.nii.gz"):
        path.unlink()
    return folder


@pytest.fixture
def masks(cohort, tmp_path):
    """A folder with a mask: the brain without its first 18 columns."""
    folder = tmp_path / "masks"
    folder.mkdir()
    image = nib.load(cohort / CASE / f"{CASE}-t1c.nii.gz")
    mask = (np.asarray(image.dataobj) != 0).astype(np.uint8)
    mask[:, :18] = 0
    nib.save(nib.Nifti1Image(mask, image.affine), folder / f"{CASE}-mask.nii.gz")
    return folder


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "prepared"
    (folder / "preparation").mkdir(parents=True)
    return folder


def prepared(cohort, masks, home):
    (case,) = find_cases(cohort, required=[]).cases
    options = StepOptions(strip=str(masks), spacing_mm=(MM, MM, MM))
    return prepare_case(case, options, home, picture=False)


def change(masks, start):
    """Remove columns of the mask."""
    path = masks / f"{CASE}-mask.nii.gz"
    image = nib.load(path)
    mask = np.asarray(image.dataobj).copy()
    mask[:, start:] = 0
    nib.save(nib.Nifti1Image(mask, image.affine), path)


def test_a_mask_of_the_user_decides_what_is_kept(cohort, masks, home):
    record = prepared(cohort, masks, home)

    mask = np.asarray(nib.load(masks / f"{CASE}-mask.nii.gz").dataobj)
    image = np.asarray(nib.load(home / CASE / f"{CASE}-t1c.nii.gz").dataobj)
    assert np.count_nonzero(image) == mask.sum()
    assert record.mask.method == f"the file {CASE}-mask.nii.gz"
    assert record.mask.volume_ml == pytest.approx(mask.sum() * MM**3 / 1000)
    assert Path(record.mask.source.path) == masks / f"{CASE}-mask.nii.gz"


def test_a_mask_of_no_brain_size_is_refused_as_any(cohort, masks, home):
    change(masks, 30)

    with pytest.raises(BrainMaskError, match=r"found by the file .* ml, but a brain \d+ to 2200"):
        prepared(cohort, masks, home)


def test_probabilities_are_no_mask(cohort, masks, home):
    path = masks / f"{CASE}-mask.nii.gz"
    image = nib.load(path)
    soft = np.where(np.asarray(image.dataobj), 0.75, 0).astype(np.float32)
    nib.save(nib.Nifti1Image(soft, image.affine), path)

    with pytest.raises(BrainMaskError, match=r"holds probabilities, such as 0.75, but every voxel"):
        prepared(cohort, masks, home)

    nib.save(nib.Nifti1Image(np.rint(soft) * 255, image.affine), path)
    assert np.count_nonzero(soft) == np.count_nonzero(
        np.asarray(nib.load(home / prepared(cohort, masks, home).channels["t1c"].file.path).dataobj)
    )


@pytest.mark.parametrize(
    ("value", "held"), [(0, "is empty, 0 in"), (1, "takes every voxel for brain, 1 in")]
)
def test_a_mask_of_nothing_or_of_everything_is_refused_as_a_mask(cohort, masks, home, value, held):
    path = masks / f"{CASE}-mask.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.full(image.shape, value, np.uint8), image.affine), path)

    with pytest.raises(BrainMaskError) as caught:
        prepared(cohort, masks, home)

    assert str(caught.value) == (
        f"case {CASE}: the brain mask {CASE}-mask.nii.gz {held} every voxel, but a mask is 0 "
        "outside the brain and not 0 inside; give a mask of the brain"
    )


def test_a_mask_shifted_by_48_mm_is_refused(cohort, masks, home):
    path = masks / f"{CASE}-mask.nii.gz"
    image = nib.load(path)
    channel = np.asarray(nib.load(cohort / CASE / f"{CASE}-t1c.nii.gz").dataobj)
    whole = ndimage.binary_fill_holes(channel != 0)
    shifted = np.roll(whole, round(48 / MM), axis=0)
    nib.save(nib.Nifti1Image(shifted.astype(np.uint8), image.affine), path)
    share = np.count_nonzero(shifted & whole) / np.count_nonzero(shifted)

    with pytest.raises(
        BrainMaskError,
        match=rf"only {share:.1%} of the brain mask .* lie in the brain in t1[nc], but at least "
        r"75% of the mask of a case do; give the mask that belongs to the case",
    ):
        prepared(cohort, masks, home)


def head_of(kind, cohort):
    """A scan with a skull, and its brain."""
    if kind == "ct":
        phantom = make_ct(np.random.default_rng(0), (60, 60, 39)).images["ct"]
        grid = Grid(phantom.shape, np.diag([-MM, -MM, MM, 1.0]))
        soft = ndimage.binary_erosion((phantom > 5) & (phantom < 70))
        numbers, _ = ndimage.label(soft)
        brain = numbers == 1 + np.bincount(numbers.ravel())[1:].argmax()
        return Volume(phantom, grid), ndimage.binary_fill_holes(ndimage.binary_dilation(brain))
    image = nib.load(cohort / CASE / f"{CASE}-t1c.nii.gz")
    stripped = Volume(np.asarray(image.dataobj), Grid(image.shape, image.affine))
    head = with_skull({"t1c": stripped}, 0)
    values, grid = head.volumes["t1c"]
    if kind == "poor":
        values = values * np.linspace(1, 0.3, grid.shape[1])[:, None]
        noise = np.random.default_rng(0).normal(0, 0.08 * np.percentile(values, 99), grid.shape)
        values = np.abs(values + noise).astype(np.float32)
    return Volume(values, grid), head.brain


@pytest.mark.parametrize("kind", ["good", "poor", "ct"])
def test_a_true_mask_lies_in_the_outline_of_a_head_and_a_shifted_one_does_not(cohort, kind):
    volume, brain = head_of(kind, cohort)

    outline = outline_of(volume).mask

    assert outline[brain].mean() > 0.99
    shifted = np.roll(brain, round(48 / MM), axis=volume.grid.ras_axes[0])
    assert outline[shifted].mean() < 0.9


def test_a_mask_on_the_grid_of_no_channel_is_refused(cohort, masks, home):
    path = masks / f"{CASE}-mask.nii.gz"
    image = nib.load(path)
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj)[1:], image.affine), path)

    with pytest.raises(GeometryError, match=r"the brain mask .*-mask.nii.gz has a grid of"):
        prepared(cohort, masks, home)


def test_a_case_without_a_mask_or_with_two_is_refused(masks):
    with pytest.raises(BrainMaskError) as caught:
        mask_file(str(masks), "P7")

    assert str(caught.value) == (
        f"the folder of brain masks {masks} has no mask of this case; name one file P7.nii.gz or "
        "P7-mask.nii.gz"
    )
    shutil.copy(masks / f"{CASE}-mask.nii.gz", masks / f"{CASE}_brainmask.nii.gz")
    with pytest.raises(BrainMaskError, match=r"has .*-mask.nii.gz and .*_brainmask.nii.gz"):
        mask_file(str(masks), CASE)


def test_the_words_for_methods_are_no_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("mask").mkdir()
    Path("masks").mkdir()

    found = {word: is_masks_folder(word) for word in ("mask", "./mask", "masks", "", "bet {input}")}

    assert found == {"mask": False, "./mask": True, "masks": True, "": False, "bet {input}": False}


def test_a_changed_mask_prepares_the_case_again(cohort, masks, tmp_path, monkeypatch):
    def here(function, items, workers, threads, stop, told):
        yield from ((number, function(item)) for number, item in enumerate(items))

    monkeypatch.setattr(cases, "each_alone", here)
    options = PrepareOptions(strip=str(masks), spacing_mm=(MM, MM, MM), pictures=False)

    def done():
        return list(prepare(cohort, tmp_path / "out", options).done)

    assert (done(), done()) == ([CASE], [])
    change(masks, 45)
    assert (done(), done()) == ([CASE], [])
