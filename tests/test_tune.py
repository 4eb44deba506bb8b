"""`volseg tune`: which cases, what is refused, what is written and what `infer` then does."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from safetensors.torch import load_file
from scipy.ndimage import distance_transform_edt
from tiny_models import write_model
from typer.testing import CliRunner

from volseg.cases.data_list import read_data_list
from volseg.cli import app
from volseg.cli.confidence_tables import print_calibration
from volseg.cli.tune import _print_outcome as print_outcome
from volseg.confidence.features import OF_DISAGREEMENT, case_features
from volseg.confidence.predicted_dice import DicePredictor
from volseg.errors import (
    ConfigError,
    DataListError,
    ImageError,
    LabelError,
    ModelError,
    OutputError,
)
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.inference.probabilities import CaseProbabilities, probabilities_of
from volseg.labels import get_scheme
from volseg.metrics import region_overlaps
from volseg.model_file import load_model
from volseg.model_header import read_model_header, write_changed_header
from volseg.tasks.infer import infer
from volseg.tasks.info import info
from volseg.tasks.tune import tune
from volseg.tuning import segmenting
from volseg.tuning.cases import find_runs
from volseg.tuning.confidence import TunedCases
from volseg.tuning.decoding import RegionOptions
from volseg.tuning.gain import Gain, folds_of
from volseg.tuning.levels import LevelStore
from volseg.tuning.maps import MapStore
from volseg.tuning.segmenting import segment_runs

SCHEME = get_scheme("brats2023")


@pytest.fixture(scope="module")
def four(tmp_path_factory, cohort):
    """The runs of two folds, over four patients, with models that nobody trained."""
    folder = tmp_path_factory.mktemp("runs")
    for fold in (0, 1):
        make_run(folder / f"fold{fold}", cohort, fold)
    return folder


@pytest.fixture
def runs(four, tmp_path):
    shutil.copytree(four, tmp_path / "cv")
    return [tmp_path / "cv" / "fold0", tmp_path / "cv" / "fold1"]


def make_run(run, cohort, fold, **inference):
    run.mkdir(parents=True)
    listed = json.loads((cohort / "list.json").read_text())
    listed |= {"data_root": str(cohort / "scans")}
    listed.pop("sha256", None)
    (run / "data_list.json").write_text(json.dumps(listed))
    data = {"data_list": "list.json", "fold": fold, "patch_size": [16] * 3, "spacing_mm": [4] * 3}
    write_model(
        run / "model.safetensors",
        labels="brats2023",
        data=data,
        inference={"overlap": 0.0, **inference},
    )


def reference_of(case):
    label_map, _ = case.case.read_reference()
    return np.stack([*SCHEME.masks(label_map).values()])


@pytest.fixture
def miscalibrated(monkeypatch):
    """Networks that find each reference, as probabilities of 0.35 where 0.2 is background."""

    def found(case, models, regions, device, **_):
        masks = reference_of(case)
        values = np.where(masks, 0.35, 0.2).astype(np.float32)
        box = tuple(slice(0, size) for size in case.grid.shape)
        return CaseProbabilities(case, values, box)

    monkeypatch.setattr(segmenting, "probabilities_of", found)


@pytest.fixture
def perfect(monkeypatch):
    def found(case, models, regions, device, **_):
        values = reference_of(case).astype(np.float32)
        return CaseProbabilities(case, values, tuple(slice(0, n) for n in case.grid.shape))

    monkeypatch.setattr(segmenting, "probabilities_of", found)


@pytest.fixture
def overconfident(monkeypatch):
    """Networks that say 0.98 of voxels of which three quarters are in the reference."""

    def found(case, models, regions, device, **_):
        masks = reference_of(case)
        values = np.where(masks, np.float32(0.98), np.float32(0))
        for of_region, mask in zip(values, masks, strict=True):
            # The nearest voxels, so that no option of components tells them apart.
            order = np.argsort(distance_transform_edt(~mask), axis=None, kind="stable")
            of_region.flat[order[: round(mask.sum() * 4 / 3)]] = 0.98
        return CaseProbabilities(case, values, tuple(slice(0, n) for n in case.grid.shape))

    monkeypatch.setattr(segmenting, "probabilities_of", found)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_gain_is_written_into_the_models_and_applied_by_infer(
    runs, cohort, miscalibrated, tmp_path, caplog
):
    weights = load_file(runs[0] / "model.safetensors")
    before = load_model(runs[0])

    result = tune(runs, device="cpu")

    assert result.gain.is_real
    assert result.gain.interval[0] > 0
    assert result.models == tuple(run / "model.safetensors" for run in runs)
    thresholds = set(result.tuned.thresholds)
    assert max(thresholds) <= 0.35
    model = load_model(runs[1])
    assert {model.config.inference.threshold_of(region) for region in SCHEME.regions} == thresholds
    assert model.tuning["before"]["threshold"] == 0.5
    assert (model.tuning["score"], model.tuning["patients"]) == ("Dice", 4)
    assert model.tuning["gain"] == pytest.approx(result.gain.mean)
    assert model.config.inference.overlap == 0
    after = load_file(runs[0] / "model.safetensors")
    assert all((after[name] == value).all() for name, value in weights.items())
    assert load_model(runs[0]).sha256 != before.sha256
    # Nothing but the models is left.
    assert sorted(path.name for path in runs[0].iterdir()) == [
        "data_list.json",
        "model.safetensors",
    ]
    caplog.set_level("INFO")
    Predictor(runs[0], device="cpu")
    assert "model.safetensors was tuned: threshold " in caplog.text
    assert info(runs[0] / "model.safetensors")["tuning"]["gain"] == model.tuning["gain"]


def test_without_a_gain_nothing_is_changed(runs, perfect, tmp_path):
    before = contents(runs[0].parent)

    result = tune(runs, device="cpu")

    assert result.models == ()
    assert result.tuned == result.initial
    assert result.gain.interval == (0, 0)
    assert contents(runs[0].parent) == before
    assert tune(runs, tmp_path / "new" / "tuned", device="cpu", tta=False).models == ()
    assert not (tmp_path / "new").exists()


def test_a_copy_leaves_the_models_as_they_are(runs, miscalibrated, tmp_path):
    before = contents(runs[0].parent)

    result = tune([runs[0].parent], tmp_path / "tuned", device="cpu", tta=False)

    assert result.models == tuple(tmp_path / "tuned" / f"fold{n}.safetensors" for n in (0, 1))
    assert contents(runs[0].parent) == before
    assert load_model(result.models[0]).tuning is not None
    with pytest.raises(OutputError, match=r"a file \*\.safetensors is expected"):
        find_and_write(runs, tmp_path)


def test_another_model_is_never_replaced_and_an_earlier_copy_is(runs, miscalibrated, tmp_path):
    other = tmp_path / "fold0.safetensors"
    shutil.copy(runs[1] / "model.safetensors", other)
    before = other.read_bytes()

    with pytest.raises(OutputError, match="is another model and would be replaced"):
        tune(runs, tmp_path, device="cpu", tta=False)
    assert other.read_bytes() == before

    other.unlink()
    tune(runs, tmp_path, device="cpu", tta=False)
    assert tune(runs, tmp_path, device="cpu", tta=False).models[0] == other


def find_and_write(runs, tmp_path):
    list_of_all = tmp_path / "others.json"
    shutil.copy(runs[0] / "data_list.json", list_of_all)
    (runs[0] / "data_list.json").unlink()
    tune(runs[0], tmp_path, list_of_all, device="cpu")


def test_a_tuned_model_is_tuned_again_from_its_options_before(runs, miscalibrated):
    first = tune(runs, device="cpu", tta=False)

    again = tune(runs, device="cpu", tta=False)

    assert again.initial == first.initial
    assert again.gain.mean == first.gain.mean
    assert load_model(runs[0]).tuning["before"]["threshold"] == 0.5


def test_a_tuned_model_takes_the_words_of_infer(runs, miscalibrated):
    tune(runs, device="cpu", tta=False)

    predictor = Predictor(runs[0], device="cpu", threshold=0.7)

    assert predictor.models[0].config.inference.threshold == 0.7


def test_an_interrupted_search_leaves_everything_as_it_was(runs, monkeypatch):
    before = contents(runs[0].parent)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(segmenting, "probabilities_of", interrupted)
    with pytest.raises(KeyboardInterrupt):
        tune(runs, device="cpu")

    assert contents(runs[0].parent) == before
    assert [path.name for path in runs[0].iterdir() if path.name.startswith(".")] == []


def test_a_case_that_fails_is_named_and_the_others_are_tuned_on(runs, miscalibrated, monkeypatch):
    of_runs, broken = segmenting.read_masks, "BraTS-GLI-90003-000"

    def read(case, *rest):
        if case.case_id == broken:
            raise ImageError("it is damaged", remedy="copy it again")
        return of_runs(case, *rest)

    monkeypatch.setattr(segmenting, "read_masks", read)

    result = tune(runs, device="cpu", tta=False)

    assert result.failures == {broken: "it is damaged; copy it again"}
    assert len(result.gain.patients) == 3
    broken_too = "BraTS-GLI-90004-000"
    monkeypatch.setattr(
        segmenting,
        "read_masks",
        lambda case, *rest: read(case, *rest) if case.case_id != broken_too else read_nothing(),
    )
    with pytest.raises(DataListError, match="after 2 failed, 2 patients are left to tune on"):
        tune(runs, device="cpu", tta=False)


def read_nothing():
    raise ImageError("it is empty")


def test_two_patients_are_too_few_and_the_remedy_is_named(runs):
    with pytest.raises(
        DataListError, match="the runs have 2 patients to tune on, but at least 3"
    ) as e:
        find_runs(runs[:1])

    assert "the runs of all folds" in e.value.remedy


def test_cases_that_were_trained_on_are_refused(runs):
    with pytest.raises(DataListError, match=r"was trained on these cases: patient .* both sides"):
        find_runs(runs[:1], fold=1)
    with pytest.raises(DataListError, match="was trained on these cases"):
        find_runs(runs[:1], data_list=runs[0] / "data_list.json")
    assert [len(run.cases) for run in find_runs(runs)] == [2, 2]


def test_a_run_whose_scans_are_elsewhere_names_the_data_root(runs, cohort):
    listed = json.loads((runs[0] / "data_list.json").read_text())
    (runs[0] / "data_list.json").write_text(json.dumps(listed | {"data_root": "../moved"}))

    with pytest.raises(DataListError, match=r"no scan of the 2 cases of .*fold0 is there.*--data-"):
        find_runs(runs)
    assert len(find_runs(runs, data_root=cohort / "scans")) == 2


def test_a_model_alone_is_tuned_on_a_data_list_with_a_warning(runs, tmp_path, caplog):
    others = shutil.copy(runs[0] / "data_list.json", tmp_path / "others.json")
    model = shutil.copy(runs[0] / "model.safetensors", tmp_path / "model.safetensors")

    (run,) = find_runs([Path(model)], Path(others))

    assert len(run.cases) == 4
    assert "it is not known which cases it was trained on" in caplog.text
    with pytest.raises(DataListError, match=r"no data_list\.json, so its validation cases are not"):
        find_runs([Path(model)])


def test_runs_that_do_not_belong_together_are_refused(runs, cohort, tmp_path):
    make_run(tmp_path / "other", cohort, 1, threshold=0.4)

    with pytest.raises(ModelError, match=r"inference\.threshold is 0\.4 in .*, but 0\.5 in"):
        find_runs([runs[0], tmp_path / "other"])
    with pytest.raises(DataListError, match=r"is validated by .*fold0 and by .*fold0"):
        find_runs([runs[0], runs[0]])
    with pytest.raises(DataListError, match="2 runs are given with a data list or a fold"):
        find_runs(runs, fold=0)


def test_a_run_without_a_fold_has_no_case_to_tune_on(cohort, tmp_path):
    make_run(tmp_path / "all", cohort, None)

    with pytest.raises(DataListError, match="no case with a label map that it was not trained on"):
        find_runs([tmp_path / "all"])


def test_protocols_that_cannot_be_tuned_for_are_refused(runs):
    with pytest.raises(ConfigError, match="unknown protocol 'brats2023-glioma'"):
        tune(runs, protocol="brats2023-glioma", device="cpu")
    with pytest.raises(LabelError, match=r"needs .* RC"):
        tune(runs, protocol="brats2025-gli", device="cpu")
    with pytest.raises(ConfigError, match="a mean over found lesions only") as error:
        tune(runs, protocol="brats2026-gli", device="cpu")
    assert error.value.remedy == "tune for a protocol of 2023 to 2025, such as brats2025-gli"


def test_the_lesions_of_a_protocol_can_be_tuned_for(runs, miscalibrated):
    result = tune(runs, protocol="brats2023-gli", device="cpu", tta=False)

    assert result.score == "lesion-wise Dice (brats2023-gli)"
    assert result.gain.regions == ("WT", "TC", "ET")
    assert result.gain.is_real
    assert max(result.tuned.thresholds) <= 0.35


def test_up_to_ten_patients_are_held_out_alone_and_more_in_folds_with_all_their_cases():
    assert folds_of(["a", "b", "a"]) == [[0, 2], [1]]
    patients = [f"p{n // 2}" for n in range(26)]

    folds = folds_of(patients)

    assert len(folds) == 5
    assert sorted(case for fold in folds for case in fold) == list(range(26))
    assert all(len({patients[case] for case in fold}) * 2 == len(fold) for fold in folds)


def test_a_header_with_another_record_of_a_tuning_is_refused(runs, miscalibrated):
    header = read_model_header(runs[0])
    write_changed_header(header, runs[0] / "model.safetensors", {"tuning": {"gain": "much"}})

    with pytest.raises(ModelError, match="is not as volseg writes it"):
        load_model(runs[0])


def test_a_header_with_other_fits_is_refused(runs):
    header = read_model_header(runs[0])
    fit = {"temperature": 2.0, "nll": [2.0, 1.0], "ece": [0.2, 0.1]}
    for before, of, place in (
        ({"temperature": 1}, {"temperature": "hot"}, "regions.WT.temperature"),
        ({}, fit, "before.temperature"),
        ({"temperature": 1, "mood": 1}, fit, "before.mood"),
    ):
        wrong = {"patients": 4, "before": before, "regions": {"WT": of}}
        write_changed_header(header, runs[0] / "model.safetensors", {"calibration": wrong})
        with pytest.raises(ModelError, match=rf"is not as volseg writes it .*{place}"):
            read_model_header(runs[0])

    write_changed_header(header, runs[0] / "model.safetensors", {"predicted_dice": {"mood": 1}})
    with pytest.raises(ModelError, match=r"predicted_dice in .* is not as volseg writes it"):
        info(runs[0] / "model.safetensors")


def test_the_levels_of_a_case_are_those_that_infer_decodes(runs, cohort, tmp_path):
    """No network is replaced here: the whole way from scans to masks is that of `infer`."""
    (found, _) = find_runs(runs)
    cuts = (0.4, 0.45, 0.5, 0.55)
    store = LevelStore(tmp_path)
    segmented = segment_runs([found], store, MapStore(tmp_path), cuts, (True,), "cpu")
    options = InferOptions(
        device="cpu", overrides=("inference.tta=true", "inference.threshold={WT: 0.45, TC: 0.4}")
    )
    infer(cohort / "scans" / segmented.cases[0], runs[0], tmp_path / "out", options)

    masks, _ = store.read(0).raw_masks(True, (1, 0, 2), SCHEME)

    written = np.asarray(nib.load(tmp_path / "out" / f"{segmented.cases[0]}.nii.gz").dataobj)
    read = SCHEME.masks(written)
    assert {name: int(mask.sum()) for name, mask in masks.items()} == {
        name: int(mask.sum()) for name, mask in read.items()
    }
    assert len(read_data_list(runs[0] / "data_list.json").training) == 4


# Confidence


def test_the_temperature_of_overconfident_networks_is_found_and_written(runs, overconfident):
    result = tune(runs, device="cpu", tta=False)

    model = load_model(runs[1])
    for region, fit in result.confidence.temperatures.items():
        # Three quarters of the voxels with logit log(49) are right, whose logit is log(3).
        assert fit.temperature == pytest.approx(np.log(49) / np.log(3), rel=0.02)
        assert fit.nll[1] < fit.nll[0]
        assert fit.ece[1] < fit.ece[0] / 5
        assert model.config.inference.temperature_of(region) == fit.temperature
    content = read_model_header(runs[0]).content
    assert content["calibration"]["regions"]["WT"]["nll"] == list(
        result.confidence.temperatures["WT"].nll
    )
    assert content["calibration"]["patients"] == 4
    assert content["predicted_dice"] == read_model_header(runs[1]).content["predicted_dice"]
    assert DicePredictor.from_dict(content["predicted_dice"]) == result.confidence.predictor


def test_fits_are_written_although_the_options_stay(runs, overconfident):
    weights = load_file(runs[0] / "model.safetensors")
    before = read_model_header(runs[0]).content

    result = tune(runs, device="cpu", tta=False)

    assert result.options is None
    assert result.models == tuple(run / "model.safetensors" for run in runs)
    after = read_model_header(runs[0]).content
    assert after.get("tuning") is None
    changed = {"temperature": after["config"]["inference"]["temperature"]}
    assert after["config"]["inference"] == before["config"]["inference"] | changed
    written = load_file(runs[0] / "model.safetensors")
    assert all((written[name] == value).all() for name, value in weights.items())


def test_a_second_tuning_gives_the_same_bytes(runs, overconfident):
    tune(runs, device="cpu", tta=False)
    first = contents(runs[0].parent)

    again = tune(runs, device="cpu", tta=False)

    assert contents(runs[0].parent) == first
    assert not again.drops_copies


def test_a_tuning_without_mirrored_copies_says_that_it_drops_their_fit(runs, overconfident):
    header = read_model_header(runs[0])
    fitted = {"predicted_dice": {"single": {}, "members": {"patients": 4}}}
    write_changed_header(header, runs[0] / "model.safetensors", fitted)

    said = " ".join(ran(*runs, "--no-tta").stdout.split())

    assert "with mirrored copies, of an earlier tuning, is dropped" in said
    assert read_model_header(runs[0]).content["predicted_dice"]["members"] is None


def test_fits_of_an_earlier_tuning_are_replaced(runs, overconfident, perfect, capsys):
    """Of perfect networks nothing can be fitted: they have one Dice, and no temperature helps."""
    header = read_model_header(runs[0])
    old = {"temperature": 9.0, "nll": [2.0, 1.0], "ece": [0.2, 0.1], "reason": ""}
    config = dict(header.content["config"])
    config["inference"] = config["inference"] | {"temperature": {"WT": 9.0}}
    earlier = {"patients": 4, "before": {"temperature": 1.0}, "regions": {"WT": old}}
    changes = {"config": config, "calibration": earlier, "predicted_dice": {"patients": 4}}
    write_changed_header(header, runs[0] / "model.safetensors", changes)

    result = tune(runs, device="cpu", tta=False)

    print_calibration(result.confidence.calibration(), result.confidence.in_files)
    said = " ".join(capsys.readouterr().out.split())
    assert "WT is set back from 9, 1 to 1, as before any tuning: " in said
    assert "ET keeps temperature 1: " in said
    content = read_model_header(runs[0]).content
    assert content["config"]["inference"]["temperature"] == 1
    assert content["predicted_dice"] is None
    assert [of["temperature"] for of in content["calibration"]["regions"].values()] == [1, 1, 1]
    assert result.confidence.reason == "all regions of all cases have the same Dice, 1.000"


def test_options_of_an_earlier_tuning_stay_where_new_options_gain_nothing(runs, overconfident):
    header = read_model_header(runs[0])
    config = dict(header.content["config"])
    tuned = {"min_component_mm3": {"ET": 100.0}, "threshold": 0.4}
    plain = {name: config["inference"][name] for name in tuned}
    config["inference"] = config["inference"] | tuned
    record = {"score": "Dice", "patients": 4, "gain": 0.1, "interval": [0.1, 0.2]}
    record |= {"before": plain, "after": tuned}
    changes = {"config": config, "tuning": record}
    write_changed_header(header, runs[0] / "model.safetensors", changes)

    result = tune(runs, device="cpu", tta=False)

    after = load_model(runs[0])
    assert result.options is None
    assert after.tuning == record
    assert after.config.inference.threshold == 0.4
    assert after.config.inference.min_component_mm3 == {"ET": 100.0}


def test_features_of_the_maps_are_those_of_the_probabilities(runs, tmp_path):
    """No network is replaced here: features and Dice are those of a prediction of `infer`."""
    (found, _) = find_runs(runs)
    store, maps = LevelStore(tmp_path), MapStore(tmp_path)
    values = Predictor(runs[0], device="cpu").predict(found.cases[0]).probabilities["WT"]
    threshold = float(np.quantile(values[values > 0], 0.7))
    segmented = segment_runs([found], store, maps, (threshold,), (False, True), "cpu")
    decoding = replace(found.initial, options=(RegionOptions(threshold),) * 3)
    cases = TunedCases(store, maps, segmented, {found: decoding}, (threshold,))

    samples = cases.samples()

    of_first = [one for one in samples if one.case_id == segmented.cases[0]]
    assert [one.region for one in of_first] == ["WT", "TC", "ET"] * 2
    for tta, some in ((False, of_first[:3]), (True, of_first[3:])):
        predictor = Predictor(runs[0], device="cpu", threshold=threshold, tta=tta)
        case = predictor.prepare(found.cases[0])
        scored = probabilities_of(
            case, predictor.models, predictor.regions, predictor.device, disagreement=tta
        )
        prediction = predictor.decode(scored)
        masks = SCHEME.masks(prediction.label_map)
        inside = {region: mask[scored.box] for region, mask in masks.items()}
        expected = case_features(
            scored.probabilities, inside, scored.disagreement, case.grid.spacing_mm
        )
        reference = dict(zip(SCHEME.regions, reference_of(case), strict=True))
        for sample in some:
            assert sample.features.keys() == expected[sample.region].keys()
            for name, value in expected[sample.region].items():
                # An untrained network differs from itself by less than the steps of the maps.
                steps = 20 if name == OF_DISAGREEMENT else 1
                assert sample.features[name] == pytest.approx(value, abs=steps / 255, rel=2e-3)
            assert sample.dice == region_overlaps(masks, reference)[sample.region].dice
        assert any(mask.any() for mask in masks.values())


# The command


def ran(*words):
    return CliRunner().invoke(app, ["tune", *map(str, words), "--device", "cpu"])


def test_the_command_prints_gain_options_and_the_next_step(runs, miscalibrated):
    done = ran(*runs, "--no-tta")

    assert done.exit_code == 0
    assert "Dice of held-out patients (4, one patient at a time)" in done.stdout
    assert "Mean gain in Dice of 4 held-out patients: +" in done.stdout
    assert "threshold" in done.stdout
    assert f"Tuned model: {runs[1] / 'model.safetensors'}" in done.stdout
    assert f"volseg infer SCANS -m {runs[0] / 'model.safetensors'} -o results" in done.stdout
    shown = CliRunner().invoke(app, ["info", str(runs[0] / "model.safetensors")])
    assert "tuning: threshold " in shown.stdout
    assert "in 4 held-out patients" in shown.stdout.replace("\n", " ")


def test_the_command_prints_temperatures_and_predicted_dice_and_info_prints_them_again(
    runs, overconfident
):
    done = ran(*runs, "--no-tta")

    assert done.exit_code == 0
    assert "The options stay: the mean gain in Dice of 4 held-out patients may be chance" in (
        done.stdout.replace("\n", " ")
    )
    assert f"Tuned model: {runs[1] / 'model.safetensors'}" in done.stdout
    shown = CliRunner().invoke(app, ["info", str(runs[0] / "model.safetensors")])
    of_run = CliRunner().invoke(app, ["info", str(runs[0])])
    for text in (done.stdout, shown.stdout, of_run.stdout):
        assert "Probabilities of held-out patients (4) before and after" in text
        assert "Predicted against true Dice of held-out patients" in text


def test_the_command_says_in_one_sentence_that_nothing_is_changed(runs, perfect):
    done = ran(*runs, "--no-tta")

    assert done.exit_code == 0
    said = done.stdout.replace("\n", " ")
    assert "does not lower the NLL of held-out patients" in said
    assert "No prediction of the Dice is fitted: all regions of all cases have the same" in said
    assert done.stdout.splitlines()[-1] == (
        "Nothing is changed: the mean gain in Dice of 4 held-out patients may be chance "
        "(+0.0000, 95 % interval +0.0000 to +0.0000)"
    )


def test_an_interval_below_0_is_said_to_be_a_loss_and_not_chance(capsys):
    before, after = np.array([[0.9], [0.8], [0.7]]), np.array([[0.89], [0.78], [0.69]])
    gain = Gain(("WT",), ("a", "b", "c"), before, after, ())

    print_outcome(SimpleNamespace(gain=gain, score="Dice", options=None, models=()))

    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith(
        "Nothing is changed: tuned options are worse: mean gain in Dice of 3 held-out patients "
        "(-0.0133, 95 % interval -0.0200 to -0.0100)"
    )


def test_a_failed_case_gives_exit_code_3(runs, perfect, monkeypatch):
    of_runs = segmenting.read_masks
    monkeypatch.setattr(
        segmenting,
        "read_masks",
        lambda case, *rest: (
            read_nothing() if case.case_id.endswith("3-000") else of_runs(case, *rest)
        ),
    )

    done = ran(*runs, "--no-tta")

    assert done.exit_code == 3
    assert "it is empty" in done.stdout
