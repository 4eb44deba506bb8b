"""Disagreement of mirrored copies and models: a standard deviation, with hand-checkable numbers."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import tiny_config
from tiny_scans import write_case

from volseg.errors import ResourceError
from volseg.inference import predictor as inference
from volseg.inference.predictor import Predictor
from volseg.inference.probabilities import number_of_copies
from volseg.inference.spread import Spread
from volseg.inference.windows import segment, segment_with_disagreement
from volseg.model_file import Model

MIRRORED = {"inference": {"tta": True}}


class Constant(torch.nn.Module):
    """One probability everywhere."""

    def __init__(self, probability):
        super().__init__()
        self.logit = math.log(probability / (1 - probability))

    def forward(self, image):
        return torch.full_like(image[:, :3], self.logit)


class Halves(torch.nn.Module):
    """Probability 1/2 in the first half of each window and 1 in the second, along one axis."""

    def forward(self, image):
        logits = torch.zeros_like(image[:, :3])
        logits[:, :, image.shape[2] // 2 :] = 100.0
        return logits


class Sums(torch.nn.Module):
    """What a voxel gets depends on the voxel before it: mirrored copies differ everywhere."""

    def forward(self, image):
        return image[:, :3] + 2 * image[:, :3].roll(1, dims=-1) - image[:, :3].roll(2, dims=2)


def use(monkeypatch, *models):
    """Let the next model files stand for these pairs of network and config."""
    waiting = list(models)

    def load(path):
        network, config = waiting.pop(0)
        return Model(network, config, {}, "0", f"{len(waiting)}" * 64, Path(path))

    monkeypatch.setattr(inference, "load_model", load)
    return Predictor([f"m{number}" for number in range(len(models))], device="cpu")


def of_case(predictor, tmp_path):
    return predictor.probabilities(predictor.prepare(write_case(tmp_path)), disagreement=True)


@given(
    st.lists(st.lists(st.floats(0, 1, width=32), min_size=3, max_size=3), min_size=1, max_size=9)
)
def test_a_spread_is_the_standard_deviation_of_the_population(members):
    spread = Spread()
    for member in members:
        spread.add(torch.tensor(member))

    found = spread.standard_deviation().numpy()

    np.testing.assert_allclose(found, np.std(np.float64(members), axis=0), atol=1e-6)


def test_groups_of_copies_spread_like_all_copies_together():
    groups = np.random.default_rng(0).random((3, 8, 5)).astype(np.float32)
    spread = Spread()
    for group in torch.from_numpy(groups):
        spread.add(group.mean(0), group.std(0, correction=0))

    expected = groups.reshape(24, 5).std(axis=0)

    np.testing.assert_allclose(spread.standard_deviation(), expected, atol=1e-6)


def test_equal_members_never_disagree():
    spread = Spread()
    for _ in range(8):
        spread.add(torch.full((4,), 0.1))

    assert spread.standard_deviation().tolist() == [0.0] * 4


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16)])
def test_mirrored_copies_of_a_half_and_1_disagree_by_a_quarter(patch):
    image = torch.rand(4, 16, 16, 16)

    mean, disagreement = segment_with_disagreement(
        Halves(), image, tiny_config(patch, **MIRRORED), device="cpu"
    )

    # Each voxel is in the second half in half of the copies: 1/2 as often as 1.
    torch.testing.assert_close(mean, torch.full_like(mean, 0.75))
    torch.testing.assert_close(disagreement, torch.full_like(mean, 0.25))
    assert disagreement.dtype == torch.float32


@pytest.mark.parametrize("blending", ["constant", "gaussian"])
@pytest.mark.parametrize("patch", [(8, 8, 8), (8, 8)])
def test_disagreement_changes_no_bit_of_the_probabilities(patch, blending):
    image = torch.randn(4, 12, 10, 9)
    config = tiny_config(patch, inference={"tta": True, "blending": blending})

    plain = segment(Sums(), image, config, device="cpu")
    beside, _ = segment_with_disagreement(Sums(), image, config, device="cpu")

    assert torch.equal(beside, plain)


@pytest.mark.parametrize("patch", [(16, 16, 16), (8, 8, 8)])
def test_blended_windows_never_hide_a_disagreement_of_blended_copies(patch):
    image = torch.randn(4, 16, 16, 16)
    config = tiny_config(patch, inference={"tta": True, "blending": "gaussian"})
    plain = tiny_config(patch, inference={"blending": "gaussian"})
    axes = [[], [1], [2], [3], [1, 2], [1, 3], [2, 3], [1, 2, 3]]
    # The windows of a mirrored image are the mirrored windows, as 16 is a multiple of the steps.
    copies = [segment(Sums(), image.flip(a), plain, device="cpu").flip(a) for a in axes]

    mean, found = segment_with_disagreement(Sums(), image, config, device="cpu")

    exact = torch.stack(copies).std(0, correction=0)
    torch.testing.assert_close(mean, torch.stack(copies).mean(0), atol=1e-6, rtol=0)
    assert torch.all(found >= exact - 1e-6)
    if patch == (16, 16, 16):
        torch.testing.assert_close(found, exact, atol=1e-6, rtol=0)


def test_a_single_copy_has_no_disagreement(tmp_path, monkeypatch):
    predictor = use(monkeypatch, (Constant(0.5), tiny_config()))

    assert of_case(predictor, tmp_path).disagreement is None
    assert number_of_copies(predictor.models) == 1
    _, alone = segment_with_disagreement(
        Constant(0.5), torch.rand(4, 16, 16, 16), tiny_config(), device="cpu"
    )
    assert alone is None


def test_two_models_of_02_and_08_disagree_by_03(tmp_path, monkeypatch):
    config = tiny_config()
    predictor = use(monkeypatch, (Constant(0.2), config), (Constant(0.8), config))

    found = of_case(predictor, tmp_path)

    np.testing.assert_allclose(found.probabilities, 0.5, atol=1e-6)
    np.testing.assert_allclose(found.disagreement, 0.3, atol=1e-6)
    assert found.disagreement.dtype == np.float32
    assert found.disagreement.shape == found.probabilities.shape
    assert number_of_copies(predictor.models) == 2


def test_models_and_their_copies_disagree_together(tmp_path, monkeypatch):
    """8 copies of 1/2 and 1, and a single 3/4 of the same weight: half of the variance 1/16."""
    coarse = {"data_list": "l", "patch_size": [16, 16, 16], "spacing_mm": [2, 2, 2]}
    predictor = use(
        monkeypatch,
        (Halves(), tiny_config((32, 32, 32), **MIRRORED)),
        (Constant(0.75), tiny_config(data=coarse)),
    )

    found = of_case(predictor, tmp_path)

    # At the border of the box, only the images of one model reach.
    inside = found.disagreement[:, 4:-4, 4:-4, 4:-4]
    np.testing.assert_allclose(inside, math.sqrt(1 / 32), atol=1e-6)
    assert number_of_copies(predictor.models) == 9


def test_it_is_computed_only_if_asked(tmp_path, monkeypatch):
    config = tiny_config(**MIRRORED)
    predictor = use(monkeypatch, (Sums(), config), (Constant(0.8), config))
    prepared = predictor.prepare(write_case(tmp_path))

    plain, asked = (predictor.probabilities(prepared, disagreement=d) for d in (False, True))

    assert plain.disagreement is None
    assert asked.disagreement is not None
    assert np.array_equal(plain.probabilities, asked.probabilities)


def test_its_memory_is_asked_for_before_it_is_computed(tmp_path, monkeypatch):
    """The image, and sums and a count of both maps: 4 + 2 x 4 maps; of the box: 6 x 3."""
    predictor = use(monkeypatch, (Constant(0.5), tiny_config(**MIRRORED)))
    prepared = predictor.prepare(write_case(tmp_path))
    (image,) = (found.image for found in prepared.images.values())
    box = predictor.probabilities(prepared).probabilities[0].size
    needed = 4 * ((4 + 2 * 4) * image[0].size + 6 * 3 * box)

    monkeypatch.setattr("volseg.memory.available", lambda: needed - 1)
    with pytest.raises(ResourceError, match=r"^case BraTS2021_00001: probabilities of 3 regions"):
        predictor.probabilities(prepared, disagreement=True)
    predictor.probabilities(prepared)
