"""Channels other than the four of BraTS: CT, ADC, FLAIR as somebody else spells it."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from tiny_models import write_model

from volseg.cases.channels import channel_among
from volseg.cases.data_list import read_data_list
from volseg.cases.volume_case import VolumeCase
from volseg.errors import ConfigError, DataListError
from volseg.finding.folders import find_cases, find_scans
from volseg.finding.naming import Naming
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.tasks.infer import infer
from volseg.tasks.split import split
from volseg.transforms import preprocess

SHAPE = (20, 20, 20)


def write_scans(folder, *names):
    """A NIfTI file for each name, or a label map where it is `seg`."""
    folder.mkdir(parents=True)
    for name in names:
        generator = np.random.default_rng(list(name.encode()))
        values = (0, 2) if name.endswith("seg") else (90, 110)
        array = np.zeros(SHAPE, np.int16)
        array[3:-3, 3:-3, 3:-3] = generator.integers(*values, (14,) * 3)
        nib.save(nib.Nifti1Image(array, np.eye(4)), folder / f"{name}.nii.gz")
    return folder.parent


@pytest.fixture
def scans(tmp_path):
    """Two cases of CT and ADC with label maps."""
    for case in ("P1", "P2"):
        write_scans(tmp_path / "scans" / case, *(f"{case}_{what}" for what in ("CT", "ADC", "seg")))
    return tmp_path / "scans"


def model_of(path, *channels):
    data = {"data_list": "l", "patch_size": [16, 16, 16], "channels": list(channels)}
    return write_model(path, labels="binary", data=data | {"fill_missing": channels[0]})


def test_cases_of_ct_and_adc_are_listed_and_preprocessed(scans, tmp_path):
    split([scans], tmp_path / "list.json", folds=2, labels="binary", channels=("ct", "adc"))

    listed = read_data_list(tmp_path / "list.json")

    assert listed.channels == ("ct", "adc")
    case = listed.training[0]
    assert [path.name for path in case.images] == ["P1_CT.nii.gz", "P1_ADC.nii.gz"]
    options = Predictor(model_of(tmp_path / "m.safetensors", "adc", "ct"), device="cpu").models[0]
    image = preprocess(case.read_images(("adc", "ct")), options.config.preprocessing).image
    assert len(image) == 2
    case_without_adc = VolumeCase("a", "a", case.images[:1], ("ct",))
    assert case_without_adc.read_images(("adc", "ct"), fill="ct").missing == ("adc",)


def test_infer_finds_ct_by_a_name_that_only_the_user_knows(tmp_path):
    model = model_of(tmp_path / "m.safetensors", "ct", "adc")
    scans = write_scans(tmp_path / "scans" / "Q1", "Q1_ct_low_dose", "Q1_adc")

    result = infer(
        scans, [model], tmp_path / "out", InferOptions(device="cpu", names=("CT=*_ct*",))
    )

    assert result.done == ("Q1",)
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())["cases"]["Q1"]
    files = {channel: path.rpartition("/")[2] for channel, path in record["inputs"].items()}
    assert files == {"ct": "Q1_ct_low_dose.nii.gz", "adc": "Q1_adc.nii.gz"}
    assert record["missing_channels"] == []


def test_channels_keep_the_spelling_of_a_model(scans, tmp_path):
    predictor = Predictor(model_of(tmp_path / "m.safetensors", "CT", "ADC"), device="cpu")

    assert {case.channels for case in predictor.find(scans).cases} == {("CT", "ADC")}
    files = {"ct": scans / "P1" / "P1_CT.nii.gz", "Adc": scans / "P1" / "P1_ADC.nii.gz"}
    assert predictor.prepare(files).case.channels == ("CT", "ADC")


def test_an_older_name_of_a_contrast_may_be_that_of_a_model(tmp_path):
    write_scans(tmp_path / "scans" / "P1", "P1_t2f", "P1_T1Gd")

    (case,) = find_scans(tmp_path / "scans", ("FLAIR", "t1ce")).cases

    assert case.channels == ("FLAIR", "t1ce")
    assert [path.name for path in case.images] == ["P1_t2f.nii.gz", "P1_T1Gd.nii.gz"]


def test_a_channel_is_known_in_any_letter_case_but_first_as_it_is_spelled():
    assert channel_among("ct", ["CT", "ct"]) == "ct"
    assert channel_among("Ct", ["CT", "adc"]) == "CT"
    assert channel_among("flair", ["T2F"]) == "T2F"
    assert channel_among("PET", ["CT"]) == "pet"


def test_a_file_is_named_by_the_channels_that_are_looked_for(scans):
    with pytest.raises(DataListError) as error:
        find_scans(scans, ("pet", "dwi"))

    assert "in no known channel (such as pet, dwi) and not in seg" in str(error.value)
    assert "--name pet='*GLOB*' --name dwi='*GLOB*'" in str(error.value)


def test_one_channel_under_two_names_is_refused(scans):
    with pytest.raises(DataListError, match="CT and ct are the same channel; name it once"):
        find_cases([scans], ("CT", "ct"))
    naming = Naming({"CT": "*a*", "ct": "*b*"})
    with pytest.raises(ConfigError, match="--name names ct twice"):
        find_scans(scans, ("ct",), naming=naming)


def test_a_named_channel_that_no_model_needs_is_refused_with_those_that_it_does(scans):
    with pytest.raises(ConfigError, match="of pet, which is not looked for; use ct or adc, or"):
        find_scans(scans, ("ct", "adc"), naming=Naming({"PET": "*pet*"}))
