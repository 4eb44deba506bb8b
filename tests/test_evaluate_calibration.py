"""Calibration in `evaluate`: counts by hand, before and after a temperature, and its files."""

from __future__ import annotations

import csv
import json

import numpy as np
import pytest
from nifti_files import save
from PIL import Image
from typer.testing import CliRunner

from volseg import cli
from volseg.confidence.temperature import tempered
from volseg.errors import DataListError
from volseg.metrics.reading import read_summary
from volseg.tasks.evaluate import evaluate

SHAPE, AFFINE = (24, 20, 16), np.diag([1.0, 1.0, 1.0, 1.0])
CASES = ["P1", "P2"]
LGG = {"name": "lgg", "labels": {"1": "tumour"}, "regions": {"WT": [1]}}
# A cube of 0.8 written probability, shifted by half of its width from the reference.
CUBE, TUMOUR = np.s_[8:16, 6:14, 4:12], np.s_[12:20, 6:14, 4:12]
VOXELS = 24 * 20 * 16  # with its margin of 10 voxels, the box is the whole image


@pytest.fixture
def folders(tmp_path):
    """Predictions of two cases with maps; the temperature was 2."""
    records = {}
    for name in ("predictions", "reference"):
        (tmp_path / name).mkdir()
    for case_id in CASES:
        label_map, reference = np.zeros((2, *SHAPE), np.uint8)
        label_map[CUBE], reference[TUMOUR] = 1, 1
        save(tmp_path / "predictions" / f"{case_id}.nii.gz", label_map, AFFINE)
        save(tmp_path / "reference" / f"{case_id}.nii.gz", reference, AFFINE)
        probabilities = np.zeros(SHAPE, np.float32)
        probabilities[CUBE] = 0.8
        save(tmp_path / "predictions" / f"{case_id}_WT.nii.gz", probabilities, AFFINE)
        records[case_id] = {
            "output": f"{case_id}.nii.gz",
            "probabilities": [f"{case_id}_WT.nii.gz"],
            "resolved": [{"temperature": {"WT": 2.0}}],
        }
    manifest = {"volseg": "1", "models": [], "labels": LGG, "cases": records}
    (tmp_path / "predictions" / "manifest.json").write_text(json.dumps(manifest))
    return tmp_path


def scored(folders, **options):
    return evaluate(
        folders / "predictions", folders / "reference", folders / "scores", reference_labels="lgg"
    )


def change(folders, case_id, **entries):
    path = folders / "predictions" / "manifest.json"
    content = json.loads(path.read_text())
    content["cases"][case_id] |= entries
    path.write_text(json.dumps(content))


def test_calibration_errors_are_those_counted_by_hand(folders):
    """0.8 at temperature 2 was odds of 16: 16/17. Half of a cube of 512 is in the reference."""
    table = scored(folders).record.calibration

    def by_hand(probability):
        return (abs(probability * 512 - 256) + 256) / VOXELS

    of = table.regions["WT"]
    assert of.cases == 2
    assert of.temperatures == (2.0,)
    assert of.after.voxels.sum() == 2 * VOXELS
    assert of.after.ece == pytest.approx(by_hand(0.8))
    assert of.before.ece == pytest.approx(by_hand(16 / 17), rel=1e-5)
    assert of.after.curve == [(0.0, pytest.approx(256 / (VOXELS - 512))), (pytest.approx(0.8), 0.5)]


def test_all_digits_are_in_scores_json_and_the_curve_in_csv(folders):
    table = scored(folders).record.calibration

    recorded = read_summary(folders / "scores" / "scores.json")["calibration"]
    of = recorded["regions"]["WT"]
    assert of["after"]["ece"] == table.regions["WT"].after.ece
    assert of["before"]["ece"] == table.regions["WT"].before.ece
    assert len(of["after"]["curve"]) == 10
    assert of["after"]["curve"][5] == {
        "low": 0.5,
        "high": 0.6,
        "voxels": 0,
        "probability": None,
        "share": None,
    }
    assert "10 more on each side" in recorded["definitions"]["voxels"]
    with (folders / "scores" / "calibration.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["region"], row["temperature"]) for row in rows] == [
        ("WT", part) for part in ("before", "after") for _ in range(10)
    ]
    assert rows[18] == {
        "region": "WT",
        "temperature": "after",
        "low": "0.8",
        "high": "0.9",
        "voxels": "1024",
        "probability": "0.8",
        "share": "0.5",
    }
    with Image.open(folders / "scores" / "calibration.png") as picture:
        assert picture.size[0] > 300


