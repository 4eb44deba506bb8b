import csv
import json
import re
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cli import app
from volseg.errors import DataListError, LabelError
from volseg.images.slice_masks import read_stack_label_map, write_masks
from volseg.tasks.evaluate import evaluate
from volseg.tasks.report import report

LGG = {"labels": "lgg", "reference_labels": "lgg"}
#: Volumes (I, J, K) of 6 x 5 pixels and 3 slices, the last without tumour in the reference.
REFERENCE = np.zeros((6, 5, 3), dtype=np.uint8)
REFERENCE[1:5, 1:3, :2] = 1  # 8 voxels in each of two slices
PREDICTION = np.zeros_like(REFERENCE)
PREDICTION[1:5, 1:3, 0] = 1  # right
PREDICTION[1:3, 1:3, 1] = 1  # half
PREDICTION[0, 0, 2] = 1  # one voxel too many


def names(case_id, count=3, suffix=".tif"):
    return [f"{case_id}_{number}{suffix}" for number in range(9, 9 + count)]


def write_slices(folder, volume, file_names):
    folder.mkdir(parents=True, exist_ok=True)
    for name, page in zip(file_names, volume.transpose(2, 1, 0), strict=True):
        Image.fromarray(page * 255).save(folder / name)
    return tuple(folder / name for name in file_names)


def stack(folder, case_id, volume=REFERENCE, **facts):
    """A case as it stands in a data list; its images are names alone, since none is read."""
    images = tuple(folder / name for name in names(case_id, volume.shape[2]))
    masks = [f"{path.stem}_mask.tif" for path in images]
    label = write_slices(folder, volume, masks)
    return SliceStackCase(case_id, case_id, images, ("t1n", "t2f", "t1c"), label, "lgg", **facts)


@pytest.fixture
def lgg(tmp_path):
    """Predictions and a list of two patients: a is half right in one slice, b is all right."""
    cases = []
    for case_id, volume in (("a", PREDICTION), ("b", REFERENCE)):
        facts = {"groups": {"institution": case_id.upper()}}
        cases.append(stack(tmp_path / "scans" / case_id, case_id, **facts))
        write_slices(tmp_path / "predictions" / case_id, volume, names(case_id))
    listed = tmp_path / "list.json"
    write_data_list(listed, DataList("x", ("t1n", "t2f", "t1c"), tuple(cases)), tmp_path)
    (tmp_path / "predictions" / "manifest.json").write_text(json.dumps({"labels": "lgg"}))
    return tmp_path / "predictions", listed, tmp_path / "scores"


def score(result, case_id):
    (row,) = [row for row in result.table.rows if row.case_id == case_id]
    return row


def test_a_stack_is_scored_as_one_volume_without_mm_and_ml(lgg):
    result = evaluate(*lgg)

    row = score(result, "a")
    assert row["dice"] == pytest.approx(2 * 12 / (13 + 16))
    assert (row["precision"], row["recall"]) == (12 / 13, 12 / 16)
    assert (row["prediction_voxels"], row["reference_voxels"]) == (13, 16)
    assert (row["hd95_mm"], row["volume_ml"], row["reference_volume_ml"]) == (None, None, None)
    assert score(result, "b")["dice"] == 1
    assert result.failures == result.missing == result.without_reference == ()


def test_the_slices_of_stacks_are_scored_by_both_conventions(lgg):
    evaluate(*lgg)

    document = json.loads((lgg[2] / "scores.json").read_text())
    # Dice of the slices of a: 1, 2/3, 0 and of b: 1, 1, 1 (empty on both sides).
    assert document["slices"]["WT"]["tumour_slices"]["n"] == 4
    assert document["slices"]["WT"]["tumour_slices"]["dice"] == pytest.approx((1 + 2 / 3 + 2) / 4)
    assert document["slices"]["WT"]["all_slices"]["n"] == 6
    assert document["slices"]["WT"]["all_slices"]["dice"] == pytest.approx((1 + 2 / 3 + 3) / 6)
    assert document["summary"]["WT"]["dice"]["mean"] == pytest.approx((24 / 29 + 1) / 2)
    assert "tumour_slices" in document["slice_definitions"]
    with (lgg[2] / "slices.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["case_id"], row["slice"], row["tp"]) for row in rows[:3]] == [
        ("a", "1", "8"), ("a", "2", "4"), ("a", "3", "0"),
    ]  # fmt: skip


