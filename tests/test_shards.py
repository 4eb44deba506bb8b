"""`infer --shard K/N`: many processes give what one gives, whoever ends, stops or fails first."""

from __future__ import annotations

import errno
import json
import logging
import multiprocessing
import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from pathlib import Path
from threading import Barrier

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_models import OF_SLICES, write_model
from tiny_scans import PATIENTS, write_case, write_images
from typer.testing import CliRunner

from volseg.cli import app
from volseg.errors import ConfigError, LabelError, OutputError, VolsegError
from volseg.evaluation.records import read_records
from volseg.evaluation.schemes import prediction_scheme
from volseg.finding.folders import find_cases
from volseg.inference.options import InferOptions
from volseg.inference.predictor import Predictor
from volseg.results import manifest as manifests
from volseg.results import manifest_file as writing
from volseg.results.manifest import Shard, read_manifest, read_manifests
from volseg.tasks.infer import infer
from volseg.tasks.info import info

NAMES = [f"BraTS2021_0000{n}" for n in range(1, 6)]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("model") / "model.safetensors")


@pytest.fixture(scope="module")
def five(tmp_path_factory):
    """Folder of five cases, to be copied by a test that changes it."""
    folder = tmp_path_factory.mktemp("five") / "scans"
    for name in NAMES:
        write_case(folder, name)
    return folder


@pytest.fixture(scope="module")
def of_one(five, model, tmp_path_factory):
    """What one process makes of the five cases."""
    output = tmp_path_factory.mktemp("one") / "output"
    run(five, model, output)
    return output


@pytest.fixture
def scans(five, tmp_path):
    return Path(shutil.copytree(five, tmp_path / "scans"))


@pytest.fixture
def output(tmp_path):
    return tmp_path / "output"


def run(scans, model, output, stop=lambda: False, **options):
    return infer(scans, [model], output, InferOptions(device="cpu", **options), stop)


def after(count):
    """Says stop when it is asked after `count` cases."""
    answers = iter([False] * count)
    return lambda: next(answers, True)


def damage(scans, name):
    path = scans / name / f"{name}_t1ce.nii.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-500])
    return lambda: path.write_bytes(whole)


def manifests_in(folder):
    return sorted(path.name for path in folder.glob("*.json"))


def results_in(folder):
    files = (path for path in folder.rglob("*") if path.is_file() and path.suffix != ".json")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def told_by(folder):
    """The text of manifest.json, but for its folder, seconds and the times of files."""
    content = json.loads((folder / "manifest.json").read_text())
    assert content.pop("folder") == str(folder)
    for record in content["cases"].values():
        del record["seconds"]
        for noted in (*record["files"], record["preview"]):
            del noted["time_ns"], noted["changed_ns"]
    return json.dumps(content, indent=2)


# Which cases a shard has


@given(st.lists(st.integers()), st.integers(1, 9))
def test_shares_are_disjoint_and_together_everything(cases, count):
    shares = [Shard(number, count).share(cases) for number in range(1, count + 1)]

    assert sorted(case for share in shares for case in share) == sorted(cases)


@pytest.mark.parametrize(
    "text", ["0/8", "9/8", "2", "a/b", "2/8/1", "-1/8", " 2/8", "1/0", "", "٢/8"]
)
def test_a_shard_that_is_none_is_refused_in_one_line(scans, model, output, text):
    with pytest.raises(ConfigError, match="expected K/N with K from 1 to N; give 2/8 for") as error:
        run(scans, model, output, shard=text)

    assert repr(text) in str(error.value)
    assert not output.exists()


def test_the_command_takes_a_shard(five, model, output):
    words = ["infer", str(five), "-m", str(model), "-o", str(output), "--device", "cpu"]

    done = CliRunner().invoke(app, [*words, "--shard", "2/3"])
    wrong = CliRunner().invoke(app, [*words, "--shard", "4/3"])

    assert (done.exit_code, wrong.exit_code) == (0, 2)
    assert "2 cases segmented; results and manifest-2-of-3.json are in" in done.stdout
    assert wrong.stderr.count("\n") == 1


