"""Cases that the model was trained on are named by `infer`, `evaluate`, `report` and `compare`."""

from __future__ import annotations

import json
import logging
import shutil

import pytest
from tiny_models import write_model

from volseg.cases.data_list import read_data_list
from volseg.comparison.notes import notes
from volseg.comparison.pooling import Folds, read_folds
from volseg.comparison.scored_run import read_run
from volseg.comparison.side_by_side import line_up
from volseg.inference.options import InferOptions
from volseg.reporting.build import build_report
from volseg.reporting.results import read_results
from volseg.results.manifest import read_manifest
from volseg.tasks.evaluate import evaluate
from volseg.tasks.infer import infer

QUICK = InferOptions(preview=False)


TRAINED = "2 of 4 cases (BraTS-GLI-90001-000, BraTS-GLI-90002-000)"


@pytest.fixture(scope="module")
def segmented(tmp_path_factory, cohort):
    """A run validated on fold 0 of the cohort, and its results of all four cases."""
    folder = tmp_path_factory.mktemp("trained")
    run = make_run(folder / "laptop", cohort, 0)
    infer(cohort / "scans", run / "model.safetensors", folder / "results", QUICK)
    evaluate(folder / "results", cohort / "scans", folder / "scores", reference_labels="brats2023")
    return folder


def make_run(run, cohort, fold):
    run.mkdir()
    listed = json.loads((cohort / "list.json").read_text())
    listed |= {"data_root": str(cohort / "scans")}
    listed.pop("sha256", None)
    (run / "data_list.json").write_text(json.dumps(listed))
    data = {"data_list": "list.json", "fold": fold, "patch_size": [16] * 3, "spacing_mm": [4] * 3}
    write_model(run / "model.safetensors", labels="brats2023", data=data)
    return run


def split_ids(cohort, fold):
    training, validation = read_data_list(cohort / "list.json").split(fold)
    return [{case.case_id for case in side} for side in (training, validation)]


def test_each_result_of_a_trained_patient_has_the_run_in_its_record(segmented, cohort):
    training, validation = split_ids(cohort, 0)

    records = read_manifest(segmented / "results")["cases"]

    assert records.keys() == training | validation
    trained_by = {name: record.get("trained_by") for name, record in records.items()}
    run = [str(segmented / "laptop")]
    assert trained_by == dict.fromkeys(training, run) | dict.fromkeys(validation)


def test_infer_says_how_many_cases_were_trained_on(segmented, cohort, caplog):
    infer(cohort / "scans", segmented / "laptop", segmented / "results", QUICK)

    said = f"by their patients, {TRAINED} are in the training part of {segmented / 'laptop'}"
    assert [r.levelno for r in caplog.records if r.message == said] == [logging.WARNING]


def test_scores_of_trained_cases_have_a_note_wherever_they_are_shown(segmented, cohort):
    scores = segmented / "scores"
    said = (
        f"by their patients, {TRAINED} are in the training part of {segmented / 'laptop'}: such "
        "scores say nothing about other patients"
    )

    result = evaluate(segmented / "results", cohort / "scans", scores)

    assert said in result.notes
    assert said in build_report(read_results(scores), 0).warnings
    compared = line_up([read_run(scores, "a"), read_run(scores, "b")])
    assert [note for note in notes(compared) if said in note] == [f"a: {said}.", f"b: {said}."]


def test_the_report_of_results_alone_names_them_too(segmented):
    (said,) = [
        warning
        for warning in build_report(read_results(segmented / "results"), 0).warnings
        if "training part" in warning
    ]

    assert said.startswith(f"by their patients, {TRAINED} are in the training part of ")


def test_cases_of_pooled_scores_are_counted_together(segmented, cohort, tmp_path):
    for number, case in enumerate(sorted(set.union(*split_ids(cohort, 0)))):
        part = tmp_path / f"part{number}"
        shutil.copytree(segmented / "results", part / "results")
        for path in (part / "results").glob("*.nii.gz"):
            if path.name != f"{case}.nii.gz":
                path.unlink()
        listed = json.loads((cohort / "list.json").read_text())
        listed["training"] = [one for one in listed["training"] if one["case_id"] == case]
        listed |= {"data_root": str(cohort / "scans")}
        listed.pop("sha256", None)
        (part / "list.json").write_text(json.dumps(listed))
        evaluate(part / "results", part / "list.json", part / "scores")

    pooled = read_folds(Folds("cv", tuple(tmp_path / f"part{n}" / "scores" for n in range(4))))

    assert any(doubt.startswith("by their patients, 2 of 4 cases") for doubt in pooled.doubts)


def test_cases_of_a_validation_fold_are_not_in_doubt(segmented, cohort, tmp_path, caplog):
    (tmp_path / "scans").mkdir()
    for case in split_ids(cohort, 0)[1]:
        shutil.copytree(cohort / "scans" / case, tmp_path / "scans" / case)

    infer(tmp_path / "scans", segmented / "laptop", tmp_path / "results", QUICK)
    result = evaluate(tmp_path / "results", tmp_path / "scans", tmp_path / "scores")

    assert "training part" not in caplog.text
    assert not any("training part" in note for note in result.notes)
    assert "trained_cases" not in json.loads((tmp_path / "scores" / "scores.json").read_text())


def test_nothing_is_said_of_a_model_without_its_run(segmented, cohort, tmp_path, caplog):
    shutil.copy(segmented / "laptop" / "model.safetensors", tmp_path / "model.safetensors")

    infer(cohort / "scans", tmp_path / "model.safetensors", tmp_path / "results", QUICK)

    assert "training part" not in caplog.text


def test_a_damaged_list_of_the_run_does_not_stop_infer(segmented, cohort, tmp_path, caplog):
    shutil.copytree(segmented / "laptop", tmp_path / "laptop")
    (tmp_path / "laptop" / "data_list.json").write_text("{")

    result = infer(cohort / "scans", tmp_path / "laptop", tmp_path / "results", QUICK)

    assert (len(result.done), "training part" in caplog.text) == (4, False)
