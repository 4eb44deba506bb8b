"""Occlusion maps: equal to whole images segmented one by one, and to captum where it fits."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from tiny_models import OF_SLICES, write_model
from tiny_scans import write_case

from volseg.attribution import explaining
from volseg.attribution.explaining import PredictedCase, explain_region, explained_mask
from volseg.attribution.methods import ExplainOptions
from volseg.attribution.occluded_case import OccludedCase
from volseg.attribution.occlusion import Boxes, automatic_side, occlusion_maps
from volseg.attribution.region_means import RegionMeans
from volseg.attribution.target import Target
from volseg.errors import ConfigError
from volseg.inference.predictor import Predictor
from volseg.inference.windows import segment
from volseg.transforms import to_original

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
    for box in map(boxes.box, range(int(np.prod(boxes.shape)))):
        occluded = image.clone()
        occluded[(slice(None), *box)] = 0
        falls.append(np.subtract(whole, segmented_means(targets, occluded)))
    expected = boxes.interpolated(np.array(falls).T.reshape(-1, *boxes.shape)) * tissue
    assert np.abs(expected).max() > 1e-4
    assert found.maps == pytest.approx(expected, abs=1e-6)


def explained(predictor, prepared, wanted, **options):
    options = ExplainOptions("occlusion", **options)
    predicted = PredictedCase.of(prepared, predictor.models, CPU)
    return {region: explain_region(predicted, region, options) for region in wanted}


def test_regions_share_the_passes_of_a_case_and_have_the_maps_they_have_alone(
    tmp_path, folder, monkeypatch
):
    paths = [write_model(tmp_path / f"{seed}.safetensors", seed=seed) for seed in range(2)]
    predictor = Predictor(paths, device="cpu", threshold=0.01)
    prepared = predictor.prepare(folder)
    runs = []
    of_case = OccludedCase.of
    monkeypatch.setattr(OccludedCase, "of", lambda *args: runs.append(1) or of_case(*args))

    found = explained(predictor, prepared, ["WT", "ET"], box_mm=10)

    assert len(runs) == 1
    alone = explained(predictor, prepared, ["ET"], regions=("ET",), box_mm=10)["ET"]
    assert found["ET"].map == pytest.approx(alone.map, abs=1e-6)
    assert np.abs(found["ET"].map).max() == 1
    assert found["ET"].box_mm == 10
    assert found["ET"].channel_values == pytest.approx(alone.channel_values, abs=1e-9)
    assert sum(found["WT"].by_channel.values()) == pytest.approx(1)
    maps = []
    for model in predictor.models:
        image = prepared.images[model.config.preprocessing]
        mask = explained_mask(
            PredictedCase.of(prepared, predictor.models, CPU), "WT", at_maximum=False
        )
        (one,) = occlusion_maps([Target.of(model, "WT", image, mask, CPU)], 10).maps
        maps.append(to_original(torch.from_numpy(one[None]), image.image_grid, prepared.grid)[0])
    mean = np.mean(maps, axis=0)
    assert found["WT"].map * found["WT"].scale == pytest.approx(mean, abs=1e-6)


def test_the_smallest_boxes_within_1500_passes_are_taken(tmp_path, folder, monkeypatch):
    targets = targets_of(write_model(tmp_path / "m.safetensors"), folder, ["WT"])
    assert automatic_side(targets) == 8

    monkeypatch.setattr("volseg.attribution.occlusion.PASSES", 60)
    side_mm = automatic_side(targets)

    assert side_mm > 8
    assert occlusion_maps(targets, side_mm).passes <= 60 + 8


def test_the_side_of_the_boxes_does_not_depend_on_the_regions_asked_for_together(
    tmp_path, folder, monkeypatch
):
    predictor = Predictor(write_model(tmp_path / "m.safetensors"), device="cpu", threshold=0.01)
    prepared = predictor.prepare(folder)
    mask = explaining.explained_mask
    parts = {"WT": np.s_[:], "TC": np.s_[:], "ET": np.s_[3:4, 3:4, 3:4]}

    def one_part(predicted, region, *, at_maximum):
        part = np.zeros_like(mask(predicted, region, at_maximum=at_maximum))
        part[parts[region]] = True
        return part

    monkeypatch.setattr(explaining, "explained_mask", one_part)
    monkeypatch.setattr("volseg.attribution.occlusion.PASSES", 30)
    together = explained(predictor, prepared, ["WT", "ET"])
    alone = explained(predictor, prepared, ["ET"], regions=("ET",))["ET"]

    predicted = PredictedCase.of(prepared, predictor.models, CPU)
    image = prepared.images[predictor.models[0].config.preprocessing]
    corner = explaining.explained_mask(predicted, "ET", at_maximum=False)
    target = Target.of(predictor.models[0], "ET", image, corner, CPU)
    assert automatic_side([target]) < alone.box_mm
    assert alone.box_mm == together["WT"].box_mm == together["ET"].box_mm
    assert alone.map == pytest.approx(together["ET"].map, abs=1e-6)


def test_the_number_of_windows_and_the_time_they_take_are_said(tmp_path, folder, caplog):
    targets = targets_of(write_model(tmp_path / "m.safetensors"), folder, ["WT"])

    with caplog.at_level(logging.INFO):
        found = occlusion_maps(targets, side_mm=8)

    windows = found.passes - len(RegionMeans(targets).places)
    assert f"boxes of 8 mm are made empty, each in turn: {windows} windows, about" in caplog.text


def test_boxes_that_would_take_days_are_refused(tmp_path, folder, monkeypatch):
    targets = targets_of(write_model(tmp_path / "m.safetensors"), folder, ["WT"])
    monkeypatch.setattr("volseg.attribution.occlusion._MOST_PASSES", 60)

    with pytest.raises(
        ConfigError, match=r"boxes of 2 mm need [\d,]+ passes, but at most 60 .* with --box"
    ):
        occlusion_maps(targets, side_mm=2)


def test_boxes_of_another_method_or_without_a_side_are_refused():
    with pytest.raises(ConfigError, match="--box is 8, but saliency uses no boxes"):
        ExplainOptions("saliency", box_mm=8)
    with pytest.raises(ConfigError, match="--box is 0, but a side above 0"):
        ExplainOptions("occlusion", box_mm=0)
