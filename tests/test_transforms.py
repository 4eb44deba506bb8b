"""Preprocessing, the way back to the scan, and random changes of patches."""

from __future__ import annotations

import math
import pickle

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.transforms import (
    Compose,
    CropForegroundd,
    EnsureChannelFirstd,
    LoadImaged,
    NormalizeIntensity,
    NormalizeIntensityd,
    Orientationd,
)
from scipy import ndimage

from volseg import memory
from volseg.config import AugmentationConfig, PreprocessingConfig
from volseg.errors import ImageError, ResourceError
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_case
from volseg.transforms import preprocess, preprocess_masks, to_original
from volseg.transforms.augmentation import augmentation
from volseg.transforms.resampling import labels_to_original
from volseg.transforms.warping import RandomWarp, rotation

RAS = np.eye(4)
LPS = np.array([[-1.0, 0, 0, 90], [0, -1, 0, 126], [0, 0, 1, -72], [0, 0, 0, 1]])
# Axes point to P, S and L; the image is oblique and its voxels measure 1.1 x 2.5 x 0.7 mm.
OBLIQUE = np.eye(4)
OBLIQUE[:3, :3] = rotation(np.array([10.0, -15.0, 20.0])) @ np.array(
    [[0, 0, -0.7], [-1.1, 0, 0], [0, 2.5, 0]]
)
OBLIQUE[:3, 3] = 12, -7, 5


def case(array, affine=RAS) -> CaseImages:
    return CaseImages(array, Grid(array.shape[1:], affine), nib.Nifti1Header(), ())


def spaced(*spacing_mm: float, **options: object) -> PreprocessingConfig:
    return PreprocessingConfig(spacing_mm=spacing_mm, **options)


def brain(shape=(20, 22, 18), channels=2, seed=0) -> np.ndarray:
    """Noise without symmetry inside an ellipsoid off the centre, 0 outside."""
    values = np.random.default_rng(seed).integers(100, 900, (channels, *shape)).astype(np.int16)
    axes = np.meshgrid(*(np.linspace(-1.2, 1.6, size) for size in shape), indexing="ij")
    return values * (sum(axis**2 for axis in axes) < 1)


def zscore(values: np.ndarray) -> np.ndarray:
    return (values - values.mean()) / values.std()


def normal(*shape: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(7).normal(size=shape).astype(np.float32))


def world(affine: np.ndarray, shape) -> np.ndarray:
    """Coordinates of every voxel, (3, *shape), mm."""
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    return np.einsum("ij,jabc->iabc", affine[:3, :3], index) + affine[:3, 3, None, None, None]


# Preprocessing


def test_faint_voxels_are_background_where_the_config_says_so():
    array = np.random.default_rng(0).integers(1, 9, (2, 10, 10, 4)).astype(np.uint8)  # noise
    array[0, 3:7, 3:7] = 100, 110, 120, 130
    array[1, 4:8, 4:8] = 50, 60, 70, 80
    options = spaced(1, 1, 1)

    kept = preprocess(case(array), options)
    cut = preprocess(case(array), options.model_copy(update={"background": 0.1}))

    assert kept.image.shape == (2, 10, 10, 4)
    assert kept.notes[0].startswith("t1n, t1c: no value fills the border of the scan")
    image = cut.image
    assert image.shape == (2, 5, 5, 4)  # voxels 3 to 7
    tissue = np.zeros((5, 5), bool)
    tissue[:4, :4] = tissue[1:, 1:] = True
    assert np.array_equal(cut.tissue, np.repeat(tissue[..., None], 4, axis=2))
    assert cut.notes == ()
    assert (image[:, ~tissue] == 0).all()
    # The faint value of one channel is tissue where the other is bright.
    assert (image[0][tissue] != 0).all()
    assert np.allclose(image[0][tissue].astype(float).mean(), 0, atol=1e-3)
    assert np.allclose(image[0][tissue].astype(float).std(), 1, atol=1e-3)


def slice_of_8_bits() -> np.ndarray:
    """A head of 20 to 220 in a slice whose outside is 0, (1, 16, 16, 1)."""
    array = np.zeros((1, 16, 16, 1), np.uint8)
    array[0, 3:13, 4:14, 0] = np.linspace(20, 220, 100).reshape(10, 10)
    return array


@pytest.mark.parametrize(
    ("dtype", "factor", "offset"),
    [
        ("uint8", 1, 0),
        ("uint16", 1, 0),
        ("int16", 1, 0),
        ("uint16", 16, 0),
        ("int32", 1, -1024),
        ("float32", 1 / 255, 0),
        ("float32", 2 / 255, -1),
    ],
)
def test_values_from_0_to_1_are_the_same_however_a_picture_is_stored(dtype, factor, offset):
    picture = slice_of_8_bits()
    options = spaced(1, 1, 1, intensity="unit")
    stored = (picture.astype(np.float64) * factor + offset).astype(dtype)

    done = preprocess(case(stored), options)

    head = picture[:, 3:13, 4:14]
    assert done.image.shape == head.shape
    assert np.allclose(done.image, head / 220, atol=1e-3)
    assert np.array_equal(done.image, preprocess(case(picture), options).image)


