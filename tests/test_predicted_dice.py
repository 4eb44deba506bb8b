"""Predicted Dice without a reference: features, fit, and figures of held-out cases."""

from __future__ import annotations

import json

import numpy as np
import pytest

from volseg.confidence.features import expected_dice
from volseg.confidence.predicted_dice import DicePredictor, DiceSample
from volseg.errors import ModelError

SPACING_MM = (1.0, 1.0, 1.0)


def samples(*pairs: tuple[float, float]) -> list[DiceSample]:
    """Samples with these expected and true Dice."""
    return [
        DiceSample(f"c{n}", f"p{n}", "WT", {"voxels": 9.0, "expected_dice": e, "highest": 1.0}, d)
        for n, (e, d) in enumerate(pairs)
    ]


def test_the_expected_dice_is_overlap_over_sizes():
    probability = np.array([1.0, 0.5, 0.5, 0.0])
    mask = np.array([True, True, False, False])

    # 2 (1 + 0.5) / (2 + 1 + 0.5 + 0.5)
    assert expected_dice(probability, mask) == pytest.approx(3 / 4)


def test_a_predictor_is_read_back_exactly():
    fitted = DicePredictor.fit(samples((0.9, 0.7), (0.8, 0.5), (0.7, 0.6), (0.95, 0.9), (0.6, 0.3)))

    assert DicePredictor.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


def test_a_damaged_predictor_is_refused():
    content = DicePredictor.fit(samples((0.9, 0.7), (0.8, 0.5), (0.7, 0.6))).to_dict()

    with pytest.raises(ModelError, match="predicted_dice in m is not as volseg writes it"):
        DicePredictor.from_dict(content | {"patients": "many"}, "m")
