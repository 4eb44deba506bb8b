import csv
import json
import pickle
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from official_pairs import pair, spacing_of

from volseg.errors import SchemeError
from volseg.metrics import PROTOCOLS, ScoreTable, lesionwise_scores
from volseg.metrics.border_distances import BorderDistances
from volseg.metrics.official.record import ProtocolRecord

OFFICIAL = Path(__file__).parent / "official"
TASKS = ("gli", "mets", "ped", "menrt", "menpre", "goat")

# Columns of the program, by the names of our scores.
COLUMNS = {
    "lesion_dice": "lesionwise_dsc_mean",
    "lesion_dice_std": "lesionwise_dsc_std",
    "lesion_hd95_mm": "lesionwise_hd95_mean",
    "lesion_hd95_std_mm": "lesionwise_hd95_std",
    "lesion_nsd": "lesionwise_nsd_mean",
    "lesion_nsd_std": "lesionwise_nsd_std",
    "lesion_f1": "all_instance_f1",
    "lesion_precision": "all_instance_prec",
    "lesion_recall": "all_instance_rec",
    "true_positives": "all_instance_tp",
    "false_positives": "all_instance_fp",
    "missed_lesions": "all_instance_fn",
    "matched_dice": "sq_dsc",
    "matched_dice_std": "sq_dsc_std",
    "matched_hd95_mm": "sq_hd95",
    "matched_hd95_std_mm": "sq_hd95_std",
    "matched_nsd": "sq_nsd",
    "matched_nsd_std": "sq_nsd_std",
    "panoptic_quality": "pq_dsc",
    "global_dice": "global_dsc",
    "global_nsd": "global_nsd",
    "global_hd95_voxels": "global_hd95",
} | {
    f"{size}_{ours}": f"{size}_instance_{theirs}"
    for size in ("large", "small")
    for ours, theirs in (
        ("true_positives", "tp"),
        ("false_positives", "fp"),
        ("missed_lesions", "fn"),
        ("precision", "prec"),
        ("recall", "rec"),
        ("f1", "f1"),
    )
}


def official(task):
    return json.loads((OFFICIAL / f"brats2026-{task}.json").read_text(encoding="utf-8"))


@cache
def scored_pairs(task):
    """Seed, voxels of a ml, our scores and the official figures of each pair that has both."""
    figures = official(task)
    pairs = []
    for seed, case in figures["cases"].items():
        if "error" not in case:
            reference, prediction, affine, _ = pair(figures["about"]["pairs"], int(seed))
            spacing_mm = spacing_of(affine)
            ours = lesionwise_scores(reference, prediction, spacing_mm, f"brats2026-{task}")
            pairs.append((seed, 1000 / np.prod(spacing_mm), ours, case))
    return pairs


def without_infinite(values):
    """Ours are None where the program has NaN, and where it has inf."""
    return {name: np.nan if v in (None, "inf") else v for name, v in values.items()}


@pytest.mark.parametrize("task", TASKS)
def test_the_scores_are_those_of_the_program_of_2026(task):
    columns = official(task)["about"]["columns"]
    for seed, voxels_of_a_ml, ours, case in scored_pairs(task):
        assert {region.lower() for region in ours} == set(case["regions"])
        for region, found in ours.items():
            theirs = dict(zip(columns, case["regions"][region.lower()], strict=True))
            values = {COLUMNS[name]: v for name, v in found.scores.items() if name in COLUMNS}
            for side, name in (("pred", "volume_ml"), ("ref", "reference_volume_ml")):
                voxels = found.scores[name] * voxels_of_a_ml
                values[f"global_bin_volume_{side}"] = round(voxels, 3)
            assert without_infinite(values) == pytest.approx(
                without_infinite(theirs), rel=1e-9, abs=1e-9, nan_ok=True
            ), (seed, region)


