"""`info`: each kind of file or folder tells what it is."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from test_inference import oblique, tiny_config, write_case, write_model

from volseg.config import write_config
from volseg.datalist import DataList, find_cases, write_data_list
from volseg.errors import CheckpointError, ImageError, VolsegError
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


def test_a_data_list_tells_its_cases_and_folds(tmp_path):
    for number in range(3):
        write_case(tmp_path / "scans", f"BraTS2021_0000{number}")
    cases = find_cases([tmp_path / "scans"]).cases
    labelled = [
        replace(case, label=tmp_path / f"{fold}.nii.gz", labels="brats2021", fold=fold)
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


def test_everything_told_is_json(tmp_path):
    write_model(tmp_path / "model.safetensors")
    write_config(tmp_path / "config.yaml", tiny_config())
    case = write_case(tmp_path / "scans")
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
    ):
        told = info(path)
        assert json.loads(json.dumps(told)) == told


def test_what_volseg_does_not_know_is_refused(tmp_path):
    (tmp_path / "slides.pptx").write_bytes(b"PK")

    with pytest.raises(VolsegError, match=r"slides\.pptx is none of the files that volseg knows;"):
        info(tmp_path / "slides.pptx")
    with pytest.raises(VolsegError, match="does not exist; check the path"):
        info(tmp_path / "nowhere")


def test_a_damaged_file_is_named(tmp_path):
    for name, error in (("m.safetensors", CheckpointError), ("scan.nii.gz", ImageError)):
        (tmp_path / name).write_bytes(b"\x00" * 30)
        with pytest.raises(error, match=name):
            info(tmp_path / name)
