"""`info`: each kind of file or folder tells what it is."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
import yaml
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import tiny_config, write_model
from tiny_scans import oblique, write_case
from typer.testing import CliRunner

from volseg.cases.data_list import DataList, write_data_list
from volseg.cli import app
from volseg.confidence.case_profile import CaseProfile
from volseg.confidence.training_profile import TrainingProfile
from volseg.config import write_config
from volseg.errors import DataListError, ImageError, ModelError, VolsegError
from volseg.finding.folders import find_cases
from volseg.metrics.table import ScoreRow, ScoreTable
from volseg.model_header import read_model_header, write_changed_header
from volseg.tasks.info import info


def test_a_model_tells_its_config_and_scores(tmp_path):
    told = info(write_model(tmp_path / "m.safetensors"))

    assert told["kind"] == "model"
    assert told["network"] == "unet"
    assert told["labels"] == "brats2021"
    assert told["regions"] == ["WT", "TC", "ET"]
    assert told["channels"] == ["t1n", "t1c", "t2w", "t2f"]
    assert told["spacing_mm"] == [1.0, 1.0, 1.0]
    assert told["scores"] == {}
    assert len(told["sha256"]) == 64
    assert "not for clinical use" in told["disclaimer"]


def test_a_model_tells_the_training_cases_in_a_line(tmp_path):
    path = write_model(tmp_path / "m.safetensors")
    profile = TrainingProfile.of([CaseProfile({"spacing_mm/S": 1.0})] * 6).to_dict()
    write_changed_header(read_model_header(path), path, {"training_data": profile})

    printed = CliRunner().invoke(app, ["info", str(path)]).stdout

    assert "training_data: 6 cases, spacing along S 1 mm\n" in printed


def test_a_run_tells_how_far_it_is(tmp_path):
    write_model(tmp_path / "model.safetensors")
    write_config(tmp_path / "config.yaml", tiny_config())
    (tmp_path / "metrics.csv").write_text("epoch,val/dice/WT,step\n0,0.5,10\n1,,20\n")

    told = info(tmp_path)

    assert told["kind"] == "run"
    assert told["network"] == "unet"
    assert told["epochs"] == 2
    assert told["last_epoch"] == {"epoch": 1.0, "step": 20.0}
    assert told["model"]["kind"] == "model"


def test_a_run_that_has_just_begun_has_no_model(tmp_path):
    write_config(tmp_path / "config.yaml", tiny_config())
    (tmp_path / "metrics.csv").write_text("epoch,step\n")

    told = info(tmp_path)

    assert (told["model"], told["epochs"], told["last_epoch"]) == (None, 0, {})
    assert "state" not in told


@pytest.mark.parametrize(("noted", "state"), [({}, "not finished; "), ({"finished": True}, "fin")])
def test_a_run_tells_whether_it_is_finished_and_how_it_is_resumed(tmp_path, noted, state):
    write_config(tmp_path / "config.yaml", tiny_config())
    (tmp_path / "environment.json").write_text(json.dumps({"versions": {}, **noted}))

    told = info(tmp_path)["state"]

    assert told.startswith(state)
    assert told.endswith(f"with: volseg fit --resume {tmp_path}") == (not noted)


def test_the_time_of_a_resumed_run_is_that_of_all_its_sessions(tmp_path):
    write_config(tmp_path / "config.yaml", tiny_config())
    (tmp_path / "metrics.csv").write_text("epoch,step,seconds\n1,10,32.0\n2,20,41.0\n")
    (tmp_path / "environment.json").write_text(json.dumps({"finished": True, "seconds": 9.0}))

    assert info(tmp_path)["seconds"] == 41
    assert "in 41 s" in printed(tmp_path)


def test_a_config_alone_is_no_run_and_the_run_beside_it_is_named(tmp_path):
    write_config(tmp_path / "config.yaml", tiny_config())
    alone = printed(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "environment.json").write_text(json.dumps({"versions": {}}))

    beside = printed(tmp_path)

    assert "kind: folder with a config that is no run" in alone
    assert "model" not in alone
    assert f"runs: {tmp_path / 'run'}" in beside
    assert beside.splitlines()[-1] == f"  volseg info {tmp_path / 'run'}"


def test_a_run_without_a_model_tells_how_it_gets_one(tmp_path):
    write_config(tmp_path / "config.yaml", tiny_config())

    said = (
        f"has no model yet, .*; if it was stopped, resume it with: volseg fit --resume {tmp_path}"
    )
    with pytest.raises(ModelError, match=said):
        read_model_header(tmp_path)
    (tmp_path / "fold1").mkdir()
    write_model(tmp_path / "fold1" / "model.safetensors")
    with pytest.raises(ModelError, match=r"holds the runs of folds, .* such as .*/fold1,"):
        read_model_header(tmp_path)


def test_a_run_whose_job_has_not_begun_tells_of_the_job(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm" / "job_id").write_text("12\n")

    results = info(tmp_path)
    write_config(tmp_path / "slurm" / "config.yaml", tiny_config())
    run = info(tmp_path)

    assert results["kind"] == "results of volseg infer"
    assert results["job"] == run["job"] == {"number": "12", "state": "not in the queue"}
    assert (run["kind"], run["network"], run["model"]) == ("run", "unet", None)


def test_a_data_list_tells_its_cases_and_folds(tmp_path):
    for number in range(3):
        write_case(tmp_path / "scans", f"BraTS2021_0000{number}")
    cases = find_cases([tmp_path / "scans"]).cases
    labelled = [
        replace(case, label=(tmp_path / f"{fold}.nii.gz",), labels="brats2021", fold=fold)
        for fold, case in enumerate(cases[:2])
    ]
    listed = DataList("three", cases[0].channels, tuple(labelled), testing=cases[2:])
    write_data_list(tmp_path / "list.json", listed, tmp_path)

    told = info(tmp_path / "list.json")

    assert told["kind"] == "data list"
    assert (told["name"], told["training"], told["testing"]) == ("three", 2, 1)
    assert told["patients"] == 3
    assert told["folds"] == {"0": 1, "1": 1}
    assert told["labels"] == {"brats2021": 2}
    assert told["channels"] == ["t1n", "t1c", "t2w", "t2f"]


def test_a_config_tells_its_network(tmp_path):
    write_config(tmp_path / "mine.yaml", tiny_config((16, 16)))

    told = info(tmp_path / "mine.yaml")

    assert told["kind"] == "config"
    assert told["patch_size"] == [16, 16]
    assert told["config"] == tiny_config((16, 16)).to_dict()


@pytest.mark.parametrize("orientation", ["LPS", "RAS", "ASL"])
def test_a_scan_tells_its_grid(tmp_path, orientation):
    case = write_case(tmp_path, orientation=orientation)

    told = info(case / f"{case.name}_flair.nii.gz")

    shapes = {"LPS": [20, 22, 18], "RAS": [20, 22, 18], "ASL": [22, 18, 20]}
    assert told["kind"] == "scan"
    assert told["shape"] == shapes[orientation]
    assert told["orientation"] == orientation
    assert told["spacing_mm"] == [1.0, 1.0, 1.0]
    assert told["dtype"] == "int16"
    assert (told["qform_code"], told["sform_code"]) == (1, 2)
    assert told["units"] == ["mm", "sec"]


def test_an_oblique_scan_tells_its_affine(tmp_path):
    case = write_case(tmp_path, orientation="RAS", affine=oblique())

    told = info(case / f"{case.name}_t1.nii.gz")

    assert told["affine"][0] == pytest.approx(oblique()[0].tolist())


def test_a_folder_of_scans_tells_its_cases(tmp_path):
    write_case(tmp_path, "BraTS2021_00001")
    case = write_case(tmp_path, "BraTS2021_00002")
    (case / f"{case.name}_t1.nii.gz").unlink()

    told = info(tmp_path)

    assert told["kind"] == "folder of scans"
    assert (told["cases"], told["patients"], told["labelled"]) == (1, 1, 0)
    assert sum(told["layouts"].values()) == 1
    assert len(told["skipped"]) == 1


def write_slices(folder: Path) -> Path:
    """Two patients of two institutions with two slices each, one of them without masks."""
    for patient in ("TCGA_CS_0001_19990101", "TCGA_DU_0002_19990101"):
        (folder / patient).mkdir(parents=True)
        for number in (1, 2):
            Image.new("RGB", (6, 5)).save(folder / patient / f"{patient}_{number}.tif")
            mask = Image.new("L", (6, 5))
            mask.putpixel((2, 2), 255)
            if "CS" in patient:
                mask.save(folder / patient / f"{patient}_{number}_mask.tif")
    return folder


def test_a_folder_of_slices_tells_its_cases(tmp_path):
    told = info(write_slices(tmp_path))

    assert told["kind"] == "folder of 2D slices"
    assert (told["cases"], told["patients"], told["labelled"], told["slices"]) == (2, 2, 1, 4)
    assert told["patients_by_institution"] == {"CS": 1, "DU": 1}
    assert "slices_by_fold" not in told


def test_a_list_of_stacks_tells_its_slices(tmp_path):
    first, second = find_cases([write_slices(tmp_path)]).cases
    second = replace(second, fold=None, groups={}, patient_id="other")
    first = replace(first, fold=3, groups={"institution": "CS", "grade": "2"})
    listed = DataList("stacks", first.channels, (first,), (second,))
    write_data_list(tmp_path / "list.json", listed, tmp_path)

    told = info(tmp_path / "list.json")

    assert (told["kind"], told["training"], told["slices"]) == ("data list", 1, 4)
    assert told["slices_by_fold"] == {"3": 2, "no fold": 2}
    assert told["patients_by_institution"] == {"CS": 1}
    assert told["groups"] == ["grade"]


def test_a_slice_tells_its_size_and_a_mask_its_values(tmp_path):
    patient = write_slices(tmp_path) / "TCGA_CS_0001_19990101"

    told = info(patient / f"{patient.name}_1.tif")
    mask = info(patient / f"{patient.name}_1_mask.tif")

    assert (told["kind"], told["columns"], told["rows"]) == ("2D image", 6, 5)
    assert (told["channels"], told["stored_as"]) == (3, "8-bit RGB")
    assert (mask["kind"], mask["values"]) == ("label map", [0, 1])
    assert {"lgg", "binary"} <= set(mask["fitting_labels"])


def save_nifti(path: Path, array) -> Path:
    nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), path)
    return path


def test_a_label_map_tells_its_values(tmp_path):
    label_map = np.zeros((3, 3, 3), np.uint8)
    label_map.flat[:3] = (1, 2, 4)

    by_type = info(save_nifti(tmp_path / "BraTS2021_00001.nii.gz", label_map))
    by_name = info(save_nifti(tmp_path / "a_seg.nii.gz", label_map.astype(np.float32)))
    grey = info(save_nifti(tmp_path / "grey.nii.gz", label_map * 50))

    assert (by_type["kind"], by_type["values"]) == ("label map", [0, 1, 2, 4])
    assert "brats2021" in by_type["fitting_labels"]
    assert by_name["values"] == [0, 1, 2, 4]
    assert grey["kind"] == "scan"
    # Channels in the fourth dimension are no label map.
    channels = np.stack([label_map, label_map], axis=-1)
    assert info(save_nifti(tmp_path / "4d.nii.gz", channels))["kind"] == "scan"


def test_the_manifest_of_results_tells_cases_and_scheme(tmp_path):
    manifest = {
        "volseg": "0.1.0",
        "models": [{"path": "m.safetensors", "sha256": "x"}],
        "labels": {"name": "lgg", "labels": {"1": "tumour"}, "regions": {"WT": [1]}},
        "device": "cpu",
        "cases": {"a": {}, "b": {}},
        "failures": {"c": "broken"},
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))

    told = info(tmp_path / "manifest.json")

    assert told["kind"] == "results of volseg infer"
    assert (told["cases"], told["failures"]) == (2, {"c": "broken"})
    assert (told["labels"], told["models"]) == ("lgg", ["m.safetensors"])
    assert "mixed" not in told
    cases = {"a": {"models": ["x"]}, "b": {"models": ["y"]}}
    changed = manifest | {"labels": "binary", "cases": cases}
    (tmp_path / "manifest.json").write_text(json.dumps(changed))
    told = info(tmp_path / "manifest.json")
    assert told["labels"] == "binary"
    assert told["mixed"] == "1 of 2 predictions, such as b, were made by another model than a"


def test_a_folder_of_results_or_scores_tells_what_its_file_tells(tmp_path):
    Image.new("L", (6, 5)).save(tmp_path / "a.png")
    record = {"output": "a.png", "probabilities": []}
    manifest = {"models": [], "labels": "lgg", "cases": {"a": record}, "failures": {}}
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "scores").mkdir()
    ScoreTable.of([ScoreRow("a", "WT", {"dice": 0.5})]).to_json(tmp_path / "scores" / "scores.json")
    (tmp_path / "scores" / "samples.png").touch()
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "manifest.json").write_text("{}")

    assert info(tmp_path) == info(tmp_path / "manifest.json")
    assert info(tmp_path / "scores") == info(tmp_path / "scores" / "scores.json")
    with pytest.raises(DataListError, match="holds no usable case"):
        info(tmp_path / "foreign")


def test_scores_tell_their_mean_dice(tmp_path):
    rows = [
        ScoreRow("a", "WT", {"dice": 0.5}),
        ScoreRow("b", "WT", {"dice": 0.75}),
        ScoreRow("c", "WT", status="missing"),
    ]
    ScoreTable.of(rows).to_json(tmp_path / "scores.json", {"network": "unet", "epoch": 4})

    told = info(tmp_path / "scores.json")

    assert (told["kind"], told["network"], told["epoch"]) == ("scores", "unet", 4)
    assert (told["cases"], told["missing"], told["failed"]) == (3, 1, 0)
    assert told["mean_dice"] == {"WT": 0.625}


def test_json_of_another_kind_is_no_data_list(tmp_path):
    (tmp_path / "x.json").write_text("[1]")

    with pytest.raises(DataListError, match="is no data list of volseg"):
        info(tmp_path / "x.json")
    (tmp_path / "x.json").write_text("{")
    with pytest.raises(DataListError, match="is not JSON"):
        info(tmp_path / "x.json")


def test_everything_told_is_json(tmp_path):
    write_model(tmp_path / "model.safetensors")
    write_config(tmp_path / "config.yaml", tiny_config())
    case = write_case(tmp_path / "scans")
    slices = write_slices(tmp_path / "slices") / "TCGA_CS_0001_19990101"
    cases = find_cases([tmp_path / "scans"]).cases
    listed = DataList("one", cases[0].channels, training=(), testing=cases)
    write_data_list(tmp_path / "list.json", listed, tmp_path)

    for path in (
        tmp_path,
        tmp_path / "model.safetensors",
        tmp_path / "config.yaml",
        tmp_path / "list.json",
        tmp_path / "scans",
        case / f"{case.name}_t1.nii.gz",
        slices,
        slices / f"{slices.name}_2_mask.tif",
    ):
        told = info(path)
        assert json.loads(json.dumps(told)) == told


def test_what_volseg_does_not_know_is_refused(tmp_path):
    (tmp_path / "slides.pptx").write_bytes(b"PK")

    with pytest.raises(VolsegError, match=r"slides\.pptx is no kind of file that volseg knows;"):
        info(tmp_path / "slides.pptx")
    with pytest.raises(VolsegError, match="does not exist; check the path"):
        info(tmp_path / "nowhere")


def test_a_damaged_file_is_named(tmp_path):
    for name, error in (
        ("m.safetensors", ModelError),
        ("scan.nii.gz", ImageError),
        ("slice.png", ImageError),
    ):
        (tmp_path / name).write_bytes(b"\x00" * 30)
        with pytest.raises(error, match=name):
            info(tmp_path / name)


@pytest.mark.parametrize(
    "change",
    [
        {"cases": 3},
        {"cases": {"a": None}},
        {"models": 3},
        {"models": [None]},
        {"failures": []},
    ],
)
def test_a_manifest_of_another_form_is_refused(tmp_path, change):
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"models": [], "cases": {}, "failures": {}} | change))

    with pytest.raises(VolsegError, match=r"manifest\.json is no manifest of volseg .*"):
        info(path)


def test_a_model_that_finds_nothing_and_one_that_cannot_be_used_are_told_of(tmp_path):
    model = write_model(tmp_path / "m.safetensors", scores={"dice/WT": 0.0})
    assert info(model)["doubts"] == ["finds almost nothing of WT: Dice 0.000 in its validation"]

    state = load_file(model)
    next(iter(state.values())).view(-1)[0] = np.nan
    save_file(state, model, {"volseg": json.dumps(read_model_header(model).content)})
    with pytest.raises(VolsegError, match="NaN or infinite"):
        info(model)


def printed(*words):
    done = CliRunner().invoke(app, ["info", *map(str, words)])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_run_is_described_in_ten_lines_a_table_and_the_next_step(tmp_path):
    write_model(tmp_path / "model.safetensors")
    write_config(tmp_path / "config.yaml", tiny_config())
    (tmp_path / "metrics.csv").write_text(
        "epoch,val/dice/WT,val/dice/TC,val/dice/mean,step\n1,0.5,0.25,0.375,10\n2,,,,20\n"
    )
    (tmp_path / "environment.json").write_text(json.dumps({"finished": True, "seconds": 754.2}))

    text = printed(tmp_path)

    lines = text.splitlines()
    described = lines[: [line.strip() for line in lines].index("Validation")]
    assert len(described) <= 10
    assert "labels: brats2021, regions WT TC ET" in described
    assert "epochs: 2, the best is 1, in 12 min 34 s" in described
    assert "state: finished" in described
    assert re.search(r"WT +│ 0\.500", text)
    assert lines[-1] == f"  volseg infer SCANS -m {tmp_path} -o results"
    assert "learning_rate" not in text


def test_the_whole_config_of_a_run_is_printed_if_asked_for(tmp_path):
    write_config(tmp_path / "config.yaml", tiny_config())

    assert yaml.safe_load(printed(tmp_path, "--config"))["config"] == tiny_config().to_dict()


def test_a_fact_is_printed_as_it_is_read(tmp_path):
    doubts = ["ET is in no prediction, a", "TC is in no prediction, b"]
    write_model(tmp_path / "m.safetensors", scores={"dice/WT": 0.9, "doubts": doubts})
    ScoreTable.of([ScoreRow("a", "WT", {"dice": 8.9e-05})]).to_json(tmp_path / "scores.json")
    scan = write_case(tmp_path) / "BraTS2021_00001_t1.nii.gz"

    of_model = printed(tmp_path / "m.safetensors").splitlines()
    assert [line.rpartition(": ")[2] for line in of_model if line.startswith("doubts")] == doubts
    assert "mean_dice: WT 0.000" in printed(tmp_path / "scores.json")
    assert "units: mm; time: sec\n" in printed(scan)


def test_folders_of_runs_and_of_a_comparison_say_what_they_are(tmp_path):
    for name in ("b", "a"):
        (tmp_path / "runs" / name).mkdir(parents=True)
        (tmp_path / "runs" / name / "environment.json").write_text("{}")
    report = tmp_path / "comparison" / "comparison.md"
    report.parent.mkdir()
    report.write_text("# Comparison\n\n- a\n\n*For research only, not for clinical use.*\n")

    assert info(report.parent)["report"] == str(report)
    runs = [str(tmp_path / "runs" / name) for name in ("a", "b")]
    assert info(tmp_path / "runs")["runs"] == runs
    assert printed(tmp_path / "runs").endswith(f"  volseg compare {' '.join(runs)} -o comparison\n")
    (tmp_path / "runs" / "scans").mkdir()
    with pytest.raises(DataListError, match="holds no usable case"):
        info(tmp_path / "runs")


def test_scans_with_labels_are_to_be_split_and_others_segmented(tmp_path):
    write_case(tmp_path / "scans", "BraTS2021_00001")

    infer = f"volseg infer {tmp_path / 'scans'} -m MODEL -o results"
    assert printed(tmp_path / "scans").endswith(f"Next, to segment them:\n  {infer}\n")


def test_scans_on_different_grids_are_to_be_registered(tmp_path):
    case = write_case(tmp_path / "scans", "BraTS2021_00001")
    flair = nibabel.load(case / "BraTS2021_00001_flair.nii.gz")
    nibabel.save(flair.slicer[:, :, 1:], case / "BraTS2021_00001_flair.nii.gz")

    shown = printed(tmp_path / "scans")

    assert "unregistered: BraTS2021_00001\n" in shown
    prepare = f"volseg prepare {tmp_path / 'scans'} -o prepared"
    assert shown.endswith(f"Next, to register their channels:\n  {prepare}\n")


def test_a_folder_of_dicom_is_answered_with_the_command_that_converts_it(tmp_path):
    (tmp_path / "1.dcm").touch()

    with pytest.raises(DataListError, match=f"for all of them: volseg convert {tmp_path} -o c"):
        info(tmp_path)
