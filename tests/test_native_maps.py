"""`infer --native`: label maps on original grids, recorded, owned, resumed, refused in words."""

from __future__ import annotations

import json
import shutil
import subprocess

import nibabel as nib
import numpy as np
import pytest
from prepared_cases import MOVED, header_on, native_grids, prepare_by_hand, write_busy_model
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, write_case, write_images
from typer.testing import CliRunner

from volseg.cases.sources import fingerprint
from volseg.cli import app
from volseg.errors import DataListError, OutputError
from volseg.finding.own_results import written_by_volseg
from volseg.images.nifti_reading import read_header, read_label_map
from volseg.inference.options import InferOptions
from volseg.model_file import load_model
from volseg.preparation.native import to_native
from volseg.preparation.record import record_path
from volseg.results.manifest import read_manifest
from volseg.tasks.infer import infer
from volseg.tasks.infer_raw import infer_raw
from volseg.tasks.info import info
from volseg.tasks.prepare import PrepareOptions, PrepareResult, prepare

CHOSEN = ("t1c", "t2f")
NAMES = ["BraTS2021_00001", "BraTS2021_00002"]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_busy_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture
def prepared(tmp_path):
    for name in NAMES:
        prepare_by_hand(tmp_path / "prepared", name)
    return tmp_path / "prepared"


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def run(scans, model, output, native="reference", stop=lambda: False, **options):
    return infer(scans, model, output, InferOptions(native=native, preview=False, **options), stop)


def native_names(output):
    return sorted(path.name for path in (output / "native").iterdir())


def test_a_label_map_lies_on_the_grid_of_the_reference_channel(prepared, model, output):
    result = run(prepared, model, output)

    assert (len(result.done), result.failures) == (2, {})
    assert native_names(output) == [f"{name}-t1c.nii.gz" for name in NAMES]
    there = read_label_map(output / "native" / f"{NAMES[0]}-t1c.nii.gz")
    on_prepared = read_label_map(output / f"{NAMES[0]}.nii.gz")[0]
    # Only the origin of the two grids differs, by the transform.
    assert on_prepared.any()
    assert np.array_equal(there[0], on_prepared)


def test_the_grid_is_the_original_one_to_the_last_bit(prepared, model, output):
    run(prepared, model, output, "all")

    grid = read_header(next((prepared / NAMES[0]).iterdir()))[0]
    for channel, native in native_grids(grid).items():
        header = nib.load(output / "native" / f"{NAMES[0]}-{channel}.nii.gz").header
        wanted = header_on(native)
        assert header.get_data_shape() == native.shape
        for code in ("qform", "sform"):
            found = getattr(header, f"get_{code}")(coded=True)
            expected = getattr(wanted, f"get_{code}")(coded=True)
            assert (np.array_equal(found[0], expected[0]), found[1]) == (True, expected[1])


def test_turned_and_oblique_grids_get_the_same_tissue(prepared, model, output):
    run(prepared, model, output, "all")

    label_map, grid = read_label_map(output / f"{NAMES[0]}.nii.gz")
    turned, _ = read_label_map(output / "native" / f"{NAMES[0]}-t1n.nii.gz")
    thick, native = read_label_map(output / "native" / f"{NAMES[0]}-t2f.nii.gz")

    assert np.array_equal(turned, grid.to_ras(label_map))
    assert np.array_equal(thick, to_native(label_map, grid, native, MOVED))


def test_the_manifest_records_native_label_maps_and_their_volumes(prepared, model, output):
    run(prepared, model, output)

    record = read_manifest(output)["cases"][NAMES[0]]
    mark = record["native"]["t1c"]

    assert mark["file"] == f"native/{NAMES[0]}-t1c.nii.gz"
    assert fingerprint(output / mark["file"])["sha256"] == mark["sha256"]
    assert mark["volumes_ml"] == pytest.approx(record["volumes_ml"], abs=1e-4)
    assert info(output / "manifest.json")["native"] == {name: ["t1c"] for name in NAMES}


def test_native_label_maps_are_no_scans(prepared, model, output):
    run(prepared, model, output)

    assert "native" in written_by_volseg(output, [path.name for path in output.iterdir()])


def test_native_label_maps_are_made_from_finished_results(prepared, model, output, monkeypatch):
    run(prepared, model, output, None)
    monkeypatch.setattr("volseg.tasks.infer.segment_cases", no_network(output))

    result = run(prepared, model, output)

    assert (result.kept, len(native_names(output))) == (tuple(NAMES), 2)