def test_a_case_of_a_folder_that_cannot_be_a_reference_is_named_with_its_reason(lgg, caplog):
    scans = lgg[1].parent / "scans"
    for case_id in ("a", "b"):
        for name in names(case_id):
            (scans / case_id / name).touch()
    (scans / "b" / "b_10_mask.tif").unlink()

    result = evaluate(lgg[0], scans, lgg[2], **LGG)

    assert [row.case_id for row in result.table.rows] == ["a"]
    assert result.without_reference == ("b",)
    (message,) = [text for text in caplog.messages if "left out of the reference" in text]
    assert "case b: no mask of 1 of 3 slices, such as b_10.tif" in message


def test_groups_of_the_list_and_missing_channels_of_the_manifest_are_compared(lgg):
    cases = {"a": {"missing_channels": ["t1n", "t1c"]}, "b": {}, "z": {"missing_channels": ["t2f"]}}
    manifest = {"labels": "lgg", "cases": cases}
    (lgg[0] / "manifest.json").write_text(json.dumps(manifest))

    result = evaluate(*lgg)

    assert result.record.missing_channels == {"a": ("t1n", "t1c")}
    document = json.loads((lgg[2] / "scores.json").read_text())
    assert document["groups"] == {"a": {"institution": "A"}, "b": {"institution": "B"}}
    assert document["missing_channels"] == {"a": ["t1n", "t1c"]}
    assert document["group_scores"]["institution"]["B"]["WT"]["dice"]["mean"] == 1
    assert list(document["group_scores"]["missing channels"]) == ["none", "t1n t1c"]
    assert "missing channels,t1n t1c,WT,1,0," in (lgg[2] / "groups.csv").read_text()


@pytest.mark.parametrize("cases", [None, ["a"], {"a": None}])
def test_a_manifest_of_another_kind_names_no_scheme_and_no_missing_channels(lgg, cases):
    (lgg[0] / "manifest.json").write_text(json.dumps({"labels": "lgg", "cases": cases}))

    with pytest.raises(LabelError, match="is no manifest of volseg"):
        evaluate(*lgg)
    assert evaluate(*lgg, labels="lgg").record.missing_channels == {}


def test_with_a_known_size_of_a_voxel_a_stack_has_mm_and_ml(lgg, tmp_path):
    case = stack(tmp_path / "scans" / "a", "a", spacing_mm=(0.5, 2.0, 4.0))
    write_data_list(lgg[1], DataList("x", case.channels, (case,)), tmp_path)

    row = score(evaluate(*lgg), "a")

    assert row["reference_volume_ml"] == pytest.approx(16 * 0.5 * 2 * 4 / 1000)
    # One of 13 voxels lies hypot(0.5, 2, 4) = 4.5 mm off, at rank 12; 95 % are at rank 11.4.
    assert row["hd95_mm"] == pytest.approx(0.4 * 4.5)


def test_the_prediction_of_a_stack_may_be_a_volume_as_infer_writes_it(lgg):
    folder = lgg[0] / "a"
    masks = [folder / name for name in names("a")]
    label_map, grid = read_stack_label_map(masks, None)
    as_masks = evaluate(*lgg).table
    shutil.rmtree(folder)
    nib.save(nib.Nifti1Image(label_map, grid.affine), lgg[0] / "a.nii.gz")

    assert evaluate(*lgg).table == as_masks


def test_a_volume_elsewhere_is_no_prediction_of_a_stack(lgg):
    shutil.rmtree(lgg[0] / "a")
    nib.save(nib.Nifti1Image(PREDICTION, np.diag([1.0, 1.0, 1.0, 1.0])), lgg[0] / "a.nii.gz")

    ((case_id, reason),) = evaluate(*lgg).failures

    assert case_id == "a"
    assert reason.startswith("prediction lies ")
    assert reason.endswith("; predict the slices of the reference, as masks or as a NIfTI file by "
                           "volseg infer")  # fmt: skip


