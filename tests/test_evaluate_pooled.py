"""Predictions of several folders, such as of the folds of a cross-validation, scored together."""

import json
import re

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from volseg.cli import app
from volseg.errors import DataListError, LabelError, OutputError
from volseg.tasks.evaluate import evaluate
from volseg.tasks.info import info


def write(path, voxels):
    """A mask whose first `voxels` of 64 voxels are tumour."""
    path.parent.mkdir(parents=True, exist_ok=True)
    label_map = (np.arange(64) < voxels).astype(np.uint8).reshape(4, 4, 4)
    nib.save(nib.Nifti1Image(label_map, np.eye(4)), path)


def record(folder, model, **cases):
    """Manifest of a folder, with its model and, by case, what is recorded of it."""
    manifest = {
        "labels": "lgg",
        "models": [{"path": model}],
        "cases": {case: {"models": [model], **of} for case, of in cases.items()},
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.fixture
def folds(tmp_path):
    """Two folds with two cases each, the references, and a folder for the scores.

    Dice of a, b, c, d: 1, 2/3, 1/2, 0.
    """
    for case, voxels, fold in (("a", 8, 0), ("b", 4, 0), ("c", 24, 1), ("d", 0, 1)):
        write(tmp_path / "reference" / f"{case}.nii.gz", 8)
        write(tmp_path / f"results_{fold}" / f"{case}.nii.gz", voxels)
    record(tmp_path / "results_0", "runs/f0", a={}, b={})
    record(tmp_path / "results_1", "runs/f1", c={"missing_channels": ["t1c"]}, d={})
    return [tmp_path / "results_0", tmp_path / "results_1"], tmp_path / "reference", tmp_path / "s"


def test_means_and_intervals_are_over_the_patients_of_all_folds(folds):
    result = evaluate(*folds, reference_labels="lgg")

    dice = result.table.summary()["WT"]["dice"]
    assert (result.missing, result.failures) == ((), ())
    assert dice["mean"] == pytest.approx((1 + 2 / 3 + 1 / 2 + 0) / 4)
    alone = [evaluate(folder, *folds[1:], reference_labels="lgg") for folder in folds[0]]
    assert [one.table.summary()["WT"]["dice"]["interval"] for one in alone] == [None, None]
    low, high = dice["interval"]
    assert 0 <= low < dice["mean"] < high <= 1


def test_the_folder_and_the_model_of_each_case_are_recorded(folds):
    result = evaluate(*folds, reference_labels="lgg")

    document = json.loads((folds[2] / "scores.json").read_text())
    first, second = map(str, folds[0])
    assert document["predictions"] == [first, second]
    assert document["pooled"] == {
        first: {"cases": ["a", "b"], "models": ["runs/f0"]},
        second: {"cases": ["c", "d"], "models": ["runs/f1"]},
    }
    note = (
        f"predictions of 2 folders are scored together: {first} (2 cases, by runs/f0), "
        f"{second} (2 cases, by runs/f1)"
    )
    assert note in result.notes
    assert document["missing_channels"] == {"c": ["t1c"]}
    # Each fold has its own model; within a fold there is one.
    assert not any("several models" in said for said in result.notes)
    assert info(folds[2] / "scores.json")["predictions"] == [first, second]


def test_a_folder_alone_is_recorded_as_before(folds):
    evaluate(folds[0][0], *folds[1:], reference_labels="lgg")

    document = json.loads((folds[2] / "scores.json").read_text())
    assert document["predictions"] == str(folds[0][0])
    assert "pooled" not in document


def test_a_case_in_two_folders_is_refused_even_if_both_are_equal(folds):
    write(folds[0][1] / "b.nii.gz", 4)

    message = (
        r"^the predictions of case b are in .*results_0 and in .*results_1, but folders that are "
        r"scored together must hold different cases; remove one of them"
    )
    with pytest.raises(DataListError, match=message):
        evaluate(*folds, reference_labels="lgg")
    with pytest.raises(DataListError, match="has a folder twice; give each folder once"):
        evaluate([folds[0][0]] * 2, *folds[1:], reference_labels="lgg")
    assert not folds[2].exists()


def test_a_case_without_a_prediction_in_any_folder_is_missing(folds):
    (folds[0][1] / "d.nii.gz").unlink()
    write(folds[0][0] / "x.nii.gz", 4)

    result = evaluate(*folds, reference_labels="lgg")

    assert result.missing == ("d",)
    assert result.without_reference == ("x",)
    assert result.table.summary()["WT"]["n_missing"] == 1


def test_folders_of_different_schemes_are_not_scored_together(folds):
    manifest = folds[0][1] / "manifest.json"
    manifest.write_text(manifest.read_text().replace("lgg", "binary"))

    with pytest.raises(LabelError, match=r"results_0 has label scheme lgg, but .* has binary;"):
        evaluate(*folds, reference_labels="lgg")


def test_an_unfinished_folder_is_named(folds):
    manifest = json.loads((folds[0][1] / "manifest.json").read_text())
    (folds[0][1] / "manifest.json").write_text(json.dumps(manifest | {"unfinished": {"c": []}}))

    with pytest.raises(OutputError, match=r"results_1 is not complete"):
        evaluate(*folds, reference_labels="lgg")


def test_scores_of_other_folders_that_are_replaced_are_named(folds):
    evaluate(*folds, reference_labels="lgg")
    again = evaluate(*folds, reference_labels="lgg")
    other = evaluate(folds[0][0], *folds[1:], reference_labels="lgg")

    first, second = folds[0]
    assert not any("replaced" in note for note in again.notes)
    assert f"replaced the scores of {first}, {second} in {folds[2]}" in other.notes


def test_the_command_takes_several_folders_before_the_reference(folds):
    words = [*map(str, folds[0]), str(folds[1]), "-o", str(folds[2])]

    done = CliRunner().invoke(app, ["evaluate", *words, "--reference-labels", "lgg"])

    assert done.exit_code == 0, done.output
    assert re.search(r"WT +│ mean +│ 0\.542 ", done.output)