@pytest.mark.parametrize("task", TASKS)
def test_the_lesions_are_those_of_the_program_of_2026(task):
    for seed, _, ours, case in scored_pairs(task):
        for region, found in ours.items():
            lesions = [
                (lesion.dice, lesion.hd95_mm or 0, sum(lesion.nsd.values()), lesion.volume_mm3)
                for lesion in found.lesions
            ]
            theirs = [[value or 0 for value in row] for row in case["lesions"][region.lower()]]
            assert np.array(sorted(lesions)) == pytest.approx(
                np.array(sorted(map(tuple, theirs))), rel=1e-6, abs=1e-9
            ), (seed, region)


@pytest.mark.parametrize("task", TASKS)
def test_a_label_that_the_protocol_does_not_know_is_refused_as_by_the_program(task):
    figures = official(task)
    errors = {
        int(seed): case["error"] for seed, case in figures["cases"].items() if "error" in case
    }
    assert errors
    for seed, error in errors.items():
        reference, prediction, affine, _ = pair(figures["about"]["pairs"], seed)
        with pytest.raises(SchemeError, match=r"reference holds \[\d\]") as refused:
            lesionwise_scores(reference, prediction, spacing_of(affine), f"brats2026-{task}")
        assert error.endswith(f"got label {refused.value.problem.split('[')[1][0]}")


def cubes(*corners, size=4, shape=(40, 40, 40)):
    """Label map with a cube of label 1 from each corner."""
    label_map = np.zeros(shape, np.uint8)
    for corner in corners:
        label_map[tuple(slice(at, at + size) for at in corner)] = 1
    return label_map


def gtv(reference, prediction, spacing_mm=(1, 1, 1)):
    return lesionwise_scores(reference, prediction, spacing_mm, "brats2026-menrt")["GTV"]


def test_a_component_over_two_lesions_finds_the_one_with_the_larger_dice():
    reference = cubes((0, 0, 0)) | cubes((10, 0, 0), size=6)
    prediction = np.zeros_like(reference)
    prediction[0:16, 0:4, 0:4] = 1
    found = gtv(reference, prediction)
    # 256 predicted voxels; 64 of 64 are in the first lesion, 96 of 216 in the second.
    assert [lesion.dice for lesion in found.lesions] == [0, 2 * 96 / (256 + 216)]
    assert [lesion.n_predicted for lesion in found.lesions] == [0, 1]
    assert found.scores["lesion_dice"] == 2 * 96 / (256 + 216)
    assert found.scores["lesion_f1"] == 2 / 3


def test_false_positives_and_misses_are_in_f1_alone():
    reference, prediction = cubes((0, 0, 0), (10, 10, 10)), cubes((0, 0, 0), (30, 30, 30))
    found = gtv(reference, prediction)
    assert (found.scores["lesion_dice"], found.scores["lesion_hd95_mm"]) == (1, 0)
    assert found.scores["lesion_f1"] == found.scores["panoptic_quality"] == 0.5
    assert [(lesion.n_predicted, lesion.hd95_mm) for lesion in found.lesions] == [(1, 0), (0, None)]
    assert found.false_positives[0].volume_mm3 == 64
    assert found.false_positives[0].centre in [
        (i, j, k) for i in (31, 32) for j in (31, 32) for k in (31, 32)
    ]


def test_the_centre_of_a_lesion_is_in_the_order_of_the_axes_of_the_image():
    reference = cubes((2, 12, 22), size=3)
    assert gtv(reference, reference).lesions[0].centre == (3, 13, 23)


def test_distances_of_lesions_have_the_voxel_sizes_of_the_first_and_last_axis_exchanged():
    reference, prediction = cubes((10, 10, 10)), cubes((12, 10, 10))
    for spacing_mm, hd95_mm in (((1, 1, 1), 2), ((1, 1, 3), 6), ((3, 1, 1), 2)):
        scores = gtv(reference, prediction, spacing_mm).scores
        assert (scores["lesion_hd95_mm"], scores["global_hd95_voxels"]) == (hd95_mm, 2)