def test_masks_and_a_volume_of_one_case_fail_it(lgg):
    nib.save(nib.Nifti1Image(PREDICTION, np.eye(4)), lgg[0] / "a.nii.gz")

    ((case_id, reason),) = evaluate(*lgg).failures

    assert case_id == "a"
    assert reason.endswith(
        f"a.nii.gz and {lgg[0] / 'a' / 'a_9.tif'} belong to the same case; keep one"
    )


def test_an_unfinished_folder_of_masks_does_not_stand_in_the_way_of_a_volume(lgg):
    _, grid = read_stack_label_map([lgg[0] / "a" / name for name in names("a")], None)
    nib.save(nib.Nifti1Image(PREDICTION, grid.affine), lgg[0] / "a.nii.gz")
    (lgg[0] / "a" / "a_9.tif").unlink()

    assert evaluate(*lgg).failures == ()


def test_a_slice_without_a_prediction_fails_its_case_and_is_named(lgg):
    (lgg[0] / "a" / "a_10.tif").unlink()

    result = evaluate(*lgg)

    ((case_id, reason),) = result.failures
    assert case_id == "a"
    assert (
        reason == f"slice 2 (a_10.tif) has no prediction in {lgg[0] / 'a'}; segment the case again"
    )
    assert result.table.cases("failed") == ("a",)
    assert result.record.slices.summary()["WT"]["all_slices"]["n"] == 3


def test_a_slice_with_two_predictions_fails_its_case(lgg):
    shutil.copy(lgg[0] / "a" / "a_10.tif", lgg[0] / "a" / "a_10_mask.tif")

    ((_, reason),) = evaluate(*lgg).failures

    assert "a_10.tif and " in reason
    assert reason.endswith("a_10_mask.tif show the same slice; keep one")


def test_a_case_without_any_masks_is_missing_and_masks_of_no_case_are_named(lgg):
    (lgg[0] / "a").rename(lgg[0] / "other")
    (lgg[0] / ".unfinished").mkdir()
    shutil.copy(lgg[0] / "b" / "b_9.tif", lgg[0] / ".unfinished")

    result = evaluate(*lgg)

    assert result.missing == ("a",)
    assert result.without_reference == ("other",)


def test_slices_of_another_size_are_named_on_both_sides(lgg):
    write_slices(lgg[0] / "a", np.zeros((5, 5, 3), np.uint8), names("a"))

    ((case_id, reason),) = evaluate(*lgg).failures

    assert case_id == "a"
    assert "a_9.tif has 5 x 5 pixels, but reference " in reason
    assert reason.endswith("a_9_mask.tif has 6 x 5; predict slices of that size")


def test_one_slice_of_another_size_is_named(lgg):
    write_slices(lgg[0] / "a", np.zeros((5, 5, 1), np.uint8), ["a_10.tif"])

    ((_, reason),) = evaluate(*lgg).failures

    assert "a_10.tif has 5 x 5 pixels, but " in reason


def test_label_values_outside_the_scheme_are_refused_with_the_folder_named(lgg):
    for name in names("a"):
        Image.fromarray((PREDICTION[..., 0] * 3).T).save(lgg[0] / "a" / name)

    with pytest.raises(LabelError, match=f"prediction {lgg[0] / 'a'} holds .3., but scheme 'lgg'"):
        evaluate(*lgg)


# Cases of one slice


@pytest.fixture
def pairs(tmp_path):
    """Three cases of one slice, their predictions side by side; the image of 3 is a JPEG."""
    cases = []
    for number, suffix in ((1, ".png"), (2, ".png"), (3, ".jpg")):
        image = tmp_path / "images" / f"{number}{suffix}"
        label = write_slices(tmp_path / "masks", REFERENCE[..., :1], [f"{number}.png"])
        write_masks(tmp_path / "predictions", PREDICTION[..., 1:2], [image], binary=True)
        cases.append(SliceStackCase(str(number), str(number), (image,), ("t1c",), label, "binary"))
    write_data_list(tmp_path / "list.json", DataList("x", ("t1c",), tuple(cases)), tmp_path)
    return tmp_path / "predictions", tmp_path / "list.json", tmp_path / "scores"


