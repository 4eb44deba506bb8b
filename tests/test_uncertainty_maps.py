"""Maps of `infer --uncertainty`: entropy and disagreement, their files, records and reuse."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import OF_SLICES, write_model
from tiny_scans import write_case, write_images

from volseg.cases.result_maps import map_names
from volseg.confidence.temperature import tempered
from volseg.confidence.voxels import entropy
from volseg.errors import OutputError
from volseg.finding.own_results import written_by_volseg
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.tasks.infer import infer

NAMES = ["BraTS2021_00001", "BraTS2021_00002"]
TTA = ("inference.tta=true",)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def cases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name in NAMES:
        write_case(folder, name)
    return folder


@pytest.fixture
def scans(cases, tmp_path):
    return Path(shutil.copytree(cases, tmp_path / "scans"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def run(scans, model, output, **options):
    asked = {"device": "cpu", "preview": False, "uncertainty": True} | options
    return infer(scans, model, output, InferOptions(**asked))


def records_of(output):
    return json.loads((output / "manifest.json").read_text())["cases"]


def names_of(case_id, kinds):
    return [f"{case_id}_{region}_{kind}.nii.gz" for kind in kinds for region in ("WT", "TC", "ET")]


def maps_in(output):
    return sorted(path.name for path in output.glob("*_*_*_*.nii.gz"))


def values_of(path):
    return np.asarray(nib.load(path).dataobj)


# Arithmetic


def test_entropy_is_a_bit_at_a_half_and_none_at_0_and_1():
    quarter = 0.25 * 2 + 0.75 * np.log2(4 / 3)

    found = entropy(np.array([0, 0.25, 0.5, 0.75, 1], np.float32))

    assert found.tolist() == pytest.approx([0, quarter, 1, quarter, 0], abs=1e-6)
    assert found.dtype == np.float32


@given(st.lists(st.floats(0, 1, width=32), min_size=2, max_size=20))
def test_entropy_is_in_0_to_1_symmetric_and_larger_near_a_half(values):
    p = np.sort(np.float32(values))

    found = entropy(p)

    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_allclose(found, entropy(1 - p.astype(np.float64)), atol=2e-6)
    assert (np.diff(found[p <= 0.5]) >= -1e-6).all()


# The maps of a prediction


def test_maps_are_on_the_grid_and_0_outside_the_brain(model, cases, tmp_path):
    prediction = Predictor(model, device="cpu", tta=True).predict(
        cases / NAMES[0], disagreement=True
    )

    written = prediction.save_uncertainty(tmp_path)

    assert sorted(path.name for path in written) == sorted(
        names_of(NAMES[0], ["entropy", "disagreement"])
    )
    scan = nib.load(cases / NAMES[0] / f"{NAMES[0]}_t1.nii.gz")
    for region in ("WT", "TC", "ET"):
        image = nib.load(tmp_path / f"{NAMES[0]}_{region}_entropy.nii.gz")
        assert np.array_equal(image.affine, scan.affine)
        assert image.get_data_dtype() == np.float32
        expected = entropy(prediction.probabilities[region])
        assert np.array_equal(np.asarray(image.dataobj), expected)
        spread = values_of(tmp_path / f"{NAMES[0]}_{region}_disagreement.nii.gz")
        assert np.array_equal(spread, prediction.disagreement[region])
        assert 0 < spread.max() <= 0.5
        assert spread[prediction.probabilities[region] == 0].max() == 0


def test_without_copies_or_asking_there_is_no_disagreement(model, cases, tmp_path):
    single = Predictor(model, device="cpu").predict(cases / NAMES[0], disagreement=True)
    mirrored = Predictor(model, device="cpu", tta=True).predict(cases / NAMES[0])

    assert single.disagreement is None
    assert mirrored.disagreement is None
    names = [path.name for path in single.save_uncertainty(tmp_path)]
    assert names == names_of(NAMES[0], ["entropy"])
    with pytest.raises(OutputError, match="is there already"):
        mirrored.save_uncertainty(tmp_path)


def test_entropy_is_of_the_probabilities_with_their_temperature(model, cases):
    plain, hot = (
        Predictor(model, device="cpu", temperature=t).predict(cases / NAMES[0]) for t in (1.0, 3.0)
    )

    expected = entropy(tempered(plain.probabilities["WT"], 3.0))

    assert np.array_equal(hot.entropy["WT"], expected)
    assert not np.array_equal(hot.entropy["WT"], plain.entropy["WT"])


# Files of `infer`


def test_maps_of_each_region_lie_beside_the_label_map(scans, model, output):
    plain = output.with_name("plain")
    run(scans, model, plain, uncertainty=False, overrides=TTA)

    result = run(scans, model, output, overrides=TTA)

    assert result.done == tuple(NAMES)
    both = ["entropy", "disagreement"]
    assert maps_in(output) == sorted(name for case in NAMES for name in names_of(case, both))
    record = records_of(output)[NAMES[0]]
    assert record["entropy"] == names_of(NAMES[0], ["entropy"])
    assert record["disagreement"] == names_of(NAMES[0], ["disagreement"])
    assert record["probabilities"] == []
    assert {mark["file"] for mark in record["files"]} >= set(names_of(NAMES[0], both))
    name = f"{NAMES[0]}.nii.gz"
    assert (output / name).read_bytes() == (plain / name).read_bytes()


def test_a_single_copy_gives_entropy_and_says_what_adds_disagreement(scans, model, output, caplog):
    with caplog.at_level(logging.INFO):
        run(scans, model, output)

    assert "no map of disagreement: it needs --tta or several models" in caplog.messages
    assert maps_in(output) == sorted(n for case in NAMES for n in names_of(case, ["entropy"]))


def test_two_models_disagree(scans, model, output, tmp_path):
    other = write_model(tmp_path / "other.safetensors", seed=4)

    run(scans / NAMES[0], [model, other], output)

    one, two = (
        Predictor(path, device="cpu").predict(scans / NAMES[0]).probabilities["WT"]
        for path in (model, other)
    )
    found = values_of(output / f"{NAMES[0]}_WT_disagreement.nii.gz")
    np.testing.assert_allclose(found, abs(one - two) / 2, atol=1e-6)


@pytest.mark.parametrize("before", [{"uncertainty": False}, {}])
def test_a_kept_case_without_the_wanted_maps_is_segmented_again(scans, model, output, before):
    run(scans, model, output, overrides=TTA, **before)
    if not before:
        (output / f"{NAMES[1]}_TC_disagreement.nii.gz").unlink()

    again = run(scans, model, output, overrides=TTA)

    assert again.done == (tuple(NAMES) if before else (NAMES[1],))
    assert run(scans, model, output, overrides=TTA).kept == tuple(NAMES)
    assert run(scans, model, output, uncertainty=False, overrides=TTA).kept == tuple(NAMES)
    assert len(maps_in(output)) == 12


def test_maps_of_an_older_result_are_removed(scans, model, output):
    run(scans / NAMES[0], model, output, overrides=TTA)

    run(scans / NAMES[0], model, output, uncertainty=False, overwrite=True)

    assert maps_in(output) == []
    assert records_of(output)[NAMES[0]]["entropy"] == []


def test_a_map_that_was_edited_is_refused_and_stays(scans, model, output):
    run(scans, model, output)
    path = output / f"{NAMES[1]}_ET_entropy.nii.gz"
    path.write_bytes(b"by hand")

    result = run(scans, model, output)

    assert f"{path} was edited or damaged after" in result.failures[NAMES[1]]
    assert path.read_bytes() == b"by hand"


@pytest.mark.parametrize("options", [{}, {"overwrite": True}])
def test_a_map_of_others_is_not_replaced(scans, model, output, options):
    output.mkdir()
    path = output / f"{NAMES[1]}_ET_disagreement.nii.gz"
    path.write_bytes(b"by hand")

    with pytest.raises(OutputError, match=r"ET_disagreement\.nii\.gz is there already, but no man"):
        run(scans, model, output, overrides=TTA, **options)

    assert path.read_bytes() == b"by hand"
    assert run(scans, model, output, **options).done == tuple(NAMES)  # entropy alone


def test_a_case_with_the_name_of_a_map_of_another_is_refused(scans, model, output):
    write_case(scans, f"{NAMES[0]}_WT_entropy")

    with pytest.raises(OutputError, match=rf"of case {NAMES[0]}(_WT_entropy)? and of case"):
        run(scans, model, output)

    assert not output.exists()


def test_regions_whose_maps_would_share_a_name_are_refused(scans, output, tmp_path):
    regions = {"WT": [1, 2, 4], "WT_entropy": [1, 4], "ET": [4]}
    scheme = {"labels": {1: "NCR", 2: "ED", 4: "ET"}, "regions": regions}
    odd = write_model(tmp_path / "odd.safetensors", labels=scheme)

    with pytest.raises(OutputError, match="the maps of two regions would be named WT_entropy"):
        run(scans, odd, output, probabilities=True)
    assert run(scans, odd, output, uncertainty=False).done == tuple(NAMES)


def test_shards_write_what_a_single_process_writes(scans, model, output):
    run(scans, model, output.with_name("single"), overrides=TTA)

    for number in (1, 2):
        run(scans, model, output, overrides=TTA, shard=f"{number}/2")

    assert maps_in(output) == maps_in(output.with_name("single"))
    for name in maps_in(output):
        assert (output / name).read_bytes() == (output.with_name("single") / name).read_bytes()
    assert records_of(output)[NAMES[1]]["entropy"] == names_of(NAMES[1], ["entropy"])


def test_maps_are_no_scans_and_no_predictions(scans, model, output):
    run(scans, model, output, overrides=TTA)

    files = {path.name for path in output.iterdir()}

    assert set(maps_in(output)) <= written_by_volseg(output, files)


def test_slices_get_maps_as_nifti_also_a_lone_slice(tmp_path, output):
    slices = write_model(tmp_path / "slices.safetensors", **OF_SLICES)
    write_images(tmp_path / "images" / "P1", [f"P1_{n}.tif" for n in (1, 2, 3)])
    write_images(tmp_path / "lone", ["P2_1.tif"])

    run(tmp_path / "images", slices, output, overrides=TTA)
    run(tmp_path / "lone", slices, output, overrides=TTA)

    assert values_of(output / "P1_WT_entropy.nii.gz").shape == (18, 14, 3)
    assert values_of(output / "P1_WT_disagreement.nii.gz").max() <= 0.5
    lone = {record["entropy"][0] for record in records_of(output).values()} - {
        "P1_WT_entropy.nii.gz"
    }
    assert all(values_of(output / name).shape == (18, 14, 1) for name in lone)
    assert len(lone) == 1


def test_names_of_maps_are_listed_by_region():
    assert map_names(["WT"]) == ["WT", "WT_entropy", "WT_disagreement"]