def test_a_stated_range_of_values_becomes_0_to_1():
    picture = slice_of_8_bits()
    options = spaced(1, 1, 1, intensity="unit", intensity_range=(0, 255))

    for dtype in ("uint8", "uint16", "int16", "float64"):
        done = preprocess(case(picture.astype(dtype)), options)
        assert np.allclose(done.image, picture[:, 3:13, 4:14] / 255, atol=1e-3)
        assert done.notes == ()
    # On a white page, black is no background, and values mean what they are.
    page = np.where(picture == 0, 255, picture)
    white = preprocess(case(page), options)
    assert np.allclose(white.image, picture[:, 3:13, 4:14] / 255, atol=1e-3)
    assert white.notes == ("t1n: background is 255: taken as 0",)


def test_an_image_of_another_range_than_the_stated_one_is_refused_or_noted():
    picture = slice_of_8_bits()
    options = spaced(1, 1, 1, intensity="unit", intensity_range=(0, 255))

    with pytest.raises(
        ImageError,
        match=r"t1n holds values from 320 to 3520, but data.intensity_range is 0 to 255; rescale",
    ):
        preprocess(case(picture.astype(np.uint16) * 16), options)
    faint = preprocess(case((picture / 255).astype(np.float32)), options)
    assert faint.notes == (
        "t1n: values from 0.0784314 to 0.862745, but data.intensity_range is 0 to 255",
    )
    # What a spline overshoots by is cut off.
    over = picture.astype(np.float32)
    over[0, 5, 5] = 260
    assert preprocess(case(over), options).image.max() == 1


@pytest.mark.parametrize("least", [-5, 5])
def test_values_from_0_to_1_reach_from_background_to_the_largest_or_from_the_least(least):
    array = np.random.default_rng(0).integers(least, 1000, (1, 12, 12, 4)).astype(np.int16)
    array[array == 0] = 1
    array[0, 0, 0, 0], array[0, 5, 5, 0] = least, 1000

    image = preprocess(case(array), spaced(1, 1, 1, intensity="unit")).image

    low = min(0, least)
    assert np.allclose(image, (array.astype(float) - low) / (1000 - low), atol=1e-3)


def test_the_crop_is_what_is_not_0_and_one_voxel_around_it_where_it_is_resampled():
    array = np.zeros((2, 12, 10, 8), np.int16)
    array[0, 3, 5, 0] = 5
    array[1, 6, 4, 2] = -7

    done = preprocess(case(array), spaced(1, 1, 1))

    assert done.image.shape == (2, 4, 2, 3)
    assert done.image_grid.affine[:3, 3].tolist() == [3, 4, 0]
    assert done.scan_grid.shape == (12, 10, 8)

    coarse = preprocess(case(array), spaced(2, 2, 2))

    # I 2 to 7, J 3 to 6, K 0 to 3: below K = 0 there is nothing to widen into.
    assert coarse.image.shape == (2, 3, 2, 2)
    assert coarse.image_grid.affine[:3, 3].tolist() == [2.5, 3.5, 0.5]


def test_a_channel_of_zeros_stays_so():
    array = brain()
    array[1] = 0

    image = preprocess(case(array), spaced(1, 1, 1)).image

    assert image[0].any()
    assert not image[1].any()


def test_a_volume_without_background_is_not_cropped():
    array = np.arange(1, 61, dtype=np.uint16).reshape(1, 3, 4, 5)

    done = preprocess(case(array), spaced(1, 1, 1))

    assert done.image.dtype == np.float16
    assert np.allclose(done.image[0], zscore(array[0]), atol=1e-3)
    assert np.array_equal(done.image_grid.affine, RAS)


def test_channels_are_normalised_over_their_own_voxels_that_are_not_0():
    array = brain()
    array[1] *= 3
    array[1, :, :, 9:] = 0

    image = preprocess(case(array), spaced(1, 1, 1)).image

    for channel, raw in zip(image, array, strict=True):
        assert np.allclose(
            np.sort(channel[channel != 0]), np.sort(zscore(raw[raw != 0])), atol=4e-3
        )
    box = tuple(slice(line.min(), line.max() + 1) for line in np.nonzero(array.any(axis=0)))
    monai = NormalizeIntensity(nonzero=True, channel_wise=True)(array[(slice(None), *box)])
    assert np.allclose(image, monai, atol=2e-3)
    assert np.array_equal(image == 0, array[(slice(None), *box)] == 0)


