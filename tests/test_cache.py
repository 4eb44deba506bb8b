"""What the cache stores of a case, beside the plain way to the same arrays."""

from __future__ import annotations

import inspect
import os
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from filelock import FileLock

from volseg import signals
from volseg.cases.case import Case
from volseg.cases.data_list import read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.config import AugmentationConfig, ExperimentConfig, PreprocessingConfig
from volseg.errors import LabelError, OutputError
from volseg.finding.folders import find_cases
from volseg.images.case_images import CaseImages
from volseg.training.cache import cases as cache
from volseg.training.cache.case_arrays import read_masks
from volseg.training.cache.cases import build_cache, read_cached
from volseg.training.cache.packed_tissue import TissueArray, pack
from volseg.training.datamodule import PatchDataset, cut
from volseg.transforms import preprocess, preprocess_masks

NO_CHANGES = {
    name: 0
    for name in AugmentationConfig.model_fields
    if not name.endswith(("_range", "_degrees", "_spacing", "_std", "_sigma"))
}


def image_of(shape=(3, 7, 9, 11), seed=0) -> np.ndarray:
    """Noise in a ball, one channel with holes; the first and the last plane are empty."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1.3, 1.3, size) for size in shape[1:]), indexing="ij")
    image = generator.normal(size=shape) * (sum(axis**2 for axis in axes) < 1)
    image[1] *= generator.random(shape[1:]) > 0.3
    return image.astype(np.float16)


def packed(image: np.ndarray, axis: int) -> TissueArray:
    return TissueArray(*pack(image, image.any(axis=0), axis), image.shape, axis)


def config_of(data_list: Path, spacing: float, dims: int = 3, **data: object) -> ExperimentConfig:
    return ExperimentConfig.from_dict(
        {
            "labels": "brats2021",
            "data": {
                "data_list": str(data_list),
                "spacing_mm": [spacing] * 3,
                "patch_size": [32] * dims,
            }
            | data,
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
    assert np.array_equal(np.asarray(found.tissue), image.any(axis=0)[None])
    assert np.array_equal(
        cut(found.tissue, np.array([-1, 2, 3]), (5, 4, 4))[0, 0], np.zeros((4, 4))
    )
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


def test_preprocessing_gets_nothing_from_a_config_but_what_names_an_entry(
    cohort, tmp_path, monkeypatch
):
    """So a new option, of whatever name, never finds what was prepared without it."""
    config = config_of(cohort / "list.json", 4)
    case = read_data_list(config.data.data_list).training[0]
    given = []
    monkeypatch.setattr(
        "volseg.training.cache.case_arrays.preprocess",
        lambda *args: given.append(args) or preprocess(*args),
    )
    build_cache([case], config, tmp_path)
    assert read_cached(case, config, tmp_path)

    ((images, options),) = given
    assert isinstance(images, CaseImages)
    assert options == config.preprocessing
    assert list(inspect.signature(preprocess).parameters) == ["images", "options", "dtype"]

    class WithAnOption(PreprocessingConfig):
        denoise: bool = True

    more = WithAnOption(**config.preprocessing.model_dump())
    monkeypatch.setattr(ExperimentConfig, "preprocessing", more)
    assert read_cached(case, config, tmp_path) is None


@pytest.mark.parametrize(
    ("start", "size"),
    [((-2, -3, 4), (11, 15, 3)), ((5, -1, -4), (9, 11, 19)), ((0, 0, 0), (7, 9, 11))],
)
@pytest.mark.parametrize("axis", [0, 2])
def test_a_patch_that_is_larger_than_a_packed_image_is_filled_with_zeros(axis, start, size):
    image = image_of()

    found = cut(packed(image, axis), np.array(start), size)

    assert found.any()
    assert np.array_equal(found, cut(image, np.array(start), size))


def one_case(folder: Path, image: np.ndarray, label_map: np.ndarray) -> Case:
    """A case of one channel, 1 mm."""
    for name, array in (("t1n", image), ("seg", label_map)):
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii.gz")
    files = (folder / "t1n.nii.gz",), (folder / "seg.nii.gz",)
    return VolumeCase("a", "a", images=files[0], channels=("t1n",), label=files[1])


@pytest.mark.parametrize("place", [None, (0, 0, 0), (29, 31, 27)])
@pytest.mark.parametrize("spacing", [1, 2])
def test_a_label_map_that_is_empty_or_lies_beside_the_brain_leaves_the_regions_empty(
    tmp_path, spacing, place
):
    image, label_map = np.zeros((30, 32, 28), np.int16), np.zeros((30, 32, 28), np.uint8)
    image[8:22, 10:24, 6:20] = np.random.default_rng(0).integers(1, 900, (14, 14, 14))
    if place:
        label_map[place] = 1
    config = config_of(tmp_path / "list.json", spacing, channels=["t1n"])
    case = one_case(tmp_path, image, label_map)

    ((found,), failures) = build_cache([case], config, tmp_path / "cache")

    assert failures == ()
    _assert_is_plain(found, config)
    assert not found.bits.any()
    sample = PatchDataset([found], config)[0]
    assert sample["image"].any()
    assert not sample["mask"].any()


@pytest.mark.parametrize(("enhancing", "scheme"), [(3, "brats2023"), (9, None)])
def test_a_label_map_of_another_scheme_tells_of_all_and_one_of_none_of_itself(
    tmp_path, enhancing, scheme
):
    """Left out, it would leave the cases without an enhancing tumour to train on."""
    image, label_map = np.zeros((30, 32, 28), np.int16), np.zeros((30, 32, 28), np.uint8)
    image[8:22, 10:24, 6:20] = np.random.default_rng(0).integers(1, 900, (14, 14, 14))
    cases = []
    for case_id, value in (("a", 2), ("b", enhancing)):
        (tmp_path / case_id).mkdir()
        label_map[10, 12, 8] = value
        found = one_case(tmp_path / case_id, image, label_map)
        cases.append(replace(found, case_id=case_id))
    config = config_of(tmp_path / "list.json", 1, channels=["t1n"])

    if scheme is None:
        ready, failures = build_cache(cases, config, tmp_path / "cache")
        assert [case.case.case_id for case in ready] == ["a"]
        assert [case_id for case_id, _ in failures] == ["b"]
    else:
        message = r"may be in that scheme too: label map seg\.nii\.gz holds \[3\].*case b.*use bra"
        with pytest.raises(LabelError, match=message):
            build_cache(cases, config, tmp_path / "cache")


def test_a_label_map_that_reaches_beyond_the_brain_is_cropped_like_it(tmp_path):
    image, label_map = np.zeros((30, 32, 28), np.int16), np.zeros((30, 32, 28), np.uint8)
    image[8:22, 10:24, 6:20] = 100
    image[8, 10, 6] = 300
    label_map[2:10, 20:32, 0:28] = 1
    config = config_of(tmp_path / "list.json", 1, channels=["t1n"])

    ((found,), _) = build_cache([one_case(tmp_path, image, label_map)], config, tmp_path / "cache")

    assert found.bits.astype(bool).sum() == 2 * 4 * 14
    _assert_is_plain(found, config)


def test_tissue_that_is_0_once_it_is_normalised_stays_tissue(tmp_path):
    image, label_map = np.zeros((20, 20, 20), np.float32), np.zeros((20, 20, 20), np.uint8)
    image[4:16, 4:16, 4:16] = 0.5
    label_map[8:10, 8:10, 8:10] = 1
    config = config_of(tmp_path / "list.json", 1, channels=["t1n"])
    options = AugmentationConfig(**{**NO_CHANGES, "noise": 1})
    config = config.model_copy(update={"augmentation": options})

    ((found,), _) = build_cache([one_case(tmp_path, image, label_map)], config, tmp_path / "cache")

    assert found.image.values.shape == (1, 12**3)
    assert not np.asarray(found.image).any()
    assert np.asarray(found.image.tissue).all()
    sample = PatchDataset([found], config)[0]
    assert sample["image"].shape == (1, 32, 32, 32)
    # Noise lies where the tissue is, and background stays 0.
    assert np.count_nonzero(sample["image"]) == 12**3
    assert sample["mask"].any()


def test_a_cache_stays_locked_until_the_last_thread_is_done(cohort, tmp_path, monkeypatch):
    """Another process would take away what a thread still writes, after another one failed."""
    told: list[str] = []
    busy, failed, closing = threading.Event(), threading.Event(), threading.Event()

    def build(case, *_):
        if case == cases[0]:
            busy.wait(60)
            failed.set()
            raise OutputError("the disk is full")
        busy.set()
        closing.wait(60)
        told.append("built")

    class Pool(ThreadPoolExecutor):
        def shutdown(self, *args, **options):
            if failed.is_set():
                closing.set()
            super().shutdown(*args, **options)

    class Lock(FileLock):
        def release(self, *args, **options):
            if failed.is_set():
                told.append("free")
            super().release(*args, **options)

    names = {"_build": build, "ThreadPoolExecutor": Pool, "FileLock": Lock, "cores": lambda: 2}
    for name, value in names.items():
        monkeypatch.setattr(cache, name, value)
    config = config_of(cohort / "list.json", 2)
    cases = read_data_list(config.data.data_list).training[:2]

    with pytest.raises(OutputError, match="the disk is full"):
        build_cache(cases, config, tmp_path / "cache")

    assert told[:2] == ["built", "free"]


def test_a_signal_while_cases_are_prepared_lets_each_begun_one_become_whole(
    cohort, tmp_path, monkeypatch
):
    noted, build, note = threading.Event(), cache._build, signals._record

    def interrupted(case, config, folder):
        os.kill(os.getpid(), signal.SIGTERM)
        assert noted.wait(60)
        return build(case, config, folder)

    def noting(number, frame):
        note(number, frame)
        noted.set()

    monkeypatch.setattr(cache, "_build", interrupted)
    monkeypatch.setattr(cache, "cores", lambda: 1)
    monkeypatch.setattr(signals, "_record", noting)
    config = config_of(cohort / "list.json", 2)
    cases = read_data_list(config.data.data_list).training

    signals.record()
    try:
        with pytest.raises(signals.Stopped, match="call again"):
            build_cache(cases, config, tmp_path / "cache")
    finally:
        signals.reset()

    assert read_cached(cases[0], config, tmp_path / "cache")
    assert [read_cached(case, config, tmp_path / "cache") for case in cases[1:]] == [None] * 3
    assert len([path for path in (tmp_path / "cache").iterdir() if path.is_dir()]) == 1


def _assert_is_plain(found, config) -> None:
    """To the last bit: nothing is rounded on the way, and only zeros are left out."""
    images = found.case.read_images(config.data.channels)
    done = preprocess(images, config.preprocessing)
    regions = preprocess_masks(read_masks(found.case, config, images.grid), images.grid, done)
    bits = sum(region.astype(np.uint8) << number for number, region in enumerate(regions))
    assert np.array_equal(found.image, done.image)
    assert np.array_equal(np.asarray(found.image.tissue)[0], done.tissue)
    assert found.notes == done.notes
    assert found.image.shape == done.image.shape
    assert np.array_equal(found.bits, bits)
    generator = np.random.default_rng(0)
    for row, region in zip(found.foreground, regions, strict=True):
        voxels = np.argwhere(region)
        if len(voxels):
            assert np.array_equal(row, voxels[generator.integers(len(voxels), size=len(row))])
        else:
            assert (row == -1).all()
