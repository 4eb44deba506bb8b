"""Losses: against numbers worked out by hand, and against MONAI and torch where they agree."""

from __future__ import annotations

import math

import pytest
import torch
from monai.losses import DiceCELoss
from torch import nn

from volseg.config import LossConfig
from volseg.losses import DICE_SMOOTHING, DeepSupervision, RegionLoss, build_loss

ONLY_DICE = LossConfig(dice=1, bce=0)
ONLY_BCE = LossConfig(dice=0, bce=1)
ONLY_FOCAL = LossConfig(dice=0, bce=0, focal=1)


def logit(probability: float) -> float:
    return math.log(probability / (1 - probability))


@pytest.fixture
def half_right():
    """One region in 2x2x2 voxels: 4 in it, found with 0.75; 4 outside it, found with 0.25."""
    masks = torch.zeros(1, 1, 2, 2, 2)
    masks[:, :, 0] = 1
    logits = torch.full_like(masks, logit(0.25))
    logits[:, :, 0] = logit(0.75)
    return logits, masks


@pytest.fixture
def noise():
    """Logits and masks of two patches with three regions."""
    generator = torch.Generator().manual_seed(0)
    logits = 3 * torch.randn(2, 3, 5, 6, 7, generator=generator)
    return logits, (torch.rand(logits.shape, generator=generator) < 0.3).float()


def test_dice_by_hand(half_right):
    # Overlap 4 * 0.75 = 3, predicted 3 + 4 * 0.25 = 4, reference 4, one voxel of smoothing.
    expected = 1 - (2 * 3 + 1) / (4 + 4 + 1)

    assert RegionLoss(ONLY_DICE)(*half_right).item() == pytest.approx(expected)
    assert DICE_SMOOTHING == 1


def test_cross_entropy_by_hand(half_right):
    # Each voxel is right with probability 0.75.
    assert RegionLoss(ONLY_BCE)(*half_right).item() == pytest.approx(-math.log(0.75))


def test_focal_loss_by_hand(half_right):
    expected = -(0.25**2) * math.log(0.75)

    assert RegionLoss(ONLY_FOCAL)(*half_right).item() == pytest.approx(expected)


def test_focal_loss_without_focus_is_cross_entropy(noise):
    plain = LossConfig(dice=0, bce=0, focal=1, focal_gamma=0)

    torch.testing.assert_close(RegionLoss(plain)(*noise), RegionLoss(ONLY_BCE)(*noise))


def test_the_loss_is_the_weighted_sum_of_its_terms(half_right):
    loss = RegionLoss(LossConfig(dice=2, bce=0.5, focal=3))

    terms = loss.terms(*half_right)
    total = loss(*half_right)

    assert list(terms) == ["dice", "bce", "focal"]
    expected = 2 * 2 / 9 - 0.5 * math.log(0.75) - 3 * 0.25**2 * math.log(0.75)
    assert total.item() == pytest.approx(expected)


def test_a_term_without_weight_is_not_computed(half_right):
    assert list(RegionLoss(ONLY_BCE).terms(*half_right)) == ["bce"]


def test_dice_is_a_mean_over_regions():
    masks = torch.zeros(1, 2, 2, 2, 2)
    masks[:, 0] = 1
    logits = torch.full_like(masks, 100.0)  # the first region is right, the second all wrong

    # Second region: nothing to overlap, 8 voxels predicted.
    assert RegionLoss(ONLY_DICE)(logits, masks).item() == pytest.approx((0 + 1 - 1 / 9) / 2)


def test_batch_dice_takes_the_patches_together():
    masks = torch.zeros(2, 1, 2, 2, 2)
    masks[0] = 1
    logits = torch.full_like(masks, -100.0)
    logits[0] = 100.0
    logits[1, 0, 0] = 100.0  # 4 voxels too many in the patch without the region

    together = RegionLoss(ONLY_DICE)(logits, masks)
    apart = RegionLoss(LossConfig(dice=1, bce=0, batch_dice=False))(logits, masks)

    assert together.item() == pytest.approx(1 - 17 / 21)
    assert apart.item() == pytest.approx((0 + 1 - 1 / 5) / 2)


@pytest.mark.parametrize("batch_dice", [True, False])
def test_the_default_agrees_with_monai_region_by_region(noise, batch_dice):
    logits, masks = noise
    reference = DiceCELoss(sigmoid=True, batch=batch_dice, smooth_nr=1, smooth_dr=1)
    # Of several channels at once, MONAI's cross entropy would be that of a softmax.
    regions = [reference(logits[:, [region]], masks[:, [region]]) for region in range(3)]

    ours = RegionLoss(LossConfig(batch_dice=batch_dice))(logits, masks)

    torch.testing.assert_close(ours, torch.stack(regions).mean())