@pytest.mark.parametrize("axes", ["LPS", "LAS", "PIR", "SAL", "ASL", "IRP"])
def test_every_orientation_of_a_scan_gives_the_same_image(axes):
    upright = nib.Nifti1Image(np.moveaxis(brain(), 0, -1), np.diag([2.0, 2, 2, 1]))
    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    turned = upright.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(turned.affine)) == axes

    expected = preprocess(case(brain(), upright.affine), spaced(2, 2, 2))
    scan = case(np.moveaxis(np.asarray(turned.dataobj), -1, 0), turned.affine)
    found = preprocess(scan, spaced(2, 2, 2))

    assert np.array_equal(found.image, expected.image)
    assert found.image_grid == expected.image_grid
    # And back: values are only moved, so to the bit.
    masks = scan.array > 500
    moved = preprocess_masks(masks, scan.grid, found)
    assert np.array_equal(moved.sum(axis=(1, 2, 3)), masks.sum(axis=(1, 2, 3)))
    back = to_original(torch.from_numpy(moved), found.image_grid, scan.grid)
    assert back.dtype == torch.float32
    assert np.array_equal(back.numpy(), masks)


def test_probabilities_are_0_outside_the_crop():
    scan = case(brain(), LPS)
    done = preprocess(scan, spaced(1, 1, 1))

    back = to_original(torch.full((1, *done.image.shape[1:]), 0.7), done.image_grid, scan.grid)[0]

    inside = np.zeros(scan.grid.shape, bool)
    box = [(i.min(), i.max() + 1) for i in np.nonzero(scan.array.any(axis=0))]
    inside[tuple(slice(*ends) for ends in box)] = True
    assert np.array_equal(back == np.float32(0.7), inside)
    assert (back[~inside] == 0).all()


def test_a_spacing_within_one_percent_is_kept():
    scan = case(brain(), np.diag([1.009, 0.991, 1.0, 1.0]))

    done = preprocess(scan, spaced(1, 1, 1))

    assert done.image_grid.spacing_mm == (1.009, 0.991, 1.0)
    assert np.count_nonzero(done.image[0]) == np.count_nonzero(scan.array[0])


def test_at_twice_the_spacing_a_voxel_is_the_mean_of_eight():
    array = np.random.default_rng(0).integers(1, 999, (1, 6, 8, 5)).astype(np.float32)

    done = preprocess(case(array), spaced(2, 2, 1))

    means = array[0].reshape(3, 2, 4, 2, 5).mean(axis=(1, 3))
    assert np.allclose(done.image[0], zscore(means), atol=2e-3)
    # The first new voxel lies in the middle of the first two old ones.
    assert np.array_equal(done.image_grid.affine[:, 3], [0.5, 0.5, 0, 1])


def test_what_is_finer_than_the_new_voxels_does_not_alias():
    plane = np.linspace(100, 200, 24)[None, :, None, None] * np.ones((1, 24, 4, 4))
    stripes = 50 * (-1.0) ** np.arange(24)[None, :, None, None]

    for spacing in (2, 3, 4):
        smooth, striped = (
            preprocess(case(array), spaced(spacing, 1, 1)).image
            for array in (plane, plane + stripes)
        )
        assert np.allclose(smooth, striped, atol=2e-3)


def test_upsampling_is_linear():
    array = np.random.default_rng(0).random((1, 5, 4, 6)).astype(np.float32) + 1
    done = preprocess(case(array, np.diag([1.0, 1, 3, 1])), spaced(1, 1, 1))

    assert done.image.shape == (1, 5, 4, 18)
    planes = (np.arange(18) - 1) / 3  # in old slices: the outer edges of the grids agree
    index = np.meshgrid(np.arange(5), np.arange(4), planes, indexing="ij")
    expected = ndimage.map_coordinates(array[0], index, order=1, mode="nearest")
    assert np.allclose(done.image[0], zscore(expected), atol=2e-3)


def test_slices_of_a_2d_network_stay_slices():
    scan = case(brain(), np.diag([1.0, 1, 5, 1]))

    done = preprocess(scan, spaced(2, 2, 1, spatial_dims=2))

    assert done.image_grid.spacing_mm == (2, 2, 5)
    occupied = np.flatnonzero(scan.array.any(axis=(0, 1, 2)))
    assert done.image.shape[3] == len(occupied) + 2


