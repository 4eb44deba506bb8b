"""CT, FLAIR alone and channels of other names: found, trained on, segmented, scored, drawn."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
import yaml
from ct_scans import make_ct_cohort
from PIL import Image
from typer.testing import CliRunner

from volseg.cases.data_list import read_data_list
from volseg.cli import app
from volseg.config import load_config
from volseg.figures.grey_images import GreyImages
from volseg.finding.folders import find_cases
from volseg.images.nifti_reading import read_case
from volseg.phantoms.cohort import make_cohort
from volseg.tasks.overlay import OverlayOptions, overlay

SHAPE = (48, 48, 32)  # 5 mm
LESION = {"name": "lesion", "labels": {1: "lesion"}, "regions": {"lesion": [1]}}
FIVE = ("t1n", "t1c", "t2f", "adc", "swi")


@pytest.fixture(scope="module")
def ct_scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct") / "scans"
    make_ct_cohort(folder, cases=4, shape=SHAPE, spacing_mm=5)
    return folder


@pytest.fixture(scope="module")
def five_channels(tmp_path_factory):
    """Phantoms of which two contrasts are called ADC and SWI; `CASE-adc.nii.gz` and so on."""
    folder = tmp_path_factory.mktemp("five") / "scans"
    for case in make_cohort(folder, cases=4, shape=SHAPE, spacing_mm=5):
        (case / f"{case.name}-t2w.nii.gz").rename(case / f"{case.name}-adc.nii.gz")
        shutil.copy(case / f"{case.name}-t1n.nii.gz", case / f"{case.name}-swi.nii.gz")
    return folder


def call(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exit_code == 0, result.output
    return result


def fit_infer_evaluate(scans, folder, channels, labels, batches, **data):
    """Folder with `list.json`, `run`, `out` and `scores` of the scans, and what was printed."""
    named = "config" if isinstance(labels, dict) else labels
    words = ("--channels", ",".join(channels), "--labels", named, "--folds", 2)
    said = call("split", scans, "-o", folder / "list.json", *words).output
    options = {
        "data_list": str(folder / "list.json"),
        "channels": list(channels),
        "spacing_mm": [5, 5, 5],
        "patch_size": [32, 32, 32],
        "batches_per_epoch": batches,
        "foreground_share": 0.7,
        "workers": 0,
    }
    config = {
        "labels": labels,
        "data": options | data,
        "network": {"name": "unet", "widths": [8, 16, 32], "residual_units": 1},
        "training": {"max_epochs": 2, "accelerator": "cpu", "learning_rate": 0.01},
    }
    (folder / "c.yaml").write_text(yaml.safe_dump(config))
    call("fit", folder / "c.yaml", "-o", folder / "run")
    call("infer", scans, "-m", folder / "run", "-o", folder / "out", "--device", "cpu")
    reference = ("--reference-labels", labels["name"]) if isinstance(labels, dict) else ()
    call("evaluate", folder / "out", scans, "-o", folder / "scores", *reference)
    return said


@pytest.fixture(scope="module")
def ct(ct_scans, tmp_path_factory):
    """Folder of a training on CT with a window, with its results, and what `split` said."""
    folder = tmp_path_factory.mktemp("trained_on_ct")
    window = {"windows": {"ct": [0, 80]}, "intensity": "unit"}
    said = fit_infer_evaluate(ct_scans, folder, ["ct"], LESION, batches=60, **window)
    return folder, said


def read(path):
    return json.loads(path.read_text(encoding="utf-8"))


def test_a_network_learns_lesions_in_ct(ct):
    folder, _ = ct

    scores = read(folder / "scores" / "scores.json")["summary"]
    # Of a map without a lesion it is 0, of a whole head 0.02.
    assert scores["lesion"]["dice"]["mean"] > 0.3
    assert scores["lesion"]["n_failed"] == 0


def test_a_head_in_a_window_needs_no_note_about_its_skull_or_its_air(ct):
    folder, _ = ct

    notes = [record["notes"] for record in read(folder / "out/manifest.json")["cases"].values()]
    assert notes == [[]] * 4


def test_split_names_the_option_for_ct_and_the_config_for_it(ct):
    _, said = ct

    assert "ct: air is -1000, as in CT: state the window of tissue in data.windows, such as" in said
    assert "skull" not in said
    assert "volseg check configs/ct_unet.yaml data.data_list=" in said
    assert "data.channels" not in said


def test_a_model_of_ct_says_its_window_and_gives_the_same_result_again(ct, ct_scans, tmp_path):
    folder, _ = ct

    config = load_config(folder / "run" / "config.yaml")
    call("infer", ct_scans / "CT-90001", "-m", folder / "run/model.safetensors", "-o", tmp_path)

    assert dict(config.data.windows) == {"ct": (0, 80)}
    again, first = (
        np.asarray(nib.load(of / "CT-90001.nii.gz").dataobj) for of in (tmp_path, folder / "out")
    )
    np.testing.assert_array_equal(again, first)


def test_pictures_of_ct_are_drawn_in_the_window_of_the_model(ct_scans):
    images = read_case([ct_scans / "CT-90001/CT-90001-ct.nii.gz"], ["ct"], ["ct"])

    greys = GreyImages.of(images, ["ct"], {"ct": (-20, 100)}).greys

    assert list(greys) == ["ct, -20 to 100"]
    found = greys["ct, -20 to 100"]
    assert (found.min(), found.max()) == (0, 255)
    # White matter of 29 HU: 49 of 120.
    assert abs(np.median(found[(found > 60) & (found < 160)]) - 255 * 50 / 120) < 12


def test_ct_without_a_model_is_drawn_in_the_window_of_a_brain_and_other_scans_are_not(ct_scans):
    images = read_case([ct_scans / "CT-90001/CT-90001-ct.nii.gz"], ["ct"], ["ct"])

    assert list(GreyImages.of(images, ["ct"]).greys) == ["ct, 0 to 80"]
    normalised = images.array / 1000  # air of -1, as some tools leave it
    images = type(images)(normalised.astype(np.float32), images.grid, None, ())
    assert list(GreyImages.of(images, ["t2f"]).greys) == ["t2f"]


def test_overlay_finds_ct_by_the_results_that_it_draws(ct, ct_scans, tmp_path):
    folder, _ = ct

    result = overlay(ct_scans / "CT-90001", folder / "out", tmp_path / "a.png")
    wide = overlay(
        ct_scans / "CT-90001",
        folder / "out",
        tmp_path / "b.png",
        OverlayOptions(window=(-1000, 1000), text=False),
    )

    assert "largest area" in result.chosen_by
    greys = np.asarray(Image.open(wide.path).convert("L"))
    # Brain of 35 HU, halfway from -1000 to 1000, and no pure black but air.
    assert 120 < np.median(greys[greys > 20]) < 145
    said = CliRunner().invoke(
        app,
        [
            "overlay",
            str(ct_scans / "CT-90001"),
            str(folder / "out"),
            "--window",
            "9",
            "-o",
            "c.png",
        ],
    )
    assert (said.exit_code, said.stderr) == (
        2,
        "Error: --window is '9'; give two grey values, such as 0,80\n",
    )


def test_evaluate_draws_ct_that_it_finds_by_the_results(ct):
    folder, _ = ct

    assert (folder / "scores" / "samples.png").is_file()


def test_five_channels_of_any_names_are_found_trained_on_and_segmented(five_channels, tmp_path):
    percentiles = {"clip_percentiles": {"swi": [0.5, 99.5]}}
    said = fit_infer_evaluate(five_channels, tmp_path, FIVE, "brats2023", batches=2, **percentiles)

    assert read_data_list(tmp_path / "list.json").channels == FIVE
    record = read(tmp_path / "out" / "manifest.json")["cases"]["BraTS-GLI-90001-000"]
    assert tuple(record["inputs"]) == FIVE
    assert record["missing_channels"] == []
    assert (tmp_path / "scores" / "samples.png").is_file()
    assert "'data.channels=[t1n,t1c,t2f,adc,swi]'" in said


def test_flair_alone_is_trained_on_and_needs_nothing_else(five_channels, tmp_path):
    whole = {"name": "whole-tumour", "labels": {1: "tumour"}, "regions": {"WT": [1]}}
    scans = tmp_path / "scans"
    for case in sorted(five_channels.iterdir()):
        for what in ("t2f", "seg"):
            (scans / case.name).mkdir(parents=True, exist_ok=True)
            shutil.copy(case / f"{case.name}-{what}.nii.gz", scans / case.name)
    said = call("split", scans, "-o", tmp_path / "l.json", "--channels", "t2f", "--folds", 2).output

    config = load_config(
        "configs/flair_unet.yaml",
        [
            f"data.data_list={tmp_path / 'l.json'}",
            *("data.spacing_mm=[5,5,5]", "data.patch_size=[16,16,16]", "data.workers=0"),
            *("data.batches_per_epoch=2", "network.widths=[4,8]", "training.max_epochs=1"),
            *("training.accelerator=cpu", "training.warmup_epochs=0", "training.validate_every=1"),
        ],
    )
    assert config.to_dict()["labels"] == whole
    (tmp_path / "f.yaml").write_text(yaml.safe_dump(config.to_dict()))
    call("fit", tmp_path / "f.yaml", "-o", tmp_path / "run")
    call("infer", scans, "-m", tmp_path / "run", "-o", tmp_path / "out", "--device", "cpu")
    call("evaluate", tmp_path / "out", scans, "-o", tmp_path / "scores")

    assert "volseg fit configs/flair_unet.yaml" in said
    assert list(read(tmp_path / "scores" / "scores.json")["summary"]) == ["WT"]


def test_a_folder_of_ct_is_trained_on_with_a_default_config(ct_scans, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("volseg.tasks.fit.fit", lambda config, *_, **__: calls.append(config))
    monkeypatch.setattr("volseg.cli.fit._has_cuda", lambda: False)
    words = ["data.channels=[ct]", "data.windows={ct: [0, 80]}", "labels=binary"]

    CliRunner().invoke(app, ["fit", str(ct_scans), *words, "-o", str(tmp_path / "run")])

    (config,) = calls
    assert config.data.channels == ("ct",)
    assert dict(config.data.windows) == {"ct": (0, 80)}


@pytest.mark.parametrize(
    ("names", "case_id"),
    [
        (["P7/P7_ct", "P7/P7_adc", "P7/P7_seg"], "P7"),
        (["P7-CT", "P7-adc", "P7-seg"], "P7"),
        (["P7/ct", "P7/adc", "P7/seg"], "P7"),
        (["sub-01/anat/sub-01_ct", "sub-01/dwi/sub-01_adc", "sub-01/anat/sub-01_dseg"], "sub-01"),
    ],
)
def test_files_of_other_channels_are_found_by_the_end_of_their_names(tmp_path, names, case_id):
    for name in names:
        path = tmp_path / "scans" / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)

    (case,) = find_cases([tmp_path / "scans"], ("ct", "adc")).cases

    assert (case.case_id, case.channels) == (case_id, ("ct", "adc"))
    assert len(case.label) == 1


def test_the_numbered_files_of_nnunet_are_the_channels_of_its_dataset_json(tmp_path):
    described = {"channel_names": {"0": "CT", "1": "ADC"}, "labels": {"background": 0, "x": 1}}
    described |= {"numTraining": 1, "file_ending": ".nii.gz"}
    for name in ("imagesTr/P7_0000", "imagesTr/P7_0001", "labelsTr/P7"):
        path = tmp_path / f"{name}.nii.gz"
        path.parent.mkdir(exist_ok=True)
        nib.save(nib.Nifti1Image(np.zeros((2, 2, 2), np.uint8), np.eye(4)), path)
    (tmp_path / "dataset.json").write_text(json.dumps(described))

    (case,) = find_cases([tmp_path], ("ct", "adc")).cases

    assert [path.name for path in case.images] == ["P7_0000.nii.gz", "P7_0001.nii.gz"]
    assert case.channels == ("ct", "adc")


def test_a_head_in_ct_has_air_bone_and_brain_in_hounsfield_units(ct_scans):
    array = np.asarray(nib.load(ct_scans / "CT-90001/CT-90001-ct.nii.gz").dataobj)
    label_map = np.asarray(nib.load(ct_scans / "CT-90001/CT-90001-seg.nii.gz").dataobj)

    assert array[0, 0, 0] == -1024
    assert abs(np.median(array[(array < -900) & (array > -1024)]) + 1000) < 5
    assert 400 < array.max() < 1000
    brain = array[(array > 15) & (array < 50) & (label_map == 0)]
    assert 28 < np.median(brain) < 38
    assert array[label_map == 1].max() > 60
    assert set(np.unique(label_map)) == {0, 1}