# Many give what one gives


@pytest.mark.parametrize("order", list(permutations([1, 2, 3]))[::2])
def test_shards_in_turn_give_what_one_process_gives(five, model, output, of_one, order):
    told = [run(five, model, output, shard=f"{number}/3") for number in order]

    assert {n: told[place].done for place, n in enumerate(order)} == {
        1: (NAMES[0], NAMES[3]),
        2: (NAMES[1], NAMES[4]),
        3: (NAMES[2],),
    }
    assert manifests_in(output) == ["manifest.json"]
    assert told[-1].manifest == output / "manifest.json"
    assert results_in(output) == results_in(of_one)
    assert told_by(output) == told_by(of_one)


def in_process(scans, model, output, shard, begin):
    os.environ["OMP_NUM_THREADS"] = "1"
    begin.wait()
    run(scans, model, output, shard=shard)


def test_shards_at_the_same_time_give_what_one_process_gives(five, model, output, of_one):
    context = multiprocessing.get_context("spawn")
    begin = context.Barrier(2)
    words = [(five, model, output, f"{number}/2", begin) for number in (1, 2)]
    processes = [context.Process(target=in_process, args=one) for one in words]

    for process in processes:
        process.start()
    for process in processes:
        process.join(300)

    assert [process.exitcode for process in processes] == [0, 0]
    assert manifests_in(output) == ["manifest.json"]
    assert results_in(output) == results_in(of_one)
    assert told_by(output) == told_by(of_one)


def test_shards_that_merge_at_the_same_moment_lose_nothing(
    five, model, output, of_one, monkeypatch
):
    """Both read all manifests, both write, and only then either removes."""
    read, remove = writing.read_earlier_manifests, writing.remove_merged
    have_read, have_written = Barrier(2), Barrier(2)

    def read_together(folder):
        found = read(folder)
        if len(found) == 2 and all(one.is_finished for one in found):
            have_read.wait(60)
        return found

    def remove_together(found):
        have_written.wait(60)
        remove(found)

    merge, have_finished = writing.ManifestFile._merge, Barrier(2)

    def merge_together(self, *args):
        have_finished.wait(60)
        return merge(self, *args)

    monkeypatch.setattr(writing.ManifestFile, "_merge", merge_together)
    monkeypatch.setattr(writing, "read_earlier_manifests", read_together)
    monkeypatch.setattr(writing, "remove_merged", remove_together)

    with ThreadPoolExecutor(2) as pool:
        told = list(pool.map(lambda k: run(five, model, output, shard=f"{k}/2"), (1, 2)))

    assert {one.manifest for one in told} == {output / "manifest.json"}
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


def test_a_shard_that_another_has_merged_leaves_it_at_that(
    five, model, output, of_one, monkeypatch
):
    merge, merged = writing.ManifestFile._merge, []

    def merge_late(self, *args):
        monkeypatch.undo()
        run(five, model, output, shard="1/2")
        merged.append((output / "manifest.json").stat().st_ino)
        return merge(self, *args)

    monkeypatch.setattr(writing.ManifestFile, "_merge", merge_late)

    result = run(five, model, output, shard="2/2")

    assert merged == [(output / "manifest.json").stat().st_ino]
    assert result.manifest == output / "manifest.json"
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


