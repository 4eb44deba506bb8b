"""`evaluate` and `overlay` with native label maps: paired by case and grid, never with others."""

from __future__ import annotations

import json
import shutil

import nibabel as nib
import numpy as np
import pytest
from PIL import Image
from prepared_cases import prepare_by_hand, write_busy_model
from typer.testing import CliRunner

from volseg.cli import app
from volseg.errors import DataListError, GeometryError, OutputError
from volseg.inference.options import InferOptions
from volseg.tasks.evaluate import evaluate
from volseg.tasks.infer import infer
from volseg.tasks.overlay import OverlayOptions, overlay

NAMES = ["BraTS2021_00001", "BraTS2021_00002"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Raw scans, the same prepared, and results with native label maps of all channels."""
    folder = tmp_path_factory.mktemp("made")
    for name in NAMES:
        prepare_by_hand(folder / "prepared", name, raw=folder / "raw")
    model = write_busy_model(folder / "model.safetensors")
    infer(folder / "prepared", model, folder / "results", InferOptions(native="all"))
    return folder


@pytest.fixture
def folder(made, tmp_path, monkeypatch):
    """A copy of `made` in the current folder, whose references are the native label maps of t2f."""
    for name in ("raw", "prepared", "results"):
        shutil.copytree(made / name, tmp_path / name)
    monkeypatch.chdir(tmp_path)
    for name in NAMES:
        draw(tmp_path, name, "t2f")
    return tmp_path


def draw(folder, name, channel, change=lambda values: values):
    """The native label map of a channel as the reference of a raw case."""
    found = nib.load(folder / "results" / "native" / f"{name}-{channel}.nii.gz")
    values = change(np.asarray(found.dataobj))
    reference = folder / "raw" / name / f"{name}-seg.nii.gz"
    nib.save(nib.Nifti1Image(values, found.affine, found.header), reference)


def edit_marks(folder, edit):
    """Change the entries of native label maps in the manifest."""
    path = folder / "results" / "manifest.json"
    manifest = json.loads(path.read_text())
    for record in manifest["cases"].values():
        for channel, mark in record["native"].items():
            edit(channel, mark)
    path.write_text(json.dumps(manifest))


def score(folder, predictions="results/native", reference="raw"):
    return evaluate(predictions, reference, folder / "scores", reference_labels="brats2021")


def dice(result):
    return {(row.case_id, row.region): row["dice"] for row in result.table.rows}


def test_the_label_map_on_the_grid_of_the_reference_is_scored(folder):
    result = score(folder)

    assert set(dice(result).values()) == {1.0}
    assert len(dice(result)) == 6
    assert (result.failures, result.missing, result.without_reference) == ((), (), ())
    assert not [note for note in result.notes if "another patient" in note]
    # The picture shows a channel on the grid of the reference.
    assert (folder / "scores" / "samples.png").is_file()


def test_the_score_counts_voxels_of_the_original_grid(folder):
    def without_the_first_slices(values):
        return np.where(np.arange(values.shape[2]) < 2, 0, values).astype(np.uint8)

    draw(folder, NAMES[0], "t2f", without_the_first_slices)
    whole = np.asarray(nib.load(f"results/native/{NAMES[0]}-t2f.nii.gz").dataobj) > 0
    rest = whole[:, :, 2:].sum()

    found = dice(score(folder))[NAMES[0], "WT"]

    assert found == pytest.approx(2 * rest / (rest + whole.sum()))


def test_references_may_be_label_maps_alone_or_named_like_the_predictions(folder):
    for name in NAMES:
        (folder / "seg").mkdir(exist_ok=True)
        (folder / "raw" / name / f"{name}-seg.nii.gz").rename(f"seg/{name}-seg.nii.gz")
    shutil.copytree(folder / "results" / "native", folder / "alike")

    assert set(dice(score(folder, reference="seg")).values()) == {1.0}
    assert len(dice(score(folder, reference="alike"))) == 8 * 3


def test_a_case_without_a_label_map_on_that_grid_is_refused_alone(folder):
    (folder / "results" / "native" / f"{NAMES[0]}-t2f.nii.gz").unlink()

    result = score(folder)

    ((case_id, reason),) = result.failures
    assert case_id == NAMES[0]
    assert "no native label map has the grid of the reference (t1n has shape" in reason
    assert "but reference has (40, 44, 5)" in reason
    assert "write those of the channel that it was drawn on with volseg infer --native" in reason
    assert dice(result)[NAMES[1], "WT"] == 1


def test_a_case_whose_label_maps_are_gone_is_missing(folder):
    for path in (folder / "results" / "native").glob(f"{NAMES[0]}-*"):
        path.unlink()

    assert score(folder).missing == (NAMES[0],)


def test_channels_on_one_grid_with_equal_label_maps_are_one_prediction(folder):
    for name in NAMES:
        draw(folder, name, "t2w")

    result = score(folder)

    assert set(dice(result).values()) == {1.0}
    assert "several channels" not in " ".join(result.notes)


def move(folder, channel):
    """Another label map of a channel, as registration gives it."""
    for name in NAMES:
        path = folder / "results" / "native" / f"{name}-{channel}.nii.gz"
        found = nib.load(path)
        moved = np.roll(np.asarray(found.dataobj), 2, axis=0)
        nib.save(nib.Nifti1Image(moved, found.affine, found.header), path)


def test_of_channels_on_one_grid_that_moved_differently_the_reference_channel_counts(folder):
    move(folder, "t2w")
    for name in NAMES:
        draw(folder, name, "t1c")

    result = score(folder)

    assert set(dice(result).values()) == {1.0}
    assert f"several channels of {NAMES[0]} and 1 more have the grid" in " ".join(result.notes)


def test_channels_that_moved_differently_are_refused_if_none_is_the_reference_channel(folder):
    move(folder, "t2w")
    for name in NAMES:
        draw(folder, name, "t1c")
    edit_marks(folder, lambda _, mark: mark.update(is_reference=False))

    result = score(folder)

    assert len(result.failures) == 2
    assert "t1c and t2w have the grid of the reference, but different" in result.failures[0][1]


def test_an_unfinished_label_map_is_refused(folder):
    edit_marks(folder, lambda channel, mark: channel == "t2f" and mark.pop("sha256"))

    with pytest.raises(OutputError, match="is not complete: volseg infer did not finish"):
        score(folder)


def test_scans_of_another_patient_under_the_same_name_are_noted(folder):
    for path in (folder / "raw" / NAMES[0]).glob("*-t*.nii.gz"):
        found = nib.load(path)
        nib.save(nib.Nifti1Image(np.asarray(found.dataobj)[::-1], None, found.header), path)

    notes = " ".join(score(folder).notes)

    assert f"the prediction of {NAMES[0]} was made from other images" in notes


@pytest.mark.parametrize(
    ("predictions", "reference", "note"),
    [
        ("results", "raw", "the reference belongs to the original scan; score the folder native"),
        ("results/native", "prepared", "belongs to the prepared scan; score the folder above"),
    ],
)
def test_a_reference_of_the_other_space_is_answered_with_the_folder_to_score(
    folder, predictions, reference, note
):
    for name in NAMES:
        shutil.copy(f"results/{name}.nii.gz", f"prepared/{name}/{name}_seg.nii.gz")

    result = score(folder, predictions, reference)

    assert len(result.failures) == 2
    assert f"the prediction of {NAMES[0]} and 1 more" in " ".join(result.notes)
    assert note in " ".join(result.notes)
    assert "another patient" not in " ".join(result.notes)


def test_the_reference_in_the_prepared_folder_is_no_prediction(folder):
    shutil.move(folder / "prepared", folder / "results" / "prepared")
    for name in NAMES:
        place = f"results/prepared/{name}/{name}-seg.nii.gz"
        shutil.copy(f"results/{name}.nii.gz", place)
    (folder / "results" / f"{NAMES[0]}.nii.gz").unlink()

    assert score(folder, "results", "results/prepared").missing == (NAMES[0],)


def test_the_command_scores_native_label_maps_with_a_report(folder):
    words = ["evaluate", "results/native", "raw", "-o", "scores", "--report"]

    done = CliRunner().invoke(app, [*words, "--reference-labels", "brats2021"])

    assert done.exit_code == 0, done.output
    assert (folder / "scores" / "report.html").is_file()


def picture(scan, labels, *channels):
    """Where the regions are in a picture without anything else."""
    options = OverlayOptions(channels=channels, labels="brats2021", text=False, fill=1)
    overlay(scan, labels, "picture.png", options)
    with Image.open("picture.png") as found:
        return np.ptp(np.asarray(found.convert("RGB")).astype(int), axis=2) > 40


@pytest.mark.parametrize("labels", ["results", "results/native"])
@pytest.mark.parametrize("scan", [f"raw/{NAMES[0]}/{NAMES[0]}-t2f.nii.gz", f"raw/{NAMES[0]}"])
def test_of_results_the_label_map_on_the_grid_of_the_picture_is_drawn(folder, scan, labels):
    expected = picture(scan, f"results/native/{NAMES[0]}-t2f.nii.gz")

    found = picture(scan, labels)

    assert expected.any()
    assert np.array_equal(found, expected)


def test_of_a_prepared_case_the_label_map_on_the_prepared_grid_is_drawn(folder):
    scan = f"prepared/{NAMES[0]}"

    assert np.array_equal(picture(scan, "results"), picture(scan, f"results/{NAMES[0]}.nii.gz"))


def test_of_results_with_the_prepared_cases_in_them_the_prediction_is_drawn(folder):
    expected = picture(f"prepared/{NAMES[0]}", f"results/{NAMES[0]}.nii.gz")
    shutil.move(folder / "prepared", folder / "results" / "prepared")
    scan = f"results/prepared/{NAMES[0]}"
    found = nib.load(f"results/{NAMES[0]}.nii.gz")
    nothing = nib.Nifti1Image(np.zeros(found.shape, np.uint8), found.affine)
    nib.save(nothing, f"{scan}/{NAMES[0]}_seg.nii.gz")

    assert np.array_equal(picture(scan, "results"), expected)
    assert not np.array_equal(picture(scan, scan), expected)


def test_of_channels_that_moved_differently_that_which_is_shown_decides(folder):
    move(folder, "t2w")
    scan, native = f"raw/{NAMES[0]}", f"results/native/{NAMES[0]}"

    own = [picture(scan, f"{native}-{channel}.nii.gz", channel) for channel in ("t1c", "t2w")]
    found = [picture(scan, "results", channel) for channel in ("t1c", "t2w")]

    assert not np.array_equal(*own)
    assert all(map(np.array_equal, found, own))


def test_the_file_that_fits_or_the_option_that_makes_it_is_named(folder):
    scan, native = f"raw/{NAMES[0]}", f"results/native/{NAMES[0]}"

    with pytest.raises(GeometryError, match=f"; give {native}-t2f.nii.gz"):
        picture(scan, f"results/{NAMES[0]}.nii.gz")
    (folder / f"{native}-t2f.nii.gz").unlink()
    with pytest.raises(DataListError, match=r"has the grid of the scan \(t1n has shape .* t2f, or"):
        picture(scan, "results")