def test_a_case_of_one_slice_has_its_mask_beside_the_others(pairs):
    result = evaluate(*pairs, labels="binary")

    assert result.table.cases("scored") == ("1", "2", "3")
    for kind in ("tumour_slices", "all_slices"):
        means = result.record.slices.summary()["foreground"][kind]
        assert (means["n"], means["dice"]) == (3, pytest.approx(2 / 3))
        of_json = json.loads((pairs[2] / "scores.json").read_text())
        low, high = of_json["slice_intervals"]["foreground"][kind]["dice"]
        assert low <= means["dice"] <= high
    assert "patients" in of_json["slice_definitions"]["interval"]
    assert result.record.by_group.rows == ()


def test_pictures_and_probabilities_beside_masks_are_told_from_them(pairs):
    for name in ("1_foreground.png", "curves.png"):
        shutil.copy(pairs[0] / "1.png", pairs[0] / name)

    result = evaluate(*pairs, labels="binary")

    assert result.failures == ()
    assert result.without_reference == ("curves",)


def test_a_mask_that_bears_the_name_of_two_cases_is_the_prediction_of_neither(tmp_path):
    cases = [stack(tmp_path / one, "s", REFERENCE[..., :1]) for one in "ab"]
    named = [
        SliceStackCase(i, i, c.images, c.channels, c.label, "lgg")
        for i, c in zip("ab", cases, strict=True)
    ]
    write_data_list(tmp_path / "list.json", DataList("x", ("t1n",), tuple(named)), tmp_path)
    write_slices(tmp_path / "predictions", REFERENCE[..., :1], ["s_9.tif"])
    arguments = (tmp_path / "predictions", tmp_path / "list.json", tmp_path / "scores", "lgg")

    reasons = dict(evaluate(*arguments).failures)

    assert set(reasons) == {"a", "b"}
    assert (
        "s_9.tif is named like an image of 2 cases; put the masks of each case into" in reasons["a"]
    )
    for case_id in "ab":
        write_slices(tmp_path / "predictions" / case_id, REFERENCE[..., :1], ["s_9.tif"])
    assert evaluate(*arguments).table.cases("scored") == ("a", "b")


# References in folders


def test_the_reference_may_be_a_folder_of_slices(lgg, tmp_path):
    for case_id in "ab":
        for name in names(case_id):
            Image.fromarray(np.zeros((5, 6, 3), np.uint8)).save(tmp_path / "scans" / case_id / name)

    result = evaluate(lgg[0], tmp_path / "scans", lgg[2], **LGG)

    assert result.table.cases("scored") == ("a", "b")
    assert score(result, "a")["dice"] == pytest.approx(24 / 29)
    assert result.record.slices.summary()["WT"]["all_slices"]["n"] == 6


def test_the_reference_may_be_a_folder_of_masks_alone(lgg, tmp_path):
    # Named as the slices they are masks of, and as those of `infer`.
    with_list = evaluate(*lgg).table
    for case_id in "ab":
        write_slices(tmp_path / "reference" / case_id, REFERENCE, names(case_id))

    for folder in ("scans", "reference"):
        result = evaluate(lgg[0], tmp_path / folder, lgg[2], **LGG)
        assert result.table == with_list


def test_previews_in_a_folder_of_masks_are_no_reference(lgg):
    draw_previews(lgg[0])

    result = evaluate(lgg[0], lgg[0], lgg[2], **LGG)

    assert result.table.cases("scored") == ("a", "b")
    assert not result.missing
    assert not result.failures


def test_a_report_on_masks_alone_draws_no_case_and_says_why(lgg, tmp_path):
    evaluate(lgg[0], lgg[0], lgg[2], **LGG)

    result = report(lgg[2], tmp_path / "report.html")

    assert not result.failures
    assert not (lgg[2] / "samples.png").exists()
    assert "the reference has label maps but no images" in result.pages[0].read_text()


