"""What the cache stores of a case, beside the plain way to the same arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from volseg.config import ExperimentConfig
from volseg.datalist import find_cases, read_data_list
from volseg.scans import read_images
from volseg.training.cache import build_cache, read_masks
from volseg.training.tissue import TissueArray, pack
from volseg.transforms import preprocess, preprocess_masks


def image_of(shape=(3, 7, 9, 11), seed=0) -> np.ndarray:
    """Noise in a ball, one channel with holes; the first and the last plane are empty."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1.3, 1.3, size) for size in shape[1:]), indexing="ij")
    image = generator.normal(size=shape) * (sum(axis**2 for axis in axes) < 1)
    image[1] *= generator.random(shape[1:]) > 0.3
    return image.astype(np.float16)


def packed(image: np.ndarray, axis: int) -> TissueArray:
    return TissueArray(*pack(image, axis), image.shape, axis)


def config_of(data_list: Path, spacing: float, dims: int = 3) -> ExperimentConfig:
    return ExperimentConfig.from_dict(
        {
            "labels": "brats2021",
            "data": {
                "data_list": str(data_list),
                "spacing_mm": [spacing] * 3,
                "patch_size": [32] * dims,
            },
            "network": {"name": "unet"},
        }
    )


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_packed_image_is_cut_like_a_plain_one(axis):
    image = image_of()

    found = packed(image, axis)

    assert (found.shape, found.dtype, found.ndim, len(found)) == (image.shape, "float16", 4, 3)
    assert found.nbytes < image.nbytes
    for key in (
        slice(None),
        (slice(None), slice(2, 5), slice(3, 9), slice(0, 4)),
        (slice(1, 3), slice(None), slice(5, 2), slice(8, None)),
        (slice(None), slice(-3, None), slice(0, 99)),
        (slice(None), slice(None, None, 2)),
        (slice(None), slice(0, 0)),
        1,
        (2, 3, 4, 5),
        (..., 3),
        None,
    ):
        assert np.array_equal(found[key], image[key]), key
    assert np.array_equal(np.asarray(found, np.float32), image)
    with pytest.raises(ValueError, match="unpacked into a copy"):
        np.array(found, copy=False)


@pytest.mark.parametrize("fill", [0, 1])
def test_images_of_nothing_but_background_or_tissue_can_be_packed(fill):
    image = np.full((2, 3, 4, 5), fill, np.float16)

    assert np.array_equal(packed(image, 0)[:], image)


@pytest.mark.parametrize(("spacing", "dims"), [(2, 3), (3, 3), (1.3, 3), (2, 2)])
def test_an_entry_holds_what_the_plain_way_gives(cohort, tmp_path, spacing, dims):
    config = config_of(cohort / "list.json", spacing, dims)
    cases = read_data_list(config.data.data_list).training

    ready, failures = build_cache(cases, config, tmp_path / "cache")

    assert not failures
    for found in ready:
        _assert_is_plain(found, config)


def test_a_real_entry_holds_what_the_plain_way_gives(real_data, tmp_path):
    cases = find_cases([real_data / "brats2021" / "BraTS2021_01479"]).cases
    for spacing in (1, 2):
        config = config_of(tmp_path / "list.json", spacing)

        ((found,), _) = build_cache(cases, config, tmp_path / "cache")

        _assert_is_plain(found, config)
        # Measured: 55 % of the plain arrays at 1 mm.
        stored = sum(path.stat().st_size for path in found.entry.iterdir())
        assert stored < 0.65 * (np.asarray(found.image).nbytes + found.bits.nbytes)


def _assert_is_plain(found, config) -> None:
    """To the last bit: nothing is rounded on the way, and only zeros are left out."""
    images = read_images(found.case, config.data.channels)
    done = preprocess(images, config.data, config.spatial_dims)
    regions = preprocess_masks(read_masks(found.case, config, images.grid), images.grid, done)
    bits = sum(region.astype(np.uint8) << number for number, region in enumerate(regions))
    assert np.array_equal(found.image, done.image)
    assert found.image.shape == done.image.shape
    assert np.array_equal(found.bits, bits)
    generator = np.random.default_rng(0)
    for row, region in zip(found.foreground, regions, strict=True):
        voxels = np.argwhere(region)
        if len(voxels):
            assert np.array_equal(row, voxels[generator.integers(len(voxels), size=len(row))])
        else:
            assert (row == -1).all()
