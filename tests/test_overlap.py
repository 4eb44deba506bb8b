import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from monai.metrics import compute_dice, compute_iou

from volseg.images.nifti_reading import read_label_map
from volseg.labels import get_scheme
from volseg.metrics.overlap import Overlap, region_overlaps

MASKS = arrays(bool, (3, 4, 2))
COUNTS = st.builds(Overlap, tp=st.integers(0, 99), fp=st.integers(0, 99), fn=st.integers(0, 99))


def test_scores_of_a_case_counted_by_hand():
    prediction = np.array([[True, True, True], [False, False, False]])
    reference = np.array([[False, True, True], [True, True, False]])

    overlap = Overlap.of(prediction, reference)

    assert overlap == Overlap(tp=2, fp=1, fn=2)
    assert overlap.prediction_voxels == 3
    assert overlap.reference_voxels == 4
    assert overlap.dice == pytest.approx(4 / 7)
    assert overlap.iou == pytest.approx(2 / 5)
    assert overlap.precision == pytest.approx(2 / 3)
    assert overlap.recall == pytest.approx(1 / 2)


@pytest.mark.parametrize(
    ("predicted", "expected", "score"),
    [(False, False, 1.0), (True, False, 0.0), (False, True, 0.0), (True, True, 1.0)],
)
def test_empty_masks_are_scored_as_brats_does(predicted, expected, score):
    prediction, reference = np.full((2, 2), predicted), np.full((2, 2), expected)

    overlap = Overlap.of(prediction, reference)

    assert (overlap.dice, overlap.iou) == (score, score)
    assert (overlap.precision, overlap.recall) == (score, score)


@given(MASKS, MASKS)
def test_dice_and_iou_agree_with_monai(prediction, reference):
    overlap = Overlap.of(prediction, reference)

    tensors = [torch.from_numpy(mask)[None, None].float() for mask in (prediction, reference)]
    assert overlap.dice == pytest.approx(compute_dice(*tensors, ignore_empty=False).item())
    assert overlap.iou == pytest.approx(compute_iou(*tensors, ignore_empty=False).item())


def test_regions_of_a_real_case_agree_with_monai(real_data):
    path = real_data / "brats2021" / "BraTS2021_01479" / "BraTS2021_01479_seg.nii.gz"
    scheme = get_scheme("brats2021")
    reference = scheme.masks(read_label_map(path)[0])
    prediction = {region: np.roll(mask, 2, axis=0) for region, mask in reference.items()}

    overlaps = region_overlaps(prediction, reference)

    stacked = [np.stack(list(masks.values())) for masks in (prediction, reference)]
    tensors = [torch.from_numpy(masks)[None] for masks in stacked]
    for of_region, dice, iou in zip(
        overlaps.values(), compute_dice(*tensors)[0], compute_iou(*tensors)[0], strict=True
    ):
        assert of_region.dice == pytest.approx(dice.item(), rel=1e-6)
        assert of_region.iou == pytest.approx(iou.item(), rel=1e-6)
        assert 0.5 < of_region.dice < 1


@given(MASKS, MASKS)
def test_swapping_the_masks_swaps_precision_and_recall_alone(prediction, reference):
    one, other = Overlap.of(prediction, reference), Overlap.of(reference, prediction)

    assert (one.dice, one.iou) == (other.dice, other.iou)
    assert (one.precision, one.recall) == (other.recall, other.precision)


@given(COUNTS)
def test_iou_follows_from_dice(overlap):
    assert overlap.iou == pytest.approx(overlap.dice / (2 - overlap.dice))
    assert overlap.iou <= overlap.dice


@given(MASKS, MASKS)
def test_counts_of_slices_add_up_to_those_of_the_volume(prediction, reference):
    slices = [Overlap.of(p, r) for p, r in zip(prediction, reference, strict=True)]

    assert sum(slices, start=Overlap(0, 0, 0)) == Overlap.of(prediction, reference)


def test_regions_are_compared_by_their_name_in_whatever_order():
    prediction = {"WT": np.array([True, True]), "ET": np.array([True, False])}
    reference = {"ET": np.array([False, False]), "WT": np.array([True, True])}

    overlaps = region_overlaps(prediction, reference)

    assert overlaps == {"WT": Overlap(2, 0, 0), "ET": Overlap(0, 1, 0)}


def test_masks_of_other_regions_are_refused():
    mask = np.ones(3, dtype=bool)

    with pytest.raises(ValueError, match=r"same regions, got \['WT', 'ET'\] and \['WT'\]"):
        region_overlaps({"WT": mask, "ET": mask}, {"WT": mask})


def test_masks_of_two_shapes_are_refused():
    with pytest.raises(ValueError, match=r"one shape, got \(2,\) and \(1,\)"):
        Overlap.of(np.ones(2, dtype=bool), np.ones(1, dtype=bool))


def test_label_maps_are_not_taken_for_masks():
    with pytest.raises(ValueError, match="boolean, got uint8 and bool"):
        Overlap.of(np.ones(2, dtype=np.uint8), np.ones(2, dtype=bool))