@pytest.mark.parametrize("affine", [RAS, LPS, OBLIQUE], ids=["RAS", "LPS", "oblique"])
@pytest.mark.parametrize("spacing", [(1, 1, 1), (2, 2, 2), (1.5, 1.5, 3.0), (0.8, 1.3, 1.0)])
def test_world_coordinates_come_back_to_a_micrometre(affine, spacing):
    scan = case(np.ones((1, 17, 16, 19), np.int16), affine)
    done = preprocess(scan, spaced(*spacing))

    coordinates = torch.from_numpy(world(done.image_grid.affine, done.image.shape[1:]))
    back = to_original(coordinates, done.image_grid, scan.grid).numpy()
    everywhere = to_original(torch.ones_like(coordinates), done.image_grid, scan.grid)

    # Nearer to the surface than half a voxel, the outermost value goes on.
    deepest = [math.ceil(1.5 * max(spacing) / step) for step in scan.grid.spacing_mm]
    inner = (slice(None), *(slice(depth, -depth) for depth in deepest))
    assert back[inner].size > 0
    assert abs(back - world(affine, scan.grid.shape))[inner].max() < 1e-3
    assert torch.allclose(everywhere, torch.ones(1), atol=1e-6)


@pytest.mark.parametrize("affine", [LPS, OBLIQUE], ids=["LPS", "oblique"])
@pytest.mark.parametrize("spacing", [2.0, 1.5])
def test_a_sphere_at_another_spacing_comes_back(affine, spacing):
    shape = (50, 22, 74) if affine is OBLIQUE else (50, 52, 54)
    place = world(affine, shape)
    middle = affine[:3, :3] @ (np.array(shape) / 2) + affine[:3, 3] + 0.3
    distance = np.linalg.norm(place - middle[:, None, None, None], axis=0)
    scan = case(((distance < 24) * 500).astype(np.int16)[None], affine)
    mask = distance < 15
    done = preprocess(scan, spaced(spacing, spacing, spacing))

    coarse = preprocess_masks(mask[None], scan.grid, done)
    back = (
        to_original(torch.from_numpy(coarse).float(), done.image_grid, scan.grid)[0].numpy() >= 0.5
    )

    assert coarse.shape == (1, *done.image.shape[1:])
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.95
    moved = place[:, back].mean(axis=1) - place[:, mask].mean(axis=1)
    assert np.linalg.norm(moved) < 0.1
    # Image and mask share their geometry: their centres agree on the new grid as well.
    where = world(done.image_grid.affine, coarse.shape[1:])
    head = where[:, done.image[0] != 0].mean(axis=1)
    assert np.linalg.norm(where[:, coarse[0]].mean(axis=1) - head) < 0.2


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 1, 0, 0], [1, 1, 1, 1, 0, 0, 0, 0]),
        ([0, 1, 2, 2], [0, 0, 1, 1, 2, 2, 2, 2]),
        ([False, True, False, True], [False, False, True, True, False, False, True, True]),
    ],
)
def test_on_the_way_back_a_voxel_takes_the_label_that_most_of_it_has(labels, expected):
    fine = Grid((8, 2, 2), np.eye(4))
    coarse = fine.resampled((2, 1, 1))
    label_map = np.broadcast_to(np.array(labels)[:, None, None], coarse.shape)[None]

    back = labels_to_original(label_map, coarse, fine)

    assert back.dtype == label_map.dtype
    assert np.array_equal(back[0], np.broadcast_to(np.array(expected)[:, None, None], fine.shape))


def test_a_mask_voxel_is_at_least_half_covered():
    scan = case(np.ones((1, 8, 4, 4), np.int16))
    masks = np.zeros((2, 8, 4, 4), bool)
    masks[0, :3] = True  # covers new voxel 0, half of new voxel 1
    masks[1, 0, :2, :2] = masks[1, 1, 0, 0] = True  # five of the eight of new voxel 0
    masks[1, 4, :2, :2] = True
    masks[1, 4, 0, 0] = False  # three of the eight of new voxel 2
    masks.flags.writeable = False

    moved = preprocess_masks(masks, scan.grid, preprocess(scan, spaced(2, 2, 2)))

    assert moved.dtype == np.bool_
    assert moved[0, :, 0, 0].tolist() == [True, True, False, False]
    assert moved[1, :, 0, 0].tolist() == [True, False, False, False]
    assert moved[1].sum() == 1


def test_a_real_ras_scan_and_its_lps_copy_give_the_same_image(real_data):
    folder = real_data / "orientation_ras" / "BraTS-MET-00110-000"
    scan = read_case([folder / "t1.nii.gz", folder / "flair.nii.gz"], "12", "12")
    flipped = nib.orientations.inv_ornt_aff([[0, -1], [1, -1], [2, 1]], scan.grid.shape)
    copy = case(scan.array[:, ::-1, ::-1], scan.grid.affine @ flipped)
    assert copy.grid.orientation == "LPS"

    done, again = preprocess(scan, spaced(1, 1, 1)), preprocess(copy, spaced(1, 1, 1))

    assert np.array_equal(done.image, again.image)
    assert done.image_grid == again.image_grid
    assert done.image_grid.orientation == "RAS"
    assert abs(done.image[done.image != 0].mean(dtype=np.float64)) < 1e-3


