"""Explanations of predictions: targets, windows, and methods that use gradients."""

from __future__ import annotations

import numpy as np
import pytest
from tiny_models import OF_SLICES, write_model
from tiny_scans import write_case

from volseg.attribution.explaining import explain_case
from volseg.attribution.methods import ExplainOptions
from volseg.inference.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("scans"))


def predictor_of(path, folder):
    """A predictor that finds the first region in half of the brain."""
    values = next(iter(Predictor(path, device="cpu").predict(folder).probabilities.values()))
    return Predictor(path, device="cpu", threshold=float(np.median(values[values > 0])))


@pytest.mark.parametrize("sections", [{}, OF_SLICES])
def test_saliency_of_a_model_of_volumes_or_slices_lies_in_the_brain(tmp_path, folder, sections):
    predictor = predictor_of(write_model(tmp_path / "m.safetensors", **sections), folder)
    prepared = predictor.prepare(folder)
    region = predictor.regions[0]

    found = explain_case(
        prepared, predictor.models, [region], ExplainOptions("saliency"), predictor.device
    )[region]

    prediction = predictor.predict_prepared(prepared)
    probability = prediction.probabilities[region]
    assert found.map.shape == prediction.label_map.shape
    assert (found.map.min(), found.map.max()) == (0, 1)
    assert not found.map[probability == 0].any()
    assert sum(found.by_channel.values()) == pytest.approx(1)
    mask = prediction.scheme.masks(prediction.label_map)[region]
    assert found.target_voxels == np.count_nonzero(mask)