def test_masks_side_by_side_are_cases_of_one_slice(pairs, tmp_path):
    result = evaluate(pairs[0], tmp_path / "masks", pairs[2], "binary", "binary")

    assert result.table.cases("scored") == ("1", "2", "3")


def test_two_masks_of_one_case_of_the_reference_fail_that_case_alone(pairs, tmp_path):
    shutil.copy(tmp_path / "masks" / "1.png", tmp_path / "masks" / "1.bmp")

    ((case_id, reason),) = evaluate(
        pairs[0], tmp_path / "masks", pairs[2], "binary", "binary"
    ).failures

    assert case_id == "1"
    assert reason.endswith("belong to the same case; keep one")


def test_what_masks_alone_mean_is_asked_for(pairs, tmp_path):
    with pytest.raises(LabelError, match=r"is not clear: 3 cases .* binary; .*--reference-labels"):
        evaluate(pairs[0], tmp_path / "masks", pairs[2], "binary")


def test_predictions_with_other_names_are_shown_with_what_was_expected(lgg):
    for case_id in "ab":
        (lgg[0] / case_id).rename(lgg[0] / f"result{case_id}")

    with pytest.raises(
        DataListError, match=r"found resulta, resultb, expected a, b; name .*<case_id>/"
    ):
        evaluate(*lgg)


# Slices of volumes


def test_slices_of_volumes_are_scored_when_asked_for(tmp_path):
    for side, label_map in (("reference", REFERENCE), ("predictions", PREDICTION)):
        (tmp_path / side).mkdir()
        nib.save(nib.Nifti1Image(label_map, np.eye(4)), tmp_path / side / "a.nii.gz")
    folders = (tmp_path / "predictions", tmp_path / "reference", tmp_path / "scores")

    without = evaluate(*folders, **LGG)
    files = {path.name for path in folders[2].iterdir()}
    result = evaluate(*folders, **LGG, slices=True)

    assert without.record.slices.rows == ()
    assert files == {"scores.csv", "scores.json"}
    assert result.table == without.table
    assert [row.overlap.dice for row in result.record.slices.rows] == [1, pytest.approx(2 / 3), 0]
    assert (folders[2] / "slices.csv").is_file()


def test_real_slices_against_a_prediction_that_misses_a_row_of_pixels(real_data, tmp_path):
    patient = "TCGA_CS_4941_19960909"
    home = real_data / "lgg" / "kaggle_3m"
    images = [home / patient / f"{patient}_{number}.tif" for number in range(1, 24)]
    masks = [path.with_name(f"{path.stem}_mask.tif") for path in images]
    stored = np.stack([np.asarray(Image.open(path)) for path in masks]) > 0
    predicted = np.roll(stored, 3, axis=1)
    (tmp_path / "predictions" / patient).mkdir(parents=True)
    for image, page in zip(images, predicted, strict=True):
        Image.fromarray(page.astype(np.uint8) * 255).save(
            tmp_path / "predictions" / patient / image.name
        )
    (tmp_path / "predictions" / "manifest.json").write_text(json.dumps({"labels": "lgg"}))

    result = evaluate(tmp_path / "predictions", home / patient, tmp_path / "scores")

    shared, sizes = (stored & predicted).sum((1, 2)), (stored.sum((1, 2)) + predicted.sum((1, 2)))
    some = stored.any((1, 2))
    means = result.record.slices.summary()["WT"]
    assert score(result, patient)["dice"] == pytest.approx(2 * shared.sum() / sizes.sum())
    assert means["tumour_slices"]["n"] == some.sum()
    assert means["tumour_slices"]["dice"] == pytest.approx((2 * shared[some] / sizes[some]).mean())
    assert means["all_slices"]["n"] == 23


# What is printed


def printed(capsys, *words):
    app([str(word) for word in ("evaluate", *words)], standalone_mode=False)
    return capsys.readouterr().out


