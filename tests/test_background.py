"""What is tissue: told from the scan as it is, whatever its header, background and odd voxels."""

from __future__ import annotations

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from volseg.cases.data_list import read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.config import PreprocessingConfig, load_config
from volseg.errors import ImageError
from volseg.images.background import background_of, tissue_of
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_first_slices
from volseg.phantoms.cohort import make_cohort
from volseg.survey.grey_values import cases_to_read
from volseg.tasks.check import check
from volseg.tasks.split import split
from volseg.training.preparation import prepare_cases
from volseg.transforms import preprocess
from volseg.transforms.cleaning import cleaned
from volseg.transforms.resampling import on_grid
from volseg.transforms.warping import rotation

SHAPE = (26, 24, 22)


def head(shape=SHAPE, channels=2, seed=0) -> np.ndarray:
    """Values of 60 to 900, but 100, in an ellipsoid, 0 outside, float64."""
    values = np.random.default_rng(seed).integers(60, 900, (channels, *shape)).astype(np.float64)
    values[values == 100] = 101
    axes = np.meshgrid(*(np.linspace(-1.3, 1.4, size) for size in shape), indexing="ij")
    return values * (sum(axis**2 for axis in axes) < 1)


def case(array, affine=None) -> CaseImages:
    affine = np.eye(4) if affine is None else affine
    return CaseImages(array, Grid(array.shape[1:], affine), nib.Nifti1Header(), ())


def options(*spacing_mm: float, **more: object) -> PreprocessingConfig:
    return PreprocessingConfig(spacing_mm=spacing_mm or (1, 1, 1), **more)


# One array, many headers


def stored(affine: np.ndarray) -> np.ndarray:
    """As a header keeps it, in float32."""
    return affine.astype(np.float32).astype(np.float64)


def headers(spacing: tuple[float, ...]) -> dict[str, np.ndarray]:
    """Affines of the same voxels: axes near to R, A and S."""
    straight = np.diag([*spacing, 1.0])
    oblique = straight.copy()
    oblique[:3, :3] = rotation(np.array([7.0, -3.0, 2.0])) @ straight[:3, :3]
    far = oblique.copy()
    far[:3, 3] = -187.31, 215.7, 1093.4
    by_rounding = straight.copy()
    by_rounding[:3] *= 1.0000001
    back = straight.copy()
    back[:3] /= 1.0000001
    within = {"straight": straight, "oblique": oblique, "far": far}
    return within | {"larger": by_rounding, "smaller": back}


@pytest.mark.parametrize("spacing", [(1, 1, 1), (1, 1, 3), (1, 1, 5), (0.859375, 0.9, 5.5)])
@pytest.mark.parametrize("wanted", [1, 2])
def test_the_same_voxels_give_the_same_image_under_all_headers(spacing, wanted):
    array = head((26, 24, 9))
    found = {
        name: preprocess(case(array, stored(affine)), options(wanted, wanted, wanted))
        for name, affine in headers(spacing).items()
    }

    expected = found.pop("straight")
    assert expected.tissue.any()
    for name, done in found.items():
        assert np.array_equal(done.image, expected.image), name
        assert np.array_equal(done.tissue, expected.tissue), name