def no_network(output):
    from volseg.inference.folder import Outcome

    def none(cases, *_):
        assert not cases
        return Outcome()

    return none


def test_a_second_run_writes_nothing_again(prepared, model, output):
    run(prepared, model, output, "all")
    before = {path: path.stat().st_mtime_ns for path in (output / "native").iterdir()}

    run(prepared, model, output, "all")

    assert {path: path.stat().st_mtime_ns for path in (output / "native").iterdir()} == before


def test_a_lost_label_map_is_written_again_alone(prepared, model, output):
    run(prepared, model, output, "t1c,t2f")
    lost, *kept = (output / "native" / name for name in native_names(output))
    before = [path.stat().st_mtime_ns for path in kept]
    lost.unlink()

    run(prepared, model, output, "t1c,t2f")

    assert lost.is_file()
    assert [path.stat().st_mtime_ns for path in kept] == before


def test_a_stopped_run_is_resumed(prepared, model, output):
    calls = []

    def after_the_first_native_map():
        calls.append(1)
        # Two cases are segmented, then one native label map is written.
        return len(calls) > 3

    stopped = run(prepared, model, output, stop=after_the_first_native_map)
    assert stopped.stopped
    assert len(native_names(output)) == 1

    assert not run(prepared, model, output).stopped
    assert len(native_names(output)) == 2


def test_a_killed_process_leaves_no_file_without_an_owner(prepared, model, output, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("volseg.native_maps.write_label_map", killed)
    with pytest.raises(KeyboardInterrupt):
        run(prepared, model, output)
    monkeypatch.undo()
    half = output / "native" / f"{NAMES[0]}-t1c.nii.gz"
    half.write_bytes(b"half")

    run(prepared, model, output)

    assert read_label_map(half)[0].shape == (20, 22, 18)


def test_shards_share_the_native_label_maps(prepared, model, output):
    run(prepared, model, output, shard="1/2")
    assert len(native_names(output)) == 1

    run(prepared, model, output, shard="2/2")

    assert len(native_names(output)) == 2
    assert all("native" in record for record in read_manifest(output)["cases"].values())


def test_changed_images_get_new_native_label_maps(prepared, model, output):
    run(prepared, model, output, "all")
    shutil.rmtree(prepared / NAMES[0])
    prepare_by_hand(prepared, NAMES[0])
    image = next((prepared / NAMES[0]).glob("*_t1ce.nii.gz"))
    turned = nib.load(image)
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj)[::-1], turned.affine), image)
    record = json.loads(record_path(prepared, NAMES[0]).read_text())
    record["channels"]["t1c"]["file"] |= fingerprint(image)
    record_path(prepared, NAMES[0]).write_text(json.dumps(record))

    result = run(prepared, model, output)

    assert result.done == (NAMES[0],)
    # Of the other channels, only those of the unchanged case are left.
    assert len(native_names(output)) == 5


def test_another_preparation_of_the_same_images_counts(prepared, model, output):
    run(prepared, model, output)
    path = record_path(prepared, NAMES[0])
    record = json.loads(path.read_text())
    record["channels"]["t1c"]["matrix"][0][3] = 33.0
    path.write_text(json.dumps(record))

    run(prepared, model, output)

    there, _ = read_label_map(output / "native" / f"{NAMES[0]}-t1c.nii.gz")
    assert not np.array_equal(there, read_label_map(output / f"{NAMES[0]}.nii.gz")[0])


def test_a_case_that_volseg_did_not_prepare_is_refused_and_the_others_are_done(
    prepared, model, output
):
    write_case(prepared, "BraTS2021_00003")

    result = run(prepared, model, output)

    assert result.done == tuple(NAMES)
    assert result.failures == {
        "BraTS2021_00003": "no record of volseg prepare belongs to its images, so their grids "
        "before are unknown; prepare the case with volseg prepare, or leave --native out"
    }
    assert set(read_manifest(output)["failures"]) == {"BraTS2021_00003"}


def test_nothing_begins_if_no_case_was_prepared(tmp_path, model, output):
    write_case(tmp_path / "scans")

    with pytest.raises(DataListError, match="case BraTS2021_00001: no record of volseg prepare"):
        run(tmp_path / "scans", model, output)
    assert not output.exists()


def test_a_channel_has_all_its_names(prepared, model, output):
    run(prepared, model, output, "FLAIR, t1ce")

    assert native_names(output) == [f"{n}-{channel}.nii.gz" for n in NAMES for channel in CHOSEN]


