"""Confidence in the results of `infer`: manifest, tables, terminal, shards and the Python API."""

from __future__ import annotations

import csv
import json
import logging
import shutil

import numpy as np
import pytest
from fitted_models import some_fit, with_fit
from tiny_models import OF_SLICES, write_model
from tiny_scans import SUFFIXES, write_case, write_images
from typer.testing import CliRunner

import volseg
from volseg.cli import app
from volseg.confidence.case_profile import CaseProfile
from volseg.confidence.record import read_confidence
from volseg.confidence.training_profile import TrainingProfile
from volseg.errors import ModelError, OutputError
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.model_file import load_model
from volseg.model_header import read_model_header, write_changed_header
from volseg.results.manifest import read_manifest
from volseg.tasks.infer import infer

NAMES = ["BraTS2021_00001", "BraTS2021_00002", "BraTS2021_00003"]
REGIONS = ("WT", "TC", "ET")


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    # All of the brain is above the threshold.
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return write_model(path, inference={"threshold": 0.002})


@pytest.fixture(scope="module")
def fitted(plain):
    return with_fit(plain, plain.with_name("fitted.safetensors"))


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    for name in NAMES:
        write_case(folder, name)
    return folder


@pytest.fixture(scope="module")
def made(scans, fitted, tmp_path_factory):
    """Results of the three cases, and what the command printed."""
    output = tmp_path_factory.mktemp("made") / "output"
    return output, call(scans, fitted, output)


def call(scans, model, output, *words):
    words = [str(scans), "-m", str(model), "-o", str(output), "--device", "cpu", *words]
    printed = CliRunner().invoke(app, ["infer", *words])
    assert printed.exit_code == 0, printed.output
    return printed.stdout


def run(scans, model, output, **options):
    return infer(scans, model, output, InferOptions(device="cpu", preview=False, **options))


def test_the_manifest_holds_what_the_predictor_says_with_all_digits(made, scans, fitted):
    expected = Predictor(fitted, device="cpu").predict(scans / NAMES[0]).confidence

    record = read_manifest(made[0])["cases"][NAMES[0]]

    assert read_confidence(record) == expected
    assert set(expected.predicted_dice) == set(REGIONS)
    assert record["look_at"] == list(expected.look_at) != []
    assert record["unlike_training"] == []


@pytest.fixture(scope="module")
def trained_on(plain):
    """A function that writes a model of these training cases: numbers by trait."""

    def write(name, content):
        path = plain.with_name(f"{name}.safetensors")
        write_changed_header(read_model_header(plain), path, {"training_data": content})
        return path

    return write


def test_a_scan_unlike_the_training_cases_is_said_in_prediction_and_manifest(
    scans, trained_on, tmp_path
):
    thin = TrainingProfile.of([CaseProfile({"spacing_mm/S": 0.2})] * 6)
    model = trained_on("thin", thin.to_dict())
    expected = "the spacing along S is 1 mm, but 0.2 mm in the training cases"

    prediction = Predictor(model, device="cpu").predict(scans / NAMES[0])
    run(scans, model, tmp_path / "output")

    assert prediction.confidence.unlike_training == (expected,)
    record = read_manifest(tmp_path / "output")["cases"][NAMES[0]]
    assert record["unlike_training"] == [expected]
    assert f"unlike the training images: {expected}" in record["look_at"]


def test_a_scan_like_the_training_cases_is_not_said(scans, trained_on):
    alike = TrainingProfile.of([CaseProfile({"spacing_mm/S": 1.0})] * 6)
    model = trained_on("alike", alike.to_dict())

    assert Predictor(model, device="cpu").predict(scans / NAMES[0]).confidence.unlike_training == ()


def test_a_model_with_a_damaged_profile_is_refused(trained_on):
    with pytest.raises(ModelError, match=r"profile of the training cases in .* is damaged"):
        Predictor(trained_on("damaged", {"cases": "many"}), device="cpu")