@pytest.mark.parametrize("axes", ["LPS", "LAS", "PIR", "SAL", "ASL"])
@pytest.mark.parametrize("wanted", [1.0, 1.5, 3.0])
def test_mirrored_and_exchanged_axes_give_the_same_image(axes, wanted):
    upright = nib.Nifti1Image(np.moveaxis(head(), 0, -1), np.diag([1.0, 1.2, 3, 1]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    turned = upright.as_reoriented(turn)

    expected = preprocess(case(head(), upright.affine), options(wanted, wanted, wanted))
    array = np.moveaxis(np.asarray(turned.dataobj), -1, 0)
    found = preprocess(case(array, turned.affine), options(wanted, wanted, wanted))

    assert np.array_equal(found.image, expected.image)
    assert np.array_equal(found.tissue, expected.tissue)


def test_a_spacing_of_one_percent_more_is_kept_in_all_headers():
    array = head()
    kept = preprocess(case(array), options()).image

    for spacing in (1.01, 0.99, 1 / 1.01, 1 / 0.99):
        for name, affine in headers((spacing,) * 3).items():
            image = preprocess(case(array, stored(affine)), options()).image
            expected = abs(1 / spacing - 1) <= 0.01 + 1e-6
            assert np.array_equal(image.shape, kept.shape) == expected, (name, spacing)


# No air in the statistics


@pytest.mark.parametrize("thickness", [3, 5])
def test_thick_slices_are_normalised_over_tissue_alone(thickness):
    array = np.zeros((1, 8, 8, 6), np.int16)
    array[0, 2:6, 2:6, 1:5] = 100, 200, 300, 400  # along K

    done = preprocess(case(array, np.diag([1.0, 1, thickness, 1])), options(), np.float32)

    # Linear between the middles of slices; the outer half of the shell between tissue and air is
    # more than half air, and so is what lies beyond the middle of the first empty slice.
    middles = np.arange(6) * thickness + (thickness - 1) / 2
    places = np.arange(6 * thickness)
    values = np.interp(places, middles, array[0, 3, 3].astype(float))
    share = np.interp(places, middles, (array[0, 3, 3] > 0).astype(float))
    inside = share >= 0.5 - 1e-9
    expected = np.where(inside, (values - values[inside].mean()) / values[inside].std(), 0)
    (first, *_), last = np.flatnonzero(inside), np.flatnonzero(inside)[-1]
    column = done.image[0, 3, 3][done.tissue[3, 3]]
    assert np.allclose(column, expected[first : last + 1], atol=1e-5)
    assert np.count_nonzero(done.tissue) == 16 * inside.sum()
    assert abs(done.image[0][done.tissue].mean(dtype=np.float64)) < 1e-6
    assert abs(done.image[0][done.tissue].std(dtype=np.float64) - 1) < 1e-6
    assert (done.image[0][~done.tissue] == 0).all()


def test_tissue_that_is_0_in_one_channel_is_tissue_of_the_other():
    array = head()
    array[1, :, :, 11:] = 0

    done = preprocess(case(array), options())

    assert np.count_nonzero(done.tissue) == np.count_nonzero(array[0])
    assert (done.image[1][done.tissue] == 0).any()


# Backgrounds


BACKGROUNDS = {
    "-1": lambda a: np.where(a == 0, -1, a),
    "+100": lambda a: np.where(a == 0, 100, a),
    "-1024": lambda a: a - 1024,
    "from -1 to 1": lambda a: a / a.max() * 2 - 1,
    "least of a z-score": lambda a: (a - a.mean()) / a.std(),
    "scaled by a header": lambda a: a.astype(np.float32) * np.float32(0.0123) + np.float32(1e-9),
    "rounding errors": lambda a: a + np.random.default_rng(1).normal(0, 1e-12, a.shape),
    "about -1": lambda a: a / a.max() * 2 - 1 + np.random.default_rng(1).normal(0, 1e-7, a.shape),
}


@pytest.mark.parametrize("name", BACKGROUNDS)
@pytest.mark.parametrize("which", [slice(None), slice(0, 1)], ids=["all channels", "one channel"])
def test_a_background_of_any_value_is_background(name, which):
    array = head().astype(np.float32)
    other = array.copy()
    for channel in other[which]:
        channel[...] = BACKGROUNDS[name](channel.astype(np.float64))

    expected, found = preprocess(case(array), options()), preprocess(case(other), options())

    assert np.array_equal(found.tissue, expected.tissue)
    assert np.allclose(found.image, expected.image, atol=2e-3)
    assert (found.image[:, ~found.tissue] == 0).all()
    channels = "t1n" if which.stop else "t1n, t1c"
    assert expected.notes == ()
    assert ", ".join(note.partition(":")[0] for note in found.notes) == channels
    assert all(note.endswith("taken as 0") for note in found.notes)


@pytest.mark.parametrize("stored", ["float32", "int16"])
def test_ripples_of_a_cubic_spline_are_background(stored):
    array = ndimage.gaussian_filter(head((40, 38, 36), 1)[0], 0.7)
    array *= head((40, 38, 36), 1)[0] > 0
    zoomed = [
        ndimage.zoom(array, 1.5, order=order, grid_mode=True, mode="grid-constant").astype(stored)
        for order in (1, 3)
    ]

    linear, cubic = (preprocess(case(one[None]), options()) for one in zoomed)

    assert np.count_nonzero(zoomed[1]) > 1.15 * np.count_nonzero(zoomed[0])
    assert linear.notes == ()
    assert "with ripples from -" in cubic.notes[0]
    volumes = [done.tissue_ml for done in (linear, cubic)]
    assert 0.9 < volumes[1] / volumes[0] <= 1


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
def test_a_scan_whose_background_is_0_is_not_even_copied(dtype):
    array = (head() / 4).astype(dtype)
    # As bias correction may leave some tissue.
    array[0][array[0] > 0] -= array[0][array[0] > 0].min() - 1

    for channel, given in zip(cleaned(array, options()), array, strict=True):
        assert np.shares_memory(channel.values, given)
        assert np.array_equal(channel.mask(), given != 0)
        assert channel.notes == ()


def test_a_scan_that_is_cropped_to_the_brain_keeps_its_background():
    array = head().astype(np.float32)
    box = tuple(slice(line.min(), line.max() + 1) for line in np.nonzero(array[0]))
    tight = np.where(array == 0, -7, array)[(slice(None), *box)]

    found = preprocess(case(tight), options())

    assert np.array_equal(found.image, preprocess(case(array), options()).image)
    assert found.notes == ("t1n, t1c: background is -7: taken as 0",)


def test_tissue_that_has_the_value_of_background_is_tissue():
    array = np.where(head() == 0, 100, head())
    array[:, 13, 12, 11] = 100

    assert preprocess(case(array), options()).tissue.sum() == np.count_nonzero(head()[0])


def test_dark_tissue_within_the_brain_is_not_taken_for_ripples():
    array = head(channels=1)[0] * 10
    array[11:14, 10:13, 9:12] = 20  # 0.2 % of the brightest
    ripples = ndimage.zoom(array, 2, order=3, grid_mode=True, mode="grid-constant")

    tissue = tissue_of(ripples, background_of(ripples))

    assert background_of(ripples).is_smeared
    assert tissue[24:26, 22:24, 20:22].all()


def padded(array: np.ndarray, inner: float, outer: float, by: int = 4) -> np.ndarray:
    """Background `inner`, and around that a frame of `outer`."""
    framed = np.where(array == 0, inner, array)
    middle = np.zeros(array.shape, bool)
    middle[(slice(None), *(slice(by, -by),) * 3)] = True
    return np.where(middle | (array != 0), framed, outer)


@pytest.mark.parametrize(("inner", "outer"), [(-1, 0), (-1024, 0), (0, -1), (0, -1000), (7, -3)])
@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_a_background_around_another_one_is_background(inner, outer, dtype):
    array = np.pad(head(), [(0, 0), *[(3, 3)] * 3])

    done = preprocess(case(padded(array, inner, outer).astype(dtype)), options())

    assert np.array_equal(done.image, preprocess(case(array), options()).image)
    assert done.notes == (f"t1n, t1c: background is {inner}, and {outer} around that: taken as 0",)


def test_a_background_of_two_values_side_by_side_is_background():
    array = head()
    halves = np.where(array == 0, -3, array)
    halves[:, :13][array[:, :13] == 0] = 0

    found = preprocess(case(halves), options())

    assert np.array_equal(found.image, preprocess(case(array), options()).image)


def test_a_saturated_channel_keeps_its_brightest_voxels():
    array = np.clip(head() / 2, 0, 254).astype(np.uint8)
    array[head() == 0] = 255

    assert np.count_nonzero(preprocess(case(array), options()).tissue) == np.count_nonzero(
        head()[0]
    )


def test_a_drawing_of_few_values_keeps_them_all():
    array = (head(channels=1) != 0) * 100
    array[0, 10:16, 9:15, 8:14] = 200

    done = preprocess(case(array), options())

    assert np.count_nonzero(done.tissue) == np.count_nonzero(array)
    assert done.notes == ()


# Where nothing tells


def test_a_head_in_noisy_air_is_noted():
    array = head(channels=1) * 2
    air = np.random.default_rng(0).rayleigh(40, array.shape)

    done = preprocess(case((array + air).astype(np.int16)), options())

    assert done.notes == (
        "t1n: no value fills the border of the scan, so every voxel that is not 0 is taken for "
        "tissue; strip the "
        "skull with volseg prepare, or train with data.background",
    )


def test_tissue_larger_than_a_brain_is_noted():
    array = head(channels=1)
    (note,) = preprocess(case(array, np.diag([12.0, 12, 12, 1])), options(12, 12, 12)).notes
    litres = np.count_nonzero(array) * 12**3 / 1e6

    assert litres > 2.5
    assert note.startswith(f"tissue measures {litres * 1000:.0f} ml, but a brain at most 2500 ml")
    assert "strip it with volseg prepare, unless" in note


def test_tissue_that_fills_the_scan_is_noted():
    array = np.random.default_rng(0).integers(100, 900, (1, 48, 48, 48)).astype(np.int16)
    array[0, 0] = array[0, :, 0] = 0

    done = preprocess(case(array), options())

    assert done.notes == ("tissue fills 96% of the scan: its background is cut off or unknown",)


# Voxels far outside the others


@pytest.mark.parametrize("value", [1e7, -1e7, 30000])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("stack", [False, True])
def test_a_hot_voxel_changes_nothing_but_itself(value, count, stack):
    array = head((40, 40, 1) if stack else SHAPE).astype(np.float32)
    if stack:
        array = np.repeat(head((40, 40, 11))[..., 5:6], 2, axis=3).astype(np.float32)
    hot = array.copy()
    middle = [size // 2 for size in array.shape[1:]]
    places = [(middle[0] + n, middle[1], middle[2]) for n in range(count)]
    for place in places:
        hot[(0, *place)] = value

    expected, found = preprocess(case(array), options()), preprocess(case(hot), options())

    assert found.image.shape == expected.image.shape
    assert abs(found.image.astype(float) - expected.image).max() < 4
    others = abs(found.image.astype(float) - expected.image) < 0.02
    assert np.count_nonzero(~others) <= count
    (note,) = found.notes
    assert note.startswith(f"t1n: {count} of its voxels, up to {value:.6g}, lie far outside")


def test_a_bright_lesion_is_not_taken_for_hot_voxels():
    array = head().astype(np.float32)
    array[0, 12:14, 12:14, 10:12] = 5000

    done = preprocess(case(array), options())

    assert done.notes == ()
    assert done.image[0].max() > 10


def test_a_bright_lesion_in_even_tissue_is_not_taken_for_hot_voxels():
    array = np.where(head() != 0, 100, 0).astype(np.float32)
    array[0, ::2] *= 1.05
    array[0, 12:14, 12:14, 10:12] = 400  # 59 times as far from the median as 98 % of the voxels are
    tissue = array[0][array[0] != 0]

    done = preprocess(case(array), options())

    assert done.notes == ()
    assert done.image[0].max() == pytest.approx((400 - tissue.mean()) / tissue.std(), rel=1e-3)


def test_a_hot_line_and_text_in_a_corner_change_little_and_are_noted():
    array = head((60, 50, 44)).astype(np.float32)
    expected = preprocess(case(array), options()).image[0].astype(float)
    line, text = array.copy(), array.copy()
    line[0, :, 25, 22] = np.where(array[0, :, 25, 22] != 0, 30000, 0)
    text[0, 1:11, 1:3, 1:3] = 32000
    length = np.count_nonzero(array[0, :, 25, 22])

    of_line, of_text = (preprocess(case(one), options()) for one in (line, text))

    assert np.count_nonzero(abs(of_line.image[0] - expected) > 0.05) <= length
    assert of_line.notes[0].startswith(f"t1n: {length} of its voxels, up to 30000, lie far outside")
    box = [np.flatnonzero(array[0].any(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    brain = of_text.image[0][tuple(slice(used[0] - 1, used[-1]) for used in box)]
    assert abs(brain - expected).max() < 0.1
    assert of_text.notes[0].startswith("t1n: 40 of its voxels, up to 32000, lie far outside")
    assert of_text.notes[1].endswith(
        "empty planes divide its tissue: something beside the brain, "
        "such as text, or missing slices; look at the scan"
    )


def test_many_voxels_far_outside_stay_and_are_noted():
    array = head((60, 50, 44), 1).astype(np.float32)
    plane = np.where(array[0, 28] != 0, 30000, 0)
    share = np.count_nonzero(plane) / np.count_nonzero(array)
    array[0, 28] = plane

    (note,) = preprocess(case(array), options()).notes

    assert 0.01 < share < 0.05
    assert note == (
        f"t1n: {np.count_nonzero(plane)} of its voxels, up to 30000, lie far outside the others: "
        f"{share:.1%} of the tissue, so they stay and darken the rest; look at the scan"
    )


# Where it is said


def test_split_check_and_fit_say_what_is_odd_about_grey_values(tmp_path, caplog):
    folders = make_cohort(tmp_path / "scans", cases=4, shape=(24, 28, 20), spacing_mm=8.0)
    for folder in folders:
        for file in folder.glob("*-t1n.nii.gz"):
            image = nib.load(file)
            values = np.asarray(image.dataobj).astype(np.float32)
            nib.save(nib.Nifti1Image(np.where(values == 0, -1, values), image.affine), file)

    result = split([tmp_path / "scans"], tmp_path / "list.json", folds=2, labels="brats2023")

    told = "t1n: background is -1: taken as 0"
    assert [warning for warning in result.warnings if told in warning] == [
        f"case {folders[0].name}: {told}"
    ]
    config = tmp_path / "config.yaml"
    config.write_text(
        f"labels: brats2023\ndata: {{data_list: {tmp_path / 'list.json'}, spacing_mm: [8, 8, 8], "
        "patch_size: [16, 16, 16], batch_size: 2}\n"
        "network: {name: unet, widths: [4, 8]}\ntraining: {accelerator: cpu}\n"
    )
    notes = [value for name, value in check(config).facts if name == "note"]
    assert f"4 cases, such as {folders[0].name}: {told}" in notes
    cases = read_data_list(tmp_path / "list.json").training
    prepare_cases(cases[:2], cases[2:], load_config(config), tmp_path / "cache")
    assert f"4 cases, such as {cases[0].case_id}: {told}" in caplog.messages


def test_split_and_check_find_the_few_cases_whose_background_is_another(tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.survey.grey_values._OF_ALL", 4)
    folders = make_cohort(tmp_path / "scans", cases=8, shape=(24, 28, 20), spacing_mm=8.0)
    for folder in (folders[1], folders[5]):  # not among the four that are read of eight
        (file,) = folder.glob("*-t1c.nii.gz")
        image = nib.load(file)
        values = np.asarray(image.dataobj).astype(np.float32)
        nib.save(nib.Nifti1Image(np.where(values == 0, -1, values), image.affine), file)

    result = split([tmp_path / "scans"], tmp_path / "list.json", folds=2, labels="brats2023")

    names = folders[1].name, folders[5].name
    told = "t1c: background is -1: taken as 0"
    assert result.warnings == (
        f"case {names[0]}: {told}",
        f"in 2 of 8 cases, such as {names[0]} and {names[1]}, "
        "a value other than 0 fills the first slice",
    )
    config = tmp_path / "config.yaml"
    config.write_text(
        f"labels: brats2023\ndata: {{data_list: {tmp_path / 'list.json'}, spacing_mm: [8, 8, 8], "
        "patch_size: [16, 16, 16], batch_size: 2}\n"
        "network: {name: unet, widths: [4, 8]}\ntraining: {accelerator: cpu}\n"
    )
    assert any(told in value for name, value in check(config).facts if name == "note")


def test_cases_to_look_at_are_some_of_all_and_one_of_each_odd_kind(monkeypatch):
    monkeypatch.setattr("volseg.survey.grey_values._OF_ALL", 4)
    cases = [VolumeCase(str(n), str(n), (), ("t1n",)) for n in range(12)]
    odd = {"1": ("-1",), "2": ("-1",), "4": ("none",), "9": ("5",)}

    assert [one.case_id for one in cases_to_read(cases, odd)] == ["0", "3", "6", "9", "1", "4"]
    assert [one.case_id for one in cases_to_read(cases[:2], {})] == ["0", "1"]


def test_only_the_beginning_of_a_file_is_read_for_its_first_slice(tmp_path):
    volume = np.zeros((40, 30, 20), np.int16)
    volume[..., 0] = np.arange(30)
    volume[..., 1:] = np.random.default_rng(0).integers(0, 9999, (40, 30, 19))
    path = tmp_path / "a.nii.gz"
    nib.save(nib.Nifti1Image(volume, np.eye(4)), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])

    (found,) = read_first_slices([path], ["t1n"])

    assert np.array_equal(found.T, volume[..., 0])
    path.write_bytes(whole[:100])
    with pytest.raises(ImageError, match=r"a\.nii\.gz is (a )?truncated"):
        read_first_slices([path], ["t1n"])


def test_rounding_errors_of_a_grid_leave_no_weights():
    array = np.zeros((1, 8, 8, 8), np.float32)
    array[0, 4] = 1e6
    half = np.diag([0.5, 1, 1, 1])
    half[0, 3] = 1e-9

    values = on_grid(array, Grid((8, 8, 8), np.eye(4)), Grid((15, 8, 8), half))[0, :, 0, 0]

    # Midway between two voxels it is half of each, and elsewhere not even 0.001.
    assert np.flatnonzero(values).tolist() == [7, 8, 9]
    assert np.allclose(values[7:10], [5e5, 1e6, 5e5])


def test_a_channel_of_one_value_is_all_background():
    channel = np.full((12, 12, 12), 7, np.int16)

    assert not tissue_of(channel, background_of(channel)).any()


# Larger than any head


@pytest.mark.parametrize(
    ("voxel_mm", "is_refused"), [(1, False), (20, False), (35, True), (50, True)]
)
def test_tissue_that_no_head_can_have_is_refused_before_resampling(
    voxel_mm, is_refused, monkeypatch
):
    # An ellipsoid of 2573 voxels within 19 x 17 x 15: 21 l at 20 mm; 110 l within 0.67 m at 35 mm.
    scan = case(head(), np.diag([voxel_mm, voxel_mm, voxel_mm, 1.0]))
    if not is_refused:
        preprocess(scan, options(voxel_mm, voxel_mm, voxel_mm))
        return
    monkeypatch.setattr("volseg.transforms.preprocessing.on_grid", None)
    with pytest.raises(ImageError, match="correct the voxel size in the header"):
        preprocess(scan, options(5, 5, 5))


def test_a_whole_field_of_view_of_background_and_a_small_head_is_not_refused():
    # 0.96 x 0.96 x 0.96 m is 885 l, of which two corners of 20 mm are tissue.
    array = np.zeros((1, 48, 48, 48))
    array[0, 1, 1, 1], array[0, -2, -2, -2] = 5, 9
    done = preprocess(case(array, np.diag([20.0, 20, 20, 1])), options(20, 20, 20))
    assert done.tissue.sum() == 2
