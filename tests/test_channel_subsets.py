"""`volseg evaluate MODEL DATA --channels`: scores on subsets of the channels."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_models import OF_SLICES, write_model
from tiny_scans import write_case
from typer.testing import CliRunner

import volseg
from volseg.cases.volume_case import VolumeCase
from volseg.channel_subsets.choice import chosen_subsets
from volseg.cli import app
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.files.ownership import is_ours
from volseg.inference.options import InferOptions
from volseg.metrics import dice
from volseg.tasks.infer import infer

CHANNELS = ("t1n", "t1c", "t2w", "t2f")
SUFFIXES = {"t1n": "t1", "t1c": "t1ce", "t2w": "t2", "t2f": "flair"}


def write_label_map(folder: Path, seed: int) -> None:
    image = nib.load(folder / f"{folder.name}_t1.nii.gz")
    labels = np.zeros(image.shape, np.uint8)
    labels[4 + seed : 14, 4:16, 4:14] = 2
    labels[7:12, 7:13, 6:10] = 1
    labels[8:11, 8:11, 7:9] = 4
    nib.save(nib.Nifti1Image(labels, image.affine), folder / f"{folder.name}_seg.nii.gz")


@pytest.fixture(scope="module")
def cases(tmp_path_factory) -> Path:
    """Three labelled cases, of three patients."""
    folder = tmp_path_factory.mktemp("cases")
    for number in range(3):
        write_label_map(write_case(folder, f"BraTS2021_0000{number}"), number)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    data = {"data_list": "l", "patch_size": [16] * 3, "channel_dropout": 0.5}
    inference = {"threshold": 0.01}
    path = tmp_path_factory.mktemp("model") / "model.safetensors"
    return write_model(path, seed=3, data=data, inference=inference)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_all_are_the_non_empty_subsets_smaller_first():
    subsets = chosen_subsets(["all"], CHANNELS)

    assert len(subsets) == 2**4 - 1
    assert subsets[:5] == (("t1n",), ("t1c",), ("t2w",), ("t2f",), ("t1n", "t1c"))
    assert subsets[-1] == CHANNELS


def test_a_subset_is_named_by_any_name_of_its_channels_and_counts_once():
    assert chosen_subsets(["FLAIR,t1ce", "t1c,t2f", "t2"], CHANNELS) == (("t1c", "t2f"), ("t2w",))


@pytest.mark.parametrize(
    ("words", "channels", "problem"),
    [
        ([""], CHANNELS, "--channels '' holds no channel; name channels such as t1n,t1c, or give"),
        ([], CHANNELS, "--channels '' holds no channel"),
        ([" , "], CHANNELS, "--channels ' , ' holds no channel"),
        (["t1c,"], CHANNELS, "--channels 't1c,' holds an empty name beside a comma"),
        (["pet"], CHANNELS, "names pet, but the channels of the model are t1n t1c t2w t2f"),
        (["all"], [f"c{n}" for n in range(7)], "means 127 subsets of 7 channels, but at most 63"),
    ],
)
def test_a_choice_that_is_none_is_refused(words, channels, problem):
    with pytest.raises(ConfigError, match=problem):
        chosen_subsets(words, channels)


def test_a_channel_that_stands_in_for_others_is_in_each_subset():
    assert chosen_subsets(["all"], ["t1c", "t2f"], ["t2f"]) == (("t2f",), ("t1c", "t2f"))
    with pytest.raises(ConfigError, match="lacks t2f, which stands in for missing channels"):
        chosen_subsets(["t1c"], ["t1c", "t2f"], ["t2f"])


@pytest.mark.parametrize("kept", [("t2f",), ("t1n", "t2w")])
def test_a_subset_scores_what_infer_gives_for_a_case_with_these_files(cases, model, tmp_path, kept):
    part = shutil.copytree(cases, tmp_path / "part")
    for channel in set(CHANNELS) - set(kept):
        for file in part.glob(f"*/*_{SUFFIXES[channel]}.nii.gz"):
            file.unlink()
    infer(part, model, tmp_path / "maps", InferOptions(preview=False))

    scores = volseg.evaluate_channels(model, str(cases), tmp_path / "scores", ",".join(kept))

    (table,) = scores.table.tables.values()
    found = {row.case_id: row["dice"] for row in table.rows if row.region == "WT"}
    expected = {}
    for case_id in found:
        predicted = nib.load(tmp_path / "maps" / f"{case_id}.nii.gz").get_fdata() > 0
        reference = nib.load(cases / case_id / f"{case_id}_seg.nii.gz").get_fdata() > 0
        expected[case_id] = dice(predicted, reference)
    assert found == pytest.approx(expected)
    assert 0 < sum(expected.values()) < 3


def test_all_subsets_are_one_table_and_each_case_is_read_once(cases, model, tmp_path, monkeypatch):
    read = []
    whole = VolumeCase._read_images

    def noted(self, channels):
        read.append(self.case_id)
        return whole(self, channels)

    monkeypatch.setattr(VolumeCase, "_read_images", noted)

    done = CliRunner().invoke(
        app, ["evaluate", str(model), str(cases), "--channels", "all", "-o", str(tmp_path / "o")]
    )

    assert done.exit_code == 0, done.output
    assert sorted(read) == [f"BraTS2021_0000{n}" for n in range(3)]
    rows = rows_of(tmp_path / "o" / "channels.csv")
    assert len(rows) == 15 * 3
    document = json.loads((tmp_path / "o" / "channels.json").read_text())
    assert [entry["channels"] for entry in document["subsets"]] == [
        list(subset) for subset in chosen_subsets(["all"], CHANNELS)
    ]
    first = next(r for r in rows if r["channels"] == "t1c t2f" and r["region"] == "WT")
    assert [first[name] for name in CHANNELS] == ["0", "1", "0", "1"]
    of_cases = next(e for e in document["subsets"] if e["channels"] == ["t1c", "t2f"])["cases"]
    values = [of["regions"]["WT"]["dice"] for of in of_cases.values()]
    assert float(first["dice"]) == pytest.approx(np.mean(values), abs=1e-5)
    # Three patients have an interval.
    assert float(first["dice_low"]) <= float(first["dice"]) <= float(first["dice_high"])
    assert done.output.count("│ ●    │ ●   │ ●   │ ●   │") == 1
    assert done.output.count("│ ○    │ ○   │ ○   │ ●   │") == 1
    assert "15 subsets of channels in" in done.output
    assert f"volseg infer SCANS -m {model} -o results" in done.output
    assert all(is_ours(tmp_path / "o" / name) for name in ("channels.csv", "channels.json"))


def test_a_case_that_cannot_be_read_stops_no_other(cases, model, tmp_path):
    broken = shutil.copytree(cases, tmp_path / "cases")
    file = broken / "BraTS2021_00001" / "BraTS2021_00001_t1.nii.gz"
    file.write_bytes(file.read_bytes()[:200])
    words = ["evaluate", str(model), str(broken), "--channels", "t1n,t2f", "--channels", "t2f"]

    done = CliRunner().invoke(app, [*words, "-o", str(tmp_path / "out")])

    assert done.exit_code == 3
    assert "BraTS2021_00001" in done.output
    assert {row["cases"] for row in rows_of(tmp_path / "out" / "channels.csv")} == {"2"}
    document = json.loads((tmp_path / "out" / "channels.json").read_text())
    assert list(document["failures"]) == ["BraTS2021_00001"]


def test_a_case_that_lacks_a_channel_is_scored_with_the_others(cases, model, tmp_path):
    part = shutil.copytree(cases, tmp_path / "part")
    (part / "BraTS2021_00002" / "BraTS2021_00002_t1ce.nii.gz").unlink()

    scores = volseg.evaluate_channels(model, part, tmp_path / "out", ["t1c", "t2f"])

    assert not scores.failures
    assert {row.subset: row.cases for row in scores.table.rows()} == {("t1c",): 2, ("t2f",): 3}
    assert (
        "1 case, such as BraTS2021_00002, scored only with the channels that they have"
        in scores.notes
    )


def test_a_model_without_dropout_is_scored_with_a_note(cases, tmp_path):
    strict = write_model(tmp_path / "strict.safetensors")

    scores = volseg.evaluate_channels(strict, cases, tmp_path / "out", ["t2f"])

    assert not scores.takes_missing
    assert "was trained without data.channel_dropout: zeros, which it never saw" in scores.notes[0]


def test_without_a_label_map_there_is_nothing_to_score(model, tmp_path):
    write_case(tmp_path / "scans")

    with pytest.raises(DataListError, match="has no case with a label map"):
        volseg.evaluate_channels(model, tmp_path / "scans", tmp_path / "out")


def test_a_table_that_volseg_did_not_write_is_not_replaced(cases, model, tmp_path):
    (tmp_path / "channels.csv").write_text("mine\n")

    with pytest.raises(OutputError, match=r"channels\.csv"):
        volseg.evaluate_channels(model, cases, tmp_path, ["t2f"])


def test_options_for_label_maps_are_refused_beside_channels(cases, model, tmp_path):
    words = ["evaluate", str(model), str(cases), "-o", str(tmp_path / "out")]

    slices = CliRunner().invoke(app, [*words, "--channels", "t2f", "--slices"])
    device = CliRunner().invoke(app, [*words, "--device", "cpu"])

    assert slices.exit_code == 2
    assert "--slices has no effect with --channels" in slices.stderr
    assert device.exit_code == 2
    assert "--device is for --channels" in device.stderr


def test_subsets_of_slices_hold_the_channel_that_stands_in(tmp_path):
    model = write_model(tmp_path / "m.safetensors", **OF_SLICES)

    with pytest.raises(ConfigError, match="lacks t2f, which stands in"):
        volseg.evaluate_channels(model, tmp_path, tmp_path / "out", ["t1n"])
