from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from volseg.labels import get_scheme
from volseg.phantoms.cohort import make_cohort
from volseg.phantoms.head import make_phantom

SHAPE = (60, 60, 39)  # 4 mm
VOXEL_ML = 4**3 / 1000


@pytest.fixture(scope="module")
def phantoms():
    return [make_phantom(np.random.default_rng([0, n]), SHAPE) for n in range(4)]


def median(phantom, channel, where):
    return np.median(phantom.images[channel][where])


def healthy(phantom):
    """Masks of white matter, grey matter and fluid, told apart by T1 and T2 far from the tumour."""
    t1n, t2w = (phantom.images[channel].astype(float) for channel in ("t1n", "t2w"))
    far = ndimage.distance_transform_edt(phantom.label_map == 0) > 3
    inside = ndimage.binary_erosion(t1n > 0, iterations=2) & far
    brightest, darkest = np.percentile(t1n[inside], [80, 15])
    fluid = inside & (t2w > 0.7 * t2w[inside].max())
    grey = inside & (t1n < darkest) & (t2w < np.percentile(t2w[inside], 90))
    return inside & (t1n > brightest), grey, fluid


def test_white_matter_is_brighter_than_grey_and_grey_than_fluid_on_t1(phantoms):
    for phantom in phantoms:
        white, grey, fluid = healthy(phantom)

        for channel in ("t1n", "t1c"):
            assert median(phantom, channel, white) > median(phantom, channel, grey)
            assert median(phantom, channel, grey) > median(phantom, channel, fluid)


def test_fluid_is_brightest_on_t2_and_darkest_on_flair(phantoms):
    for phantom in phantoms:
        white, grey, fluid = healthy(phantom)

        assert median(phantom, "t2w", fluid) > 1.3 * median(phantom, "t2w", grey)
        assert median(phantom, "t2w", grey) > median(phantom, "t2w", white)
        assert median(phantom, "t2f", fluid) < 0.7 * median(phantom, "t2f", white)
        assert median(phantom, "t2f", grey) > median(phantom, "t2f", white)


def test_tumour_looks_as_in_patients(phantoms):
    for phantom in phantoms:
        white, _, fluid = healthy(phantom)
        necrosis, oedema, rim = (phantom.label_map == label for label in (1, 2, 3))

        assert median(phantom, "t1c", rim) > 1.3 * median(phantom, "t1c", white)
        assert median(phantom, "t1n", rim) < median(phantom, "t1n", white)
        assert median(phantom, "t1n", necrosis) < median(phantom, "t1n", oedema)
        assert median(phantom, "t2w", necrosis) > median(phantom, "t2w", oedema)
        assert median(phantom, "t2w", oedema) > 1.3 * median(phantom, "t2w", white)
        assert median(phantom, "t2f", oedema) > 1.3 * median(phantom, "t2f", white)
        assert median(phantom, "t2f", necrosis) > median(phantom, "t2f", fluid)
    ratios = [
        median(phantom, "t2f", phantom.label_map == 2)
        / median(phantom, "t2f", phantom.label_map == 1)
        for phantom in phantoms
    ]
    assert np.mean(ratios) > 1


def test_tumour_lies_in_the_brain_and_has_a_realistic_size(phantoms):
    for phantom in phantoms:
        whole = phantom.label_map > 0
        brain = phantom.images["t1n"] > 0

        assert set(np.unique(phantom.label_map)) == {0, 1, 2, 3}
        assert not (whole & ~brain).any()
        assert 14 < whole.sum() * VOXEL_ML < 121
        assert 1200 < brain.sum() * VOXEL_ML < 2000


def test_every_image_is_zero_outside_one_connected_brain_and_positive_inside(phantoms):
    for phantom in phantoms:
        brain = phantom.images["t1n"] > 0
        for image in phantom.images.values():
            assert image.dtype == np.int16
            assert ((image > 0) == brain).all()
        components, _ = ndimage.label(brain)
        assert np.bincount(components.ravel())[1:].max() > 0.999 * brain.sum()
        assert not brain[0].any()
        assert not brain[:, -1].any()


def test_oedema_prefers_white_matter_to_cortex():
    # The same head with and without its tumour is not to be had; so many tumours are averaged:
    # the outermost 6 mm of the brain, cortex for the most part, hold little oedema.
    shares = []
    for number in range(6):
        phantom = make_phantom(np.random.default_rng([1, number]), SHAPE)
        depth = ndimage.distance_transform_edt(phantom.images["t1n"] > 0) * 4
        oedema = phantom.label_map == 2
        cortex = (depth > 0) & (depth < 6)
        deep = (depth > 12) & (depth < 18)
        shares.append((oedema[cortex].mean(), oedema[deep].mean()))

    in_cortex, in_white_matter = np.mean(shares, axis=0)

    assert in_white_matter > 2 * in_cortex


def test_scans_differ_in_gain_and_in_shape(phantoms):
    levels = [np.median(phantom.images["t1n"][phantom.images["t1n"] > 0]) for phantom in phantoms]

    assert max(levels) > 1.3 * min(levels)
    assert (phantoms[0].images["t1n"] > 0).sum() != (phantoms[1].images["t1n"] > 0).sum()


def test_cohort_has_the_names_grid_and_labels_of_brats_2023(tmp_path):
    folders = make_cohort(tmp_path, cases=1, shape=(48, 48, 32), spacing_mm=5.0)

    assert [folder.name for folder in folders] == ["BraTS-GLI-90001-000"]
    assert sorted(path.name for path in folders[0].iterdir()) == [
        f"BraTS-GLI-90001-000-{name}.nii.gz" for name in ("seg", "t1c", "t1n", "t2f", "t2w")
    ]
    for path in folders[0].iterdir():
        image = nib.load(path)
        assert image.shape == (48, 48, 32)
        assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
        assert image.affine.tolist() == [[-5, 0, 0, 0], [0, -5, 0, 235], [0, 0, 5, 0], [0, 0, 0, 1]]
        assert (image.get_qform() == image.affine).all()
        assert image.header.get_xyzt_units()[0] == "mm"
        assert image.get_data_dtype() == (np.uint8 if "seg" in path.name else np.int16)
    label_map = np.asarray(nib.load(folders[0] / "BraTS-GLI-90001-000-seg.nii.gz").dataobj)
    get_scheme("brats2023").check(np.unique(label_map))


def test_every_fifth_case_has_no_enhancing_tumour(tmp_path):
    folders = make_cohort(tmp_path, cases=3, shape=(24, 24, 16), spacing_mm=10.0, first=4)

    enhancing = []
    for folder in folders:
        label_map = np.asarray(nib.load(folder / f"{folder.name}-seg.nii.gz").dataobj)
        assert {1, 2} <= set(np.unique(label_map))
        enhancing.append(bool((label_map == 3).any()))
    assert [folder.name[10:15] for folder in folders] == ["90004", "90005", "90006"]
    assert enhancing == [True, False, True]


def test_same_seed_gives_the_same_bytes_and_another_seed_another_head(tmp_path):
    def written(name, **options):
        folder = tmp_path / name
        make_cohort(folder, shape=(24, 24, 16), spacing_mm=10.0, **options)
        return {path.name: path.read_bytes() for path in folder.glob("*2-000/*")}

    pair = written("pair", cases=2)
    alone = written("alone", cases=1, first=2)
    other = written("other", cases=2, seed=1)

    assert len(pair) == 5
    assert pair == alone
    assert all(pair[name] != other[name] for name in pair)