def test_a_channel_that_no_case_has_is_named(prepared, model, output):
    with pytest.raises(DataListError, match="has no channel ct, but t1n, t2f, t1c, t2w; give one"):
        run(prepared, model, output, "ct")


@pytest.mark.parametrize(
    ("edit", "sentence"),
    [
        ({"channels": {"t1c": {"matrix": np.diag([9, 1, 1, 1.0]).tolist()}}}, "changes volumes by"),
        ({"channels": {"t1c": {"matrix": np.diag([-1, 1, 1, 1.0]).tolist()}}}, "changes volumes"),
        ({"grid": {"shape": [9, 9, 9]}}, "its label map has shape (20, 22, 18), but its record"),
    ],
)
def test_a_record_that_does_not_fit_is_refused(prepared, model, output, edit, sentence):
    path = record_path(prepared, NAMES[0])
    record = json.loads(path.read_text())
    if "grid" in edit:
        record["grid"] |= edit["grid"]
    else:
        record["channels"]["t1c"] |= edit["channels"]["t1c"]
    path.write_text(json.dumps(record))

    result = run(prepared, model, output)

    assert list(result.failures) == [NAMES[0]]
    assert sentence in result.failures[NAMES[0]]
    assert native_names(output) == [f"{NAMES[1]}-t1c.nii.gz"]


def test_a_record_of_other_files_is_refused(prepared, model, output):
    other = record_path(prepared, NAMES[1]).read_text()
    record_path(prepared, NAMES[0]).write_text(other)

    result = run(prepared, model, output)

    assert "is not among the files that" in result.failures[NAMES[0]]


@pytest.mark.parametrize("text", ['{"volseg": "0.1", "case', "[]", "{}"])
def test_a_damaged_record_is_refused_and_the_others_are_done(prepared, model, output, text):
    record_path(prepared, NAMES[0]).write_text(text)

    result = run(prepared, model, output)

    assert result.done == (NAMES[1],)
    assert str(record_path(prepared, NAMES[0])) in result.failures[NAMES[0]]
    assert result.failures[NAMES[0]].endswith("; prepare the case again")


def test_a_case_renamed_after_its_preparation_is_refused(prepared, model, output):
    (prepared / NAMES[0]).rename(prepared / "BraTS2021_00007")
    for path in (prepared / "BraTS2021_00007").iterdir():
        path.rename(path.with_name(path.name.replace(NAMES[0], "BraTS2021_00007")))

    result = run(prepared, model, output)

    assert "no record of volseg prepare belongs to its" in result.failures["BraTS2021_00007"]
    assert native_names(output) == [f"{NAMES[1]}-t1c.nii.gz"]


def test_native_label_maps_have_the_labels_that_are_asked_for(prepared, model, output):
    run(prepared, model, output, labels="brats2021")

    native, _ = read_label_map(output / "native" / f"{NAMES[0]}-t1c.nii.gz")
    assert np.array_equal(native, read_label_map(output / f"{NAMES[0]}.nii.gz")[0])
    assert native.max() == 4


def test_a_full_disk_ends_the_run_and_the_same_command_completes_it(prepared, model, output):
    (output / "native").mkdir(parents=True)
    # One page: room for the label map of one case.
    mount = ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", str(output / "native")]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("a small disk cannot be mounted here: that needs Linux and root")
    try:
        with pytest.raises(OutputError, match="No space left on device"):
            run(prepared, model, output)
        assert [path.name for path in (output / "native").iterdir()] == [f"{NAMES[0]}-t1c.nii.gz"]
    finally:
        subprocess.run(["umount", str(output / "native")], check=True)

    assert run(prepared, model, output).kept == tuple(NAMES)
    assert native_names(output) == [f"{name}-t1c.nii.gz" for name in NAMES]


def test_files_of_others_are_not_replaced(prepared, model, output):
    path = output / "native" / f"{NAMES[0]}-t1c.nii.gz"
    path.parent.mkdir(parents=True)
    path.write_text("mine")

    with pytest.raises(OutputError, match="native is there already, but no manifest lists"):
        run(prepared, model, output)
    assert path.read_text() == "mine"


def test_a_file_of_others_among_native_label_maps_is_not_replaced(prepared, model, output):
    run(prepared, model, output)
    path = output / "native" / f"{NAMES[0]}-t2f.nii.gz"
    path.write_text("mine")

    with pytest.raises(
        OutputError, match=r"t2f\.nii\.gz is there already, but no manifest lists it"
    ):
        run(prepared, model, output, "all")
    assert path.read_text() == "mine"


