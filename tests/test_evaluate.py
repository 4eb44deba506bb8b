import csv
import json
import logging
import os
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.metrics import compute_dice, compute_hausdorff_distance, compute_iou
from scipy.ndimage import binary_dilation, find_objects

from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.sources import read_sources
from volseg.cases.volume_case import VolumeCase
from volseg.errors import ConfigError, DataListError, LabelError, OutputError
from volseg.finding.folders import find_cases
from volseg.labels import get_scheme
from volseg.tasks.evaluate import evaluate

AFFINE = np.diag([-1.0, -1.0, 2.0, 1.0])
RATED = ("dice", "iou", "precision", "recall", "hd95_mm")
BOTH_2021 = {"labels": "brats2021", "reference_labels": "brats2021"}


def tumour(enhancing=4, size=4):
    """Oedema of 8 x 8 x 8 voxels, necrosis and an enhancing core of `size` voxels along I."""
    label_map = np.zeros((16, 16, 12), dtype=np.uint8)
    label_map[4:12, 4:12, 2:10] = 2
    label_map[6:10, 6:10, 4:8] = 1
    label_map[6 : 6 + size, 6:8, 4:6] = enhancing
    return label_map


def write(path, label_map, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(label_map, affine), path)


@pytest.fixture
def folders(tmp_path):
    """Two cases in brats2021, predicted perfectly, and a folder for the scores."""
    for case in ("a", "b"):
        write(tmp_path / "reference" / f"{case}.nii.gz", tumour())
        write(tmp_path / "predictions" / f"{case}.nii.gz", tumour())
    return tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores"


def score(result, case_id, region):
    (row,) = [r for r in result.table.rows if (r.case_id, r.region) == (case_id, region)]
    return row


def test_a_perfect_prediction_scores_one_and_no_distance(folders):
    result = evaluate(*folders, **BOTH_2021)

    for row in result.table.rows:
        assert [row[name] for name in RATED] == [1, 1, 1, 1, 0]
    assert score(result, "a", "WT")["volume_ml"] == pytest.approx(8 * 8 * 8 * 2 / 1000)
    assert (result.failures, result.missing, result.without_reference) == ((), (), ())


def test_an_imperfect_prediction_scores_what_is_counted_by_hand(folders):
    write(folders[0] / "a.nii.gz", tumour(size=2))  # 2 x 2 x 2 of 4 x 2 x 2 voxels

    row = score(evaluate(*folders, **BOTH_2021), "a", "ET")

    assert row["dice"] == pytest.approx(2 * 8 / (8 + 16))
    assert row["iou"] == pytest.approx(8 / 16)
    assert (row["precision"], row["recall"]) == (1.0, 0.5)
    assert row["hd95_mm"] == 2.0  # 4 of 16 voxels lie 2 mm beyond, 4 lie 1 mm beyond
    assert row["reference_volume_ml"] == pytest.approx(16 * 2 / 1000)


