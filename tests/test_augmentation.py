"""The quick ways in which patches change, against the plain ones of torch, MONAI and scipy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from monai.transforms import (
    RandScaleIntensity,
    RandShiftIntensity,
    RandSimulateLowResolution,
    ScaleIntensityFixedMean,
)
from scipy import ndimage
from torch.nn import functional
from torch.utils.data import default_collate

from volseg.cases.data_list import read_data_list
from volseg.config import CHANNELS, AugmentationConfig, ExperimentConfig, PreprocessingConfig
from volseg.finding.folders import find_cases
from volseg.training.cache.cases import build_cache
from volseg.training.datamodule import PatchDataset, VolumeDataModule, cut, masks_of
from volseg.transforms import preprocess
from volseg.transforms.augmentation import (
    _blur,
    _coarsen,
    _gamma,
    _scale,
    _shift,
    _stretch,
    augmentation,
)
from volseg.transforms.axes import smooth_field
from volseg.transforms.warping import PatchResampler, _scaled, rotation

CHANGES = (
    *("flip", "rotate", "scale", "noise", "blur", "contrast"),
    *("intensity_scale", "intensity_shift", "low_resolution", "gamma"),
)


@pytest.fixture(scope="module", params=["random 2D", "random 3D", "real"])
def image(request) -> torch.Tensor:
    """Four channels, float32; uneven sizes, more than one block of rows."""
    if request.param == "real":
        folder = request.getfixturevalue("real_data") / "brats2021" / "BraTS2021_00006"
        scan = find_cases([folder]).cases[0].read_images(CHANNELS)
        whole = preprocess(scan, PreprocessingConfig()).image
        return torch.from_numpy(whole[:, 20:90, 40:107, 30:95].astype(np.float32))
    shape = (4, 71, 66) if request.param == "random 2D" else (4, 41, 38, 67)
    noise = np.random.default_rng(3).normal(size=shape)
    smooth = ndimage.gaussian_filter(noise, (0, *[0.7] * (len(shape) - 1))).astype(np.float32)
    smooth[:, :9] = 0
    return torch.from_numpy(smooth)


def random() -> np.random.RandomState:
    return np.random.RandomState(5)


def bits_of(image: torch.Tensor) -> torch.Tensor:
    """Bits of two masks, (1, *), which leave the borders free."""
    inner = (slice(None), *[slice(12, -9)] * (image.ndim - 1))
    bits = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)
    bits[inner] = (image[:1] > 0.3).byte()[inner] + 2 * (image[1:2] > 0.5).byte()[inner]
    return bits


def plainly_moved(sample, matrix, displacement=None):
    """By one grid for all voxels, and masks one by one."""
    shape = sample["image"].shape[1:]
    half = np.array(shape) / 2
    theta = np.zeros((1, len(shape), len(shape) + 1))
    theta[0, :, :-1] = (matrix * half / half[:, None])[::-1, ::-1]
    grid = functional.affine_grid(torch.from_numpy(theta), [1, 1, *shape], align_corners=False)
    if displacement is not None:
        unit = torch.tensor([2 / size for size in reversed(shape)])
        grid = grid + displacement[None].movedim(1, -1).flip(-1) * unit
    return {
        name: functional.grid_sample(sample[name].double()[None], grid, mode, align_corners=False)[
            0
        ]
        for name, mode in (("image", "bilinear"), ("mask", "nearest"))
    }


def assert_same_patch(found, expected):
    assert torch.allclose(found["image"].double(), expected["image"], atol=1e-4)
    # Halfway between two voxels, rounding decides.
    assert (found["mask"] != expected["mask"]).double().mean() < 1e-3
    assert found["mask"].any()


@pytest.mark.parametrize("warped", [False, True])
def test_a_patch_moves_as_by_one_grid(image, warped):
    dims = image.ndim - 1
    matrix = rotation(np.array([25.0, -15, 20][: 1 if dims == 2 else 3])) / 0.8
    controls = torch.from_numpy(random().uniform(-6, 6, (dims, *[4] * dims))).float()
    mode = "bicubic" if dims == 2 else "trilinear"
    field = functional.interpolate(controls[None], image.shape[1:], mode=mode)[0].clamp(-6, 6)
    sample = {"image": image, "mask": bits_of(image)}

    found = PatchResampler(image.shape[1:], matrix, *([field, 6.0] if warped else []))(sample)

    assert_same_patch(found, plainly_moved(sample, matrix, field if warped else None))


@pytest.mark.parametrize("scale", [0.713, 1.37])
def test_scaling_axis_by_axis_is_scaling_by_one_grid(image, scale):
    sample = {"image": image, "mask": bits_of(image)}

    found = _scaled(sample, scale)

    assert_same_patch(found, plainly_moved(sample, np.eye(image.ndim - 1) / scale))
    assert not torch.equal(found["image"], image)


def test_bits_move_as_their_masks(image):
    bits = bits_of(image)
    masks = torch.cat([bits & 1, bits >> 1]).float()
    options = AugmentationConfig(rotate=1, scale=1, elastic=0.5)
    transform = augmentation(options, image.ndim - 1)

    for seed in range(3):
        packed = transform.set_random_state(seed)({"image": image, "mask": bits})["mask"]
        single = transform.set_random_state(seed)({"image": image, "mask": masks})["mask"]
        assert torch.equal(torch.cat([packed & 1, packed >> 1]).float(), single)


def test_a_patch_without_a_mask_has_none_when_it_moved(image):
    nothing = torch.zeros(1, *image.shape[1:], dtype=torch.uint8)

    moved = PatchResampler(image.shape[1:], np.eye(image.ndim - 1) * 0.9)(
        {"image": image, "mask": nothing}
    )

    assert torch.equal(moved["mask"], nothing)


@pytest.mark.parametrize("shape", [(21, 34), (20, 33, 47)])
def test_a_smooth_field_is_that_of_torch(shape):
    controls = torch.from_numpy(random().uniform(-1, 1, [3, 5, 4][: len(shape)])).float()

    found = smooth_field(controls, shape)

    mode = "bicubic" if len(shape) == 2 else "trilinear"
    expected = functional.interpolate(controls[None, None], shape, mode=mode, align_corners=True)
    assert torch.allclose(found, expected[0, 0].clamp(-1, 1), atol=1e-5)


def test_blur_is_that_of_scipy(image):
    found = image.clone()
    _blur(found, random(), (0.8, 0.8), [1.0] * (image.ndim - 1))

    inner = (slice(None), *[slice(7, -7)] * (image.ndim - 1))
    expected = [ndimage.gaussian_filter(c, 0.8, truncate=8) for c in image.double().numpy()]
    assert np.allclose(found[inner], np.array(expected)[inner], atol=1e-4)
    # At the border, weights of what is outside go to what is inside.
    ones = torch.ones_like(image)
    _blur(ones, random(), (0.8, 0.8), [1.0] * (ones.ndim - 1))
    assert torch.allclose(ones, torch.ones(()), atol=1e-5)


def test_factors_and_offsets_are_those_of_monai(image):
    for change, theirs in (
        (_scale, RandScaleIntensity(0.25, prob=1, channel_wise=True)),
        (_shift, RandShiftIntensity(0.25, prob=1, channel_wise=True)),
    ):
        found, drawn = image.clone(), random()
        drawn.rand()  # which MONAI asks whether to change at all
        change(found, drawn, 0.25)
        theirs.R = random()
        assert torch.allclose(found, torch.as_tensor(theirs(image)), atol=1e-5)
        assert not torch.equal(found, image)


@pytest.mark.parametrize("factor", [0.75, 1.25])
def test_contrast_is_that_of_monai(image, factor):
    found = image.clone()
    _stretch(found, random(), (factor, factor))

    theirs = ScaleIntensityFixedMean(factor - 1, preserve_range=True, channel_wise=False)
    expected = torch.stack([torch.as_tensor(theirs(channel[None])[0]) for channel in image])
    assert torch.allclose(found, expected, atol=1e-4)


def test_blur_is_as_wide_in_mm_along_all_axes():
    point = torch.zeros(1, 21, 21, 9)
    point[0, 10, 10, 4] = 1

    _blur(point, random(), (2.0, 2.0), [1.0, 1.0, 5.0])

    along_i, along_k = point[0, :, 10, 4], point[0, 10, 10]
    assert along_i[8] / along_i[10] == pytest.approx(
        math.exp(-0.5), rel=1e-3
    )  # 2 mm, one deviation
    assert along_k[5] / along_k[4] == pytest.approx(math.exp(-(2.5**2) / 2), rel=1e-3)  # 5 mm


def test_low_resolution_keeps_an_axis_that_is_coarser_already():
    image = torch.rand(1, 20, 20, 8)
    coarser = image.clone()

    _coarsen(coarser, random(), (0.5, 0.5), [1.0, 1.0, 5.0])

    assert coarser.shape == image.shape
    slices = image.clone()
    for number in range(8):
        one = slices[:, ..., number].contiguous()
        _coarsen(one, random(), (0.5, 0.5), [1.0, 1.0])
        slices[..., number] = one
    assert torch.allclose(coarser, slices, atol=1e-6)


@pytest.mark.parametrize("zoom", [0.5, 0.73, 1.0])
def test_low_resolution_is_that_of_monai(image, zoom):
    found = image.clone()
    _coarsen(found, random(), (zoom, zoom), [1.0] * (image.ndim - 1))

    mode = "bilinear" if image.ndim == 3 else "trilinear"
    theirs = RandSimulateLowResolution(1, upsample_mode=mode, zoom_range=(zoom, zoom))
    assert torch.allclose(found, torch.as_tensor(theirs(image)), atol=1e-5)


@pytest.mark.parametrize("exponent", [0.7, 1.5])
def test_gamma_is_that_of_its_formula(image, exponent):
    found = image.clone()
    _gamma(found, random(), (exponent, exponent))

    for channel, before in zip(found, image.double(), strict=True):
        unit = (before - before.min()) / (before.max() - before.min())
        curved = unit**exponent
        expected = (curved - curved.mean()) / curved.std() * before.std() + before.mean()
        assert torch.allclose(channel.double(), expected, atol=1e-3)


@pytest.fixture
def experiment(cohort):
    data = {
        "data_list": str(cohort / "list.json"),
        "patch_size": [16, 48, 32],
        "batch_size": 2,
        "batches_per_epoch": 3,
        "workers": 0,
    }
    return ExperimentConfig.from_dict(
        {
            "labels": "brats2021",
            "data": data,
            "augmentation": dict.fromkeys(CHANGES, 0),
            "network": {"name": "unet"},
        }
    )


@pytest.fixture
def cached(experiment, tmp_path):
    cases = read_data_list(experiment.data.data_list).training
    return build_cache(cases, experiment, tmp_path / "cache")[0]


def test_without_changes_a_sample_is_the_block_at_its_place(experiment, cached):
    dataset = PatchDataset(cached, experiment)

    for number in range(4):
        sample = dataset[number]
        case, start = dataset.place(number)
        block = cut(case.image, start, (16, 48, 32))
        bits = cut(case.bits[None], start, (16, 48, 32))[0]
        assert sample["image"].dtype == sample["mask"].dtype == torch.float32
        assert np.array_equal(sample["image"], block.astype(np.float32))
        assert np.array_equal(sample["mask"], masks_of(bits, 3))


def test_a_batch_of_this_process_is_that_of_a_worker(experiment, cached):
    loader = VolumeDataModule(experiment, cached, ()).train_dataloader()

    batch = next(iter(loader))

    dataset = PatchDataset(cached, experiment)
    expected = default_collate([dataset[0], dataset[1]])
    assert sorted(batch) == sorted(expected)
    assert all(torch.equal(batch[name], expected[name]) for name in expected)