def monai_preprocessed(files) -> np.ndarray:
    steps = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        Orientationd("image", axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))),
        CropForegroundd("image", "image", select_fn=lambda x: x != 0, allow_smaller=True),
        NormalizeIntensityd("image", nonzero=True, channel_wise=True),
    ]
    return np.asarray(Compose(steps)({"image": [str(path) for path in files]})["image"])


def assert_like_monai(files) -> None:
    """To 1e-5 before the rounding to float16, which is that of NumPy."""
    scan = read_case(files, range(len(files)), range(len(files)))
    exact = preprocess(scan, spaced(*scan.grid.spacing_mm), dtype=np.float32)
    # A spacing along file axes that are not R, A, S would resample: these scans are isotropic.
    expected = monai_preprocessed(files)
    assert exact.image.dtype == np.float32
    assert exact.image.shape == expected.shape
    assert abs(exact.image - expected).max() < 1e-5
    rounded = preprocess(scan, spaced(*scan.grid.spacing_mm)).image
    assert np.array_equal(rounded, exact.image.astype(np.float16))


@pytest.mark.parametrize("affine", [RAS, LPS], ids=["RAS", "LPS"])
@pytest.mark.parametrize("stored", ["u1", "i2", ">i2", "u2", "i4", "f4", "f8"])
def test_files_give_the_same_values_as_with_monai(tmp_path, affine, stored):
    files = []
    for number, volume in enumerate(brain((24, 20, 22), channels=3) // 4):
        image = nib.Nifti1Image(volume.astype(stored), affine)
        image.header.set_slope_inter(0.5 if number == 1 and stored == "i2" else 1, 0)
        files.append(tmp_path / f"{number}.nii.gz")
        nib.save(image, files[-1])

    assert_like_monai(files)


def test_real_scans_give_the_same_values_as_with_monai(real_data):
    case2021 = real_data / "brats2021" / "BraTS2021_00006"
    turned = real_data / "orientation_ras" / "BraTS-MET-00110-000"

    for folder, names in ((case2021, ("t1ce", "flair")), (turned, ("t1", "flair"))):
        assert_like_monai([next(folder.glob(f"*{name}.nii.gz")) for name in names])


# Augmentation

NOTHING = dict.fromkeys(
    (
        *("flip", "rotate", "scale", "noise", "blur", "contrast", "intensity_scale"),
        *("intensity_shift", "low_resolution", "gamma", "channel_dropout"),
    ),
    0.0,
)
INTENSITY = ("noise", "blur", "contrast", "intensity_scale", "intensity_shift", "low_resolution")
INTENSITY = (*INTENSITY, "gamma", "channel_dropout", "bias_field")
SHAPES = {2: (14, 12), 3: (12, 10, 14)}


def only(dims=3, **options):
    return augmentation(AugmentationConfig(**{**NOTHING, **options}), dims)


def patch(dims=3, channels=4) -> dict[str, torch.Tensor]:
    """Smooth normal noise with a background of 0 on one side, and two masks."""
    noise = np.random.default_rng(5).normal(size=(channels, *SHAPES[dims]))
    image = ndimage.gaussian_filter(noise, (0, *[0.7] * dims)).astype(np.float32)
    image[:, :3] = 0
    return {
        "image": torch.from_numpy(image),
        "mask": torch.from_numpy((image[:2] > 0.1).astype(np.float32)),
    }


@pytest.mark.parametrize("dims", [2, 3])
def test_the_seed_alone_decides_what_is_drawn(dims):
    transform = only(dims, **dict.fromkeys(NOTHING, 0.5))
    global_state = torch.get_rng_state(), np.random.get_state()[1].copy()

    def drawn(seed: int) -> list[torch.Tensor]:
        transform.set_random_state(seed)
        return [value for _ in range(3) for value in transform(patch(dims)).values()]

    first, again, other = drawn(1), drawn(1), drawn(2)

    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first[::2], other[::2], strict=True))
    copy = pickle.loads(pickle.dumps(transform))  # as loader processes get it
    copy.set_random_state(1)
    assert torch.equal(copy(patch(dims))["image"], first[0])
    assert torch.equal(torch.get_rng_state(), global_state[0])
    assert np.array_equal(np.random.get_state()[1], global_state[1])


def test_probability_0_changes_nothing():
    result = only()(patch())

    assert torch.equal(result["image"], patch()["image"])
    assert torch.equal(result["mask"], patch()["mask"])


