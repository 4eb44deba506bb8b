"""Bad input on the real command line: one sentence with the remedy, an exit code, nothing broken.

The sentence names the thing, what was found and what was expected; what helps follows a semicolon.
"""

from __future__ import annotations

import contextlib
import json
import resource
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from tiny_models import write_model
from tiny_scans import write_case
from typer.testing import CliRunner

from volseg.cli import app

FIRST, SECOND = "BraTS2021_00001", "BraTS2021_00002"

CONFIG = """\
labels: brats2021
data:
  data_list: {folder}/list.json
  patch_size: [16, 16, 16]
  batch_size: 1
  workers: 0
network: {{name: unet, widths: [4, 8], residual_units: 0}}
training: {{max_epochs: 1, accelerator: cpu}}
"""


@pytest.fixture(autouse=True)
def _wide_terminal(monkeypatch):
    """Tables without folded lines, so that a test can look for a sentence."""
    monkeypatch.setenv("COLUMNS", "1000")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def scans(tmp_path):
    """Two good cases with label maps; a test spoils the first."""
    for number, name in enumerate((FIRST, SECOND)):
        add_labelled(tmp_path / "scans", name, number)
    return tmp_path / "scans"


def add_labelled(scans, name, number):
    """A case like no other, since cases with the same voxels are of one patient."""
    folder = write_case(scans, name)
    for channel in ("t1", "t1ce", "t2", "flair"):
        change(
            file_of(scans, channel, name),
            lambda array: np.where(array, array + number, 0).astype(array.dtype),
        )
    image = nib.load(folder / f"{name}_t1.nii.gz")
    label_map = np.zeros(image.shape, np.uint8)
    label_map[5:12, 6:13, 4 : 9 + number], label_map[6:9, 7:9, 5:7] = 2, 4
    save(label_map, image.affine, folder / f"{name}_seg.nii.gz")


@pytest.fixture
def config(scans):
    """An experiment on the two cases, which is good until a test spoils it."""
    run("split", scans, "-o", scans.parent / "list.json", "--folds", 2)
    path = scans.parent / "config.yaml"
    path.write_text(CONFIG.format(folder=scans.parent))
    return path


def run(*words):
    result = CliRunner().invoke(app, [str(word) for word in words])
    # Anything but a chosen exit is a bug, whose traceback should be seen.
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def save(array, affine, path):
    nib.save(nib.Nifti1Image(array, affine), path)


def file_of(scans, what, case=FIRST):
    return scans / case / f"{case}_{what}.nii.gz"


def change(path, edit, move_mm=0.0):
    """Write an image again with other voxels or at another place."""
    image = nib.load(path)
    affine = image.affine + np.diag([0, 0, 0, 0])
    affine[0, 3] += move_mm
    save(edit(np.asarray(image.dataobj).copy()), affine, path)


def constant(array):
    return np.full_like(array, 7)


def with_nan(array):
    array = array.astype(np.float32)
    array[3, 4, 5] = np.nan
    return array


def without_a_slice(array):
    return array[..., :-1]


def unchanged(array):
    return array


def with_label_3(array):
    array[6, 7, 5] = 3
    return array