def test_files_hold_every_row_and_the_policy(folders):
    result = evaluate(*folders, **BOTH_2021)

    with (folders[2] / "scores.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    document = json.loads((folders[2] / "scores.json").read_text())
    assert [(row["case_id"], row["region"]) for row in rows] == [
        (case, region) for case in "ab" for region in ("WT", "TC", "ET")
    ]
    assert document["summary"] == result.table.summary()
    assert document["prediction_labels"] == "brats2021"
    assert document["reference_labels"] == ["brats2021"]
    assert "both empty" in document["empty_mask_policy"]
    assert sorted(path.name for path in folders[2].iterdir()) == ["scores.csv", "scores.json"]


def test_the_two_sides_may_store_labels_in_different_conventions(folders):
    for case in ("a", "b"):
        write(folders[0] / f"{case}.nii.gz", tumour(enhancing=3))

    result = evaluate(*folders, labels="brats2023", reference_labels="brats2021")

    assert set(result.table.means("dice").values()) == {1.0}


def test_each_case_of_a_data_list_bears_its_own_convention(folders, tmp_path):
    write(folders[1] / "b.nii.gz", tumour(enhancing=3))
    cases = [
        VolumeCase(case, case, (tmp_path / f"{case}_t1c.nii.gz",), ("t1c",), (label,), labels)
        for case, labels in (("a", "brats2021"), ("b", "brats2023"))
        for label in [folders[1] / f"{case}.nii.gz"]
    ]
    data_list = tmp_path / "list.json"
    write_data_list(data_list, DataList("two", ("t1c",), tuple(cases)), tmp_path)

    result = evaluate(folders[0], data_list, folders[2], labels="brats2021")

    assert set(result.table.means("dice").values()) == {1.0}
    document = json.loads((folders[2] / "scores.json").read_text())
    assert document["reference_labels"] == ["brats2021", "brats2023"]


def test_one_fold_of_a_data_list_is_scored_alone(folders, tmp_path):
    cases = tuple(
        VolumeCase(
            *(case, case, (tmp_path / f"{case}.nii",), ("t1c",), (folders[1] / f"{case}.nii.gz",)),
            fold=fold,
        )
        for fold, case in enumerate("ab")
    )
    write_data_list(tmp_path / "list.json", DataList("x", ("t1c",), cases), tmp_path)

    arguments = (folders[0], tmp_path / "list.json", folders[2])
    result = evaluate(*arguments, **BOTH_2021, fold=1)

    assert result.table.cases("scored") == ("b",)
    assert result.missing == ()
    assert result.without_reference == ()  # the prediction of the other fold has its reference
    with pytest.raises(DataListError, match="no data list and has no fold 1"):
        evaluate(*folders, **BOTH_2021, fold=1)
    with pytest.raises(DataListError, match="no data list and needs no data root"):
        evaluate(*folders, **BOTH_2021, data_root=tmp_path)


@pytest.mark.parametrize("written_out", [False, True])
def test_the_manifest_tells_the_scheme_of_the_predictions(folders, written_out):
    scheme = get_scheme("brats2021")
    labels = {
        "name": "mine",
        "labels": {str(value): name for value, name in scheme.labels.items()},
        "regions": {name: list(values) for name, values in scheme.regions.items()},
    }
    manifest = {"labels": labels if written_out else "brats2021"}
    (folders[0] / "manifest.json").write_text(json.dumps(manifest))

    # A scheme of the user's own is known by the name that the predictions bear.
    result = evaluate(*folders, reference_labels="mine" if written_out else "brats2021")

    assert result.table.regions == ("WT", "TC", "ET")
    assert set(result.table.means("dice").values()) == {1.0}


@pytest.mark.parametrize(
    ("manifest", "reason"),
    [
        (None, "no manifest.json"),
        ("{", "has no scheme"),
        ("{}", "has no scheme: 'labels'"),
        ('{"labels": "brats1999"}', "unknown label scheme 'brats1999'"),
        ('{"labels": {"name": "x", "labels": {"one": "ET"}, "regions": {}}}', "'one'"),
    ],
)
def test_an_unknown_scheme_is_asked_for_and_never_guessed(folders, manifest, reason):
    if manifest is not None:
        (folders[0] / "manifest.json").write_text(manifest)

    with pytest.raises(LabelError, match=f"{reason}.*; name it with labels, one of brats2021"):
        evaluate(*folders)


def test_an_unknown_name_of_a_scheme_is_refused(folders):
    with pytest.raises(ConfigError, match="unknown label scheme 'brats1999'"):
        evaluate(*folders, labels="brats2021", reference_labels="brats1999")


def test_a_missing_prediction_is_listed_and_counted(folders):
    (folders[0] / "b.nii.gz").unlink()

    result = evaluate(*folders, **BOTH_2021)

    assert result.missing == ("b",)
    summary = result.table.summary()["WT"]
    assert (summary["n_cases"], summary["n_missing"]) == (1, 1)
    assert (summary["dice"]["mean"], summary["dice"]["mean_missing_as_worst"]) == (1.0, 0.5)
    assert re.search("^b,WT,+missing$", (folders[2] / "scores.csv").read_text(), re.MULTILINE)


def test_a_prediction_without_a_reference_is_named(folders):
    write(folders[0] / "c.nii.gz", tumour())

    result = evaluate(*folders, **BOTH_2021)

    assert result.without_reference == ("c",)
    assert result.table.cases("scored") == ("a", "b")


def test_probability_maps_beside_the_predictions_are_not_taken_for_cases(folders):
    write(folders[0] / "a_WT.nii.gz", np.full((16, 16, 12), 0.5, dtype=np.float32))
    write(folders[0] / "a_GTV.nii.gz", np.full((16, 16, 12), 0.5, dtype=np.float32))

    result = evaluate(*folders, **BOTH_2021)

    assert result.without_reference == ()
    assert set(result.table.means("dice").values()) == {1.0}


def test_a_prediction_on_another_grid_fails_alone(folders):
    moved = AFFINE.copy()
    moved[0, 3] = 5.0
    write(folders[0] / "a.nii.gz", tumour(), moved)

    result = evaluate(*folders, **BOTH_2021)

    ((case_id, reason),) = result.failures
    assert case_id == "a"
    assert reason.startswith("prediction lies 5 mm away from reference")
    assert reason.endswith("; resample the prediction to the grid of the reference")
    assert result.table.cases("failed") == ("a",)
    assert result.table.cases("scored") == ("b",)
    assert json.loads((folders[2] / "scores.json").read_text())["failures"] == {"a": reason}


def test_a_hair_between_the_grids_is_noted(folders, caplog):
    moved = AFFINE.copy()
    moved[0, 3] = 0.001
    write(folders[0] / "a.nii.gz", tumour(), moved)

    with caplog.at_level(logging.INFO):
        result = evaluate(*folders, **BOTH_2021)

    assert result.failures == ()
    assert "a: prediction lies 0.001 mm away from reference: accepted" in caplog.messages


@pytest.mark.parametrize("side", ["prediction", "reference"])
def test_one_label_map_that_contradicts_its_scheme_stops_before_a_score_is_written(folders, side):
    """The other cases would be scored as what they are not: their ET is 3 as well."""
    folder = folders[side == "reference"]
    write(folder / "a.nii.gz", np.minimum(tumour(), 2))  # nothing in it tells the scheme
    write(folder / "b.nii.gz", tumour(enhancing=3))

    message = (
        rf"nothing is scored, since .* in that scheme too: {side} .*b\.nii\.gz holds \[3\], "
        r"but scheme 'brats2021' defines only .* \(case b\); use brats2023 or .* with --labels"
    )
    with pytest.raises(LabelError, match=message):
        evaluate(*folders, **BOTH_2021)
    assert not folders[2].exists()


def test_a_contradiction_that_no_scheme_explains_stops_too(folders):
    write(folders[0] / "b.nii.gz", tumour(enhancing=9))

    with pytest.raises(
        LabelError, match=r"holds \[9\].*; correct the label map, or leave the case out"
    ):
        evaluate(*folders, **BOTH_2021)


def test_how_the_integers_of_both_sides_are_read_is_said(folders):
    result = evaluate(*folders, **BOTH_2021)

    said = (
        "labels of the predictions: brats2021 (1 NCR, 2 ED, 4 ET); of the reference: "
        "brats2021 (1 NCR, 2 ED, 4 ET)"
    )
    assert result.notes[0] == said
    assert json.loads((folders[2] / "scores.json").read_text())["notes"][0] == said


def test_a_folder_that_is_its_own_reference_is_told_of(folders):
    same = evaluate(*folders, **BOTH_2021)
    write(folders[0] / "b.nii.gz", tumour(size=2))
    other = evaluate(*folders, **BOTH_2021)

    assert any("every prediction equals its reference" in note for note in same.notes)
    assert not any("every prediction equals" in note for note in other.notes)


def _noted(folders, records, **others):
    manifest = {"labels": "brats2021", "cases": records}
    (folders[0] / "manifest.json").write_text(json.dumps(manifest | others))


ALIKE = {"models": ["x"], "resolved": [{"tta": False}]}


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        (
            {"models": ["y"]},
            "1 of 2 predictions, such as b, were made by another model than a",
        ),
        ({"resolved": [{"tta": True}]}, "were made with other options than a"),
    ],
)
def test_one_mean_over_results_of_two_models_is_told_of(folders, changed, said):
    """So `infer --overwrite` leaves them when it is stopped midway, and so are those of folds."""
    records = {"a": ALIKE, "b": ALIKE, "of no reference": ALIKE | {"models": ["z"]}}
    _noted(folders, records)
    assert not any("several models" in note for note in evaluate(*folders, **BOTH_2021).notes)

    _noted(folders, records | {"b": ALIKE | changed})
    (note,) = [n for n in evaluate(*folders, **BOTH_2021).notes if "several models" in n]

    assert said in note
    assert note in json.loads((folders[2] / "scores.json").read_text())["notes"]