def test_the_table_holds_the_predicted_dice_of_each_region_rounded(made):
    with (made[0] / "volumes.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    records = read_manifest(made[0])["cases"]
    for row in rows:
        exact = records[row["case_id"]]["predicted_dice"][row["region"]]
        assert float(row["predicted_dice"]) == round(exact["dice"], 5)
        assert float(row["predicted_dice_low"]) == round(exact["low"], 5)
        assert float(row["predicted_dice_high"]) == round(exact["high"], 5)
    assert len(rows) == 9


def test_the_command_ends_with_the_cases_to_look_at_first(made):
    listed = made[1][made[1].index("Look at these first, 3 of 3 cases") :]

    for name in NAMES:
        assert name in listed
    assert "predicted Dice WT" in listed
    assert "by the 5 patients of the fit" in listed
    assert "volseg tune" not in made[1]
    assert listed.index(NAMES[-1]) < listed.index("Next, to")


def test_kept_cases_are_listed_from_their_records(made, scans, fitted, tmp_path):
    shutil.copytree(made[0], tmp_path / "output")

    again = call(scans, fitted, tmp_path / "output")

    assert "no new case segmented" in again
    assert listing(again) == listing(made[1])


def test_doubts_about_the_fit_are_said_where_all_results_are_kept(
    made, scans, fitted, tmp_path, caplog
):
    result = run(scans, fitted, shutil.copytree(made[0], tmp_path / "output"))

    assert (result.done, len(result.kept)) == ((), 3)
    said = [r.getMessage() for r in caplog.records]
    assert [one for one in said if one.startswith("whether the predicted Dice orders cases")]


def listing(printed):
    start = printed.index("Look at these first")
    end = printed.index("Next, to")
    return printed[start:end]


def test_info_lists_the_cases_of_results_to_look_at_first(made):
    printed = CliRunner().invoke(app, ["info", str(made[0])])

    lines = [line for line in printed.stdout.splitlines() if line.startswith("look_at: ")]
    order = [name for name in NAMES if name in made[1]]
    assert len(lines) == len(order) == 3
    assert all("predicted Dice of" in line for line in lines)


def test_many_cases_are_capped_and_the_rest_is_counted(made, scans, fitted, tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.cli.look_at_first.LISTED", 2)
    shutil.copytree(made[0], tmp_path / "output")

    printed = call(scans, fitted, tmp_path / "output")

    assert "Look at these first, 3 of 3 cases" in printed
    assert "And 1 case more" in printed
    assert "look_at" in printed
    assert sum(name in listing(printed) for name in NAMES) == 2


def test_without_a_fit_one_line_says_how_to_get_one_and_nothing_is_predicted(
    scans, plain, tmp_path
):
    printed = call(scans, plain, tmp_path / "output", "--no-preview")

    assert printed.count("volseg tune") == 1
    record = read_manifest(tmp_path / "output")["cases"][NAMES[0]]
    assert "predicted_dice" not in record
    assert any("of the tissue" in reason for reason in record["look_at"])
    with (tmp_path / "output" / "volumes.csv").open(newline="") as file:
        assert {row["predicted_dice"] for row in csv.DictReader(file)} == {""}


def test_a_fit_changes_no_label_map(made, scans, plain, tmp_path):
    run(scans, plain, tmp_path / "output")

    for name in NAMES:
        file = f"{name}.nii.gz"
        assert (tmp_path / "output" / file).read_bytes() == (made[0] / file).read_bytes()


def test_shards_record_the_same_and_list_their_own_cases(made, scans, fitted, tmp_path):
    first = call(scans, fitted, tmp_path / "output", "--shard", "1/2", "--no-preview")
    call(scans, fitted, tmp_path / "output", "--shard", "2/2", "--no-preview")

    assert "Look at these first, 2 of 2 cases" in first
    one, both = (read_manifest(folder)["cases"] for folder in (made[0], tmp_path / "output"))
    for name in NAMES:
        assert read_confidence(both[name]) == read_confidence(one[name])
    table = (tmp_path / "output" / "volumes.csv").read_bytes()
    assert table == (made[0] / "volumes.csv").read_bytes()


def test_an_edited_manifest_is_named_in_a_line(made, scans, fitted, tmp_path):
    output = shutil.copytree(made[0], tmp_path / "output")
    text = (output / "manifest.json").read_text()
    (output / "manifest.json").write_text(text.replace('"dice": ', '"dice": 7, "former": '))

    with pytest.raises(OutputError, match=r"predicted_dice.*less than or equal to 1"):
        run(scans, fitted, output)

    (output / "manifest.json").write_text(text.replace('"high": ', '"high": 0.0, "former": '))
    with pytest.raises(OutputError, match=r"predicted_dice.*dice lies outside low to high"):
        run(scans, fitted, output)


def test_results_of_a_model_before_its_fit_are_results_of_another_model(
    scans, plain, fitted, tmp_path
):
    run(scans, plain, tmp_path / "output")

    with pytest.raises(OutputError, match="made by another model"):
        run(scans, fitted, tmp_path / "output")
    assert run(scans, fitted, tmp_path / "output", overwrite=True).has_fit


def test_slices_without_a_size_have_a_predicted_dice_too(tmp_path):
    model = write_model(tmp_path / "model.safetensors", **OF_SLICES)
    write_images(tmp_path / "slices", ["1.png"])

    run(tmp_path / "slices", with_fit(model, tmp_path / "fitted.safetensors"), tmp_path / "output")

    (record,) = read_manifest(tmp_path / "output")["cases"].values()
    assert set(record["predicted_dice"]) == {"WT"}
    assert record["volumes_ml"] == {}


def test_a_region_without_a_voxel_has_a_predicted_dice_and_its_probability_is_said(
    scans, fitted, tmp_path
):
    predictor = Predictor(fitted, device="cpu")
    highest = predictor.predict(scans / NAMES[0]).probabilities["ET"].max()
    strict = (f"inference.threshold={{WT: 0.002, ET: {highest + 0.01:.3f}}}",)

    confidence = (
        Predictor(fitted, device="cpu", overrides=strict).predict(scans / NAMES[0]).confidence
    )

    assert "ET" in confidence.predicted_dice
    (said,) = [reason for reason in confidence.look_at if "voxel of ET" in reason]
    assert f"reaches {highest:.2f}, and the threshold is {highest + 0.01:.2f}" in said


def test_missing_channels_are_a_reason_to_look(tmp_path):
    model = write_model(tmp_path / "m.safetensors", data={
        "data_list": "l", "patch_size": [16] * 3, "channel_dropout": 0.5,
    })  # fmt: skip
    write_case(tmp_path / "scans", NAMES[0])
    (tmp_path / "scans" / NAMES[0] / f"{NAMES[0]}_{SUFFIXES['t1c']}.nii.gz").unlink()

    result = run(tmp_path / "scans", model, tmp_path / "output")

    assert "without t1c" in result.confidence[NAMES[0]].look_at


def test_other_options_than_those_of_the_fit_are_said_once(scans, fitted, tmp_path, caplog):
    run(scans, fitted, tmp_path / "output", overrides=("inference.threshold=0.3",))

    said = [r.getMessage() for r in caplog.records if "predicted Dice was fitted" in r.getMessage()]
    assert said == ["the predicted Dice was fitted with inference.threshold 0.002, but 0.3 is used"]


def test_a_fit_without_mirrored_copies_is_said_to_be_so_where_copies_are_averaged(
    scans, plain, fitted, tmp_path, caplog
):
    both = with_fit(plain, tmp_path / "both.safetensors", members=True)

    for model in (fitted, both):
        Predictor(model, device="cpu", tta=True).predict(scans / NAMES[0])

    said = [r.getMessage() for r in caplog.records if "mirrored copies, but" in r.getMessage()]
    assert said == [
        "the predicted Dice was fitted without mirrored copies, but 8 copies or models are averaged"
    ]


def test_the_predicted_dice_is_the_same_whether_the_disagreement_is_asked_for(
    scans, plain, fitted, tmp_path
):
    both = with_fit(plain, tmp_path / "both.safetensors", members=True)
    for model in (fitted, both):
        predictor = Predictor(model, device="cpu", tta=True)

        asked, other = (
            predictor.predict(scans / NAMES[0], disagreement=disagreement).confidence
            for disagreement in (True, False)
        )

        assert asked == other


def test_a_fit_that_was_no_better_than_chance_is_said_to_be_so(plain, scans, tmp_path, caplog):
    held_out = {"cases": 6, "bad": 3, "mae": 0.1, "auc": None, "auc_interval": None}
    poor, good = (
        held_out | {"spearman": 0.6, "spearman_interval": interval}
        for interval in ([-0.1, 0.9], [0.1, 0.9])
    )
    content = some_fit(REGIONS).to_dict() | {"held_out": {"WT": good, "TC": good, "ET": poor}}
    target = shutil.copy(plain, tmp_path / "model.safetensors")
    write_changed_header(read_model_header(target), target, {"predicted_dice": content})

    Predictor(target, device="cpu").predict(scans / NAMES[0])

    (said,) = [r.getMessage() for r in caplog.records if "chance" in r.getMessage()]
    assert said.endswith("of its fit: ET (Spearman 0.60 in 6 cases)")


def test_a_fit_on_few_patients_is_said_not_to_be_known_to_order_cases(fitted, scans, caplog):
    Predictor(fitted, device="cpu").predict(scans / NAMES[0])

    (said,) = [r.getMessage() for r in caplog.records if "is not known" in r.getMessage()]
    assert said.startswith("whether the predicted Dice orders cases is not known")
    assert said.endswith("too few or too similar: ET (5 cases), TC (5 cases), WT (5 cases)")


@pytest.mark.parametrize(
    ("second", "said"),
    [
        ({}, []),
        ({"dice": 0.6}, ["has another fit"]),
        (None, ["has no fit"]),
    ],
)
def test_an_ensemble_uses_the_fit_of_its_first_model_and_says_if_others_differ(
    scans, plain, fitted, tmp_path, caplog, second, said
):
    other = write_model(tmp_path / "other.safetensors", seed=1)
    if second is not None:
        other = with_fit(other, tmp_path / "second.safetensors", **second)

    predictor = Predictor([fitted, other], device="cpu")
    with caplog.at_level(logging.WARNING):
        confidence = predictor.predict(scans / NAMES[0]).confidence

    assert set(confidence.predicted_dice) == set(REGIONS)
    found = [r.getMessage() for r in caplog.records if "predicted Dice is by" in r.getMessage()]
    assert [sentence[-len(end) :] for sentence, end in zip(found, said, strict=True)] == said


def test_a_fit_that_was_damaged_is_refused_before_any_work(plain, scans, tmp_path):
    target = shutil.copy(plain, tmp_path / "damaged.safetensors")
    content = some_fit(REGIONS).to_dict() | {"patients": "many"}
    write_changed_header(read_model_header(target), target, {"predicted_dice": content})

    with pytest.raises(ModelError, match=r"predicted_dice in .*damaged.safetensors"):
        run(scans, target, tmp_path / "output")
    assert not (tmp_path / "output").exists()
    with pytest.raises(ModelError, match=r"predicted_dice in .*damaged.safetensors"):
        Predictor(target, device="cpu").predict(scans / NAMES[0])


def test_a_prediction_in_python_has_its_confidence_and_shows_it(scans, fitted):
    prediction = volseg.Predictor(fitted, device="cpu").predict(scans / NAMES[0])

    dice = prediction.confidence.predicted_dice["WT"]
    assert 0 <= dice.low <= dice.dice <= dice.high <= 1
    shown = f"predicted Dice: WT {dice.dice:.2f} ({dice.low:.2f} to {dice.high:.2f}), TC "
    assert shown in str(prediction)
    assert "Look at it: predicted Dice of" in str(prediction)
    assert load_model(fitted).predicted_dice == read_model_header(fitted).content["predicted_dice"]


def test_regions_that_are_not_written_have_no_predicted_dice(scans, tmp_path):
    model = write_model(tmp_path / "m.safetensors", labels="brats2021")
    fitted = with_fit(model, tmp_path / "fitted.safetensors")

    predicted = Predictor(fitted, device="cpu", labels="lgg").predict(scans / NAMES[0])

    assert set(predicted.confidence.predicted_dice) == {"WT"}


def test_patients_of_the_training_are_said_to_have_a_doubtful_predicted_dice(
    made, scans, fitted, tmp_path
):
    output = shutil.copytree(made[0], tmp_path / "output")
    manifest = json.loads((output / "manifest.json").read_text())
    manifest["cases"][NAMES[0]]["trained_by"] = ["runs/unet"]
    (output / "manifest.json").write_text(json.dumps(manifest))

    printed = " ".join(call(scans, fitted, output).split())

    said = f"trained on the patients of 1 of 3 cases ({NAMES[0]}): their predicted Dice says little"
    assert said in printed
    assert printed.count("the model was trained on this patient") == 1
    assert np.isfinite(read_confidence(manifest["cases"][NAMES[0]]).lowest_dice)


def test_a_model_is_tuned_then_infer_predicts_its_dice_and_evaluate_compares(cohort, tmp_path):
    listed = json.loads((cohort / "list.json").read_text()) | {"data_root": str(cohort / "scans")}
    listed.pop("sha256", None)
    models = []
    for fold in (0, 1):
        run_folder = tmp_path / f"fold{fold}"
        run_folder.mkdir()
        (run_folder / "data_list.json").write_text(json.dumps(listed))
        data = {"data_list": "l", "fold": fold, "patch_size": [16] * 3, "spacing_mm": [4] * 3}
        sections = {"labels": "brats2023", "inference": {"threshold": 0.002, "overlap": 0.0}}
        models.append(write_model(run_folder / "model.safetensors", data=data, **sections))
    tuned = CliRunner().invoke(
        app, ["tune", str(tmp_path / "fold0"), str(tmp_path / "fold1"), "--no-tta"]
    )
    assert tuned.exit_code == 0, tuned.output

    of_list = [str(cohort / "list.json"), "--fold", "0"]
    words = ["-m", str(models[0]), "-o", str(tmp_path / "results"), "--device", "cpu"]
    inferred = CliRunner().invoke(app, ["infer", *of_list, *words, "--no-preview"])
    scored = CliRunner().invoke(
        app, ["evaluate", str(tmp_path / "results"), *of_list, "-o", str(tmp_path / "scores")]
    )

    assert "Look at these first, 2 of 2 cases" in inferred.stdout
    assert "Predicted against true Dice" in scored.stdout
    assert "These figures are too good" in scored.stdout
    records = read_manifest(tmp_path / "results")["cases"].values()
    assert [set(record["predicted_dice"]) for record in records] == [{"WT", "TC", "ET"}] * 2
    agreement = json.loads((tmp_path / "scores" / "scores.json").read_text())["predicted_dice"]
    assert {of["cases"] for of in agreement["regions"].values()} == {2}