@pytest.mark.parametrize(("temperature", "difference"), [(0.5, 5e-4), (1.3, 1e-6), (4.0, 1e-6)])
def test_the_inverse_of_the_temperature_gives_the_probabilities_before(temperature, difference):
    """Below 1, a temperature draws probabilities so near to 1 that float32 has few left."""
    before = np.random.default_rng(0).random(10_000).astype(np.float32)

    back = tempered(tempered(before, temperature), 1 / temperature)

    np.testing.assert_allclose(back, before, atol=difference)


def test_without_a_temperature_there_is_one_curve_and_no_note(folders):
    for case_id in CASES:
        change(folders, case_id, resolved=[{}])

    result = scored(folders)

    assert list(result.record.calibration.regions["WT"].parts) == ["after"]
    assert not any(note.startswith("calibration:") for note in result.notes)


def test_a_temperature_that_may_have_been_fitted_on_these_cases_is_said(folders):
    (note,) = (note for note in scored(folders).notes if note.startswith("calibration:"))

    assert "validation cases" in note


def test_without_maps_nothing_is_written_and_older_files_go(folders):
    first = scored(folders)
    for case_id in CASES:
        change(folders, case_id, probabilities=[])

    second = scored(folders)

    assert {"calibration.csv", "calibration.png"} <= set(first.files)
    assert not {"calibration.csv", "calibration.png"} & set(second.files)
    assert "calibration" not in read_summary(folders / "scores" / "scores.json")
    assert not list((folders / "scores").glob("calibration.*"))
    (note,) = (note for note in second.notes if note.startswith("removed"))
    assert "calibration.csv, calibration.png" in note


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("missing", "P2_WT.nii.gz"),
        ("shape", "has shape (24, 20, 15), but the reference (24, 20, 16)"),
        ("unrecorded", "no map of WT is recorded"),
        ("edited", "P2_WT.nii.gz was edited after volseg wrote it"),
        ("temperature", "inference.temperature 'hot', expected a number"),
    ],
)
def test_a_case_with_an_unusable_map_is_named_and_scored(folders, what, why):
    path = folders / "predictions" / "P2_WT.nii.gz"
    if what == "missing":
        path.unlink()
    elif what == "shape":
        save(path, np.random.default_rng(0).random((24, 20, 15), np.float32), AFFINE)
    elif what == "unrecorded":
        change(folders, "P2", probabilities=["P2_ET.nii.gz"])
    elif what == "edited":
        mark = {"file": path.name, "bytes": 1, "sha256": "0" * 64}
        change(folders, "P2", files=[mark])
    else:
        change(folders, "P2", resolved=[{"temperature": "hot"}])

    result = scored(folders)

    assert why in result.record.calibration.left_out["P2"]
    assert result.record.calibration.regions["WT"].cases == 1
    assert result.failures == ()
    assert result.table.cases("scored") == ("P1", "P2")
    recorded = read_summary(folders / "scores" / "scores.json")["calibration"]
    assert why in recorded["left_out"]["P2"]


def test_several_processes_count_the_same_voxels(folders):
    one = scored(folders).record.calibration.regions["WT"]

    many = evaluate(
        *(folders / "predictions", folders / "reference", folders / "other"),
        reference_labels="lgg",
        workers=2,
    ).record.calibration.regions["WT"]

    assert many.to_dict() == one.to_dict()


def test_the_terminal_shows_both_errors_and_the_report_both_curves(folders):
    words = ["evaluate", folders / "predictions", folders / "reference", "-o", folders / "scores"]
    words += ["--reference-labels", "lgg", "--report"]

    result = CliRunner().invoke(cli.app, list(map(str, words)), env={"COLUMNS": "200"})

    assert result.exit_code == 0, result.output
    assert "Calibration of the written probabilities" in result.output
    table = scored(folders).record.calibration.regions["WT"]
    for part in (table.before, table.after):
        assert f"{part.ece:.4f}" in result.output
    page = (folders / "scores" / "report.html").read_text()
    assert "Reliability before the temperature" in page
    assert f"{table.before.ece:.4f}" in page


def test_a_calibration_that_was_edited_is_refused(folders):
    scored(folders)
    path = folders / "scores" / "scores.json"
    content = json.loads(path.read_text())
    content["calibration"]["regions"]["WT"]["after"]["ece"] = 2
    path.write_text(json.dumps(content))

    with pytest.raises(DataListError, match="ece"):
        read_summary(path)