def files_in(folder):
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def assert_refused(result, *phrases):
    """Nothing was done, and one line says why and what helps."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
    assert len(lines) == 1
    for phrase in (*phrases, ";"):
        assert phrase in result.stderr


def assert_only_first_failed(result, output, *phrases):
    """The other case was done, the first is named with the reason and what helps."""
    assert result.exit_code == 3, result.output
    assert f"{SECOND}.nii.gz" in files_in(output)
    assert f"{FIRST}.nii.gz" not in files_in(output)
    reason = json.loads((output / "manifest.json").read_text())["failures"][FIRST]
    assert reason in result.output
    for phrase in (*phrases, "; "):
        assert phrase in reason


# Channels


def test_a_missing_channel(scans, model, tmp_path):
    file_of(scans, "flair").unlink()

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_only_first_failed(result, tmp_path / "out", "missing channel t2f")


def test_a_missing_channel_leaves_a_case_out_of_the_list(scans, tmp_path):
    write_case(scans, "BraTS2021_00003")
    file_of(scans, "flair").unlink()

    result = run("split", scans, "-o", tmp_path / "list.json")

    assert_refused(result, "1 case left out (case BraTS2021_0000", "), and 1 patient with")
    assert files_in(tmp_path) == ["scans"]


def test_two_files_for_one_channel(scans, model, tmp_path):
    file_of(scans, "t1n").write_bytes(file_of(scans, "t1").read_bytes())

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    names = (f"{FIRST}_t1.nii.gz", f"{FIRST}_t1n.nii.gz")
    assert_only_first_failed(result, tmp_path / "out", "2 files for channel t1n", *names)


# Files


def test_a_truncated_gzip(scans, model, tmp_path):
    path = file_of(scans, "t1ce")
    path.write_bytes(path.read_bytes()[:-200])

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_only_first_failed(result, tmp_path / "out", path.name, "truncated", "download it again")


def test_a_file_that_is_no_nifti(scans, model, tmp_path):
    file_of(scans, "t1ce").write_text("<html>Please sign in</html>" * 30)

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_only_first_failed(result, tmp_path / "out", "is not a NIfTI file", "<html>")


@pytest.mark.parametrize(
    ("edit", "found"), [(with_nan, "holds 1 NaN"), (constant, "is constant, 7 in every voxel")]
)
def test_voxels_that_cannot_be_used(scans, model, tmp_path, edit, found):
    change(file_of(scans, "t2"), edit)

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_only_first_failed(result, tmp_path / "out", "t2w", found)


# Grids


@pytest.mark.parametrize(
    ("edit", "move_mm", "found"),
    [
        (without_a_slice, 0, "t2w has shape (20, 22, 17), but t1n has (20, 22, 18)"),
        (unchanged, 0.02, "t2w lies 0.02 mm away from t1n, but at most 0.01 mm is accepted"),
    ],
)
def test_channels_on_different_grids(scans, model, tmp_path, edit, move_mm, found):
    change(file_of(scans, "t2"), edit, move_mm)

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_only_first_failed(result, tmp_path / "out", found, "co-register")


def test_a_tiny_difference_of_grids_is_accepted_with_a_note(scans, model, tmp_path):
    change(file_of(scans, "t2"), unchanged, 0.005)

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert result.exit_code == 0
    record = json.loads((tmp_path / "out" / "manifest.json").read_text())["cases"][FIRST]
    assert "t2w lies 0.005 mm away from t1n" in record["notes"][0]


@pytest.mark.parametrize(
    ("edit", "move_mm", "found"),
    [
        (without_a_slice, 0, "has shape (20, 22, 17)"),
        (unchanged, 1, "lies 1 mm away"),
        (with_label_3, 0, "holds [3], but scheme 'brats2021' defines only 0=background, 1=NCR"),
    ],
)
def test_check_refuses_a_label_map_that_does_not_fit(scans, config, edit, move_mm, found):
    change(file_of(scans, "seg"), edit, move_mm)

    result = run("check", config)

    assert_refused(result, FIRST, "label map", found)


@pytest.mark.parametrize(
    ("edit", "move_mm", "found"),
    [(without_a_slice, 0, "shape"), (unchanged, 1, "1 mm away")],
)
def test_evaluate_names_a_prediction_that_does_not_fit(scans, tmp_path, edit, move_mm, found):
    predictions = tmp_path / "predictions"
    predictions.mkdir()
    for name in (FIRST, SECOND):
        reference = file_of(scans, "seg", name).read_bytes()
        (predictions / f"{name}.nii.gz").write_bytes(reference)
    change(predictions / f"{FIRST}.nii.gz", edit, move_mm)

    result = run("evaluate", predictions, scans, "-o", tmp_path / "s", "--labels", "brats2021")

    assert result.exit_code == 3, result.output
    scores = json.loads((tmp_path / "s" / "scores.json").read_text())
    assert list(scores["failures"]) == [FIRST]
    assert found in scores["failures"][FIRST]
    assert "; " in scores["failures"][FIRST]
    assert scores["cases"][SECOND]["regions"]["WT"]["dice"] == 1


def test_split_leaves_out_a_label_map_outside_its_scheme(scans, tmp_path):
    for number in range(3, 7):
        add_labelled(scans, f"BraTS2021_0000{number}", number)
    change(file_of(scans, "seg"), with_label_3)

    words = ["-o", tmp_path / "list.json", "--labels", "brats2021", "--folds", 2]
    result = run("split", scans, *words)

    assert result.exit_code == 3, result.output
    assert "holds [3], but scheme 'brats2021' defines only" in result.stdout
    listed = json.loads((tmp_path / "list.json").read_text())["training"]
    assert FIRST not in {entry["case_id"] for entry in listed}


# Folders


@pytest.mark.parametrize("command", ["split", "infer"])
def test_an_empty_folder(command, model, tmp_path):
    (tmp_path / "empty").mkdir()
    options = {"split": [], "infer": ["-m", model]}[command]

    result = run(command, tmp_path / "empty", *options, "-o", tmp_path / "out.json")

    assert_refused(result, str(tmp_path / "empty"))
    assert files_in(tmp_path) == ["empty"]


def test_empty_predictions(scans, tmp_path):
    (tmp_path / "empty").mkdir()
    words = ["evaluate", tmp_path / "empty", scans, "-o", tmp_path / "s", "--labels", "brats2021"]

    assert_refused(run(*words), str(tmp_path / "empty"))


@pytest.mark.parametrize("command", ["demo", "split", "fit", "infer", "evaluate"])
def test_an_output_that_cannot_be_written(command, scans, config, model, tmp_path):
    # A file where a folder is needed stops root as well, which permissions do not.
    (tmp_path / "file").write_text("mine")
    (tmp_path / "same").mkdir()
    for name in (FIRST, SECOND):
        content = file_of(scans, "seg", name).read_bytes()
        (tmp_path / "same" / f"{name}.nii.gz").write_bytes(content)
    words = {
        "demo": [],
        "split": [scans, "--folds", 2],
        "fit": [config],
        "infer": [scans, "-m", model],
        "evaluate": [tmp_path / "same", scans, "--labels", "brats2021"],
    }[command]

    result = run(command, *words, "-o", tmp_path / "file" / "below")

    assert_refused(result, str(tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


@contextlib.contextmanager
def full_disk(limit):
    """No file can grow beyond `limit` bytes: writes stop in the middle, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_leaves_no_half_written_result(scans, model, tmp_path):
    output = tmp_path / "out"

    # Enough for manifest.json; a map of probabilities needs more.
    with full_disk(10_000):
        result = run("infer", scans, "-m", model, "-o", output, "--probabilities")

    assert_refused(result, f"cannot write {output}", "has space")
    assert [p.name for p in output.rglob("*")] == ["manifest.json"]
    assert json.loads((output / "manifest.json").read_text())["cases"] == {}


