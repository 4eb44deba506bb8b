"""The metrics for other people's Lightning modules, beside MONAI's and torchmetrics' own."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.metrics import DiceMetric, MeanIoU
from torch.utils.data import DataLoader, TensorDataset
from torchmetrics.functional.classification import multilabel_f1_score, multilabel_jaccard_index

from volseg.labels import get_scheme
from volseg.metrics import (
    RegionPair,
    Score,
    ScoreRow,
    ScoreTable,
    lesionwise_scores,
    region_overlaps,
)
from volseg.region_metrics import (
    LesionwiseScore,
    RegionCounts,
    RegionDice,
    RegionIoU,
    RegionScore,
)

REGIONS = ("WT", "TC", "ET")


def masks(cases: int, seed: int, share: float = 0.5) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(cases, 3, 4, 5, 6, generator=generator) < share


def listed(scores: dict[str, torch.Tensor]) -> list[float]:
    assert tuple(scores) == REGIONS
    return [float(value) for value in scores.values()]


@pytest.mark.parametrize(
    ("ours", "theirs"), [(RegionDice, DiceMetric), (RegionIoU, MeanIoU)], ids=["dice", "iou"]
)
@settings(max_examples=25)
@given(seed=st.integers(0, 999), share=st.sampled_from([0.0, 0.01, 0.5]))
def test_means_over_cases_agree_with_monai(ours, theirs, seed, share):
    metric, other = ours(REGIONS), theirs(reduction="mean_batch", ignore_empty=False)
    for batch in (0, 1):
        prediction, reference = masks(2, seed + batch, share), masks(2, 1000 + seed + batch, share)
        metric.update(prediction, reference)
        other(prediction.float(), reference.float())

    assert listed(metric.compute()) == pytest.approx(other.aggregate().tolist(), rel=1e-6)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [(RegionDice, multilabel_f1_score), (RegionIoU, multilabel_jaccard_index)],
    ids=["dice", "iou"],
)
def test_pooled_voxels_agree_with_torchmetrics(ours, theirs):
    logits = torch.randn(4, 3, 5, 6, generator=torch.Generator().manual_seed(7))
    reference = masks(4, 8)[..., 0]
    logits = logits[:, :, :4, :5]
    metric = ours(REGIONS, 0.3, average="voxels")
    metric.update(logits[:1], reference[:1])
    metric.update(logits[1:], reference[1:])

    expected = theirs(
        torch.sigmoid(logits), reference.int(), num_labels=3, threshold=0.3, average="none"
    )
    assert listed(metric.compute()) == pytest.approx(expected.tolist(), rel=1e-6)


def test_the_arithmetic_is_that_of_the_tables_of_evaluate():
    prediction, reference = masks(5, 1), masks(5, 2)
    rows = [
        ScoreRow.of(str(number), region, RegionPair(overlap))
        for number, pair in enumerate(zip(prediction.numpy(), reference.numpy(), strict=True))
        for region, overlap in region_overlaps(
            *(dict(zip(REGIONS, of_case, strict=True)) for of_case in pair)
        ).items()
    ]
    metric = RegionScore("precision", REGIONS)
    metric.update(prediction, reference)

    means = ScoreTable.of(rows).means("precision")
    assert listed(metric.compute()) == pytest.approx(list(means.values()), rel=1e-15)


@pytest.mark.parametrize("average", ["cases", "voxels"])
def test_two_ranks_find_what_one_finds(average):
    prediction, reference = masks(3, 3), masks(3, 4)
    one = RegionDice(REGIONS, average=average)
    one.update(prediction, reference)
    ranks = [RegionDice(REGIONS, average=average) for _ in range(2)]
    ranks[0].update(prediction[:1], reference[:1])
    ranks[1].update(prediction[1:], reference[1:])
    both = {name: [getattr(rank, name) for rank in ranks] for name in ranks[0]._reductions}
    asked = iter(both.values())

    ranks[0].distributed_available_fn = lambda: True
    ranks[0].dist_sync_fn = lambda value, group: next(asked)

    assert listed(ranks[0].compute()) == pytest.approx(listed(one.compute()), rel=1e-15)


def test_empty_masks_are_scored_as_brats_does():
    empty, full = torch.zeros(1, 3, 2, 2, dtype=torch.bool), torch.ones(1, 3, 2, 2).bool()
    prediction = torch.cat([empty[:, :1], full[:, :1], empty[:, :1]], dim=1)
    reference = torch.cat([empty[:, :1], empty[:, :1], full[:, :1]], dim=1)
    for average in ("cases", "voxels"):
        metric = RegionDice(REGIONS, average=average)
        metric.update(prediction, reference)
        assert listed(metric.compute()) == [1, 0, 0]


def test_logits_and_probabilities_are_cut_at_the_threshold():
    probabilities = torch.tensor([0.2, 0.3, 0.31, 0.9]).reshape(1, 1, 2, 2)
    reference = torch.tensor([0, 0, 1, 1]).reshape(1, 1, 2, 2)
    of_logits = RegionCounts(["WT"], 0.305)
    of_probabilities = RegionCounts(["WT"], 0.3, probabilities=True)

    of_logits.update(torch.logit(probabilities), reference)
    of_probabilities.update(probabilities, reference)

    assert of_logits.compute()["WT"].tolist() == [2, 0, 0]
    assert of_probabilities.compute()["WT"].tolist() == [2, 1, 0]


def test_each_region_may_have_its_threshold():
    probabilities = torch.full((1, 2, 2, 2), 0.4)
    reference = torch.ones(1, 2, 2, 2)
    metric = RegionCounts(["WT", "ET"], [0.3, 0.5])

    metric.update(torch.logit(probabilities), reference)

    counts = {region: of.tolist() for region, of in metric.compute().items()}
    assert counts == {"WT": [4, 0, 0], "ET": [0, 0, 4]}
    with pytest.raises(ValueError, match=r"between 0 and 1, got 1\.5"):
        RegionCounts(["WT", "ET"], [0.3, 1.5])


def test_a_metric_that_was_reset_begins_anew():
    metric = RegionDice(REGIONS)
    metric.update(masks(1, 5), masks(1, 6))
    metric.reset()
    metric.update(masks(1, 7), masks(1, 7))

    assert listed(metric.compute()) == [1, 1, 1]


def test_masks_that_do_not_fit_are_refused():
    metric = RegionDice(REGIONS)

    with pytest.raises(ValueError, match=r"one shape, got \(1, 3, 4, 5, 6\) and \(1, 2, 4, 5, 6\)"):
        metric.update(masks(1, 0), masks(1, 0)[:, :2])
    with pytest.raises(ValueError, match="a channel for each of WT, TC, ET, got"):
        metric.update(masks(1, 0)[:, :2], masks(1, 0)[:, :2])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ({"score": "hd95_mm"}, "hd95_mm cannot be computed from counts of voxels"),
        ({"score": "dice", "threshold": 1.0}, r"between 0 and 1, got 1\.0"),
        ({"score": "dice", "average": "patches"}, "'cases' or 'voxels', got 'patches'"),
    ],
)
def test_options_that_mean_nothing_are_refused(words, said):
    with pytest.raises(ValueError, match=said):
        RegionScore(regions=REGIONS, **words)


def test_a_lightning_module_logs_it_like_any_other_metric(tmp_path):
    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.dice = RegionDice(REGIONS)

        def validation_step(self, batch, _):
            self.dice.update(*batch)

        def on_validation_epoch_end(self):
            self.log_dict(self.dice.compute())
            self.dice.reset()

    reference = masks(2, 9)
    data = DataLoader(TensorDataset(torch.where(reference, 4.0, -4.0), reference))
    trainer = pl.Trainer(
        accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=tmp_path,
    )  # fmt: skip

    (found,) = trainer.validate(Module(), data, verbose=False)

    assert found == dict.fromkeys(REGIONS, 1.0)


@pytest.mark.parametrize(("better", "expected"), [("higher", True), ("lower", False), ("", None)])
def test_whether_higher_is_better_is_as_the_registry_says(monkeypatch, better, expected):
    metric = RegionDice(["WT"])
    monkeypatch.setattr(Score, "better", better)

    assert metric.higher_is_better is expected


def label_maps(cases: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    blocks = torch.randint(0, 4, (cases, 3, 3, 3), generator=generator, dtype=torch.uint8)
    return blocks.repeat_interleave(5, 1).repeat_interleave(5, 2).repeat_interleave(5, 3)


@pytest.mark.parametrize("score", ["lesion_dice", "lesion_hd95_mm", "false_positives"])
def test_lesionwise_means_over_batches_and_ranks_are_those_of_the_functions(score):
    references, predictions, spacing_mm = label_maps(4, 1), label_maps(4, 2), (1.0, 1.0, 2.0)
    ranks = [LesionwiseScore("brats2025-gli", score) for _ in range(2)]
    for rank, cases in zip(ranks, ([0, 1], [2, 3]), strict=True):
        rank.update(predictions[cases], references[cases], spacing_mm)
    # As torchmetrics reduces the states of ranks.
    together = LesionwiseScore("brats2025-gli", score)
    together.totals = ranks[0].totals + ranks[1].totals
    together.cases = ranks[0].cases + ranks[1].cases
    together._update_count = 1

    by_case = [
        lesionwise_scores(reference.numpy(), prediction.numpy(), spacing_mm, "brats2025-gli")
        for reference, prediction in zip(references, predictions, strict=True)
    ]
    for region, value in together.compute().items():
        values = [of[region].scores[score] for of in by_case]
        assert float(value) == pytest.approx(sum(values) / 4)
    assert together.higher_is_better is (score == "lesion_dice")


def test_masks_of_the_regions_score_as_their_label_map():
    reference, prediction = label_maps(2, 3), label_maps(2, 4)
    scheme = get_scheme("brats2023")
    as_masks = [
        torch.stack(
            [torch.from_numpy(np.stack(list(scheme.masks(each.numpy()).values()))) for each in side]
        )
        for side in (prediction, reference)
    ]
    of_maps, of_masks = LesionwiseScore("brats2023-gli"), LesionwiseScore("brats2023-gli")

    of_maps.update(prediction, reference)
    of_masks.update(*as_masks)

    assert listed(of_masks.compute()) == listed(of_maps.compute())


def test_a_lesionwise_metric_refuses_what_it_cannot_score():
    with pytest.raises(ValueError, match=r"brats2017 has no score 'lesion_dice', only legacy_dice"):
        LesionwiseScore("brats2017")
    masks_of_two, metric = torch.zeros(1, 2, 4, 4, 4).bool(), LesionwiseScore("brats2023-gli")
    with pytest.raises(ValueError, match=r"masks must have shape \(B, 3, I, J, K\)"):
        metric.update(masks_of_two, masks_of_two)