def test_probability_0_leaves_a_transform_out():
    def count(transform) -> int:
        *spatial, intensity = transform.transforms
        return len(spatial) + len(intensity.transforms)

    assert count(only()) == 0
    assert count(only(flip=0.1, gamma=0.1)) == 2
    assert count(augmentation(AugmentationConfig(), 3)) == 9


@pytest.mark.parametrize("dims", [2, 3])
def test_everything_at_once_keeps_types_and_shapes_and_the_input(dims):
    before = patch(dims)
    given = {name: value.clone() for name, value in before.items()}

    result = only(dims, **{**dict.fromkeys(NOTHING, 1.0), "channel_dropout": 0.3})(given)

    for name, value in result.items():
        assert type(value) is torch.Tensor
        assert value.dtype == torch.float32
        assert value.shape == before[name].shape
        assert value.isfinite().all()
        assert torch.equal(given[name], before[name])
    assert set(result["mask"].unique().tolist()) == {0, 1}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", INTENSITY)
def test_grey_values_change_in_tissue_alone(name, dims):
    transform = only(dims, **{name: 1.0})
    before = patch(dims)

    result = transform.set_random_state(0)(before)

    assert not torch.equal(result["image"], before["image"])
    assert (result["image"][:, :3] == 0).all()
    assert torch.equal(result["mask"], before["mask"])
    empty = transform({"image": torch.zeros(4, *SHAPES[dims]), "mask": before["mask"]})
    assert (empty["image"] == 0).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_each_axis_is_mirrored_on_its_own(dims):
    transform = only(dims, flip=0.5)
    given = {"image": normal(1, *SHAPES[dims]), "mask": (normal(2, *SHAPES[dims]) > 0).float()}
    axes = range(1, dims + 1)
    subsets = [[a for n, a in enumerate(axes) if code >> n & 1] for code in range(2**dims)]
    seen = set()
    for seed in range(40):
        result = transform.set_random_state(seed)(given)
        for code, subset in enumerate(subsets):
            if torch.equal(result["image"], given["image"].flip(subset)):
                assert torch.equal(result["mask"], given["mask"].flip(subset))
                seen.add(code)
    assert seen == set(range(2**dims))


class Drawn:
    """Stands in for random numbers: always below any probability, and as given."""

    def __init__(self, angles, scale) -> None:
        self.angles, self.scale = angles, scale

    def rand(self) -> float:
        return 0.0

    def uniform(self, low, high, size=None):
        return self.scale if size is None else self.angles


@pytest.mark.parametrize(
    ("angles", "scale"), [([30.0], 1.0), ([0.0], 1.47), ([12.0, -25.0, 40.0], 0.8)]
)
def test_rotation_and_scaling_agree_with_scipy(angles, scale):
    dims = 2 if len(angles) == 1 else 3
    transform = RandomWarp(AugmentationConfig(rotate=0.5, scale=0.5, rotate_degrees=1.0))
    transform.R = Drawn(np.array(angles), scale)
    given = patch(dims)

    result = transform(given)

    matrix = rotation(np.array(angles)) / scale
    centre = (np.array(SHAPES[dims]) - 1) / 2
    options = {"matrix": matrix, "offset": centre - matrix @ centre, "mode": "constant"}
    for name, order in (("image", 1), ("mask", 0)):
        padded = [np.pad(channel, 8) for channel in given[name].numpy()]
        options["offset"] = (centre + 8) - matrix @ (centre + 8)
        expected = [ndimage.affine_transform(channel, order=order, **options) for channel in padded]
        inner = (slice(None), *[slice(8, -8)] * dims)
        assert np.allclose(result[name], np.array(expected)[inner], atol=1e-4)


def test_rotations_turn_one_axis_towards_another():
    assert np.allclose(rotation(np.array([90.0])) @ [1, 0], [0, 1])
    assert np.allclose(rotation(np.array([90.0, 0, 0])) @ [0, 1, 0], [0, 0, 1])
    assert np.allclose(rotation(np.array([0, 0, 90.0])) @ [1, 0, 0], [0, 1, 0])
    both = rotation(np.array([90.0, 0, 90.0]))
    assert np.allclose(both @ [0, 0, 1], [1, 0, 0])