def test_no_region_on_both_sides_has_no_score_and_on_one_side_the_worst():
    empty, full = cubes(), cubes((0, 0, 0))
    sizes = {
        "true_positives",
        "false_positives",
        "missed_lesions",
        "volume_ml",
        "reference_volume_ml",
    }
    scores = gtv(empty, empty).scores
    assert {name: value for name, value in scores.items() if value is not None} == dict.fromkeys(
        sizes, 0
    )
    for reference, prediction in ((empty, full), (full, empty)):
        scores = gtv(reference, prediction).scores
        assert [scores[name] for name in ("lesion_dice", "lesion_nsd", "lesion_f1")] == [0, 0, 0]
        assert (scores["global_hd95_voxels"], scores["lesion_hd95_mm"]) == (373, None)


def test_the_worst_values_are_those_of_the_program_for_a_missing_prediction():
    worst = {score.name: score.worst for score in PROTOCOLS["brats2026-gli"].scores}
    assert worst["global_hd95_voxels"] == worst["lesion_hd95_mm"] == 373
    ratios = ("lesion_dice", "lesion_nsd", "lesion_f1", "lesion_precision", "lesion_recall")
    assert {worst[name] for name in (*ratios, "global_dice", "global_nsd")} == {0}


def test_metastases_are_large_from_20_mm3_and_found_from_a_dice_of_a_tenth():
    reference, prediction = cubes((0, 0, 0)), cubes((0, 0, 0))
    for label_map, sizes in ((reference, (19, 20)), (prediction, (1, 20))):
        for i, voxels in enumerate(sizes):
            label_map[20, 10 * i + 5, :voxels] = 1
    prediction[30, 30, 30] = 1
    scores = lesionwise_scores(3 * reference, 3 * prediction, (1, 1, 1), "brats2026-mets")[
        "ET"
    ].scores
    assert [scores[f"large_{name}"] for name in ("true_positives", "false_positives")] == [2, 1]
    # Dice of the small lesion: 2 / (19 + 1), which is just enough.
    assert [scores[f"small_{name}"] for name in ("true_positives", "false_positives")] == [1, 1]
    # Two large lesions without error, and the false positive.
    assert scores["lesion_dice"] == 2 / 3
    assert scores["lesion_hd95_mm"] == 373 / 3


def test_thousands_of_components_are_matched_in_groups():
    reference = np.zeros((30, 30, 30), np.uint8)
    reference[::3, ::3, ::3] = 1
    prediction = reference.copy()
    prediction[0, 0, 0:4] = 1
    found = gtv(reference, prediction)
    # The bar joins two components, so one of two lesions with equal Dice goes without a match.
    assert (found.scores["true_positives"], found.scores["missed_lesions"]) == (999, 1)
    assert found.scores["false_positives"] == 0


def test_a_distance_of_one_voxel_is_within_a_tolerance_of_one_voxel():
    one, other = cubes((10, 10, 10)) > 0, cubes((10, 10, 11)) > 0
    for size in np.float32([0.1, 0.3, 0.9, 1.1, 0.7]).astype(float):
        assert BorderDistances.of(one, other, (5.0, 5.0, size)).share_within(size) == 1


def test_protocols_travel_to_other_processes():
    for name in ("brats2026-gli", "brats2026-mets"):
        assert pickle.loads(pickle.dumps(PROTOCOLS[name])) is PROTOCOLS[name]


def test_the_surface_dice_of_lesions_is_in_both_files_where_voxels_are_of_no_whole_size(tmp_path):
    lesion = cubes((10, 10, 10))
    found = lesionwise_scores(lesion, lesion, (0.75, 0.75, 3), "brats2026-menrt")["GTV"]
    record = ProtocolRecord(PROTOCOLS["brats2026-menrt"], ScoreTable(), {("a", "GTV"): found})
    _, lesions = record.write(tmp_path)
    with (tmp_path / lesions).open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["nsd"], row["volume_mm3"], row["i"]) == ("1.0", "108.0", "11")
    (as_json,) = record.to_dict()["cases"]["a"]["GTV"]["lesions"]
    assert as_json["nsd"] == {"0.75": 1.0}