def test_a_folder_with_a_result_in_work_is_not_scored(folders):
    _noted(folders, {"a": ALIKE, "b": ALIKE}, unfinished={"b": ["b.nii.gz"]})

    with pytest.raises(OutputError, match=r"is not complete: .* the prediction of b"):
        evaluate(*folders, **BOTH_2021)

    assert not folders[2].exists()


def _of_one_patient(folder, value):
    """A case in BraTS names, its images of one grey value; its folder."""
    for channel in ("t1n", "t1c", "t2w", "t2f"):
        image = np.full((16, 16, 12), value, np.int16)
        write(folder / "BraTS-GLI-00007-000" / f"BraTS-GLI-00007-000-{channel}.nii", image)
    write(folder / "BraTS-GLI-00007-000" / "BraTS-GLI-00007-000-seg.nii", tumour(enhancing=3))
    return folder


def test_predictions_of_an_older_scan_are_told_of(tmp_path):
    """One of four images was replaced in place since the prediction was made."""
    reference = _of_one_patient(tmp_path / "site", 1)
    (case,) = find_cases([reference]).cases
    predictions = tmp_path / "predictions"
    write(predictions / f"{case.case_id}.nii.gz", tumour(enhancing=3))
    record = {"sources": read_sources(case), "output": f"{case.case_id}.nii.gz"}
    manifest = {"labels": "brats2023", "cases": {case.case_id: record}}
    (predictions / "manifest.json").write_text(json.dumps(manifest))
    os.utime(case.images[0], (0, 0))
    told = evaluate(predictions, reference, tmp_path / "scores").notes
    assert not any("older scan" in note for note in told)

    write(case.images[1], np.full((16, 16, 12), 5, np.int16))

    said = f"the prediction of {case.case_id} was made before {case.images[1]} changed, from an"
    told = evaluate(predictions, reference, tmp_path / "scores").notes
    assert [note.startswith(said) for note in told if "older scan" in note] == [True]


