"""`volseg prepare --strip FOLDER`: brain masks of the user."""

import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from volseg import PrepareOptions, find_cases, prepare
from volseg.errors import BrainMaskError, GeometryError
from volseg.phantoms.cohort import make_cohort
from volseg.preparation import cases
from volseg.preparation.case import prepare_case
from volseg.preparation.options import StepOptions
from volseg.preparation.own_masks import is_masks_folder, mask_file

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
