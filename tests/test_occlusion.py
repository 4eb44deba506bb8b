"""Occlusion maps: equal to whole images segmented one by one, and to captum where it fits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_models import OF_SLICES, write_model
from tiny_scans import write_case

from volseg.attribution.occlusion import Boxes, occlusion_maps
from volseg.attribution.region_means import RegionMeans
from volseg.attribution.target import Target
from volseg.inference.predictor import Predictor
from volseg.inference.windows import segment

CPU = torch.device("cpu")
OUTER, INNER = np.s_[4:9, 4:9, 4:7], np.s_[5:7, 5:7, 5:6]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_case(tmp_path_factory.mktemp("scans"))


def targets_of(path, folder, regions, **options):
    """Targets of nested masks, and the preprocessed image."""
    predictor = Predictor(path, device="cpu", **options)
    model = predictor.models[0]
    image = predictor.prepare(folder).images[model.config.preprocessing]
    masks = np.zeros((2, *image.scan_grid.shape), bool)
    masks[0][OUTER] = masks[1][INNER] = True
    pairs = zip(regions, masks, strict=False)
    return [Target.of(model, region, image, mask, CPU) for region, mask in pairs]


def segmented_means(targets, values):
    """Means within the masks of the probabilities that inference gives for a whole image."""
    model = targets[0].model
    probabilities = segment(model.network, values, model.config, device="cpu").numpy()
    return [probabilities[target.index][target.mask].mean() for target in targets]


@pytest.mark.parametrize(
    ("sections", "regions", "options"),
    [
        ({}, ["WT", "ET"], {}),
        ({"patch": (32, 16, 16)}, ["TC", "ET"], {"tta": True, "blending": "constant"}),
        (OF_SLICES, ["WT"], {"overlap": 0.25}),
    ],
)
def test_the_fall_of_each_box_is_that_of_the_whole_image_segmented_without_it(
    tmp_path, folder, sections, regions, options
):
    targets = targets_of(
        write_model(tmp_path / "m.safetensors", **sections), folder, regions, **options
    )
    image, tissue = targets[0].image, targets[0].tissue

    found = occlusion_maps(targets, side_mm=5)

    whole = segmented_means(targets, image)
    assert RegionMeans(targets).of(image) == pytest.approx(whole, abs=1e-6)
    boxes = Boxes.of(targets[0], 5)
    falls = []
    for box in boxes:
        occluded = image.clone()
        occluded[(slice(None), *box)] = 0
        falls.append(np.subtract(whole, segmented_means(targets, occluded)))
    expected = boxes.interpolated(np.array(falls).T.reshape(-1, *boxes.shape)) * tissue
    assert np.abs(expected).max() > 1e-4
    assert found.maps == pytest.approx(expected, abs=1e-6)