@pytest.mark.parametrize(("value", "is_told"), [(1, False), (2, True)])
def test_predictions_of_another_patient_of_that_name_are_told_of(tmp_path, value, is_told):
    """The images may have been moved since; only what is in them tells."""
    made_of, reference = (
        _of_one_patient(tmp_path / site, grey) for site, grey in (("siteA", 1), ("siteB", value))
    )
    (case,) = find_cases([made_of]).cases
    predictions = tmp_path / "predictions"
    write(predictions / f"{case.case_id}.nii.gz", tumour(enhancing=3))
    record = {"sources": read_sources(case), "output": f"{case.case_id}.nii.gz"}
    manifest = {"labels": "brats2023", "cases": {case.case_id: record}}
    (predictions / "manifest.json").write_text(json.dumps(manifest))

    result = evaluate(predictions, reference, tmp_path / "scores")

    said = f"the prediction of {case.case_id} was made from other images than the images of the"
    assert any(note.startswith(said) for note in result.notes) is is_told


def test_a_mean_of_empty_label_maps_is_said_to_say_nothing(tmp_path):
    """Five of six cases without a tumour are right, so that the mean Dice is 0.833."""
    nothing = np.zeros((16, 16, 12), dtype=np.uint8)
    for case in "abcdef":
        write(tmp_path / "reference" / f"{case}.nii.gz", nothing)
        write(tmp_path / "predictions" / f"{case}.nii.gz", tumour() if case == "f" else nothing)

    result = evaluate(
        tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores", **BOTH_2021
    )

    assert result.table.means("dice")["WT"] == pytest.approx(5 / 6)
    said = (
        "WT is in no reference of 6 cases; its scores only count the cases without predicted WT: 5"
    )
    assert said in result.notes
    assert json.loads((tmp_path / "scores" / "scores.json").read_text())["doubts"][0] == said


def test_a_damaged_prediction_fails_alone(folders):
    path = folders[0] / "a.nii.gz"
    path.write_bytes(path.read_bytes()[:60])

    result = evaluate(*folders, **BOTH_2021)

    assert [case_id for case_id, _ in result.failures] == ["a"]
    assert score(result, "b", "WT")["dice"] == 1.0


def test_empty_label_maps_score_as_brats_does(folders):
    nothing = np.zeros((16, 16, 12), dtype=np.uint8)
    write(folders[0] / "a.nii.gz", nothing)
    write(folders[0] / "b.nii.gz", nothing)
    write(folders[1] / "b.nii.gz", nothing)

    result = evaluate(*folders, **BOTH_2021)

    missed, right = score(result, "a", "WT"), score(result, "b", "WT")
    assert [missed[name] for name in RATED] == [0, 0, 0, 0, 373.13]
    assert [right[name] for name in RATED] == [1, 1, 1, 1, 0]