def test_scores_are_shown_by_patient_then_by_slice_then_by_group(lgg, capsys):
    cases = {"a": {"missing_channels": ["t1n", "t1c"]}}
    (lgg[0] / "manifest.json").write_text(json.dumps({"labels": "lgg", "cases": cases}))

    output = printed(capsys, lgg[0], lgg[1], "-o", lgg[2])

    titles = [
        "Scores by case", "By slice", "By group", "Cases with missing channels",
    ]  # fmt: skip
    places = [output.index(title) for title in titles]
    assert places == sorted(places)
    # Dice of a and b: 24/29 and 1; of slices with tumour 1, 2/3, 1, 1; of all, also 0 and 1.
    assert re.search(r"WT +│ mean +│ 0.914 ", output)
    assert re.search(r"WT +│ with tumour in the reference +│ 4 +│ 0.917 ", output)
    assert re.search(r"  +│ all, empty in both counts as 1 +│ 6 +│ 0.778 ", output)
    assert re.search(r"institution +│ A +│ WT +│ 1 +│ 0.828 +│ 0.828 ", output)
    assert re.search(r"missing channels +│ none +│ WT +│ 1 +│ 1.000 ", output)
    assert re.search(r"a +│ t1n t1c +│ 0.828 ", output)
    assert "voxel size is not known: 2 cases" in output
    assert "scores.csv, scores.json, slices.csv, groups.csv" in output


def test_of_volumes_neither_slices_nor_groups_are_shown_unless_asked_for(tmp_path, capsys):
    for side in ("reference", "predictions"):
        (tmp_path / side).mkdir()
        nib.save(nib.Nifti1Image(REFERENCE, np.eye(4)), tmp_path / side / "a.nii.gz")
    words = [tmp_path / "predictions", tmp_path / "reference", "-o", tmp_path / "scores"]
    words += ["--labels", "lgg", "--reference-labels", "lgg"]

    without = printed(capsys, *words)
    asked = printed(capsys, *words, "--slices")

    assert "By " not in without
    assert "missing channels" not in without
    assert "not known" not in without
    assert re.search(r"with tumour in the reference +│ 2 +│ 1.000 ", asked)


def test_of_stacks_those_of_known_voxel_size_have_official_scores(tmp_path):
    facts = {"a": {"spacing_mm": (1.0, 1.0, 5.0)}, "b": {}}
    cases = [stack(tmp_path / "scans" / name, name, **of) for name, of in facts.items()]
    for name in facts:
        write_slices(tmp_path / "predictions" / name, PREDICTION, names(name))
    listed = tmp_path / "list.json"
    write_data_list(listed, DataList("x", ("t1n", "t2f", "t1c"), tuple(cases)), tmp_path)

    result = evaluate(
        tmp_path / "predictions", listed, tmp_path / "s", "lgg", protocols=["brats2023-gli"]
    )

    reason = (
        "brats2023-gli: the voxel size is not known, but official protocols measure lesions in mm; "
        "give it with volseg split --spacing"
    )
    assert result.failures == (("b", reason),)
    (record,) = result.record.protocols
    scored, failed = record.table.rows
    assert (scored.status, failed.status) == ("scored", "failed")
    assert scored["reference_volume_ml"] == pytest.approx(16 * 5 / 1000)
    assert result.table.cases("scored") == ("a", "b")


def draw_previews(folder):
    for name in ("previews/a.png", "previews/b.png", "previews.png", "previews-2.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.new("RGB", (3, 2)).save(folder / name)


def test_previews_and_contact_sheets_of_infer_are_no_predictions(lgg):
    draw_previews(lgg[0])

    assert evaluate(*lgg).without_reference == ()

    (lgg[0] / "manifest.json").unlink()
    # Without a manifest `infer` did not write them.
    found = evaluate(*lgg, **LGG).without_reference
    assert found == ("previews", "previews-2")


def test_masks_of_a_case_called_previews_are_its_prediction(lgg):
    cases = tuple(stack(lgg[1].parent / "scans" / name, name) for name in ("a", "previews"))
    write_data_list(lgg[1], DataList("x", ("t1n", "t2f", "t1c"), cases), lgg[1].parent)
    write_slices(lgg[0] / "previews", REFERENCE, names("previews"))

    result = evaluate(*lgg)

    assert (score(result, "previews")["dice"], result.without_reference) == (1, ("b",))
