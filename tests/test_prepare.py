"""Tests of `volseg prepare`, on synthetic brains whose channels were moved."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from volseg import PrepareOptions, find_cases, prepare
from volseg.cli import app
from volseg.errors import (
    BrainMaskError,
    ConfigError,
    DataListError,
    GeometryError,
    ImageError,
    OutputError,
    VolsegError,
)
from volseg.files.documents import read_json
from volseg.images.nifti_reading import read_header, read_label_map
from volseg.phantoms.cohort import make_cohort
from volseg.preparation import case_files, cases, steps
from volseg.preparation.alignment import Aligned, aligned, quality_in_place
from volseg.preparation.brain_mask.finding import find_mask
from volseg.preparation.case import prepare_case
from volseg.preparation.masking import in_type_of, masked, without_rim
from volseg.preparation.options import StepOptions, reference_of
from volseg.preparation.record import read_record, record_path
from volseg.preparation.resampling import resample
from volseg.preparation.volume import Volume
from volseg.processes import ProcessKilledError

MM = 4.0
SAME = StepOptions(spacing_mm=(MM, MM, MM))
OPTIONS = PrepareOptions(spacing_mm=(MM, MM, MM))
CASE, OTHER = "BraTS-GLI-90001-000", "BraTS-GLI-90002-000"


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    """Two stripped brains of 60 x 60 x 39 voxels of 4 mm, channels aligned."""
    folder = tmp_path_factory.mktemp("cohort")
    make_cohort(folder, 2, (60, 60, 39), MM)
    return folder


@pytest.fixture
def scans(cohort, tmp_path):
    return shutil.copytree(cohort, tmp_path / "scans")


@pytest.fixture
def home(tmp_path):
    folder = tmp_path / "prepared"
    (folder / "preparation").mkdir(parents=True)
    return folder


@pytest.fixture
def in_this_process(monkeypatch):
    """Cases are prepared in this process, which takes less time than starting others."""

    def here(function, items, workers, threads, stop, told):
        for number, item in enumerate(items):
            if not stop():
                yield number, function(item)

    monkeypatch.setattr(cases, "each_alone", here)


def case_of(scans, case_id=CASE):
    (case,) = (c for c in find_cases(scans, required=[]).cases if c.case_id == case_id)
    return case


def keep(scans, case_id, *kinds):
    """Remove all files of a case but these."""
    for path in (scans / case_id).iterdir():
        if path.name.removesuffix(".nii.gz").rpartition("-")[2] not in kinds:
            path.unlink()


def move(path, matrix):
    """Move an image in the world, by its header alone."""
    image = nib.load(path)
    moved = nib.Nifti1Image(np.asarray(image.dataobj), matrix @ image.affine)
    nib.save(moved, path)


def rigid(degrees, shift_mm, centre=(0, 118, 76)):
    angle = np.deg2rad(degrees)
    matrix = np.eye(4)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:3, 3] = np.array(centre) - matrix[:3, :3] @ centre + shift_mm
    return matrix


def voxels(path):
    return np.asarray(nib.load(path).dataobj)


def test_channels_that_fit_already_are_copied_bit_by_bit(scans, home):
    record = prepare_case(case_of(scans), SAME, home)

    alignments = {name: channel.alignment for name, channel in record.channels.items()}
    assert alignments == {
        "t1c": "reference",
        **dict.fromkeys(("t1n", "t2w", "t2f"), "already aligned"),
    }
    assert record.mask.method == "already stripped"
    for name in record.channels:
        source = nib.load(scans / CASE / f"{CASE}-{name}.nii.gz")
        written = nib.load(home / CASE / f"{CASE}-{name}.nii.gz")
        start = np.rint((np.linalg.inv(source.affine) @ written.affine)[:3, 3]).astype(int)
        box = tuple(slice(s, s + n) for s, n in zip(start, written.shape, strict=True))
        assert written.get_data_dtype() == source.get_data_dtype() == np.int16
        assert np.array_equal(voxels(written.get_filename()), voxels(source.get_filename())[box])
        # Only background was cut off.
        assert np.count_nonzero(source.dataobj) == np.count_nonzero(written.dataobj)
        assert nib.aff2axcodes(written.affine) == ("L", "P", "S")


def test_a_channel_with_its_axes_in_other_directions_is_copied_too(scans, home):
    paths = {name: scans / CASE / f"{CASE}-{name}.nii.gz" for name in ("t1c", "t2f")}
    whole = voxels(paths["t2f"])
    turned = nib.as_closest_canonical(nib.load(paths["t2f"]))
    nib.save(nib.Nifti1Image(np.asarray(turned.dataobj), turned.affine), paths["t2f"])
    for name in ("t1n", "t2w"):
        (scans / CASE / f"{CASE}-{name}.nii.gz").unlink()

    record = prepare_case(case_of(scans), SAME, home)

    written = voxels(home / CASE / f"{CASE}-t2f.nii.gz")
    assert record.channels["t2f"].alignment == "already aligned"
    assert nib.aff2axcodes(nib.load(paths["t2f"]).affine) == ("R", "A", "S")
    found = np.argwhere(written)
    expected = np.argwhere(whole)
    assert np.array_equal(found - found[0], expected - expected[0])
    assert np.array_equal(written[tuple(found.T)], whole[tuple(expected.T)])


def test_a_moved_channel_comes_back_and_is_0_outside_the_brain(scans, home):
    moved = rigid(6, (7, -5, 4))
    move(scans / CASE / f"{CASE}-t2f.nii.gz", moved)

    record = prepare_case(case_of(scans), SAME, home)

    channel = record.channels["t2f"]
    brain = voxels(scans / CASE / f"{CASE}-t1c.nii.gz") > 0
    affine = nib.load(scans / CASE / f"{CASE}-t1c.nii.gz").affine
    places = affine @ np.vstack([np.argwhere(brain).T, np.ones(brain.sum())])
    off_mm = np.linalg.norm(((channel.world_matrix - moved) @ places)[:3], axis=0)
    assert off_mm.mean() < 1
    assert channel.alignment == "registered"
    assert channel.moved_mm == pytest.approx(
        np.linalg.norm(((moved - np.eye(4)) @ places)[:3], axis=0).mean(), abs=1
    )
    images = [voxels(home / CASE / f"{CASE}-{name}.nii.gz") for name in record.channels]
    tissue_ml = np.any(images, axis=0).sum() * MM**3 / 1000
    assert tissue_ml == pytest.approx(record.mask.volume_ml, rel=0.01)


def test_the_record_leads_back_to_the_grid_of_each_source_to_the_last_bit(scans, home):
    prepare_case(case_of(scans), SAME, home)

    record = read_record(record_path(home, CASE))

    for name, channel in record.channels.items():
        grid, _ = read_header(scans / CASE / f"{CASE}-{name}.nii.gz")
        assert channel.native.grid == grid
        assert channel.source == str(scans / CASE / f"{CASE}-{name}.nii.gz")
    grid, _ = read_header(home / CASE / f"{CASE}-t1c.nii.gz")
    assert record.grid.grid == grid


def test_the_label_map_goes_with_the_images(scans, home):
    before, grid = read_label_map(scans / CASE / f"{CASE}-seg.nii.gz")

    record = prepare_case(case_of(scans), SAME, home)

    after, new = read_label_map(home / CASE / f"{CASE}-seg.nii.gz")
    assert [int((after == label).sum()) for label in range(1, 4)] == [
        int((before == label).sum()) for label in range(1, 4)
    ]
    assert (new, record.label.path) == (record.grid.grid, f"{CASE}/{CASE}-seg.nii.gz")
    assert grid.voxel_ml == pytest.approx(new.voxel_ml)


def test_a_label_map_on_the_grid_of_no_channel_is_refused(scans, home):
    move(scans / CASE / f"{CASE}-seg.nii.gz", rigid(0, (1, 0, 0)))

    with pytest.raises(GeometryError, match=r"which is that of no channel .*resample it onto the"):
        prepare_case(case_of(scans), SAME, home)

    assert not (home / CASE).exists()


def test_a_label_map_that_two_moved_channels_could_claim_is_refused(scans, home, monkeypatch):
    keep(scans, CASE, "t1c", "t1n", "t2w", "seg")
    for name in ("t1n", "t2w", "seg"):
        move(scans / CASE / f"{CASE}-{name}.nii.gz", rigid(0, (0, 0, 7)))
    # The headers of both say the same, but registration found the anatomy in them apart.
    shifts = {"t1c": 0, "t1n": 9, "t2w": -9}
    places = {n: Aligned(rigid(0, (0, mm, 0)), "registered", {}) for n, mm in shifts.items()}
    monkeypatch.setattr("volseg.preparation.case.in_place", lambda *_: places)

    with pytest.raises(GeometryError, match="t1n and t2w, which registration moved differently"):
        prepare_case(case_of(scans), SAME, home)


def test_interpolation_makes_a_stripped_brain_no_larger(cohort):
    image = case_of(cohort).read_images(["t1c"])
    volume = Volume(image.array[0], image.grid)
    apart = rigid(3, (1.7, 0.9, 2.1))

    values = without_rim(volume, volume.grid, apart)

    before, after = np.count_nonzero(volume.values), np.count_nonzero(values)
    assert after == pytest.approx(before, rel=0.01)
    assert np.count_nonzero(resample(volume, volume.grid, apart)) > 1.05 * before


def test_zero_inside_the_brain_is_no_background(tmp_path, home):
    values = np.full((8, 8, 8), -1000, np.int16)
    values[2:6, 2:6, 2:6] = 40
    values[4, 4, 4] = 0
    brain = values > -1000

    found = case_masked(values, brain)

    assert (found[~brain] == 0).all()
    assert (found[brain] != 0).all()
    assert (found[4, 4, 4], found[2, 2, 2], found.dtype) == (1, 40, np.int16)


def case_masked(values, brain):
    return masked(in_type_of(values, values.dtype), brain)


@pytest.mark.parametrize("move_mm", [0, 3])
def test_images_on_one_grid_are_aligned_unless_a_small_move_is_clearly_better(cohort, move_mm):
    case = case_of(cohort)
    channels = {name: case.read_images([name]) for name in ("t1c", "t2f")}
    still, other = (Volume(one.array[0], one.grid) for one in channels.values())
    moved = Volume(np.roll(other.values, move_mm // 3, axis=0), other.grid)

    assert (quality_in_place(moved, still) is not None) == (move_mm == 0)


def test_the_reference_is_the_first_of_a_documented_order():
    assert reference_of(["t2w", "t2f", "t1n"], None) == "t1n"
    assert reference_of(["adc", "ct"], None) == "ct"
    assert reference_of(["adc", "pd"], None) == "adc"
    assert reference_of(["FLAIR", "T1CE"], None) == "T1CE"
    assert reference_of(["t1c", "t2f"], "t2f") == reference_of(["t1c", "t2f"], "flair")
    with pytest.raises(ConfigError, match="no channel t1c to register the others to, but only ct"):
        reference_of(["ct"], "t1c")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (StepOptions(affine=True), "--affine is for the step to an atlas"),
        (StepOptions(to="t1n", affine=True), "--affine is for the step to an atlas"),
        (StepOptions(to="mni", spacing_mm=(1, 1, 1)), "results lie on the grid of the atlas"),
        (StepOptions(spacing_mm=(0, 1, 1)), "--spacing is 0,1,1, but 0.2 to 10 mm are expected"),
        (StepOptions(spacing_mm=(0, 0, 0)), "--spacing is 0, but 0.2 to 10 mm are expected"),
    ],
)
def test_options_that_contradict_each_other_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        options.check()


def test_cases_lie_on_the_grid_of_an_atlas_which_its_content_names(scans, home, tmp_path):
    atlas = tmp_path / "atlas.nii.gz"
    shutil.copy(scans / OTHER / f"{OTHER}-t1c.nii.gz", atlas)
    keep(scans, CASE, "t1c", "t2f", "seg")
    options = StepOptions(to=str(atlas))

    record = prepare_case(case_of(scans), options, home)

    written, grid = read_header(home / CASE / f"{CASE}-t2f.nii.gz")[0], read_header(atlas)[0]
    assert written == grid
    assert (record.space, len(record.atlas_sha256)) == ("atlas.nii.gz", 64)
    assert StepOptions(to=str(shutil.copy(atlas, tmp_path / "b.nii.gz"))).recorded() == dict(
        record.options
    )
    assert np.count_nonzero(voxels(home / CASE / f"{CASE}-seg.nii.gz"))


def test_an_atlas_that_holds_the_head_but_not_the_air_around_it_is_taken(scans, home, tmp_path):
    atlas = tmp_path / "atlas.nii.gz"
    image = nib.load(scans / OTHER / f"{OTHER}-t1c.nii.gz")
    places = np.argwhere(np.asarray(image.dataobj))
    box = tuple(
        slice(low, high + 1) for low, high in zip(places.min(0), places.max(0), strict=True)
    )
    nib.save(image.slicer[box], atlas)
    for name in ("t1n", "t2w", "t2f", "seg"):
        (scans / CASE / f"{CASE}-{name}.nii.gz").unlink()

    record = prepare_case(case_of(scans), StepOptions(to=str(atlas), strip="none"), home)

    assert record.grid.shape == nib.load(atlas).shape
    assert np.prod(record.grid.shape) < 0.5 * np.prod(image.shape)


def test_a_full_disk_leaves_neither_a_half_case_nor_a_record(scans, home, monkeypatch):
    def full(path, *_):
        if path.name.endswith("t2w.nii.gz"):
            raise OutputError(f"cannot write {path} (No space left on device)")

    monkeypatch.setattr(case_files, "write_image", full)
    with pytest.raises(OutputError, match="No space left"):
        prepare_case(case_of(scans), SAME, home)

    assert [path.name for path in home.rglob("*")] == ["preparation"]


def test_all_cases_are_prepared_and_then_kept(scans, tmp_path, in_this_process):
    first = prepare(scans, tmp_path / "out", OPTIONS)
    again = prepare(scans, tmp_path / "out", OPTIONS)

    assert (list(first.done), first.failures, first.stopped) == ([CASE, OTHER], {}, False)
    assert (again.done, again.kept) == ({}, (CASE, OTHER))
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == [CASE, OTHER, "preparation"]
    assert [case.case_id for case in find_cases(tmp_path / "out").cases] == [CASE, OTHER]


def test_a_prepared_case_is_not_prepared_a_second_time(scans, tmp_path, in_this_process):
    prepare(scans, tmp_path / "out", OPTIONS)

    again = prepare(tmp_path / "out", tmp_path / "again", OPTIONS)

    assert list(again.failures) == [CASE, OTHER]
    assert again.failures[CASE].startswith("is a result of volseg prepare already; use it as it is")
    assert not (tmp_path / "again" / CASE).exists()


def test_a_misspelled_atlas_is_named_before_any_case_is_prepared(scans, tmp_path):
    with pytest.raises(ConfigError, match="--to is sri24, which is no channel of any case") as info:
        prepare(scans, tmp_path / "out", PrepareOptions(to="sri24"))

    assert info.value.remedy.startswith("give t1n, t1c, t2w, t2f, mni, or the file of an atlas")
    assert not (tmp_path / "out").exists()


def test_what_changed_is_prepared_again(scans, tmp_path, in_this_process):
    prepare(scans, tmp_path / "out", OPTIONS)
    move(scans / OTHER / f"{OTHER}-t1n.nii.gz", rigid(0, (8, 0, 0)))

    assert list(prepare(scans, tmp_path / "out", OPTIONS).done) == [OTHER]
    assert prepare(scans, tmp_path / "out", OPTIONS).kept == (CASE, OTHER)


def test_files_that_are_another_channel_now_are_prepared_again(scans, tmp_path, in_this_process):
    shutil.rmtree(scans / OTHER)
    for name in ("t1n", "t2w", "t2f"):
        (scans / CASE / f"{CASE}-{name}.nii.gz").unlink()
    file = scans / CASE / f"{CASE}-t1c.nii.gz"
    file.rename(file.with_name("scan.nii.gz"))
    as_channel = [replace(OPTIONS, names=(f"{name}=*scan*",)) for name in ("t1c", "t1n")]

    prepare(scans, tmp_path / "out", as_channel[0])
    result = prepare(scans, tmp_path / "out", as_channel[1])

    assert (list(result.done[CASE].channels), result.kept) == (["t1n"], ())


def test_other_options_prepare_again_and_cases_of_other_options_are_named(
    scans, tmp_path, in_this_process, caplog
):
    prepare(scans, tmp_path / "out", OPTIONS)
    shutil.rmtree(scans / OTHER)

    result = prepare(scans, tmp_path / "out", PrepareOptions(spacing_mm=(5.0, 5.0, 5.0)))

    assert list(result.done) == [CASE]
    assert (
        f"1 case of earlier runs in {tmp_path / 'out'}, such as {OTHER}, were prepared with"
        in caplog.text
    )


def test_images_of_another_patient_with_the_same_name_are_refused(
    scans, cohort, tmp_path, in_this_process
):
    prepare(scans, tmp_path / "out", OPTIONS)
    for channel in ("t1n", "t1c", "t2w", "t2f"):
        file = tmp_path / "more" / CASE / f"{CASE}-{channel}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(cohort / OTHER / f"{OTHER}-{channel}.nii.gz", file)

    with pytest.raises(OutputError, match=r"was prepared from other images, such as .*choose"):
        prepare(tmp_path / "more", tmp_path / "out", OPTIONS)


@pytest.mark.parametrize("name", ["notes.txt", f"{CASE}-t1c.nii.gz"])
def test_files_that_volseg_did_not_write_are_not_replaced(scans, tmp_path, in_this_process, name):
    file = tmp_path / "out" / CASE / name
    file.parent.mkdir(parents=True)
    file.write_text("mine")

    with pytest.raises(OutputError, match=f"{name} is there already and was not written by volseg"):
        prepare(scans, tmp_path / "out", OPTIONS)

    assert file.read_text() == "mine"


def test_a_prepared_file_that_was_edited_is_not_replaced(scans, tmp_path, in_this_process):
    prepare(scans, tmp_path / "out", OPTIONS)
    move(tmp_path / "out" / CASE / f"{CASE}-seg.nii.gz", np.eye(4))

    with pytest.raises(OutputError, match="was changed after volseg prepare; move it away"):
        prepare(scans, tmp_path / "out", PrepareOptions())


def test_a_case_that_fails_is_named_and_the_others_are_prepared(scans, tmp_path, in_this_process):
    (scans / CASE / f"{CASE}-t2w.nii.gz").write_bytes(b"no image")

    result = CliRunner().invoke(
        app, ["prepare", str(scans), "-o", str(tmp_path / "out"), "--spacing", "4"]
    )

    assert result.exit_code == 3
    assert "1 case prepared, 1 failed" in result.stdout
    assert f"{CASE}" in result.stdout.partition("Failed")[2]
    assert (tmp_path / "out" / OTHER).is_dir()
    assert not (tmp_path / "out" / CASE).exists()


def test_a_case_that_fails_again_says_that_its_former_files_remain(
    scans, tmp_path, in_this_process
):
    out = tmp_path / "out"
    prepare(scans, out, OPTIONS)
    (scans / CASE / f"{CASE}-t2w.nii.gz").write_bytes(b"no image")

    result = prepare(scans, out, OPTIONS)

    assert result.kept == (OTHER,)
    assert result.failures[CASE].endswith(
        f" ({out / CASE} is still that of an earlier run: remove it, or mend the case)"
    )
    assert (out / CASE / f"{CASE}-t2w.nii.gz").is_file()


def test_notes_on_a_mask_stand_below_the_table(scans, tmp_path, in_this_process, monkeypatch):
    def noted(*args, own):
        return replace(find_mask(*args, own=own), notes=("look at it",))

    monkeypatch.setattr(steps, "find_mask", noted)
    result = CliRunner().invoke(
        app, ["prepare", str(scans), "-o", str(tmp_path / "out"), "--spacing", "4"]
    )

    assert f"{CASE}: look at it" in result.stdout


def test_a_brain_of_an_impossible_size_is_refused(scans, tmp_path, in_this_process):
    keep(scans, CASE, "t1c")
    keep(scans, OTHER, "t1c")
    path = scans / CASE / f"{CASE}-t1c.nii.gz"
    image = nib.load(path)
    large = nib.Nifti1Image(np.asarray(image.dataobj), image.affine @ np.diag([2, 2, 2, 1]))
    nib.save(large, path)

    result = prepare(scans, tmp_path / "out", replace(OPTIONS, strip="mask"))

    assert "ml, but a brain 900 to 2200 ml" in result.failures[CASE]
    assert list(result.done) == [OTHER]


def test_a_case_whose_process_was_killed_is_named(scans, tmp_path, monkeypatch):
    monkeypatch.setattr(cases, "each_alone", lambda *_: iter([(1, ProcessKilledError())]))

    result = prepare(scans, tmp_path / "out", OPTIONS)

    assert "the process that prepared the case was killed" in result.failures[OTHER]


def test_after_a_stop_the_same_call_prepares_the_rest(scans, tmp_path, in_this_process):
    answers = iter([False, True, True])

    stopped = prepare(scans, tmp_path / "out", OPTIONS, stop=lambda: next(answers))

    assert (list(stopped.done), stopped.stopped) == ([CASE], True)
    assert list(prepare(scans, tmp_path / "out", OPTIONS).done) == [OTHER]


def test_a_killed_run_leaves_nothing_that_stops_the_next(scans, tmp_path, in_this_process):
    out = tmp_path / "out"
    half = out / f".volseg-01234567-{CASE}" / CASE
    half.mkdir(parents=True)
    (half / f"{CASE}-t1n.nii.gz").write_bytes(b"half")
    prepare(scans, out, OPTIONS)
    # Killed after the record was written, before the files were in place.
    shutil.rmtree(out / OTHER)

    assert list(prepare(scans, out, OPTIONS).done) == [OTHER]
    assert sorted(p.name for p in out.iterdir()) == [CASE, OTHER, "preparation"]


def test_cases_are_prepared_in_processes_of_their_own(scans, tmp_path):
    result = prepare(scans, tmp_path / "out", PrepareOptions(spacing_mm=(MM, MM, MM), workers=2))

    assert set(result.done) == {CASE, OTHER}
    assert all(record.seconds > 0 for record in result.done.values())
    if Path("/proc/self/status").exists():
        assert all(record.peak_memory_bytes > 5e7 for record in result.done.values())


def test_an_output_within_the_scans_is_refused(scans):
    with pytest.raises(OutputError, match="where the prepared cases would be found as scans"):
        prepare(scans, scans / "prepared", OPTIONS)


def test_a_method_that_cannot_be_run_is_refused_before_any_case(scans, tmp_path):
    with pytest.raises(BrainMaskError, match="is not on the PATH"):
        prepare(scans, tmp_path / "out", PrepareOptions(strip="no-such-bet {input} {output}"))

    assert not (tmp_path / "out").exists()


def test_a_case_without_some_channels_is_prepared_with_those_it_has(scans, home):
    for name in ("t1c", "t2w"):
        (scans / CASE / f"{CASE}-{name}.nii.gz").unlink()

    record = prepare_case(case_of(scans), SAME, home)

    assert (list(record.channels), record.reference) == (["t1n", "t2f"], "t1n")


def test_channels_have_our_names_whatever_they_are_called_in_the_options(
    scans, tmp_path, in_this_process
):
    options = replace(OPTIONS, channels=("FLAIR", "t1ce"), required=("FLAIR",), to="t1ce")

    done = prepare(scans, tmp_path / "out", options).done

    assert list(done[CASE].channels) == ["t2f", "t1c"]
    assert done[CASE].reference == "t1c"
    assert (tmp_path / "out" / CASE / f"{CASE}-t2f.nii.gz").is_file()
    with pytest.raises(DataListError, match="flair and t2f are the same channel"):
        prepare(scans, tmp_path / "out", replace(OPTIONS, channels=("flair", "t2f")))


def test_slices_are_refused_with_the_remedy(tmp_path, home):
    from PIL import Image

    for number in (1, 2):
        file = tmp_path / "scans" / "P7" / f"P7_{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.eye(16, dtype=np.uint8) * 255).save(file)
    (case,) = find_cases(tmp_path / "scans", ["image"]).cases

    with pytest.raises(ImageError, match=r"its files are 2D images .*volseg convert"):
        prepare_case(case, SAME, home)


def test_a_skull_that_is_kept_is_neither_masked_nor_cropped(scans, home):
    record = prepare_case(case_of(scans), StepOptions(strip="none", spacing_mm=(MM, MM, MM)), home)

    assert (record.mask, record.grid.shape) == (None, (60, 60, 39))
    assert any("the skull is kept" in note for note in record.notes)


def test_each_case_has_a_picture(scans, home):
    prepare_case(case_of(scans), SAME, home)

    content = (home / "preparation" / f"{CASE}.png").read_bytes()
    assert b"tEXtSoftware\x00volseg" in content[:200]


def test_a_name_that_would_be_read_as_another_case_gives_files_named_by_channel():
    files = case_files.CaseFiles(None, "P7_flair")

    assert files.file_names({"t1n": 0, "t1c": 0})["t1n"] in {"t1n.nii.gz", "P7_flair-t1n.nii.gz"}
    assert case_files.CaseFiles(None, CASE).file_names({"t1n": 0})["t1n"] == f"{CASE}-t1n.nii.gz"


def test_a_list_that_does_not_exist_is_refused(tmp_path):
    with pytest.raises(DataListError, match="does not exist; give a folder of scans"):
        prepare(tmp_path / "none", tmp_path / "out")


def test_the_command_ends_with_the_next_steps(scans, tmp_path, in_this_process):
    result = CliRunner().invoke(
        app, ["prepare", str(scans), "-o", str(tmp_path / "out"), "--spacing", "4"]
    )

    assert result.exit_code == 0
    assert f"volseg infer {tmp_path / 'out'} -m MODEL -o results --native" in result.stdout
    record = read_json(record_path(tmp_path / "out", CASE), VolsegError)
    assert json.dumps(record)
    assert record["options"]["spacing_mm"] == [4.0, 4.0, 4.0]


def test_a_registration_that_fails_names_the_channel(cohort):
    case = case_of(cohort)
    images = case.read_images(["t1c"])
    still = Volume(images.array[0], images.grid)
    empty = Volume(np.zeros((60, 60, 39), np.int16), images.grid)

    with pytest.raises(VolsegError, match="t2f: "):
        aligned("t2f", empty, still)