def test_dice_agrees_with_its_formula_region_by_region(noise):
    logits, masks = noise
    found = logits.sigmoid().double()
    losses = [
        1
        - (2 * (found[:, r] * masks[:, r]).sum() + 1) / (found[:, r].sum() + masks[:, r].sum() + 1)
        for r in range(3)
    ]

    assert RegionLoss(ONLY_DICE)(logits, masks).item() == pytest.approx(sum(losses).item() / 3)


@pytest.mark.parametrize("fill", [0.0, 1.0])
def test_a_perfect_prediction_costs_nothing(fill):
    masks = torch.full((1, 2, 4, 4, 4), fill)

    loss = RegionLoss(LossConfig(focal=1))(200 * masks - 100, masks)

    assert loss.item() == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("size", [-1e4, -20.0, 0.0, 20.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_an_empty_region_gives_a_finite_loss_and_gradient(size, dtype):
    logits = torch.full((1, 3, 4, 4, 4), size, dtype=dtype, requires_grad=True)

    loss = RegionLoss(LossConfig(focal=1))(logits, torch.zeros(1, 3, 4, 4, 4))
    loss.backward()

    assert loss.isfinite()
    assert logits.grad.isfinite().all()


def test_an_absent_region_stops_asking_once_less_than_a_voxel_is_predicted():
    logits = torch.full((1, 1, 8, 8, 8), -12.0, requires_grad=True)  # in sum 0.003 voxels

    RegionLoss(ONLY_DICE)(logits, torch.zeros(1, 1, 8, 8, 8)).backward()

    assert logits.grad.sum() < 0.01


def test_half_precision_is_summed_in_single():
    side = 48  # 110 592 voxels; float16 ends at 65 504
    masks = torch.ones(1, 1, side, side, side)
    logits = torch.zeros(masks.shape, dtype=torch.float16)

    loss = RegionLoss(ONLY_DICE)(logits, masks)

    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(1 / 3, abs=1e-4)


def test_masks_may_be_boolean(noise):
    logits, masks = noise

    torch.testing.assert_close(
        RegionLoss(LossConfig())(logits, masks.bool()), RegionLoss(LossConfig())(logits, masks)
    )


class Mean(nn.Module):
    """A loss whose value is the mean logit, and which remembers the masks it was given."""

    def __init__(self) -> None:
        super().__init__()
        self.masks: list[torch.Tensor] = []

    def forward(self, logits: torch.Tensor, masks: torch.Tensor) -> torch.Tensor:
        self.masks.append(masks)
        return logits.mean()


def test_each_coarser_head_weighs_half_and_the_weights_sum_to_1():
    heads = [
        torch.full((1, 1, side, side), value) for side, value in ((8, 7.0), (4, 70.0), (2, 700.0))
    ]

    loss = DeepSupervision(Mean())(heads, torch.zeros(1, 1, 8, 8))

    assert loss.item() == pytest.approx(4 * 1 + 2 * 10 + 1 * 100)  # weights 4/7, 2/7, 1/7


def test_a_coarser_head_is_compared_with_the_majority_of_its_voxels():
    inner = Mean()
    masks = torch.zeros(1, 1, 4, 4)
    masks[0, 0, 0, 0] = 1  # a quarter of the first coarse voxel
    masks[0, 0, :2, 2] = 1  # half of the second
    masks[0, 0, 2:, 2:] = 1  # all of the last

    DeepSupervision(inner)([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)], masks)

    assert torch.equal(inner.masks[0], masks)
    assert inner.masks[1].tolist() == [[[[0, 1], [0, 1]]]]


def test_one_tensor_and_a_list_of_one_cost_what_the_inner_loss_says(noise):
    logits, masks = noise
    loss = build_loss(LossConfig())
    plain = RegionLoss(LossConfig())(logits, masks)

    torch.testing.assert_close(loss(logits, masks), plain)
    torch.testing.assert_close(loss([logits], masks), plain)


def test_coarser_heads_of_a_real_loss_learn(noise):
    logits, masks = noise
    heads = [logits.requires_grad_(), torch.zeros(2, 3, 2, 3, 3, requires_grad=True)]

    build_loss(LossConfig())(heads, masks).backward()

    assert all(head.grad.any() for head in heads)


def test_a_loss_has_nothing_to_save_or_to_train():
    assert build_loss(LossConfig(focal=1)).state_dict() == {}