def test_slices_are_shared_out_by_patient(tmp_path, output):
    model = write_model(tmp_path / "model.safetensors", **OF_SLICES)
    for name in PATIENTS:
        write_images(tmp_path / "slices" / name, [f"{name}_{n}.tif" for n in (1, 2)])
    run(tmp_path / "slices", model, tmp_path / "one")

    first = run(tmp_path / "slices", model, output, shard="1/2")
    written = sorted(results_in(output))
    # What a shard wrote is known as such before the shards are merged.
    shutil.copytree(output, tmp_path / "slices" / "results")
    found = find_cases([tmp_path / "slices"])
    shutil.rmtree(tmp_path / "slices" / "results")
    run(tmp_path / "slices", model, output, shard="2/2")

    assert first.done == (PATIENTS[0],)
    masks = [f"{PATIENTS[0]}/{PATIENTS[0]}_{n}.tif" for n in (1, 2)]
    assert written == [*masks, f"previews/{PATIENTS[0]}.png"]
    assert [case.case_id for case in found.cases] == PATIENTS
    left_out = {one.path.name: one.sentence for one in found.skipped}
    assert left_out == {
        "results": f"2 folders, such as {PATIENTS[0]}: written by volseg",
        "manifest-1-of-2.json": "written by volseg",
    }
    assert results_in(output) == results_in(tmp_path / "one")
    assert told_by(output) == told_by(tmp_path / "one")


def test_more_shards_than_cases_are_no_mistake(five, model, output, of_one, caplog):
    with caplog.at_level(logging.INFO):
        empty = run(five, model, output, shard="7/7")

    assert (empty.done, empty.kept, empty.failures) == ((), (), {})
    assert "shard 7/7 has no case: found only 5 cases" in caplog.text
    assert read_manifests(output)[0].is_finished
    for number in range(1, 7):
        run(five, model, output, shard=f"{number}/7")
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


# What a shard tells


def test_readers_see_the_manifests_of_shards_as_one(five, model, output):
    run(five, model, output, shard="1/3")
    run(five, model, output, shard="2/3", stop=after(1))

    scheme, told = prediction_scheme(output, None), info(output)

    assert scheme.name == "brats2021"
    assert (told["kind"], told["path"]) == ("results of volseg infer", str(output))
    assert (told["cases"], told["labels"]) == (3, "brats2021")
    assert told["shards"] == {"1/3": "finished", "2/3": "not finished"}
    assert set(read_manifest(output)["cases"]) == {NAMES[0], NAMES[1], NAMES[3]}
    one = info(output / "manifest-2-of-3.json")
    assert (one["cases"], one["shard"], one["finished"]) == (1, "2/3", False)


def test_a_reader_that_meets_a_merge_misses_nothing(five, model, output, monkeypatch):
    """The merge happens after the files were listed, when the first of them is to be read."""
    run(five, model, output, shard="1/2")
    run(five, model, output, shard="2/2", stop=after(1))
    read = manifests._read

    def read_too_late(path, shard):
        if not shard.is_whole:
            monkeypatch.undo()
            run(five, model, output, shard="2/2")
            assert manifests_in(output) == ["manifest.json"]
        return read(path, shard)

    monkeypatch.setattr(manifests, "_read", read_too_late)

    assert len(read_manifest(output)["cases"]) == 5


def test_a_manifest_that_is_replaced_on_nfs_is_read_again(five, model, output, monkeypatch):
    run(five, model, output, shard="1/2")
    open_file, failures = Path.open, [1, 3]

    def open_stale(self, *args, **options):
        if failures[0]:
            failures[0] -= 1
            raise OSError(errno.ESTALE, "Stale file handle")
        return open_file(self, *args, **options)

    monkeypatch.setattr(Path, "open", open_stale)

    assert len(read_manifest(output)["cases"]) == 3
    failures.pop(0)
    with pytest.raises(OSError, match="Stale"):
        read_manifest(output)


def test_what_the_search_left_out_is_told_by_the_first_shard_alone(scans, model, output, caplog):
    (scans / NAMES[4] / f"{NAMES[4]}_flair.nii.gz").unlink()
    (scans / "notes.txt").write_text("seen on Monday")
    one = run(scans, model, output.with_name("one"))
    caplog.clear()

    second = run(scans, model, output, shard="2/2")
    assert ("left out" in caplog.text, second.failures) == (False, {})
    first = run(scans, model, output, shard="1/2")

    assert "left out" in caplog.text
    assert list(first.failures) == list(one.failures) == [NAMES[4]]
    assert told_by(output) == told_by(output.with_name("one"))