def test_an_edited_native_label_map_stays_until_it_is_overwritten(prepared, model, output):
    run(prepared, model, output)
    path = output / "native" / f"{NAMES[0]}-t1c.nii.gz"
    written = path.read_bytes()
    path.write_text("corrected by hand")

    result = run(prepared, model, output)
    assert "was edited or damaged after volseg wrote it" in result.failures[NAMES[0]]
    assert path.read_text() == "corrected by hand"

    run(prepared, model, output, overwrite=True)
    assert path.read_bytes() == written


@pytest.mark.parametrize("place", ["prepared", "prepared/results", f"prepared/{NAMES[0]}"])
def test_results_do_not_go_into_a_folder_of_prepared_cases(prepared, raw, model, place, tmp_path):
    before = sorted(prepared.rglob("*"))

    for scans in (prepared, prepared / NAMES[0]):
        with pytest.raises(OutputError, match="prepared, a folder of prepared cases that volseg"):
            run(scans, model, tmp_path / place)
    with pytest.raises(OutputError, match="prepared, a folder of prepared cases that volseg"):
        infer_raw(raw, model, tmp_path / place, InferOptions(), PrepareOptions())

    assert sorted(prepared.rglob("*")) == before


def test_the_command_takes_native_with_and_without_a_channel(prepared, model, output):
    words = ["infer", str(prepared), "-m", str(model), "-o", str(output), "--no-preview"]

    first = CliRunner().invoke(app, [*words, "--native"])
    assert first.exit_code == 0, first.output
    assert "Label maps on the original grids are in" in first.output
    second = CliRunner().invoke(app, [*words[:2], "--native", "all", *words[2:]])
    assert second.exit_code == 0, second.output

    assert len(native_names(output)) == 8


def test_slices_have_no_way_back(tmp_path, model, output):
    write_images(tmp_path / "scans" / PATIENTS[0], [f"{PATIENTS[0]}_{k}.tif" for k in (1, 2)])
    slices = write_model(tmp_path / "model.safetensors", **OF_SLICES)

    with pytest.raises(DataListError, match="no record of volseg prepare belongs to its images"):
        run(tmp_path / "scans", slices, output)


@pytest.fixture
def raw(tmp_path, monkeypatch):
    """Raw scans, of which the second case cannot be prepared."""

    def by_hand(scans, home, options, stop):
        assert options.channels == ("t1n", "t1c", "t2w", "t2f")
        prepare_by_hand(home, NAMES[0])
        # A prepared case of an earlier run, whose scans have changed since.
        prepare_by_hand(home, NAMES[1])
        return PrepareResult(home, {}, (NAMES[0],), {NAMES[1]: "no brain"}, stopped=stop())

    monkeypatch.setattr("volseg.tasks.infer_raw.prepare", by_hand)
    for name in NAMES:
        write_case(tmp_path / "raw", name)
    return tmp_path / "raw"


def test_raw_scans_are_prepared_and_segmented_and_failures_of_both_are_named(raw, model, output):
    words = ["infer", str(raw), "-m", str(model), "-o", str(output), "--no-preview", "--prepare"]

    done = CliRunner().invoke(app, words)

    assert done.exit_code == 3, done.output
    assert f"Failed, for the reasons above and in the manifest: {NAMES[1]}" in done.output
    assert f"volseg evaluate {output / 'native'}" in done.output.partition("Next, to")[2]
    assert native_names(output) == [f"{NAMES[0]}-t1c.nii.gz"]
    assert not (output / f"{NAMES[1]}.nii.gz").exists()
    assert "no brain" in json.dumps(read_manifest(output)["skipped"])
    assert "prepared" in written_by_volseg(output, [path.name for path in output.iterdir()])


def test_the_preparation_is_shown_before_the_segmentation_begins(raw, model, output):
    words = ["infer", str(raw), "-m", str(model), "-o", str(output), "--no-preview", "--prepare"]

    done = CliRunner().invoke(app, words)

    place = done.output.index(f"prepared, 1 kept, 1 failed: {output / 'prepared'}")
    assert place < done.output.index("Predicted regions")


