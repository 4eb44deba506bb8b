"""`infer`: all cases of a folder, bad ones named, a stopped run going on, the manifest."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, SUFFIXES, write_case, write_images

import volseg
from volseg.cases.data_list import DataList, write_data_list
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.config import CHANNELS
from volseg.errors import DataListError, ModelError, OutputError
from volseg.finding.folders import find_cases
from volseg.finding.own_results import written_by_volseg
from volseg.images.slice_masks import mask_paths, read_stack_label_map
from volseg.inference import probabilities
from volseg.inference.folder import _read_ahead
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.labels import get_scheme
from volseg.model_header import read_model_header
from volseg.results import journal, journaled_file
from volseg.results.manifest import read_manifest
from volseg.tasks.infer import infer

NAMES = ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def scans(tmp_path):
    for name in NAMES:
        write_case(tmp_path / "scans", name)
    return tmp_path / "scans"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "new" / "output"


def run(scans, model, output, **options):
    return infer(scans, [model], output, InferOptions(device="cpu", **options))


def manifest_of(output):
    return json.loads((output / "manifest.json").read_text())


def files_in(folder):
    """Names of the results in a folder, without the overview of them."""
    overview = {"previews", "previews.png", "volumes.csv"}
    return sorted(path.name for path in folder.iterdir() if path.name not in overview)


def contents(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_every_case_gets_a_label_map_on_its_grid(scans, model, output):
    result = run(scans, model, output)

    assert result.done == tuple(NAMES)
    assert (result.kept, result.failures) == ((), {})
    assert files_in(output) == [*(f"{name}.nii.gz" for name in NAMES), "manifest.json"]
    for name in NAMES:
        found = nib.load(output / f"{name}.nii.gz")
        source = nib.load(scans / name / f"{name}_t1.nii.gz")
        assert np.array_equal(found.affine, source.affine)
        assert found.shape == source.shape
        assert set(np.unique(found.dataobj)) <= {0, 1, 2, 4}


def test_it_writes_what_the_predictor_predicts(scans, model, output):
    run(scans, model, output, overrides=("inference.tta=true",))

    expected = Predictor(model, device="cpu", tta=True).predict(scans / NAMES[1])
    found = np.asarray(nib.load(output / f"{NAMES[1]}.nii.gz").dataobj)
    assert np.array_equal(found, expected.label_map)
    record = manifest_of(output)["cases"][NAMES[1]]
    assert record["volumes_ml"] == pytest.approx(expected.volumes_ml, abs=1e-3)


def test_the_manifest_tells_what_was_made_from_what(scans, model, output):
    result = run(scans / NAMES[0], model, output, overrides=("inference.overlap=0.25",))

    manifest = json.loads(result.manifest.read_text())
    sha256 = hashlib.sha256(model.read_bytes()).hexdigest()
    assert manifest["volseg"] == volseg.__version__
    assert "not for clinical use" in manifest["disclaimer"]
    assert manifest["folder"] == str(output.absolute())
    assert manifest["working_folder"] == str(Path.cwd())
    assert manifest["models"] == [
        {"path": str(model), "sha256": sha256, "volseg": volseg.__version__}
    ]
    assert manifest["labels"] == {
        "name": "brats2021",
        "labels": {"1": "NCR", "2": "ED", "4": "ET"},
        "regions": {"WT": [1, 2, 4], "TC": [1, 4], "ET": [4]},
    }
    assert manifest["device"] == "cpu"
    assert manifest["precision"] == ["float32"]
    assert manifest["options"]["overrides"] == ["inference.overlap=0.25"]
    assert (manifest["failures"], manifest["skipped"]) == ({}, [])
    (record,) = manifest["cases"].values()
    folder = scans / NAMES[0]
    assert record["inputs"] == {
        "t1n": str(folder / f"{NAMES[0]}_t1.nii.gz"),
        "t1c": str(folder / f"{NAMES[0]}_t1ce.nii.gz"),
        "t2w": str(folder / f"{NAMES[0]}_t2.nii.gz"),
        "t2f": str(folder / f"{NAMES[0]}_flair.nii.gz"),
    }
    assert record["output"] == f"{NAMES[0]}.nii.gz"
    assert record["models"] == [sha256]
    assert record["seconds"] >= 0
    assert set(record["volumes_ml"]) == {"WT", "TC", "ET"}


def test_a_data_list_names_the_cases(scans, model, output, tmp_path):
    cases = find_cases([scans]).cases
    labelled = replace(cases[0], label=(scans / "label.nii.gz",), labels="brats2021")
    listed = DataList("some", labelled.channels, training=(labelled,), testing=cases[2:])
    write_data_list(tmp_path / "list.json", listed, tmp_path)

    result = run(tmp_path / "list.json", model, output)

    assert result.done == (NAMES[0], NAMES[2])


def test_a_list_without_a_root_is_told_one(scans, model, output, tmp_path):
    listed = DataList("some", CHANNELS, training=(), testing=find_cases([scans]).cases[:1])
    text = tmp_path / "list.json"
    write_data_list(text, listed, scans)
    text.write_text(text.read_text().replace('"data_root": "scans"', '"data_root": null'))

    result = run(text, model, output, data_root=scans)

    assert result.done == (NAMES[0],)
    assert manifest_of(output)["options"]["data_root"] == str(scans)
    with pytest.raises(DataListError, match="as --data-root FOLDER for infer and evaluate"):
        run(text, model, output)
    with pytest.raises(DataListError, match="is no data list and needs no data root"):
        run(scans, model, output, data_root=scans)


def test_options_of_the_model_can_be_overridden(scans, model, output):
    words = ("inference.threshold=0.999999",)

    result = run(scans / NAMES[0], model, output, overrides=words)

    record = json.loads(result.manifest.read_text())
    assert record["options"]["overrides"] == list(words)
    assert set(record["cases"][NAMES[0]]["volumes_ml"].values()) == {0.0}


def test_probabilities_are_written_if_asked(scans, model, output):
    run(scans / NAMES[0], model, output, probabilities=True)

    maps = [f"{NAMES[0]}_{region}.nii.gz" for region in ("ET", "TC", "WT")]
    assert files_in(output) == [f"{NAMES[0]}.nii.gz", *maps, "manifest.json"]
    assert sorted(manifest_of(output)["cases"][NAMES[0]]["probabilities"]) == maps


def test_labels_are_those_that_were_asked_for(scans, model, output):
    run(scans / NAMES[0], model, output, labels="brats2023")

    assert manifest_of(output)["labels"]["name"] == "brats2023"
    found = np.asarray(nib.load(output / f"{NAMES[0]}.nii.gz").dataobj)
    own = Predictor(model, device="cpu").predict(scans / NAMES[0]).label_map
    assert np.array_equal(found == 3, own == 4)


def test_the_images_of_a_case_are_given_by_channel(scans, model, output):
    files = {name: scans / NAMES[0] / f"{NAMES[0]}_{end}.nii.gz" for name, end in SUFFIXES.items()}
    run(scans / NAMES[0], model, output)

    result = run(files, model, output.with_name("by_channel"))

    assert result.done == (NAMES[0],)
    name = f"{NAMES[0]}.nii.gz"
    by_channel = (output.with_name("by_channel") / name).read_bytes()
    assert by_channel == (output / name).read_bytes()
    assert result.example == (files["t2f"], output.with_name("by_channel") / name)
    with pytest.raises(DataListError, match=r"gone\.nii does not exist; give a folder of scans"):
        run(files | {"t2f": scans / "gone.nii"}, model, output)
    with pytest.raises(DataListError, match=r"needs channels t1n t1c t2w t2f, but case .* has t1c"):
        run({"t1c": files["t1c"]}, model, output)


def test_label_maps_beside_the_images_are_known(scans, model, output):
    without = run(scans, model, output)
    shutil.copy(output / f"{NAMES[0]}.nii.gz", scans / NAMES[0] / f"{NAMES[0]}_seg.nii.gz")

    beside = run(scans, model, output)

    assert (without.has_references, beside.has_references) == (False, True)


# Slices


@pytest.fixture(scope="module")
def slice_model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors", **OF_SLICES)


@pytest.fixture
def patients(tmp_path):
    """Folder for each of two patients, in the layout of LGG, of three and two slices."""
    for name, slices in zip(PATIENTS, (3, 2), strict=True):
        files = [f"{name}_{n}.tif" for n in range(1, slices + 1)]
        write_images(tmp_path / "slices" / name, files)
    return tmp_path / "slices"


def test_slices_get_masks_called_as_they(patients, slice_model, output):
    result = run(patients, slice_model, output)

    assert result.done == tuple(PATIENTS)
    assert files_in(output) == [*PATIENTS, "manifest.json"]
    for name, slices in zip(PATIENTS, (3, 2), strict=True):
        files = [f"{name}_{n}.tif" for n in range(1, slices + 1)]
        assert files_in(output / name) == files
        for file in files:
            mask = Image.open(output / name / file)
            assert (mask.mode, mask.size) == ("L", (18, 14))
            assert set(np.unique(mask)) <= {0, 255}
    record = manifest_of(output)["cases"][PATIENTS[1]]
    folder = patients / PATIENTS[1]
    assert record["inputs"] == [str(folder / f"{PATIENTS[1]}_{n}.tif") for n in (1, 2)]
    assert record["output"] == PATIENTS[1]
    assert record["volumes_ml"] == {}
    assert record["notes"] == ["the size of a voxel is not known: taken as 1 mm"]


def test_masks_are_what_the_predictor_predicts(patients, slice_model, output):
    folder = patients / PATIENTS[1]
    probabilities = Predictor(slice_model, device="cpu").predict(folder).probabilities["WT"]
    half = (f"inference.threshold={np.median(probabilities):.6f}",)

    run(patients, slice_model, output, overrides=half)

    expected = Predictor(slice_model, device="cpu", overrides=half).predict(folder)
    paths = mask_paths(output / PATIENTS[1], expected.slices)
    assert np.array_equal(read_stack_label_map(paths, None)[0], expected.label_map)
    assert expected.label_map.any()
    assert not expected.label_map.all()


def test_lone_images_get_masks_beside_the_manifest(tmp_path, slice_model, output):
    write_images(tmp_path / "images", ["1.png", "2.png", "3.jpg"])

    result = run(tmp_path / "images", slice_model, output)

    assert files_in(output) == ["1.png", "2.png", "3.png", "manifest.json"]
    records = manifest_of(output)["cases"]
    assert [record["output"] for record in records.values()] == ["1.png", "2.png", "3.png"]
    assert run(tmp_path / "images", slice_model, output).kept == result.done


def test_results_among_the_scans_are_not_segmented(patients, slice_model):
    write_images(patients, ["1.jpg"])
    output = patients / "Results"
    first = run(patients, slice_model, output)

    again = run(patients, slice_model, output, overwrite=True)

    assert again.done == first.done == ("1", *PATIENTS)
    manifest = manifest_of(output)
    assert {entry["reason"][-17:] for entry in manifest["skipped"]} == {"written by volseg"}


def test_the_manifest_is_written_at_the_beginning_and_the_end_alone(
    patients, slice_model, output, monkeypatch
):
    """Of thousands of cases it takes long; lines of the journal tell of the time between."""
    write_images(patients, [f"{n}.png" for n in range(4)])
    replace_file, written = journaled_file.write_document, []

    def counted(path, content):
        written.append(len(content["cases"]))
        replace_file(path, content)

    monkeypatch.setattr(journaled_file, "write_document", counted)

    run(patients, slice_model, output)

    assert written == [0, 6]
    assert list(manifest_of(output)["cases"]) == ["0", "1", "2", "3", *PATIENTS]


def test_the_patient_is_found_in_names_of_images(tmp_path, slice_model, output):
    write_images(tmp_path / "images", ["a_1.png", "a_2.png", "b_1.png"])

    result = run(tmp_path / "images", slice_model, output, patient_regex="(.+)_[0-9]+")

    assert result.done == ("a", "b")
    assert files_in(output) == ["a", "b_1.png", "manifest.json"]
    assert files_in(output / "a") == ["a_1.png", "a_2.png"]
    assert manifest_of(output)["options"]["patient_regex"] == "(.+)_[0-9]+"


def test_a_case_of_slices_is_finished_when_all_masks_are_there(patients, slice_model, output):
    run(patients, slice_model, output)
    (output / PATIENTS[0] / f"{PATIENTS[0]}_2.tif").unlink()

    again = run(patients, slice_model, output)

    assert (again.done, again.kept) == ((PATIENTS[0],), (PATIENTS[1],))
    assert len(files_in(output / PATIENTS[0])) == 3


def test_slices_that_fail_when_made_again_leave_no_old_masks(patients, slice_model, output):
    run(patients, slice_model, output)
    (patients / PATIENTS[0] / f"{PATIENTS[0]}_2.tif").write_bytes(b"not an image")

    result = run(patients, slice_model, output, overwrite=True)

    assert list(result.failures) == [PATIENTS[0]]
    assert files_in(output) == [PATIENTS[1], "manifest.json"]


def test_probabilities_of_slices_are_nifti(patients, slice_model, output):
    run(patients / PATIENTS[0], slice_model, output, probabilities=True)

    image = nib.load(output / f"{PATIENTS[0]}_WT.nii.gz")
    assert image.shape == (18, 14, 3)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")


@pytest.mark.parametrize("ending", ["png", "jpg"])
def test_slices_are_never_replaced(tmp_path, slice_model, ending):
    for name, slices in (("p1", 2), ("p2", 1)):
        write_images(tmp_path / name, [f"{name}_{n}.{ending}" for n in range(slices)])
    before = contents(tmp_path)

    match = "is an input and would be replaced" if ending == "png" else "is no mask of this case"
    with pytest.raises(OutputError, match=match):
        run(tmp_path, slice_model, tmp_path, overwrite=True, patient_regex="^(p.)")

    assert contents(tmp_path) == before


def test_a_single_2d_image_has_a_mask_and_a_voxel_size_if_it_is_said(tmp_path, slice_model, output):
    write_images(tmp_path / "images", ["1.png", "2.png"])

    result = run(tmp_path / "images" / "2.png", slice_model, output, spacing_mm=(1.0, 1.0, 5.0))

    assert result.done == ("2",)
    assert files_in(output) == ["2.png", "manifest.json"]
    record = manifest_of(output)["cases"]["2"]
    assert record["spacing_mm"] == [1.0, 1.0, 5.0]
    assert list(record["volumes_ml"]) == ["WT"]


def test_two_cases_never_share_a_result(tmp_path, slice_model, output):
    cases = []
    for name in ("a", "b"):
        write_images(tmp_path / name, ["1.png"])
        cases.append(
            SliceStackCase(name, name, (tmp_path / name / "1.png",), ("t1n", "t2f", "t1c"))
        )
    listed = DataList("some", ("t1n", "t2f", "t1c"), training=(), testing=tuple(cases))
    write_data_list(tmp_path / "list.json", listed, tmp_path)

    with pytest.raises(OutputError, match=r"1\.png would be the result of case b and of case a; "):
        run(tmp_path / "list.json", slice_model, output)


def test_volumes_that_hold_flair_alone_are_segmented_by_slices(scans, slice_model, output):
    for name in NAMES:
        for channel in ("t1", "t1ce", "t2"):
            (scans / name / f"{name}_{channel}.nii.gz").unlink()

    result = run(scans, slice_model, output)

    assert result.done == tuple(NAMES)
    record = manifest_of(output)["cases"][NAMES[0]]
    assert list(record["inputs"]) == ["t2f"]
    assert record["missing_channels"] == ["t1n", "t1c"]
    assert record["notes"] == ["t1n, t1c missing: t2f stands in"]
    assert list(record["volumes_ml"]) == ["WT"]


def test_a_real_patient_of_slices_is_segmented(real_data, slice_model, output):
    folder = real_data / "lgg" / "kaggle_3m" / "TCGA_FG_A60K_20040224"
    few = [str(folder / f"{folder.name}_{n}.tif") for n in (30, 31)]
    case = SliceStackCase(folder.name, folder.name, tuple(map(Path, few)), ("t1n", "t2f", "t1c"))
    listed = DataList("some", case.channels, training=(), testing=(case,))
    output.parent.mkdir()
    write_data_list(output.parent / "list.json", listed, real_data)

    result = run(output.parent / "list.json", slice_model, output)

    assert result.done == (folder.name,)
    record = manifest_of(output)["cases"][folder.name]
    assert record["inputs"] == few
    assert record["missing_channels"] == ["t1n", "t1c"]
    assert "t1n, t1c missing: t2f stands in" in record["notes"]


# Runs that go on


def test_existing_results_are_kept(scans, model, output, monkeypatch):
    run(scans, model, output)
    before = contents(output)
    monkeypatch.setattr(Predictor, "probabilities", None)  # not to be called

    again = run(scans, model, output)

    assert (again.done, again.kept) == ((), tuple(NAMES))
    assert contents(output) == before


def test_overwrite_makes_them_again(scans, model, output):
    run(scans, model, output)
    before = contents(output)
    (output / f"{NAMES[0]}.nii.gz").write_bytes(b"of old")

    again = run(scans, model, output, overwrite=True)

    assert (again.done, again.kept) == (tuple(NAMES), ())
    result = output / f"{NAMES[0]}.nii.gz"
    assert result.read_bytes() == before[result]


def stop_after(monkeypatch, number):
    """The next run is killed when it would score another case than the first ones."""
    score, seen = Predictor.probabilities, []

    def interrupted(self, case, **options):
        seen.append(case.case_id)
        if len(seen) > number:
            raise KeyboardInterrupt
        return score(self, case, **options)

    monkeypatch.setattr(Predictor, "probabilities", interrupted)


@pytest.mark.parametrize("how", ["stopped", "killed"])
def test_an_overwriting_run_that_was_stopped_is_resumed(
    scans, model, output, monkeypatch, caplog, how
):
    caplog.set_level(logging.INFO)
    run(scans, model, output)
    before = manifest_of(output)["cases"]
    if how == "stopped":
        asked = iter([False, True])
        options = InferOptions(device="cpu", overwrite=True)
        infer(scans, [model], output, options, stop=lambda: next(asked))
    else:
        stop_after(monkeypatch, 1)
        with pytest.raises(KeyboardInterrupt):
            run(scans, model, output, overwrite=True)
        monkeypatch.undo()

    rest = run(scans, model, output, overwrite=True)
    again = run(scans, model, output, overwrite=True)

    assert "1 case kept: segmented again before the run was stopped" in caplog.text
    assert (rest.kept, rest.done) == ((NAMES[0],), tuple(NAMES[1:]))
    assert (again.kept, again.done) == ((), tuple(NAMES))
    after = manifest_of(output)["cases"]
    assert {name: record.keys() for name, record in after.items()} == {
        name: record.keys() for name, record in before.items()
    }


@pytest.mark.parametrize("between", ["options", "labels", "a scan", "an edit", "a run that keeps"])
def test_what_an_overwriting_run_did_is_done_again_where_it_does_not_fit(
    scans, model, output, monkeypatch, between
):
    run(scans, model, output)
    stop_after(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt):
        run(scans, model, output, overwrite=True)
    monkeypatch.undo()
    options = {}
    if between == "options":
        options = {"overrides": ("inference.threshold=0.4",)}
    elif between == "labels":
        options = {"labels": "brats2023"}
    elif between == "a scan":
        replace_scan(scans / NAMES[0] / f"{NAMES[0]}_t2.nii.gz")
    elif between == "an edit":
        (output / f"{NAMES[0]}.nii.gz").write_bytes(b"corrected by hand")
    else:
        assert run(scans, model, output).kept == tuple(NAMES)

    assert run(scans, model, output, overwrite=True, **options).done == tuple(NAMES)


def test_probabilities_asked_for_later_are_made(scans, model, output):
    run(scans / NAMES[0], model, output)

    again = run(scans / NAMES[0], model, output, probabilities=True)

    assert again.done == (NAMES[0],)


def test_an_interrupted_run_goes_on(scans, model, output, monkeypatch):
    predict, seen = Predictor.probabilities, []

    def interrupted(self, case, **options):
        seen.append(case.case_id)
        if len(seen) == 2:
            raise KeyboardInterrupt
        return predict(self, case, **options)

    monkeypatch.setattr(Predictor, "probabilities", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(scans, model, output)
    assert files_in(output) == [f"{NAMES[0]}.nii.gz", "manifest.json"]
    assert list(manifest_of(output)["cases"]) == NAMES[:1]

    result = run(scans, model, output)

    assert (result.done, result.kept) == (tuple(NAMES[1:]), tuple(NAMES[:1]))
    assert list(manifest_of(output)["cases"]) == NAMES


def test_a_later_run_keeps_the_records_of_other_cases(scans, model, output):
    for name in NAMES[:2]:
        run(scans / name, model, output)

    assert list(manifest_of(output)["cases"]) == NAMES[:2]


def test_results_of_another_model_are_not_passed_off(scans, model, output, tmp_path):
    run(scans, write_model(tmp_path / "other.safetensors", seed=5), output)

    with pytest.raises(OutputError, match=r"made by another model; .* results with --overwrite"):
        run(scans, model, output)

    assert run(scans, model, output, overwrite=True).done == tuple(NAMES)
    assert run(scans, model, output).kept == tuple(NAMES)


@pytest.mark.parametrize(
    ("options", "how"),
    [
        ({"overrides": ("inference.tta=true",)}, r"tta false, now true"),
        ({"overrides": ("inference.overlap=0.25",)}, r"overlap 0\.5, now 0\.25"),
        ({"overrides": ("inference.threshold=0.4",)}, r"threshold 0\.5, now 0\.4"),
        ({"overrides": ("inference.threshold={ET: 0.4}",)}, r"threshold 0\.5, now {'ET': 0\.4}"),
        ({"overrides": ("inference.temperature=2",)}, r"temperature 1\.0, now 2\.0"),
        ({"overrides": ("inference.min_region_mm3={ET: 9}",)}, r"region_mm3 {}, now {'ET': 9\.0}"),
    ],
)
def test_results_of_other_options_are_not_passed_off(scans, model, output, options, how):
    run(scans, model, output)
    before = contents(output)

    with pytest.raises(OutputError, match=rf"3 of 3, such as .*00001, made with .*{how}"):
        run(scans, model, output, **options)

    assert contents(output) == before
    assert run(scans, model, output, overwrite=True, **options).done == tuple(NAMES)


def test_options_that_change_no_result_keep_it(scans, model, output):
    run(scans, model, output)

    again = run(scans, model, output, overrides=("inference.tta=false", "inference.window_batch=2"))

    assert again.kept == tuple(NAMES)


def test_results_from_before_an_option_are_those_of_its_default(scans, model, output):
    run(scans, model, output)
    content = manifest_of(output)
    for record in content["cases"].values():
        del record["resolved"][0]["min_region_mm3"]
    (output / "manifest.json").write_text(json.dumps(content))

    with pytest.raises(OutputError, match=r"min_region_mm3 {}, now {'ET': 9\.0}"):
        run(scans, model, output, overrides=("inference.min_region_mm3={ET: 9}",))
    assert run(scans, model, output).kept == tuple(NAMES)


def without(output, *names):
    """Records as older versions wrote them."""
    content = manifest_of(output)
    for record in content["cases"].values():
        for name in names:
            record.pop(name, None)
    (output / "manifest.json").write_text(json.dumps(content))


def test_records_of_older_versions_are_compared_as_far_as_they_tell(scans, model, output):
    run(scans, model, output)
    without(output, "resolved", "sources")

    assert run(scans, model, output).kept == tuple(NAMES)
    with pytest.raises(OutputError, match="tta none, now true"):
        run(scans, model, output, overrides=("inference.tta=true",))
    os.utime(scans / NAMES[1] / f"{NAMES[1]}_t2.nii.gz", (2**31, 2**31))
    assert run(scans, model, output).done == (NAMES[1],)
    without(output, "resolved", "sources")
    shutil.move(scans, scans.with_name("moved"))
    with pytest.raises(OutputError, match="holds the result of another"):
        run(scans.with_name("moved"), model, output)


# Results and the images that they were made from


def replace_scan(path):
    """Another scan of the same grid in its place."""
    image = nib.load(path)
    values = np.asarray(image.dataobj)
    nib.save(nib.Nifti1Image(np.where(values, values + 1, 0), image.affine), path)


def test_a_scan_that_was_replaced_is_segmented_again(scans, model, output, caplog):
    run(scans, model, output)
    before = contents(output)
    replace_scan(scans / NAMES[2] / f"{NAMES[2]}_t2.nii.gz")

    with caplog.at_level(logging.INFO):
        again = run(scans, model, output)

    assert (again.done, again.kept) == ((NAMES[2],), tuple(NAMES[:2]))
    assert f"{NAMES[2]} is segmented again, as its images have changed" in caplog.text
    assert contents(output)[output / f"{NAMES[0]}.nii.gz"] == before[output / f"{NAMES[0]}.nii.gz"]
    assert run(scans, model, output).kept == tuple(NAMES)


def test_a_scan_that_was_touched_or_moved_alone_is_not(scans, model, output):
    run(scans, model, output)
    os.utime(scans / NAMES[1] / f"{NAMES[1]}_t2.nii.gz", (2**31, 2**31))
    moved = Path(shutil.copytree(scans, scans.with_name("moved")))

    touched, elsewhere = run(scans, model, output), run(moved, model, output)

    assert touched.kept == elsewhere.kept == tuple(NAMES)
    record = manifest_of(output)["cases"][NAMES[0]]
    assert record["inputs"]["t2w"] == str(moved / NAMES[0] / f"{NAMES[0]}_t2.nii.gz")


@pytest.mark.parametrize("options", [{}, {"probabilities": True}, {"shard": "1/2"}])
def test_the_result_of_another_patient_of_that_name_is_refused(model, tmp_path, output, options):
    for site in ("siteA", "siteB"):
        write_case(tmp_path / site, NAMES[0])
    replace_scan(tmp_path / "siteB" / NAMES[0] / f"{NAMES[0]}_t1ce.nii.gz")
    run(tmp_path / "siteA", model, output)
    before = contents(output)

    match = rf"holds the result of another {NAMES[0]}, with images in .*siteA.* -o, or replace"
    with pytest.raises(OutputError, match=match):
        run(tmp_path / "siteB", model, output, **options)

    assert contents(output) == before
    assert run(tmp_path / "siteB", model, output, overwrite=True).done == (NAMES[0],)


def test_slices_belong_to_their_images_as_well(patients, slice_model, output):
    run(patients, slice_model, output)
    write_images(patients / PATIENTS[0], [f"{PATIENTS[0]}_4.tif"])

    again = run(patients, slice_model, output)

    assert (again.done, again.kept) == ((PATIENTS[0],), (PATIENTS[1],))
    assert len(files_in(output / PATIENTS[0])) == 4
    shutil.move(patients / PATIENTS[1], patients.parent / PATIENTS[1])
    write_images(patients.parent / PATIENTS[1], [f"{PATIENTS[1]}_1.tif"], channels=4)
    with pytest.raises(OutputError, match=rf"another {PATIENTS[1]}, with images"):
        run(patients.parent / PATIENTS[1], slice_model, output)


def test_a_replaced_scan_that_cannot_be_read_leaves_no_old_result(scans, model, output):
    run(scans, model, output)
    (scans / NAMES[2] / f"{NAMES[2]}_t2.nii.gz").write_bytes(b"not a scan")

    result = run(scans, model, output)

    assert list(result.failures) == [NAMES[2]]
    assert f"{NAMES[2]}.nii.gz" not in files_in(output)
    assert list(manifest_of(output)["cases"]) == NAMES[:2]


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_a_file_that_volseg_did_not_write_is_no_result(scans, model, output, options):
    output.mkdir(parents=True)
    (output / f"{NAMES[1]}.nii.gz").write_bytes(b"drawn by hand")

    with pytest.raises(OutputError, match=r"00002\.nii\.gz is there already, but no manifest"):
        run(scans, model, output, **options)

    assert files_in(output) == [f"{NAMES[1]}.nii.gz"]


def test_a_folder_of_masks_that_volseg_did_not_write_is_no_result(patients, slice_model, output):
    write_images(output / PATIENTS[0], [f"{PATIENTS[0]}_{n}.tif" for n in (1, 2, 3)])

    with pytest.raises(OutputError, match=rf"{PATIENTS[0]} is there already, but no manifest"):
        run(patients, slice_model, output, overwrite=True)


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_a_map_that_volseg_did_not_write_is_not_replaced(scans, model, output, before, options):
    if before:
        run(scans, model, output)
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{NAMES[1]}_WT.nii.gz").write_bytes(b"drawn by hand")

    with pytest.raises(OutputError, match=r"00002_WT\.nii\.gz is there already, but no manifest"):
        run(scans, model, output, probabilities=True, **options)

    assert (output / f"{NAMES[1]}_WT.nii.gz").read_bytes() == b"drawn by hand"


def test_a_case_that_fails_when_made_again_leaves_maps_of_the_user(scans, model, output):
    run(scans, model, output)
    (output / f"{NAMES[1]}_WT.nii.gz").write_bytes(b"drawn by hand")
    (scans / NAMES[1] / f"{NAMES[1]}_t2.nii.gz").write_bytes(b"damaged")

    assert list(run(scans, model, output).failures) == [NAMES[1]]

    assert f"{NAMES[1]}.nii.gz" not in files_in(output)
    assert (output / f"{NAMES[1]}_WT.nii.gz").read_bytes() == b"drawn by hand"


def test_maps_of_an_older_scan_go_when_the_case_is_made_again_without(scans, model, output):
    run(scans / NAMES[0], model, output, probabilities=True)
    replace_scan(scans / NAMES[0] / f"{NAMES[0]}_t2.nii.gz")

    assert run(scans / NAMES[0], model, output).done == (NAMES[0],)

    assert files_in(output) == [f"{NAMES[0]}.nii.gz", "manifest.json"]


@pytest.mark.parametrize("how", ["edited", "cut", "map"])
def test_a_result_that_is_not_as_it_was_written_is_refused_and_stays(scans, model, output, how):
    run(scans, model, output, probabilities=True)
    path = output / (f"{NAMES[1]}_WT.nii.gz" if how == "map" else f"{NAMES[1]}.nii.gz")
    path.write_bytes(path.read_bytes()[:60] if how == "cut" else b"corrected by hand")
    changed = path.read_bytes()
    replace_scan(scans / NAMES[2] / f"{NAMES[2]}_t2.nii.gz")

    result = run(scans, model, output)

    assert list(result.failures) == [NAMES[1]]
    assert f"{path} was edited or damaged after" in result.failures[NAMES[1]]
    assert (result.done, result.kept) == ((NAMES[2],), (NAMES[0],))
    assert path.read_bytes() == changed
    assert NAMES[1] in manifest_of(output)["cases"]
    path.unlink()
    assert run(scans, model, output, probabilities=True).failures == {}
    path.write_bytes(changed)
    assert len(run(scans, model, output, overwrite=True).done) == len(NAMES)


def test_results_that_were_copied_are_kept(scans, model, output, tmp_path):
    run(scans, model, output)
    copied = Path(shutil.copytree(output, tmp_path / "copied", copy_function=shutil.copy))

    assert run(scans, model, copied).kept == tuple(NAMES)


def test_a_mask_that_was_edited_is_refused(patients, slice_model, output):
    run(patients, slice_model, output)
    mask = next((output / PATIENTS[0]).iterdir())
    Image.new("L", (48, 48), 255).save(mask)
    edited = mask.read_bytes()

    result = run(patients, slice_model, output)

    assert (list(result.failures), mask.read_bytes()) == ([PATIENTS[0]], edited)


def test_a_scan_that_was_replaced_with_its_size_and_time_is_segmented_again(scans, model, output):
    run(scans, model, output)
    path = scans / NAMES[1] / f"{NAMES[1]}_t2.nii.gz"
    before, content = path.stat(), bytearray(path.read_bytes())
    content[4] ^= 1  # the time within gzip
    path.with_name("new").write_bytes(content)
    path.with_name("new").replace(path)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert run(scans, model, output).done == (NAMES[1],)


def test_kept_results_are_not_read(scans, model, output, monkeypatch):
    run(scans, model, output)

    def read(path):
        raise AssertionError(path)

    monkeypatch.setattr("volseg.cases.sources.open_regular", read)

    assert run(scans, model, output).kept == tuple(NAMES)


def test_a_scan_that_is_written_while_it_is_read_is_no_source_of_a_result(
    scans, model, output, monkeypatch
):
    prepare = Predictor.prepare

    def replaced(self, case, **options):
        prepared = prepare(self, case, **options)
        if case.case_id == NAMES[0]:
            replace_scan(case.images[0])
        return prepared

    monkeypatch.setattr(Predictor, "prepare", replaced)

    result = run(scans, model, output)

    assert "was written while it was read" in result.failures[NAMES[0]]
    assert result.done == tuple(NAMES[1:])


def test_headers_are_looked_at_before_files_are_read_whole(scans, model, output, monkeypatch):
    for path in (scans / NAMES[0]).iterdir():
        path.write_bytes(b"no image")
    read = []
    monkeypatch.setattr(
        "volseg.inference.case_steps.read_sources", lambda case: read.append(case) or []
    )

    result = run(scans / NAMES[0], model, output)

    assert (list(result.failures), read) == ([NAMES[0]], [])


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        '{"cases": {}, "failures": {}, "note": "mine"}',
        '{"cases": {}, "models": [], "labels": {}}',
    ],
)
@pytest.mark.parametrize("shard", [None, "1/2"])
def test_a_manifest_of_another_program_is_not_replaced(scans, model, output, text, shard):
    output.mkdir(parents=True)
    (output / "manifest.json").write_text(text)

    with pytest.raises(OutputError, match=r"manifest\.json is no manifest of volseg; move it away"):
        run(scans, model, output, shard=shard)

    assert (output / "manifest.json").read_text() == text


def test_a_journal_without_its_manifest_is_not_removed(scans, model, output):
    output.mkdir(parents=True)
    (output / "manifest.journal").write_text("Monday: rain")

    with pytest.raises(OutputError, match=r"manifest\.journal is named like a journal, but"):
        run(scans, model, output)

    assert (output / "manifest.journal").read_text() == "Monday: rain"


def test_a_result_that_is_a_link_is_not_replaced(scans, model, output, tmp_path):
    run(scans, model, output)
    result = output / f"{NAMES[0]}.nii.gz"
    shutil.move(result, tmp_path / "kept.nii.gz")
    result.symlink_to(tmp_path / "kept.nii.gz")

    with pytest.raises(OutputError, match="is a link, which is not replaced"):
        run(scans, model, output, overwrite=True)


def test_a_result_is_no_image_by_another_name(scans, model, output):
    """A hard link to a scan where a result belongs."""
    output.mkdir(parents=True)
    os.link(scans / NAMES[0] / f"{NAMES[0]}_t1.nii.gz", output / f"{NAMES[0]}.nii.gz")

    with pytest.raises(OutputError, match="is an input and would be replaced"):
        run(scans, model, output, overwrite=True)


class Killed(BaseException):
    """Nothing is done after it."""


@pytest.mark.parametrize("at", ["before the result", "after the result"])
def test_a_case_whose_record_was_lost_by_a_kill_is_done_again(
    scans, model, output, monkeypatch, at
):
    add, write = journal.add, journaled_file.JournaledFile.write
    written = []

    def killed(manifest, part, case_id, entry):
        if part == "cases" and case_id == NAMES[1]:
            raise Killed
        add(manifest, part, case_id, entry)

    def write_or_be_killed(case, *arguments, **options):
        if case.case_id == NAMES[1]:
            raise Killed
        write_result(case, *arguments, **options)

    def write_once(self):
        written.append(self)
        if len(written) == 1:
            write(self)

    monkeypatch.setattr(journaled_file.JournaledFile, "write", write_once)
    if at == "after the result":
        monkeypatch.setattr(journal, "add", killed)
    else:
        write_result = VolumeCase.write_label_map
        monkeypatch.setattr(VolumeCase, "write_label_map", write_or_be_killed)
    with pytest.raises(Killed):
        run(scans, model, output)
    monkeypatch.undo()
    assert (f"{NAMES[1]}.nii.gz" in files_in(output)) == (at == "after the result")
    written = [f"{NAMES[1]}.nii.gz", f"previews/{NAMES[1]}.png"]
    assert read_manifest(output)["unfinished"] == {NAMES[1]: written}
    assert list(read_manifest(output)["cases"]) == NAMES[:1]
    assert written_by_volseg(output, files_in(output)) >= {*files_in(output)}

    result = run(scans, model, output)

    assert (result.done, result.kept) == (tuple(NAMES[1:]), tuple(NAMES[:1]))
    assert files_in(output) == [*(f"{name}.nii.gz" for name in NAMES), "manifest.json"]
    assert "unfinished" not in manifest_of(output)


def test_a_journal_whose_last_line_was_cut_is_read_up_to_there(scans, model, output):
    run(scans, model, output)
    path = output / "manifest.journal"
    line = json.dumps({"part": "failures", "case_id": "x", "entry": "why"})
    path.write_text(f"{line}\n{line[:-9]}")

    assert read_manifest(output)["failures"] == {"x": "why"}
    assert run(scans, model, output).kept == tuple(NAMES)
    assert not path.exists()
    path.write_text("a diary\n")
    with pytest.raises(OutputError, match=r"manifest\.json is no manifest of volseg"):
        run(scans, model, output)


def test_what_a_killed_process_was_writing_goes(patients, slice_model, output):
    run(patients, slice_model, output)
    companions = ("volumes.csv", "previews.png", "previews-2.png")
    for name in ("manifest.json", f"{PATIENTS[0]}_WT.nii.gz", "notes.txt", *companions):
        (output / f".volseg-0123abcd-{name}").touch()
    write_images(output / f".volseg-0123abcd-{PATIENTS[0]}", [f"{PATIENTS[0]}_1.tif"])

    run(patients, slice_model, output)

    assert files_in(output) == [".volseg-0123abcd-notes.txt", *PATIENTS, "manifest.json"]


@pytest.mark.parametrize(
    "text",
    [
        "[]",
        '{"cases": []}',
        '{"cases": {"a": null}}',
        '{"cases": {"a": {"output": 3}}}',
        '{"cases": {"a": {"probabilities": [1]}}}',
        '{"cases": {"a": {"sources": [{"path": "p"}]}}}',
        '{"failures": {"a": []}}',
        '{"skipped": 3}',
        "[" * 100_000,
        '{"a": 1, "a": 2}',
        "\x00",
    ],
)
def test_a_manifest_of_another_shape_is_named_in_a_line(scans, model, output, text):
    output.mkdir(parents=True)
    (output / "manifest.json").write_text(text)

    with pytest.raises(OutputError, match=r"manifest\.json is no manifest of volseg") as error:
        run(scans, model, output)

    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 600
    assert written_by_volseg(output, ["manifest.json"]) == set()


def test_two_label_schemes_do_not_share_a_folder(scans, model, output):
    run(scans, model, output)

    with pytest.raises(OutputError, match=r"'brats2021', but this run writes 'brats2023'"):
        run(scans / NAMES[0], model, output, labels="brats2023", overwrite=True)

    run(scans, model, output, labels="brats2023", overwrite=True)
    assert manifest_of(output)["labels"]["name"] == "brats2023"


# Cases that fail


def test_a_truncated_scan_is_named_and_the_others_go_on(scans, model, output):
    damaged = scans / NAMES[1] / f"{NAMES[1]}_t1ce.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-500])

    result = run(scans, model, output)

    assert result.done == (NAMES[0], NAMES[2])
    assert list(result.failures) == [NAMES[1]]
    assert "truncated" in result.failures[NAMES[1]]
    assert manifest_of(output)["failures"] == result.failures
    assert f"{NAMES[1]}.nii.gz" not in files_in(output)


def test_a_repaired_case_is_no_failure_any_more(scans, model, output):
    damaged = scans / NAMES[1] / f"{NAMES[1]}_t1ce.nii.gz"
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-500])
    run(scans, model, output)
    damaged.write_bytes(content)

    result = run(scans, model, output)

    assert result.done == (NAMES[1],)
    assert manifest_of(output)["failures"] == {}


def test_a_case_without_a_channel_is_named_and_the_others_go_on(scans, model, output):
    (scans / NAMES[0] / f"{NAMES[0]}_flair.nii.gz").unlink()

    result = run(scans, model, output)

    assert result.done == tuple(NAMES[1:])
    (reason,) = result.failures.values()
    assert "t2f" in reason
    assert NAMES[0] in next(iter(result.failures))


def test_a_stray_file_is_no_failure_but_is_in_the_manifest(scans, model, output):
    (scans / "notes.txt").write_text("seen on Monday")

    result = run(scans, model, output)

    assert result.failures == {}
    assert result.done == tuple(NAMES)


def test_an_unexpected_error_costs_one_case_and_keeps_its_traceback(
    scans, model, output, monkeypatch, caplog
):
    predict = Predictor.probabilities

    def odd(self, case, **options):
        if case.case_id == NAMES[0]:
            raise ZeroDivisionError("by chance")
        return predict(self, case, **options)

    monkeypatch.setattr(Predictor, "probabilities", odd)
    result = run(scans, model, output)

    assert result.done == tuple(NAMES[1:])
    assert result.failures == {NAMES[0]: "unexpected ZeroDivisionError: by chance"}
    assert "Traceback" in caplog.text


def test_a_case_with_probabilities_that_are_no_numbers_fails_alone(
    scans, model, output, monkeypatch
):
    segment, called = probabilities.segment, []

    def odd(*args, **options):
        called.append(1)
        return segment(*args, **options) * (np.nan if len(called) == 2 else 1)

    monkeypatch.setattr(probabilities, "segment", odd)
    result = run(scans, model, output)

    assert result.done == (NAMES[0], NAMES[2])
    assert list(result.failures) == [NAMES[1]]
    assert "that are no numbers" in result.failures[NAMES[1]]
    assert not (output / f"{NAMES[1]}.nii.gz").exists()


def test_a_model_with_a_weight_that_is_no_number_segments_nothing(scans, output, tmp_path):
    path = write_model(tmp_path / "nan.safetensors")
    state = load_file(path)
    next(iter(state.values())).view(-1)[0] = np.nan
    save_file(state, path, {"volseg": json.dumps(read_model_header(path).content)})

    with pytest.raises(ModelError, match="NaN or infinite"):
        run(scans, path, output)
    assert not output.exists()


def test_results_that_are_all_empty_are_told_of(scans, model, output, caplog):
    words = ("inference.threshold=0.999999",)
    result = infer(scans, [model], output, InferOptions(device="cpu", overrides=words))

    assert result.empty == ("WT", "TC", "ET")
    assert "no voxel of WT, TC, ET is in the label maps of 3 cases" in caplog.text


def test_a_region_that_one_case_holds_is_not_told_of(scans, model, output, monkeypatch, caplog):
    decode = Predictor.decode

    def with_core(self, scored):
        found = {"WT"} if scored.case.case_id == NAMES[1] else set()
        return replace(decode(self, scored), found=frozenset(found))

    monkeypatch.setattr(Predictor, "decode", with_core)
    result = run(scans, model, output)

    assert result.empty == ("TC", "ET")
    assert "no voxel of TC, ET is in" in caplog.text


def test_what_a_model_says_against_itself_is_said_and_recorded(scans, output, tmp_path, caplog):
    model = write_model(tmp_path / "m.safetensors", scores={"dice/WT": 0.9, "dice/ET": 0.0})

    run(scans / NAMES[0], model, output)

    said = f"{model} finds almost nothing of ET: Dice 0.000 in its validation"
    assert said in caplog.messages
    assert "train longer" in caplog.messages[caplog.messages.index(said) + 1]
    assert manifest_of(output)["doubts"] == [said]
    assert caplog.messages.count(said) == 1


def test_an_error_stands_alone_before_the_doubts_of_a_model(scans, output, tmp_path, caplog):
    model = write_model(tmp_path / "m.safetensors", scores={"dice/WT": 0.9, "dice/ET": 0.0})
    output.mkdir(parents=True)
    (output / f"{NAMES[0]}.nii.gz").write_text("mine")

    with pytest.raises(OutputError):
        run(scans / NAMES[0], model, output)

    assert caplog.messages == []


def test_an_error_while_a_case_is_decoded_costs_that_case_alone(
    scans, model, output, monkeypatch, caplog
):
    decode = Predictor.decode

    def odd(self, scored):
        if scored.case.case_id == NAMES[-1]:
            raise ZeroDivisionError("by chance")
        return decode(self, scored)

    monkeypatch.setattr(Predictor, "decode", odd)
    result = run(scans, model, output)

    assert result.done == tuple(NAMES[:-1])
    assert result.failures == {NAMES[-1]: "unexpected ZeroDivisionError: by chance"}
    assert manifest_of(output)["failures"] == dict(result.failures)
    assert "Traceback" in caplog.text


def test_a_case_that_fails_when_made_again_leaves_no_old_result(scans, model, output):
    run(scans, model, output)
    (scans / NAMES[2] / f"{NAMES[2]}_t2.nii.gz").write_bytes(b"not a scan")

    result = run(scans, model, output, overwrite=True)

    assert list(result.failures) == [NAMES[2]]
    assert f"{NAMES[2]}.nii.gz" not in files_in(output)
    assert list(manifest_of(output)["cases"]) == NAMES[:2]


# Places that cannot be written


@pytest.mark.parametrize(("full_at", "segmented"), [(0, 2), (2, 3)])
def test_a_full_disk_ends_the_run(scans, model, output, monkeypatch, full_at, segmented):
    write, predict, seen = VolumeCase.write_label_map, Predictor.probabilities, []

    def write_until_full(case, output, *arguments, **options):
        if case.case_id == NAMES[full_at]:
            raise OutputError(f"cannot write {output} (No space left on device)")
        write(case, output, *arguments, **options)

    def counted(self, case, **options):
        seen.append(case.case_id)
        return predict(self, case, **options)

    monkeypatch.setattr(VolumeCase, "write_label_map", write_until_full)
    monkeypatch.setattr(Predictor, "probabilities", counted)

    with pytest.raises(OutputError, match="No space left"):
        run(scans, model, output)

    # The case after the one that could not be written was in work already, none after it.
    assert seen == NAMES[:segmented]
    assert list(manifest_of(output)["cases"]) == NAMES[:full_at]
    assert files_in(output) == [*(f"{name}.nii.gz" for name in NAMES[:full_at]), "manifest.json"]


def test_an_old_result_that_cannot_be_removed_is_named(scans, model, output):
    run(scans, model, output)
    (scans / NAMES[2] / f"{NAMES[2]}_t2.nii.gz").write_bytes(b"not a scan")
    result = output / f"{NAMES[2]}.nii.gz"
    result.unlink()
    result.mkdir()

    with pytest.raises(OutputError, match=r"00003\.nii\.gz, an old result .* cannot be removed"):
        run(scans, model, output, overwrite=True)


@pytest.mark.parametrize(
    ("readers", "expected"),
    [
        (1, "read a, read b, segment a, read c, segment b, segment c"),
        (2, "read a, read b, read c, segment a, segment b, segment c"),
    ],
)
def test_one_case_a_reader_is_read_ahead_and_no_more(readers, expected):
    events = []

    class Immediately:
        def submit(self, function, case):
            events.append(f"read {case}")

    class AnyPredictor:
        prepare = None

    for case, _ in _read_ahead(["a", "b", "c"], AnyPredictor(), Immediately(), readers):
        events.append(f"segment {case}")

    assert ", ".join(events) == expected


def test_an_output_that_is_a_file_is_refused_before_any_work(scans, model, tmp_path, monkeypatch):
    monkeypatch.setattr(Predictor, "prepare", None)  # not to be called
    (tmp_path / "file").write_text("")

    with pytest.raises(OutputError, match=r"file cannot be made \(.*\); choose another with -o"):
        run(scans, model, tmp_path / "file")


def test_inputs_are_never_replaced(model, tmp_path):
    """A 4D image is named as its result would be, so it must not lie in the output folder."""
    images = tmp_path / "imagesTr"
    images.mkdir()
    case = write_case(tmp_path / "scans")
    volumes = [nib.load(path) for path in sorted(case.iterdir())]
    stacked = np.stack([np.asarray(volume.dataobj) for volume in volumes], axis=-1)
    nib.save(nib.Nifti1Image(stacked, volumes[0].affine), images / "BRATS_001.nii.gz")
    (tmp_path / "dataset.json").write_text(
        json.dumps(
            {
                "name": "BRATS",
                "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
                "labels": {"0": "background", "1": "edema", "2": "NET", "3": "ET"},
                "training": [],
                "test": ["./imagesTr/BRATS_001.nii.gz"],
            }
        )
    )
    before = contents(tmp_path)

    with pytest.raises(OutputError, match=r"BRATS_001\.nii\.gz is an input and would be replaced"):
        run(tmp_path, model, images, overwrite=True)

    assert contents(tmp_path) == before


def test_scans_are_only_read(scans, model, tmp_path):
    before = contents(scans)

    run(scans, model, tmp_path / "output")

    assert contents(scans) == before


def test_a_foreign_manifest_is_not_replaced(scans, model, output):
    output.mkdir(parents=True)
    (output / "manifest.json").write_text("a bill of lading")

    with pytest.raises(OutputError, match=r"manifest\.json is no manifest of volseg"):
        run(scans, model, output)


def test_scans_that_are_not_there_are_told_of_before_the_model_is_read(tmp_path, output):
    with pytest.raises(DataListError, match=r"nowhere does not exist; give a folder of scans,"):
        run(tmp_path / "nowhere", tmp_path / "none.safetensors", output)


def test_a_model_that_is_none_is_refused(scans, tmp_path, output):
    with pytest.raises(ModelError):
        run(scans, tmp_path / "none.safetensors", output)
    assert not output.exists()


def test_progress_is_told(scans, model, output, caplog):
    run(scans, model, output)

    with caplog.at_level(logging.INFO):
        run(scans, model, output)

    assert "3 cases kept: segmented before" in caplog.text
    assert "writing label scheme brats2021 (1 NCR, 2 ED, 4 ET)" in caplog.text


def test_nothing_is_said_to_be_kept_in_a_folder_that_is_refused(scans, model, output, caplog):
    run(scans, model, output)

    with caplog.at_level(logging.INFO), pytest.raises(OutputError, match="use another folder"):
        run(scans, model, output, labels="brats2023")

    assert "kept" not in caplog.text


def test_a_real_scan_in_ras_keeps_its_grid(real_data, tmp_path):
    coarse = {"data_list": "l", "patch_size": [16] * 3, "spacing_mm": [4, 4, 4]}
    model = write_model(tmp_path / "model.safetensors", data=coarse)

    result = run(real_data / "orientation_ras", model, tmp_path / "output")

    assert len(result.done) == 1
    assert not result.failures
    found = nib.load(tmp_path / "output" / f"{result.done[0]}.nii.gz")
    inputs = manifest_of(tmp_path / "output")["cases"][result.done[0]]["inputs"]
    source = nib.load(inputs["t1n"])
    assert found.shape == source.shape
    for field in ("pixdim", "qform_code", "sform_code", "quatern_b", "quatern_c", "quatern_d",
                  "qoffset_x", "qoffset_y", "qoffset_z", "srow_x", "srow_y", "srow_z",
                  "xyzt_units"):  # fmt: skip
        assert np.array_equal(found.header[field], source.header[field]), field
    assert nib.aff2axcodes(found.affine) == ("R", "A", "S")
    get_scheme("brats2021").check(np.unique(found.dataobj))