@pytest.mark.parametrize(
    ("spacing_mm", "angles"),
    [
        ((1, 1, 5), [20.0, 0, 0]),
        ((1, 1, 5), [0, 0, 20.0]),
        ((2, 1, 3), [8.0, -12.0, 20.0]),
        ((1, 3), [20.0]),
    ],
)
def test_a_rotation_is_one_in_mm(spacing_mm, angles):
    shape = (40, 42, 28)[: len(spacing_mm)]
    spacing = np.array(spacing_mm, float)
    options = AugmentationConfig(rotate=0.5, scale=0, elastic=0, rotate_degrees=1)
    transform = RandomWarp(options, spacing_mm)
    transform.R = Drawn(np.array(angles), 1.0)
    # Each voxel tells where it lies, in mm from the centre.
    index = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    across = (len(spacing), *[1] * len(shape))
    centre = (np.array(shape) - 1).reshape(across) / 2
    places = (index - centre) * spacing.reshape(across)
    given = {"image": torch.from_numpy(places).float(), "mask": torch.zeros(1, *shape)}

    shown = transform(given)["image"].numpy()

    # Points in mm, turned about each axis in turn by sines and cosines written out.
    turned = places.copy()
    planes = {1: [(0, 1)], 3: [(1, 2), (0, 2), (0, 1)]}[len(angles)]
    for (one, other), angle in zip(planes, np.deg2rad(angles), strict=True):
        a, b = turned[one].copy(), turned[other].copy()
        turned[one] = math.cos(angle) * a - math.sin(angle) * b
        turned[other] = math.sin(angle) * a + math.cos(angle) * b
    inside = (abs(turned) < centre * spacing.reshape(across) - spacing.max()).all(axis=0)
    assert inside.mean() > 0.3
    assert np.allclose(shown[:, inside], turned[:, inside], atol=1e-3)


def test_a_warp_reaches_as_many_mm_along_all_axes():
    shape = (40, 40, 12)
    transform = RandomWarp(
        AugmentationConfig(rotate=0, scale=0, elastic=1, elastic_range=5, elastic_spacing=20),
        (1, 1, 5),
    )

    field = transform.set_random_state(0)._displacement(shape, np.array([1.0, 1, 5]))

    assert 3 < field[0].abs().max() <= 5
    assert 0.6 < field[2].abs().max() <= 1  # voxels of 5 mm


def test_rotation_and_scaling_have_probabilities_of_their_own():
    dot = torch.zeros(1, 15, 15)
    dot[0, 7, 7] = 1  # the centre stays, turned or not, and grows when scaled
    line = torch.ones(1, 15, 15)
    given = {"image": line, "mask": dot}
    grow = only(2, rotate=0.0, scale=1.0, scale_range=(3.0, 3.0))
    turn = only(2, rotate=1.0, scale=0.0, rotate_degrees=90.0)

    assert grow(given)["mask"].sum() == 9
    assert (grow(given)["image"] == 1).all()
    assert turn(given)["mask"].sum() == 1
    assert (turn.set_random_state(0)(given)["image"] == 0).any()


def test_noise_has_at_most_the_configured_strength():
    given = {"image": torch.ones(4, 24, 24, 24), "mask": torch.ones(1, 24, 24, 24)}
    transform = only(noise=1.0, noise_std=0.2)

    stds = [(transform.set_random_state(n)(given)["image"] - 1).std().item() for n in range(20)]

    assert 0 < min(stds) < 0.05
    assert 0.15 < max(stds) < 0.205


def test_blur_is_gaussian():
    image = normal(2, 20, 22, 24) + 9

    result = only(blur=1.0, blur_sigma=(0.9, 0.9))({"image": image, "mask": image[:1] * 0})["image"]

    expected = [ndimage.gaussian_filter(channel, 0.9, truncate=8) for channel in image.numpy()]
    inner = (slice(None), *[slice(6, -6)] * 3)
    assert np.allclose(result[inner], np.array(expected)[inner], atol=1e-4)


def test_contrast_stretches_about_the_mean_and_keeps_the_range():
    image = torch.tensor([[[1.0, 4, 5, 6, 9]], [[1, 1, 1, 3, 4]]])

    result = only(2, contrast=1.0, contrast_range=(2.0, 2.0))({"image": image, "mask": image})

    assert result["image"].tolist() == [[[1, 3, 5, 7, 9]], [[1, 1, 1, 4, 4]]]


def test_scale_and_shift_are_drawn_for_each_channel():
    image = torch.full((4, 3, 3), 2.0)
    given = {"image": image, "mask": image}

    factors = only(2, intensity_scale=1.0, intensity_range=0.5).set_random_state(0)(given)["image"]
    offsets = only(2, intensity_shift=1.0, intensity_range=0.5).set_random_state(0)(given)["image"]

    for values, strongest in ((factors[:, 0, 0] / 2 - 1, 0.5), (offsets[:, 0, 0] - 2, 0.5)):
        assert len(set(values.tolist())) == 4
        assert (values.abs() <= strongest).all()