def test_if_no_case_can_be_prepared_each_is_named_and_recorded(raw, model, output, monkeypatch):
    def none(scans, home, options, stop):
        home.mkdir(parents=True)
        return PrepareResult(home, {}, (), dict.fromkeys(NAMES, "no brain"))

    monkeypatch.setattr("volseg.tasks.infer_raw.prepare", none)
    words = ["infer", str(raw), "-m", str(model), "-o", str(output), "--prepare"]

    done = CliRunner().invoke(app, words)

    assert done.exit_code == 3, done.output
    assert f"Failed, for the reasons above and in the manifest: {', '.join(NAMES)}" in done.output
    skipped = read_manifest(output)["skipped"]
    assert [of["reason"] for of in skipped] == [f"case {n}: not prepared: no brain" for n in NAMES]


def test_a_run_that_is_stopped_while_it_prepares_promises_no_results(raw, model, output):
    result = infer_raw(raw, model, output, InferOptions(), PrepareOptions(), stop=lambda: True)

    assert result.stopped
    assert not result.manifest.exists()


def unprepared(*_):
    raise AssertionError("a preparation takes minutes")


def test_results_of_another_model_are_refused_before_scans_are_prepared(
    raw, model, output, tmp_path, monkeypatch
):
    other = write_model(tmp_path / "other.safetensors", labels="brats2021")
    infer_raw(raw, model, output, InferOptions(preview=False), PrepareOptions())
    monkeypatch.setattr("volseg.tasks.infer_raw.prepare", unprepared)

    with pytest.raises(OutputError, match="holds results of other models or options: 1 of 1"):
        infer_raw(raw, other, output, InferOptions(preview=False), PrepareOptions())


def test_scans_without_a_channel_of_the_model_are_refused_before_they_are_prepared(
    raw, model, output, monkeypatch
):
    for path in raw.rglob("*_flair.nii.gz"):
        path.unlink()
    monkeypatch.setattr("volseg.tasks.infer_raw.prepare", unprepared)

    with pytest.raises(DataListError, match="t2f"):
        infer_raw(raw, model, output, InferOptions(preview=False), PrepareOptions())
    assert not output.exists()


def test_a_case_that_lacks_a_channel_is_named_once_with_the_remedy(raw, model, output, caplog):
    for path in (raw / NAMES[1]).glob("*_flair.nii.gz"):
        path.unlink()

    infer_raw(raw, model, output, InferOptions(preview=False), PrepareOptions())

    assert "to segment 1 case without some channels, " in caplog.text
    assert "not prepared" not in caplog.text


def test_each_model_is_read_once(raw, model, output, monkeypatch):
    read = []

    def reading(path, *words, **named):
        read.append(path)
        return load_model(path, *words, **named)

    monkeypatch.setattr("volseg.inference.predictor.load_model", reading)

    infer_raw(raw, model, output, InferOptions(preview=False), PrepareOptions())

    assert len(read) == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--prepare", "--shard", "1/2"], "--prepare and --shard are given"),
        (["--prepare", "--slurm", "shards=2"], "--prepare and --slurm are given"),
        (["--strip", "none"], "--strip is given without --prepare"),
    ],
)
def test_options_that_do_not_go_with_prepare_are_refused(raw, model, output, words, sentence):
    done = CliRunner().invoke(app, ["infer", str(raw), "-m", str(model), "-o", str(output), *words])

    assert done.exit_code == 2
    assert sentence in done.output
    assert not output.exists()


def test_one_command_and_two_give_the_same_bytes(tmp_path, model, monkeypatch):
    def here(function, items, workers, threads, stop, told):
        yield from ((number, function(item)) for number, item in enumerate(items))

    monkeypatch.setattr("volseg.preparation.cases.each_alone", here)
    write_case(tmp_path / "raw", NAMES[0], orientation="RAS")
    options = InferOptions(native="all", preview=False)
    steps = PrepareOptions(strip="none", pictures=False)

    prepare(tmp_path / "raw", tmp_path / "prepared", steps)
    infer(tmp_path / "prepared", model, tmp_path / "two", options)
    infer_raw(tmp_path / "raw", model, tmp_path / "one", options, steps)

    made = sorted(path.relative_to(tmp_path / "two") for path in (tmp_path / "two").rglob("*.gz"))
    assert len(made) == 5
    for name in made:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    originals = {p.name.split("_")[-1]: p for p in (tmp_path / "raw").rglob("*.nii.gz")}
    native = nib.load(tmp_path / "one" / "native" / f"{NAMES[0]}-t2f.nii.gz")
    assert np.array_equal(native.affine, nib.load(originals["flair.nii.gz"]).affine)
