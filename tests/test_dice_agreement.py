"""Predicted against true Dice in `evaluate`: figures by hand, edited results, its files."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from volseg.cases.sources import fingerprint
from volseg.cli import app
from volseg.errors import DataListError
from volseg.labels import get_scheme
from volseg.metrics.reading import read_summary
from volseg.model_header import describe_scheme
from volseg.tasks.evaluate import evaluate

# Each reference has 4 voxels; of a prediction of n voxels in it, Dice is 2 n / (n + 4).
SIZES = {"a": 4, "b": 2, "c": 1, "d": 0}
TRUE = {"a": 1.0, "b": 2 / 3, "c": 0.4, "d": 0.0}
PREDICTED = {"a": 0.9, "b": 0.8, "c": 0.5, "d": 0.6}


def write_line(path, voxels):
    label_map = np.zeros((8, 4, 4), np.uint8)
    label_map[:voxels, 0, 0] = 1
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(label_map, np.eye(4)), path)


@pytest.fixture
def folders(tmp_path):
    """Results with a predicted Dice of four cases, their references, and a folder for scores."""
    records = {}
    for name, voxels in SIZES.items():
        write_line(tmp_path / "reference" / f"{name}.nii.gz", 4)
        path = tmp_path / "results" / f"{name}.nii.gz"
        write_line(path, voxels)
        dice = PREDICTED[name]
        records[name] = {
            "output": path.name,
            "files": [{"file": path.name, **fingerprint(path)}],
            "predicted_dice": {"WT": {"dice": dice, "low": 0.0, "high": 1.0}},
        }
    write_manifest(tmp_path / "results", records)
    return tmp_path / "results", tmp_path / "reference", tmp_path / "scores"


def write_manifest(folder, records):
    labels = describe_scheme(get_scheme("lgg"))
    manifest = {"volseg": "0.1.0", "models": [], "labels": labels, "cases": records}
    (folder / "manifest.json").write_text(json.dumps(manifest))


def agreement_of(folders):
    return evaluate(*folders, reference_labels="lgg").predicted_dice


def test_the_rank_correlation_and_the_mean_difference_are_those_counted_by_hand(folders):
    found = agreement_of(folders).regions["WT"]

    assert found.figures.cases == 4
    assert found.figures.mae == pytest.approx((0.1 + 0.8 - 2 / 3 + 0.1 + 0.6) / 4)
    # Ranks 4 3 1 2 and 4 3 2 1: 1 - 6 (0 + 0 + 1 + 1) / (4 * 15).
    assert found.figures.spearman == pytest.approx(0.8)
    low, high = found.mae_interval
    assert 0.099 < low < found.figures.mae < high < 0.601


def test_the_agreement_is_in_the_scores_and_on_the_screen(folders):
    words = ["evaluate", *map(str, folders[:2]), "-o", str(folders[2]), "--reference-labels", "lgg"]

    printed = CliRunner().invoke(app, words)

    assert printed.exit_code == 0, printed.output
    assert "Predicted against true Dice" in printed.stdout
    assert "0.80" in printed.stdout
    entry = read_summary(folders[2] / "scores.json")["predicted_dice"]
    assert entry["regions"]["WT"]["spearman"] == pytest.approx(0.8)
    assert entry["regions"]["WT"]["cases"] == 4
    assert entry["regions"]["WT"].keys() <= {
        name for names in entry["definitions"] for name in names.split(", ")
    }


def test_a_label_map_that_was_edited_since_is_left_out_and_named(folders):
    write_line(folders[0] / "d.nii.gz", 4)

    found = agreement_of(folders)

    assert found.edited == ("d",)
    assert found.regions["WT"].figures.cases == 3
    assert json.loads((folders[2] / "scores.json").read_text())["predicted_dice"]["edited"] == ["d"]


def test_a_case_with_an_edited_map_of_probabilities_is_compared(folders):
    manifest = json.loads((folders[0] / "manifest.json").read_text())
    path = folders[0] / "d_WT.nii.gz"
    path.write_bytes(b"as written")
    record = manifest["cases"]["d"]
    record["files"].append({"file": path.name, **fingerprint(path)})
    write_manifest(folders[0], manifest["cases"] | {"d": record | {"probabilities": [path.name]}})
    path.write_bytes(b"edited")

    found = agreement_of(folders)

    assert found.edited == ()
    assert found.regions["WT"].figures.cases == 4


def mark(folder, names, **entries):
    manifest = json.loads((folder / "manifest.json").read_text())
    for name in names:
        manifest["cases"][name] |= entries
    write_manifest(folder, manifest["cases"])


def test_patients_of_the_training_are_left_out_and_those_of_the_fit_are_named(folders):
    mark(folders[0], "d", trained_by=["runs/unet"])
    mark(folders[0], "ab", is_of_fit=True)

    found = agreement_of(folders)

    assert found.regions["WT"].figures.cases == 3
    assert found.notes == [
        "Predicted Dice: without 1 case whose patients the model was trained on: d",
        "These figures are too good, as the predicted Dice was fitted on the patients of 2 cases "
        "of them: a, b",
    ]
    entry = read_summary(folders[2] / "scores.json")["predicted_dice"]
    assert (entry["trained"], entry["of_fit"]) == (["d"], ["a", "b"])


def test_results_without_a_predicted_dice_have_no_such_entry(folders):
    manifest = json.loads((folders[0] / "manifest.json").read_text())
    records = {name: {"output": of["output"]} for name, of in manifest["cases"].items()}
    write_manifest(folders[0], records)

    assert agreement_of(folders).regions == {}
    assert "predicted_dice" not in json.loads((folders[2] / "scores.json").read_text())


def test_two_cases_have_no_rank_correlation(folders):
    for name in "cd":
        (folders[1] / f"{name}.nii.gz").unlink()

    figures = agreement_of(folders).regions["WT"].figures

    assert (figures.cases, figures.spearman) == (2, None)


@pytest.mark.parametrize("edited", [{"regions": 3}, {"regions": {"WT": {"cases": -1}}}, "all"])
def test_an_edited_entry_of_the_scores_is_refused(folders, edited):
    agreement_of(folders)
    path = folders[2] / "scores.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"predicted_dice": edited}))

    with pytest.raises(DataListError, match="predicted_dice"):
        read_summary(path)
