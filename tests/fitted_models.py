"""Fits for the predicted Dice, and models that hold one."""

from __future__ import annotations

import shutil

import numpy as np

from volseg.confidence.dice_fit import DiceSample
from volseg.confidence.features import case_features
from volseg.confidence.predicted_dice import DicePredictor
from volseg.model_header import read_model_header, write_changed_header


def some_fit(regions, dice=0.3, seed=0, members=False):
    """A fit on five patients whose regions had a Dice near `dice`, also of mirrored copies."""
    random = np.random.default_rng(seed)
    samples = []
    for number in range(5):
        probabilities = random.random((len(regions), 6, 6, 6)).astype(np.float32)
        masks = {region: of >= 0.5 for region, of in zip(regions, probabilities, strict=True)}
        spread = probabilities * (1 - probabilities) / 2
        for disagreement in (None, spread)[: 1 + members]:
            found = case_features(probabilities, masks, disagreement, (1.0, 1.0, 1.0))
            for region, features in found.items():
                name = f"p{number}"
                samples.append(DiceSample(name, name, region, features, dice + 0.02 * number))
    return DicePredictor.fit(samples)


def with_fit(model, target, **options):
    """A copy of a model that holds `some_fit`."""
    shutil.copy(model, target)
    header = read_model_header(target)
    fit = some_fit(list(header.config.labels.regions), **options)
    write_changed_header(header, target, {"predicted_dice": fit.to_dict()})
    return target