# Stopped, failed, called again


def test_a_stopped_shard_is_not_finished_and_a_rerun_does_the_rest(five, model, output, of_one):
    run(five, model, output, shard="2/2")

    stopped = run(five, model, output, shard="1/2", stop=after(1))

    assert stopped.stopped
    assert (stopped.done, stopped.failures) == ((NAMES[0],), {})
    assert manifests_in(output) == ["manifest-1-of-2.json", "manifest-2-of-2.json"]
    again = run(five, model, output, shard="1/2")
    assert (again.stopped, again.done, again.kept) == (False, (NAMES[2], NAMES[4]), (NAMES[0],))
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


def test_one_process_stops_and_goes_on_as_well(five, model, output, of_one):
    stopped = run(five, model, output, stop=after(2))

    assert (stopped.stopped, stopped.done, stopped.failures) == (True, tuple(NAMES[:2]), {})
    # Asked for during the last case, a stop comes too late.
    rest = run(five, model, output, stop=after(3))
    assert (rest.stopped, rest.done) == (False, tuple(NAMES[2:]))
    assert told_by(output) == told_by(of_one)


def test_a_killed_shard_is_done_again_where_it_stood(five, model, output, of_one, monkeypatch):
    run(five, model, output, shard="2/2")
    predict = Predictor.probabilities

    def killed_at_the_third(self, case, **options):
        if case.case_id == NAMES[2]:
            raise KeyboardInterrupt
        return predict(self, case, **options)

    monkeypatch.setattr(Predictor, "probabilities", killed_at_the_third)
    with pytest.raises(KeyboardInterrupt):
        run(five, model, output, shard="1/2")
    monkeypatch.undo()

    # A rerun calls all of them, and the one that was finished may come first.
    assert run(five, model, output, shard="2/2").done == ()
    assert "manifest-1-of-2.json" in manifests_in(output)
    assert run(five, model, output, shard="1/2").done == (NAMES[2], NAMES[4])
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


@pytest.mark.parametrize("later", [["1/4", "2/4", "3/4", "4/4"], [None]])
def test_another_number_of_shards_goes_on_and_cleans_up(five, model, output, of_one, later):
    run(five, model, output, shard="1/3")
    run(five, model, output, shard="3/3", stop=after(0))

    told = [run(five, model, output, shard=shard) for shard in later]

    assert sorted(name for one in told for name in one.done) == [NAMES[1], NAMES[2], NAMES[4]]
    assert manifests_in(output) == ["manifest.json"]
    # One process writes the records that it takes over before its own.
    assert json.loads(told_by(output)) == json.loads(told_by(of_one))


def test_shards_go_on_where_one_process_stood(five, model, output, of_one):
    run(five, model, output, stop=after(2))

    told = [run(five, model, output, shard=shard) for shard in ("2/2", "1/2")]

    assert [one.done for one in told] == [(NAMES[3],), (NAMES[2], NAMES[4])]
    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


def test_shards_that_come_after_the_merge_leave_nothing_behind(five, model, output, of_one):
    for number in (1, 2, 1, 2, 2):
        run(five, model, output, shard=f"{number}/2")

    assert manifests_in(output) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


def test_a_failure_is_of_its_shard_alone(scans, model, output):
    repair = damage(scans, NAMES[1])
    run(scans, model, output.with_name("one"))
    words = ["infer", str(scans), "-m", str(model), "-o", str(output), "--device", "cpu"]

    codes = [CliRunner().invoke(app, [*words, "--shard", f"{k}/3"]).exit_code for k in (1, 2, 3)]

    assert codes == [0, 3, 0]
    assert told_by(output) == told_by(output.with_name("one"))
    repair()
    again = run(scans, model, output, shard="2/3")
    assert (again.done, again.kept) == ((NAMES[1],), (NAMES[4],))
    assert manifests_in(output) == ["manifest.json"]
    assert json.loads((output / "manifest.json").read_text())["failures"] == {}