def test_a_run_goes_on_when_there_is_space_again(scans, model, tmp_path):
    with full_disk(10_000):
        run("infer", scans, "-m", model, "-o", tmp_path / "out", "--probabilities")

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out", "--probabilities")

    assert result.exit_code == 0
    assert "2 cases segmented" in result.stdout


@pytest.mark.parametrize(("command", "limit"), [("split", 100), ("fit", 10_000), ("evaluate", 100)])
def test_a_full_disk_elsewhere(command, limit, scans, config, tmp_path):
    (tmp_path / "same").mkdir()
    (tmp_path / "same" / f"{FIRST}.nii.gz").write_bytes(file_of(scans, "seg").read_bytes())
    output = tmp_path / {"split": "new.json", "fit": "runs/one", "evaluate": "scores"}[command]
    words = {
        "split": [scans, "--folds", 2],
        "fit": [config],
        "evaluate": [tmp_path / "same", scans, "--labels", "brats2021"],
    }[command]

    with full_disk(limit):
        result = run(command, *words, "-o", output)

    assert_refused(result, "cannot")
    assert not output.is_file()
    # Hidden names are those of files and folders that are not finished.
    assert {path.name for path in tmp_path.rglob(".*")} <= {".lock"}


# Configs


@pytest.mark.parametrize("command", ["check", "fit"])
@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        (
            "training.learning_rat=1",
            "training.learning_rat: unknown key; did you mean 'learning_ra",
        ),
        ("data.patch_size=[16,16,17]", "[16, 16, 17] is not a multiple of 2, which unet with"),
        ("data.patch_size=[16,16,17]", "; the nearest is [16, 16, 18]"),
    ],
)
def test_an_option_that_is_not_valid(command, override, sentence, config):
    result = run(command, config, override)

    assert_refused(result, f"{config} is not a valid config:", sentence)
    assert not Path("runs/config").exists()


# Models


def test_a_truncated_model(scans, model, tmp_path):
    (tmp_path / "short.safetensors").write_bytes(model.read_bytes()[:-100])

    result = run("infer", scans, "-m", tmp_path / "short.safetensors", "-o", tmp_path / "out")

    assert_refused(result, "short.safetensors is damaged or incomplete", "copy it again")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"PK\x03\x04" + bytes(60), "a PyTorch checkpoint or another zip archive"),
        (b"\x1f\x8b" + bytes(60), "a gzip file, such as a NIfTI image"),
        (b"labels: brats2021\n", "a file of another kind"),
        (b"", "empty"),
    ],
)
def test_a_model_of_another_kind(scans, tmp_path, content, kind):
    (tmp_path / "model.ckpt").write_bytes(content)

    result = run("infer", scans, "-m", tmp_path / "model.ckpt", "-o", tmp_path / "out")

    assert_refused(result, f"is not a model of volseg but {kind}", "give the model.safetensors")


def test_a_model_that_asks_for_channels_the_scans_lack(scans, tmp_path):
    data = {"data_list": "x", "patch_size": [16, 16, 16], "channels": ["t1c", "adc"]}
    model = write_model(tmp_path / "model.safetensors", data=data)

    result = run("infer", scans, "-m", model, "-o", tmp_path / "out")

    assert_refused(result, "missing channel adc")


def test_a_model_that_is_not_there(scans, tmp_path):
    result = run("infer", scans, "-m", tmp_path / "none", "-o", tmp_path / "out")

    assert_refused(result, "none does not exist")