def test_gamma_keeps_mean_deviation_and_order_of_each_channel():
    image = normal(3, 12, 12, 12) * torch.tensor([1.0, 5, 9]).reshape(3, 1, 1, 1)
    given = {"image": image, "mask": image}

    straight = only(gamma=1.0, gamma_range=(1.0, 1.0))(given)["image"]
    curved = only(gamma=1.0, gamma_range=(1.5, 1.5))(given)["image"]

    assert torch.allclose(straight, image, atol=1e-4)
    assert (curved - image).flatten(1).abs().amax(1).min() > 0.1
    for before, after in zip(image.flatten(1), curved.flatten(1), strict=True):
        assert torch.allclose(before.mean(), after.mean(), atol=1e-4)
        assert torch.allclose(before.std(), after.std(), rtol=1e-4)
        assert (after[before.argsort()].diff() >= 0).all()


def test_low_resolution_loses_detail_and_keeps_the_mean():
    image = normal(1, 16, 16, 16) + 5
    transform = only(low_resolution=1.0, low_resolution_range=(0.5, 0.5))

    result = transform({"image": image, "mask": image})["image"]

    assert result.std() < 0.8 * image.std()
    assert abs(result.mean() - 5) < 0.2


def test_dropout_always_leaves_a_channel():
    given = {"image": torch.ones(4, 3, 3), "mask": torch.ones(1, 3, 3)}
    kept = []
    for probability in (1.0, 0.5):
        transform = only(2, channel_dropout=probability)
        results = [transform.set_random_state(n)(given)["image"] for n in range(60)]
        assert all(set(r.unique().tolist()) <= {0, 1} for r in results)
        kept.append(np.array([r.flatten(1).mean(1).tolist() for r in results]))

    all_dropped, half_dropped = kept
    assert (all_dropped.sum(axis=1) == 1).all()
    assert (all_dropped.sum(axis=0) > 0).all()
    assert (half_dropped.sum(axis=1) >= 1).all()
    assert 0.4 < half_dropped.mean() < 0.65


@pytest.mark.parametrize("dims", [2, 3])
def test_a_warp_moves_image_and_mask_alike_smoothly_and_no_further_than_configured(dims):
    shape = (40, 36, 32)[:dims]
    places = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in shape), indexing="ij"))
    given = {"image": places + 1, "mask": (places[:1] >= 20).float()}

    result = only(dims, elastic=1.0, elastic_range=3.0, elastic_spacing=12.0)(given)

    inner = (slice(None), *[slice(5, -5)] * dims)
    moved = (result["image"] - 1 - places)[inner]  # what a voxel shows came from that far away
    assert 1 < moved.abs().max() <= 3 + 1e-4
    assert max(moved.diff(dim=axis).abs().max() for axis in range(1, dims + 1)) < 1
    assert all(moved[axis].std() > 0.2 for axis in range(dims))
    expected = (result["image"][:1] - 1 >= 19.5).float()
    assert torch.equal(result["mask"][inner], expected[inner])


def test_a_warp_by_nothing_changes_nothing():
    given = patch(2)

    result = only(2, elastic=1.0, elastic_range=0.0)(given)

    assert torch.allclose(result["image"], given["image"], atol=1e-5)
    assert torch.equal(result["mask"], given["mask"])


def test_shading_is_a_smooth_factor_for_each_channel_counted_from_its_darkest_voxel():
    image = torch.full((3, 40, 40), 5.0)
    image[:, 20, 20] = 1

    result = only(2, bias_field=1.0, bias_field_range=0.4)({"image": image, "mask": image})["image"]

    assert torch.equal(result[:, 20, 20], image[:, 20, 20])
    factor = (result - 1)[:, :19] / 4
    assert torch.exp(torch.tensor(-0.4)) <= factor.min() < 0.9
    assert 1.1 < factor.max() <= torch.exp(torch.tensor(0.4))
    assert factor.diff(dim=1).abs().max() < 0.1
    assert not torch.allclose(factor[0], factor[1], atol=0.05)


def test_a_dropped_channel_is_replaced_by_the_one_that_stands_in_for_missing_ones():
    image = torch.arange(1.0, 4).reshape(3, 1, 1).expand(3, 4, 4)
    given = {"image": image, "mask": image}
    options = AugmentationConfig(**{**NOTHING, "channel_dropout": 0.5})
    transform = augmentation(options, 2, fill=1)

    seen = {
        tuple(transform.set_random_state(n)(given)["image"][:, 0, 0].tolist()) for n in range(60)
    }

    assert seen == {(1, 2, 3), (2, 2, 3), (1, 2, 2), (2, 2, 2)}


def test_a_grid_far_larger_than_the_scan_is_refused_with_what_it_takes(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 10**9)
    wide = case(brain((100, 100, 60)), np.diag([5.0, 5, 5, 1]))

    with pytest.raises(
        ResourceError,
        match=r"^2 channels of .* voxels, as many as there are at 0\.5 x 0\.5 x 0\.5 mm, would",
    ):
        preprocess(wide, spaced(0.5, 0.5, 0.5))