def test_a_result_that_was_edited_stays_a_failure_when_shards_are_merged(five, model, output):
    run(five, model, output)
    edited = output / "BraTS2021_00002.nii.gz"
    edited.write_bytes(b"corrected by hand")

    second = run(five, model, output, shard="2/2")
    first = run(five, model, output, shard="1/2")

    assert ("edited" in second.failures["BraTS2021_00002"], dict(first.failures)) == (True, {})
    assert edited.read_bytes() == b"corrected by hand"
    manifest = json.loads((output / "manifest.json").read_text())
    assert list(manifest["failures"]) == ["BraTS2021_00002"]
    assert manifests_in(output) == ["manifest.json"]


def test_a_result_put_there_by_hand_is_refused_by_its_shard(scans, model, output, of_one):
    damage(scans, NAMES[1])
    run(scans, model, output)
    shutil.copy(of_one / f"{NAMES[1]}.nii.gz", output)

    run(scans, model, output, shard="1/2")
    with pytest.raises(OutputError, match="but no manifest lists it as a result of volseg"):
        run(scans, model, output, shard="2/2")


def test_a_journal_of_a_killed_shard_is_read_and_goes(five, model, output, of_one, monkeypatch):
    monkeypatch.setattr(writing.ManifestFile, "finish", lambda self, *_: self.path)
    write = writing.ManifestFile.write
    written = []

    def once(self):
        written.append(self)
        if len(written) == 1:
            write(self)

    monkeypatch.setattr(writing.ManifestFile, "write", once)
    run(five, model, output, shard="1/2")
    monkeypatch.undo()
    assert (output / "manifest-1-of-2.journal").is_file()
    assert list(read_manifest(output)["cases"]) == NAMES[::2]

    for number in ("2/3", "1/3", "3/3"):
        run(five, model, output, shard=number)

    assert sorted(path.name for path in output.glob("manifest*")) == ["manifest.json"]
    assert told_by(output) == told_by(of_one)


# Done again


def test_overwrite_does_the_cases_of_the_shard_alone(five, model, output, of_one):
    run(five, model, output)
    for name in NAMES:
        (output / f"{name}.nii.gz").write_bytes(b"of old")

    result = run(five, model, output, shard="2/2", overwrite=True)

    assert (result.done, result.kept) == ((NAMES[1], NAMES[3]), ())
    made, found = results_in(of_one), results_in(output)
    label_maps = [name for name in made if name.endswith(".nii.gz")]
    assert {name for name in label_maps if made[name] == found[name]} == {
        f"{NAMES[1]}.nii.gz",
        f"{NAMES[3]}.nii.gz",
    }


def test_a_requeued_task_resumes_its_overwriting_pass(five, model, output):
    """A requeued task calls the same command with the same shard."""
    run(five, model, output)
    task = {"shard": "1/2", "overwrite": True}
    run(five, model, output, **task, stop=after(1))
    run(five, model, output, shard="2/2", overwrite=True)

    requeued = run(five, model, output, **task)

    assert (requeued.kept, requeued.done) == ((NAMES[0],), (NAMES[2], NAMES[4]))


def test_a_shard_that_does_cases_again_is_waited_for(five, model, output, of_one):
    """Every case has its record from before, so only its own manifest tells that it is in work."""
    run(five, model, output)
    run(five, model, output, shard="2/2", overwrite=True, stop=after(1))

    run(five, model, output, shard="1/2", overwrite=True)

    assert manifests_in(output) == [
        "manifest-1-of-2.json",
        "manifest-2-of-2.json",
        "manifest.json",
    ]
    run(five, model, output, shard="2/2")
    assert manifests_in(output) == ["manifest.json"]
    assert json.loads(told_by(output))["cases"] == json.loads(told_by(of_one))["cases"]