@pytest.mark.parametrize(
    ("case_id", "values", "expected"),
    [
        ("BraTS2021_00001", (1, 2, 4), "brats2021"),
        ("Brats18_2013_21_1", (1, 2, 4), "brats2021"),
        ("BraTS-GLI-00001-000", (1, 2, 3), "brats2023"),
        ("BraTS-GLI-02063-104", (1, 2, 3, 4), "brats2024-gli"),
        ("BraTS-PED-00001-000", (1, 2, 3, 4), "brats2024-ped"),
    ],
)
def test_the_scheme_of_the_reference_follows_from_names_and_values(
    tmp_path, caplog, case_id, values, expected
):
    label_map = np.resize([0, *values], (6, 6, 6)).astype(np.uint8)
    write(tmp_path / "reference" / case_id / f"{case_id}-seg.nii.gz", label_map)
    tumour_only = np.where(label_map > 0, 1, 0).astype(np.uint8)
    write(tmp_path / "predictions" / f"{case_id}.nii.gz", tumour_only)

    with caplog.at_level(logging.INFO):
        evaluate(tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores", "brats2021")

    document = json.loads((tmp_path / "scores" / "scores.json").read_text())
    assert document["reference_labels"] == [expected]
    assert f"reference: labels {expected} for 1 case: file names of" in caplog.text


def test_label_maps_of_brats_2015_are_asked_for_and_scored_by_region(tmp_path):
    reference = np.resize([0, 1, 2, 3, 4], (5, 5, 5)).astype(np.uint8)
    # The non-enhancing tumour of 2015 is part of NCR in 2021.
    write(tmp_path / "predictions" / "P7.nii.gz", np.where(reference == 3, 1, reference))
    write(tmp_path / "reference" / "P7-seg.nii.gz", reference)
    folders = (tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores", "brats2021")

    with pytest.raises(LabelError, match="brats2024-ped, brats2015; give --reference-labels NAME"):
        evaluate(*folders)
    result = evaluate(*folders, reference_labels="brats2015")

    assert {row.region: row["dice"] for row in result.table.rows} == {"WT": 1, "TC": 1, "ET": 1}


@pytest.mark.parametrize("case_id", ["patient7", "BraTS-PED-00001-000"])
def test_a_scheme_of_the_reference_that_cannot_be_told_is_asked_for(tmp_path, case_id):
    for side in ("predictions", "reference"):
        write(tmp_path / side / f"{case_id}-seg.nii.gz", tumour(enhancing=3))
    folders = (tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores")

    message = (
        r"is not clear: 1 case with file names of .*, which fit brats2023, .*; give "
        r"--reference-labels NAME \(the predictions are in brats2023\)"
    )
    with pytest.raises(LabelError, match=message):
        evaluate(*folders, labels="brats2023")

    result = evaluate(*folders, labels="brats2023", reference_labels="brats2023")
    assert set(result.table.means("dice").values()) == {1.0}


def test_a_damaged_reference_decides_nothing_and_fails_alone(tmp_path):
    for side in ("predictions", "reference"):
        for number in (1, 2):
            write(tmp_path / side / f"BraTS2021_0000{number}_seg.nii.gz", tumour())
    damaged = tmp_path / "reference" / "BraTS2021_00002_seg.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:60])

    result = evaluate(
        tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores", "brats2021"
    )

    assert result.table.cases("failed") == ("BraTS2021_00002",)
    assert result.table.cases("scored") == ("BraTS2021_00001",)


def test_a_list_that_leaves_the_scheme_to_a_config_needs_its_name_and_may_need_a_root(folders):
    reference = folders[1]
    case = VolumeCase("a", "a", (reference / "a_t1c.nii.gz",), ("t1c",), (reference / "a.nii.gz",))
    listed = reference.parent / "list.json"
    write_data_list(listed, DataList("x", ("t1c",), (case,)), reference)
    listed.write_text(listed.read_text().replace('"data_root": "reference"', '"data_root": null'))
    arguments = (folders[0], listed, folders[2], "brats2021")

    with pytest.raises(DataListError, match="as --data-root FOLDER for infer and evaluate"):
        evaluate(*arguments)
    with pytest.raises(LabelError, match="has no label scheme for 1 case, but leaves it to"):
        evaluate(*arguments, data_root=reference)

    result = evaluate(*arguments, reference_labels="brats2021", data_root=reference)
    assert result.table.cases("scored") == ("a",)


@pytest.mark.parametrize("name", ["{0}-seg.nii.gz", "{0}/{0}_seg.nii.gz", "{0}/seg.nii"])
def test_label_maps_may_be_named_as_brats_names_them(tmp_path, name):
    for side in ("predictions", "reference"):
        for case in ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001"):
            write(tmp_path / side / name.format(case), tumour(enhancing=3))

    result = evaluate(
        tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores", "brats2023"
    )

    assert result.table.cases("scored") == ("BraTS-GLI-00001-000", "BraTS-GLI-00001-001")
    assert result.without_reference == ()


def test_the_reference_may_be_a_folder_of_labelled_scans(folders, tmp_path):
    images = np.random.default_rng(0).normal(size=(16, 16, 12)).astype(np.float32)
    for case in ("a", "b"):
        folder = tmp_path / "scans" / case
        for channel in ("t1n", "t1c", "t2w", "t2f"):
            write(folder / f"{case}-{channel}.nii.gz", images)
        write(folder / f"{case}-seg.nii.gz", tumour())
    # The images of b are not complete, but its label map is all that is needed.
    (tmp_path / "scans" / "b" / "b-t2f.nii.gz").unlink()

    result = evaluate(folders[0], tmp_path / "scans", folders[2], **BOTH_2021)

    assert result.table.cases("scored") == ("a", "b")
    assert set(result.table.means("dice").values()) == {1.0}


def test_regions_of_one_side_alone_are_named_and_left_out(folders, caplog):
    for case in ("a", "b"):
        write(folders[0] / f"{case}.nii.gz", tumour(enhancing=3))

    result = evaluate(*folders, labels="brats2024-gli", reference_labels="brats2021")

    assert result.table.regions == ("WT", "TC", "ET")
    assert "only WT TC ET are scored: predictions (brats2024-gli) have WT TC ET RC" in caplog.text


def test_schemes_without_a_common_region_are_refused(folders):
    with pytest.raises(LabelError, match=r"no region in common: predictions \(men-rt\) have GTV"):
        evaluate(*folders, labels="men-rt", reference_labels="brats2021")


def test_two_predictions_of_one_case_fail_that_case_alone(folders):
    write(folders[0] / "again" / "a.nii.gz", tumour())

    result = evaluate(*folders, **BOTH_2021)

    ((case_id, reason),) = result.failures
    assert case_id == "a"
    assert re.search(r"a\.nii\.gz and .*again.* belong to the same case; keep one", reason)
    assert result.table.cases("scored") == ("b",)


def test_two_references_of_one_case_fail_that_case_alone(folders):
    for case in ("a", "b"):
        (folders[1] / f"{case}.nii.gz").rename(folders[1] / f"{case}-seg.nii.gz")
    write(folders[1] / "b-seg.nii", tumour())

    result = evaluate(*folders, **BOTH_2021)

    ((case_id, reason),) = result.failures
    assert case_id == "b"
    assert reason.endswith("belong to the same case; keep one")
    assert result.table.cases("scored") == ("a",)


def test_names_that_do_not_match_are_shown_on_both_sides(folders):
    for case in ("a", "b"):
        (folders[0] / f"{case}.nii.gz").rename(folders[0] / f"result{case}.nii.gz")

    message = r"found resulta, resultb, expected a, b; name predictions <case_id>\.nii\.gz"
    with pytest.raises(DataListError, match=message):
        evaluate(*folders, **BOTH_2021)


@pytest.mark.parametrize(
    ("side", "message"),
    [(0, "is not a folder; give the folder of the predictions"), (1, "does not exist; give a")],
)
def test_an_absent_folder_is_named(folders, side, message):
    shutil.rmtree(folders[side])

    with pytest.raises(DataListError, match=message):
        evaluate(*folders, **BOTH_2021)


def test_a_reference_without_label_maps_is_refused(folders):
    for path in folders[1].iterdir():
        path.unlink()

    with pytest.raises(DataListError, match="has no case with a label map"):
        evaluate(*folders, **BOTH_2021)


def test_an_output_that_cannot_be_made_is_named(folders):
    folders[2].write_text("a file")

    with pytest.raises(OutputError, match=r"scores cannot be made .*; choose another with -o"):
        evaluate(*folders, **BOTH_2021)


@pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")
def test_real_label_maps_score_as_monai_scores_them(real_data, tmp_path):
    case_id = "BraTS2021_01479"
    source = nib.load(real_data / "brats2021" / case_id / f"{case_id}_seg.nii.gz")
    label_map = np.asarray(source.dataobj).astype(np.uint8)
    enhancing = binary_dilation(label_map == 4, iterations=2)
    prediction = np.where(enhancing, 4, label_map).astype(np.uint8)
    write(tmp_path / "predictions" / f"{case_id}.nii.gz", prediction, source.affine)
    scheme = get_scheme("brats2021")

    result = evaluate(
        tmp_path / "predictions",
        real_data / "brats2021" / case_id,
        tmp_path / "scores",
        "brats2021",
    )

    box = find_objects((prediction > 0).astype(np.int32))[0]
    masks = [list(scheme.masks(x[box]).values()) for x in (prediction, label_map)]
    tensors = [torch.from_numpy(np.stack(of_map))[None] for of_map in masks]
    dice, iou = compute_dice(*tensors)[0], compute_iou(*tensors)[0]
    hd95 = compute_hausdorff_distance(
        *tensors, include_background=True, percentile=95, spacing=(1.0, 1.0, 1.0)
    )[0]
    for index, region in enumerate(scheme.regions):
        row = score(result, case_id, region)
        assert row["dice"] == pytest.approx(dice[index].item(), rel=1e-5)
        assert row["iou"] == pytest.approx(iou[index].item(), rel=1e-5)
        assert row["hd95_mm"] == pytest.approx(hd95[index].item(), rel=1e-5)
    assert 0.5 < score(result, case_id, "ET")["dice"] < 1


@pytest.mark.parametrize(
    ("folder", "labels", "cases", "regions"),
    [
        ("brats2021", "brats2021", 6, ("WT", "TC", "ET")),
        ("brats2024_labels", "brats2024-gli", 4, ("WT", "TC", "ET", "RC")),
    ],
)
def test_real_label_maps_against_themselves(real_data, tmp_path, folder, labels, cases, regions):
    result = evaluate(real_data / folder, real_data / folder, tmp_path / "scores", labels)

    assert len(result.table.cases("scored")) == cases
    assert (result.failures, result.missing, result.without_reference) == ((), (), ())
    assert result.table.means("dice") == dict.fromkeys(regions, 1.0)
    assert result.table.means("hd95_mm") == dict.fromkeys(regions, 0.0)


def test_a_scheme_that_contradicts_the_manifest_is_refused(folders):
    (folders[0] / "manifest.json").write_text(json.dumps({"labels": "brats2021"}))

    assert evaluate(*folders, labels="brats2021", reference_labels="brats2021").failures == ()
    with pytest.raises(LabelError, match="scheme 'brats2021', but option labels is 'msd'"):
        evaluate(*folders, labels="msd", reference_labels="brats2021")


def test_scores_of_other_predictions_that_are_replaced_are_named(folders, tmp_path):
    predictions, reference, scores = folders
    shutil.copytree(predictions, tmp_path / "others")

    first = evaluate(*folders, **BOTH_2021)
    again = evaluate(*folders, **BOTH_2021)
    other = evaluate(tmp_path / "others", reference, scores, **BOTH_2021)

    note = f"replaced the scores of {predictions} in {scores}"
    assert not any("replaced" in said for said in (*first.notes, *again.notes))
    assert note in other.notes
    document = json.loads((scores / "scores.json").read_text())
    del document["predictions"]
    (scores / "scores.json").write_text(json.dumps(document))
    unnamed = evaluate(*folders, **BOTH_2021)
    assert f"replaced earlier scores in {scores}" in unnamed.notes


def test_a_mask_is_no_reference_and_no_prediction_of_a_volume(folders, tmp_path):
    mask = tmp_path / "masks" / "p_1_mask.tif"
    mask.parent.mkdir()
    mask.touch()

    with pytest.raises(DataListError, match="is an image, but a reference is a folder or a data"):
        evaluate(folders[0], mask, folders[2], **BOTH_2021)
    with pytest.raises(DataListError, match=r"found p_1_mask\.tif, expected a, b"):
        evaluate(mask.parent, folders[1], folders[2], **BOTH_2021)