def test_a_case_that_fails_when_made_again_loses_its_record(scans, model, output):
    run(scans, model, output)
    damage(scans, NAMES[1])

    run(scans, model, output, shard="2/3", overwrite=True)

    content = json.loads((output / "manifest.json").read_text())
    assert (NAMES[1] in content["cases"], list(content["failures"])) == (False, [NAMES[1]])
    assert not (output / f"{NAMES[1]}.nii.gz").exists()


def test_another_scheme_is_merged_when_all_is_made_again(five, model, output):
    run(five, model, output)
    new = {"labels": "brats2023", "overwrite": True}

    run(five, model, output, shard="1/2", **new)

    assert manifests_in(output) == ["manifest-1-of-2.json", "manifest.json"]
    with pytest.raises(LabelError, match="have not yet replaced all results"):
        prediction_scheme(output, None)
    assert read_records(output) == {}
    with pytest.raises(OutputError, match="'brats2021', but this run writes 'brats2023'"):
        run(five, model, output, shard="2/2", labels="brats2023")
    run(five, model, output, shard="2/2", **new)
    assert manifests_in(output) == ["manifest.json"]
    assert prediction_scheme(output, None).name == "brats2023"


def test_a_shard_that_began_anew_keeps_its_manifest(five, model, output):
    """It wrote after the merge had read it, so its newer records are not in manifest.json yet."""
    run(five, model, output, shard="1/2")
    found = read_manifests(output)
    path = found[0].path
    path.write_text(found[0].text + " ")

    writing.remove_merged(found)

    assert path.is_file()
    path.write_text(found[0].text)
    writing.remove_merged(found)
    assert not path.exists()
    writing.remove_merged(found)  # another shard was quicker


# Refused


@pytest.mark.parametrize("where", [".", "results"])
def test_shards_do_not_write_among_the_scans(scans, model, where):
    with pytest.raises(OutputError, match="where another shard could take them as scans; choose"):
        run(scans, model, scans / where, shard="1/2")


@pytest.mark.parametrize("text", ["{", "[]", '{"cases": []}'])
def test_a_damaged_manifest_of_a_shard_is_named(five, model, output, text):
    output.mkdir()
    (output / "manifest-1-of-2.json").write_text(text)

    with pytest.raises(OutputError, match=r"manifest-1-of-2\.json is no manifest of .*; move it"):
        run(five, model, output, shard="2/2")
    with pytest.raises(VolsegError, match=r"manifest-1-of-2\.json is no manifest of .*; move it"):
        info(output)


def test_a_manifest_that_cannot_be_read_is_named(five, model, output):
    (output / "manifest-1-of-2.json").mkdir(parents=True)

    with pytest.raises(OutputError, match=r"manifest-1-of-2\.json cannot be read \(.*-o"):
        run(five, model, output, shard="2/2")


def test_names_that_no_shard_writes_are_no_manifests(tmp_path):
    for name in ("manifest-3-of-2.json", "manifest-1-of-1.json", "manifest-01-of-2.json"):
        (tmp_path / name).write_text("{}")

    assert read_manifests(tmp_path) == []
    assert not any(manifests.is_manifest(path.name) for path in tmp_path.iterdir())
    with pytest.raises(FileNotFoundError):
        read_manifest(tmp_path)


def test_what_a_shard_that_was_killed_while_it_merged_was_writing_goes(scans, model, output):
    run(scans, model, output, shard="1/2")
    (output / ".volseg-0123abcd-manifest.json").touch()
    (output / ".volseg-0123abcd-manifest-1-of-2.json").touch()

    run(scans, model, output, shard="2/2")

    hidden = [path.name for path in output.iterdir() if path.name.startswith(".")]
    assert hidden == [".volseg-0123abcd-manifest-1-of-2.json"]
    run(scans, model, output, shard="1/2")
    assert not [path.name for path in output.iterdir() if path.name.startswith(".")]
