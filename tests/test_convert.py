"""From a hospital's folder to cases: whole, resumable, and without a trace of the patients."""

from __future__ import annotations

import datetime
import errno
import gzip
import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from dicom_files import Header, write_series
from hospital import SIEMENS, grid, head, write_hospital, write_study
from PIL import Image
from typer.testing import CliRunner

import volseg
from volseg.cases.time_table import read_time_table
from volseg.cli import app
from volseg.conversion import writing
from volseg.conversion.pseudonym_table import PseudonymTable
from volseg.conversion.record import read_record
from volseg.errors import ConfigError, DataListError, OutputError
from volseg.finding.folders import find_cases
from volseg.tasks.convert import find_series

FOUR = ["t1c", "t1n", "t2f", "t2w"]


def run(*words):
    return CliRunner().invoke(app, ["convert", *map(str, words)], catch_exceptions=False)


@pytest.fixture(scope="module")
def hospital(tmp_path_factory):
    folder = tmp_path_factory.mktemp("source") / "hospital"
    write_hospital(folder)
    return folder


@pytest.fixture(scope="module")
def converted(hospital, tmp_path_factory):
    output = tmp_path_factory.mktemp("converted") / "cases"
    options = volseg.ConvertOptions(shift_dates=True)
    return volseg.convert(hospital, output, options)


@pytest.fixture
def one_study(tmp_path):
    write_study(tmp_path / "source", "A", "first", "20200304")
    return tmp_path / "source"


def files_of(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def case_of(result, patient, date):
    entry = next(
        entry
        for entry in result.plan.table.entries
        if entry.facts["patient_id"] == patient and str(entry.date) == date
    )
    return entry.case_id


def test_a_hospital_becomes_cases_of_four_channels_that_finding_reads(converted):
    found = find_cases([converted.folder])

    assert len(found.cases) == 3
    assert found.skipped == ()
    assert {case.channels for case in found.cases} == {("t1n", "t1c", "t2w", "t2f")}
    assert sorted({case.patient_id for case in found.cases}) == ["PAT-00001", "PAT-00002"]
    assert found.layouts == {"volseg convert": 3}
    assert converted.failures == ()


def test_the_time_points_of_a_patient_keep_the_order_of_their_dates(converted):
    first = case_of(converted, "ID-A", "2020-03-04")
    second = case_of(converted, "ID-A", "2020-06-09")

    assert (first[:-4], first[-4:], second[-4:]) == (second[:-4], "-000", "-001")


def test_shifted_dates_keep_intervals_in_a_table_that_report_reads(converted):
    rows = read_time_table(converted.time_points)
    first = rows[case_of(converted, "ID-A", "2020-03-04")]
    second = rows[case_of(converted, "ID-A", "2020-06-09")]

    assert second.place - first.place == 97
    assert first.place < datetime.date(2020, 3, 4).toordinal()
    assert first.patient_id == second.patient_id


def write_png_stack(folder):
    folder.mkdir(parents=True)
    for number in (1, 2, 3):
        Image.fromarray(np.full((8, 8), 40 * number, np.uint8)).save(folder / f"{number}.png")


def test_without_any_date_no_table_of_time_points_is_written(tmp_path):
    write_png_stack(tmp_path / "source/P1/t1c")

    done = run(tmp_path / "source", "-o", tmp_path / "cases", "--shift-dates", "--spacing", "1,1,2")

    assert done.exit_code == 0
    assert "No date of an examination is known" in done.output
    assert not (tmp_path / "cases/time_points.csv").exists()


@pytest.mark.parametrize("words", [(), ("--dry-run",)])
def test_series_of_which_none_becomes_a_channel_are_an_error(tmp_path, words):
    write_png_stack(tmp_path / "source/P1/scan")

    done = run(tmp_path / "source", "-o", tmp_path / "cases", "--spacing", "1,1,2", *words)

    assert done.exit_code == 2
    assert "becomes a channel; name the channels with --channel CHANNEL=PATTERN" in done.output
    assert not re.search("^Series", done.output, re.MULTILINE)
    assert not (tmp_path / "cases").exists()


def test_the_files_of_a_stack_with_a_fault_are_named_once(tmp_path):
    write_png_stack(tmp_path / "source/P1/t1c")

    found = find_series(tmp_path / "source")

    assert [one.name for one in found.broken] == ["P1/t1c/1.png and 2 more"]
    assert found.left_out == ()


def test_voxels_and_grid_are_those_of_the_source(converted, hospital):
    case_id = case_of(converted, "ID-A", "2020-03-04")
    image = nib.load(converted.folder / case_id / f"{case_id}-t2w.nii.gz")
    files = sorted((hospital / "A/ST0001/003").iterdir())
    slices = [pydicom.dcmread(path) for path in files]

    voxels = np.asarray(image.dataobj)
    assert voxels.dtype == np.int16
    assert image.header["scl_slope"] in (1, np.nan) or np.isnan(image.header["scl_slope"])
    # Each voxel of the first slice lies where its file says: LPS turned to RAS.
    first = slices[0]
    corner = np.array([*first.ImagePositionPatient, 1.0]) * [-1, -1, 1, 1]
    index = np.linalg.inv(image.affine) @ corner
    i, j, k = np.rint(index[:3]).astype(int)
    assert abs(index[:3] - (i, j, k)).max() < 1e-4
    assert voxels[i, j, k] == first.pixel_array[0, 0]
    np.testing.assert_allclose(image.get_qform(), image.get_sform(), atol=1e-4)
    assert (image.header["qform_code"], image.header["sform_code"]) == (1, 1)


def secrets_in(hospital):
    """Every text of every element that may identify, and every part of every path."""
    found = set()
    harmless = {
        *("Modality", "Manufacturer", "ScanningSequence", "SequenceVariant", "MRAcquisitionType"),
        *("ImageType", "SpecificCharacterSet", "PatientSex", "SOPClassUID", "BodyPartExamined"),
        *("PhotometricInterpretation", "SequenceName", "ContrastBolusAgent"),
    }
    for path in hospital.rglob("*"):
        found |= set(path.relative_to(hospital.parent).parts)
        if path.suffix != ".dcm":
            continue
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        for element in dataset.iterall():
            if element.keyword in harmless or element.VR in {"DS", "IS", "US", "SQ", "OB", "CS"}:
                continue
            values = element.value if element.VM > 1 else [element.value]
            found |= {str(value) for value in values if value is not None}
    # The record repeats words of the field, such as FLAIR, never a description.
    found |= {part for text in found for part in re.split(r"[\^ ]", text)} - {"FLAIR"}
    dates = {text for text in found if re.fullmatch(r"(19|20)\d{6}", text)}
    found |= {f"{text[:4]}-{text[4:6]}-{text[6:]}" for text in dates}
    return {text for text in found if len(text) >= 4 and not re.fullmatch(r"[\d.]{1,5}", text)}


def test_nothing_that_identifies_reaches_a_byte_of_any_output_or_name(converted, hospital):
    secrets = secrets_in(hospital)
    known = ("SECRETA^MAIDEN", "SECRETE", "SECRETP A", "ID-A", "20200304", "2020-03-04", "hospital")
    assert {*known, "t1_mprage_sag_p2_iso"} <= secrets, "the hunt has no prey"

    searched = []
    for path in converted.folder.rglob("*"):
        searched.append((path, path.name.encode()))
        if path.is_file():
            content = path.read_bytes()
            searched.append((path, content))
            if path.suffix == ".gz":
                searched.append((path, gzip.decompress(content)))
    found = {
        (path.name, secret)
        for path, content in searched
        for secret in secrets
        if secret.casefold().encode() in content.lower()
    }

    assert len(searched) == 3 + 3 * 4 * 3 + 2 * 2
    assert found == set()
    table = converted.table.read_text(encoding="utf-8")
    assert [name for name in ("SECRET^A", "ID-B", "2020-03-04") if name not in table] == []


def test_compressed_files_hold_neither_name_nor_time(converted):
    for path in converted.folder.rglob("*.nii.gz"):
        header = path.read_bytes()[:10]
        assert header[3] == 0, "flags: a name, a comment or more"
        assert header[4:8] == bytes(4), "time"


def test_headers_hold_no_text_and_no_extension(converted):
    for path in converted.folder.rglob("*.nii.gz"):
        header = nib.load(path).header
        texts = [header[name].item() for name in ("descrip", "aux_file", "intent_name", "db_name")]
        assert (texts, len(header.extensions)) == ([b""] * 4, 0)


def test_a_second_call_keeps_everything_to_the_byte(converted, hospital, tmp_path):
    shutil.copytree(converted.folder, tmp_path / "cases")
    shutil.copy(converted.table, tmp_path)
    before = {
        path: path.read_bytes() for path in (tmp_path / "cases").rglob("*.*") if path.is_file()
    }

    done = run(hospital, "-o", tmp_path / "cases")

    assert done.exit_code == 0
    assert "3 cases kept" in done.stdout
    assert "Series" not in done.stdout
    assert len(done.stdout.splitlines()) < 10
    assert {path: path.read_bytes() for path in before} == before


def test_the_log_of_the_writing_names_cases_and_no_patients(hospital, tmp_path, caplog):
    with caplog.at_level("DEBUG", logger="volseg"):
        volseg.convert(hospital, tmp_path / "cases")
        volseg.convert(hospital, tmp_path / "cases")

    said = " ".join(caplog.messages)
    assert "3 of 3 cases kept" in said
    assert [secret for secret in secrets_in(hospital) if secret in said] == []


def test_a_dry_run_prints_the_table_and_writes_nothing(hospital, tmp_path):
    done = run(hospital, "-o", tmp_path / "cases", "--dry-run")

    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    assert "name says t1 mprage; GR/IR, TE 2.26, TR 1900, TI 900 ms; no tag of a contrast" in words
    assert "a localiser" in words
    assert "README.txt" in words
    assert "3 cases would be written" in words
    assert f"Next, to write them: volseg convert {hospital} -o {tmp_path / 'cases'}" in words
    assert list(tmp_path.iterdir()) == []


def test_after_a_dry_run_the_same_command_is_named(one_study, tmp_path):
    words = ["--channel=t1n=*sag*", "--shift-dates", "--prefix=CLINIC"]

    done = run(one_study, "-o", tmp_path / "cases", "--dry-run", *words)

    line = f"volseg convert {one_study} -o {tmp_path / 'cases'} {' '.join(words)}"
    assert f"  {line}" in done.stdout.splitlines()


def test_a_real_run_prints_the_same_and_what_to_do_next(one_study, tmp_path):
    done = run(one_study, "-o", tmp_path / "cases", "--prefix", "CLINIC")

    assert done.exit_code == 0
    assert done.stdout.index("Series") < done.stdout.index("1 case written")
    assert f"volseg prepare {tmp_path / 'cases'} -o prepared" in done.stdout
    assert (tmp_path / "cases/CLINIC-00001-000/CLINIC-00001-000-t1c.nii.gz").is_file()


def test_a_channel_in_doubt_is_refused_and_the_others_are_written(tmp_path):
    source, output = tmp_path / "source", tmp_path / "cases"
    tags = {"ContrastBolusAgent": "NONE"}
    doubtful = {**SIEMENS, "t1c": {**SIEMENS["t1c"], **tags}}
    write_study(source, "A", "first", "20200304", doubtful)

    refused = run(source, "-o", output)
    (case,) = (path for path in output.iterdir() if path.is_dir())

    assert refused.exit_code == 3
    assert re.search("t1c is refused: .*; choose with .*--channel t1c=5", refused.stdout)
    assert sorted(p.name[14:17] for p in case.iterdir()) == ["t1n", "t2f", "t2w"]
    assert read_record(output)[case.name].refused == ["t1c"]

    decided = run(source, "-o", output, "--channel", "t1ce=5")

    assert decided.exit_code == 0
    assert "1 case rewritten" in decided.stdout
    assert sorted(p.name[14:17] for p in case.iterdir()) == FOUR


def test_a_series_that_cannot_be_read_stops_neither_the_others_nor_the_command(tmp_path):
    source, output = tmp_path / "source", tmp_path / "cases"
    write_study(source / "a", "A", "first", "20200304")
    damaged = write_study(source / "b", "B", "first", "20200304")["t2w"][3]
    damaged.write_bytes(damaged.read_bytes()[:-2000])

    done = run(source, "-o", output)

    assert done.exit_code == 3
    assert "Failed" in done.stdout
    counts = {len(list(path.iterdir())) for path in output.iterdir() if path.is_dir()}
    assert 4 in counts
    assert not list(output.glob(".volseg*"))


def full_disk(path, content):
    raise OSError(errno.ENOSPC, "No space left on device", str(path))


def test_a_full_disk_is_one_sentence_and_leaves_nothing_half(one_study, tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "write_bytes", full_disk)

    done = run(one_study, "-o", tmp_path / "cases")

    assert done.exit_code == 3
    assert re.search(
        r"cannot write .*No space left on device\); give .* that has space", done.stdout
    )
    assert files_of(tmp_path / "cases") == []

    monkeypatch.undo()
    assert "1 case written" in run(one_study, "-o", tmp_path / "cases").stdout


def test_a_run_that_was_killed_between_record_and_case_is_resumed(one_study, tmp_path):
    output = tmp_path / "cases"
    result = volseg.convert(one_study, output)
    (case_id,) = result.outcome.written
    shutil.rmtree(output / case_id)

    again = volseg.convert(one_study, output)

    assert again.outcome.written == [case_id]
    assert len(list((output / case_id).iterdir())) == 4


def test_a_case_with_a_file_of_others_is_not_replaced(one_study, tmp_path):
    output = tmp_path / "cases"
    (case_id,) = volseg.convert(one_study, output).outcome.written
    for name, message in (
        (f"{case_id}-seg.nii.gz", "was not written by volseg convert"),
        (f"{case_id}-t1n.nii.gz", "was changed after its conversion"),
    ):
        path = output / case_id / name
        before = path.read_bytes() if path.exists() else None
        path.write_bytes(b"mine")
        options = volseg.ConvertOptions(channels=("t1c=4",))

        ((failed, reason),) = volseg.convert(one_study, output, options).outcome.failures

        assert failed == case_id
        assert message in reason
        assert path.read_bytes() == b"mine"
        path.write_bytes(before) if before else path.unlink()


def test_a_folder_of_a_case_that_has_no_record_is_not_taken_over(one_study, tmp_path):
    (tmp_path / "cases/PAT-00001-000").mkdir(parents=True)

    result = volseg.convert(one_study, tmp_path / "cases")

    assert "volseg did not write it" in result.failures[0][1]
    assert files_of(tmp_path / "cases") == []


def test_cases_whose_table_is_lost_are_refused(one_study, tmp_path):
    result = volseg.convert(one_study, tmp_path / "cases")
    result.table.unlink()

    with pytest.raises(OutputError, match=r"holds 1 case, such as PAT-00001-000, that the table"):
        volseg.convert(one_study, tmp_path / "cases")


def test_moved_sources_give_the_same_case_without_writing_it_again(one_study, tmp_path):
    result = volseg.convert(one_study, tmp_path / "cases")
    one_study.rename(tmp_path / "elsewhere")

    again = volseg.convert(tmp_path / "elsewhere", tmp_path / "cases")

    assert again.outcome.kept == result.outcome.written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["-o", "source/cases"], "lie within each other"),
        (["-o", "."], "lie within each other"),
        (["-o", "cases", "--pseudonyms", "cases/table.csv"], "would lie among the cases"),
        (["-o", "cases", "--prefix", "BraTS-GLI"], "no name of a public data set"),
        (["-o", "cases", "--prefix", "a_b"], "expected letters, digits"),
        (["-o", "cases", "--spacing", "1,1"], "--spacing is 1,1, expected three numbers"),
        (["-o", "cases", "--orientation", "LRS"], "--orientation is 'LRS', expected one letter"),
        (["-o", "cases", "--channel", "t1c=*nothing*"], "fits no series that can be converted"),
        (["-o", "cases.nii.gz"], "named like a file"),
    ],
)
def test_options_are_checked_before_anything_is_written(
    one_study, tmp_path, monkeypatch, words, message
):
    monkeypatch.chdir(tmp_path)

    done = run("source", *words)

    assert done.exit_code == 2
    assert message in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_a_pattern_that_fits_a_series_that_was_left_out_says_why(hospital, tmp_path):
    options = volseg.ConvertOptions(channels=("adc=*localizer",), dry_run=True)

    with pytest.raises(ConfigError, match=r"series 1, localizer, which is left out: a localiser"):
        volseg.convert(hospital, tmp_path / "cases", options)


def test_a_map_is_a_channel_by_hand_only(hospital, tmp_path):
    options = volseg.ConvertOptions(dry_run=True)
    by_hand = volseg.ConvertOptions(channels=("adc=*ADC", "t1n=*mprage_*iso"), dry_run=True)

    without = volseg.convert(hospital, tmp_path / "cases", options).plan
    plan = volseg.convert(hospital, tmp_path / "cases", by_hand).plan

    reasons = {entry.name: entry.reason for entry in without.left_out}
    name = "A/ST0001/021: series 21, ep2d_diff_ADC"
    assert reasons[name] == "a map of diffusion (ADC in Image Type)"
    assert {"adc"} == {
        channel
        for case in plan.cases
        for channel in case.assignment.channels
        if channel not in FOUR
    }
    assert name not in {entry.name for entry in plan.left_out}


def test_a_pattern_of_a_scan_does_not_take_its_reformatted_copy(hospital, tmp_path):
    options = volseg.ConvertOptions(channels=("t1n=*mprage*sag_p2_iso", "t1n=*_MPR"), dry_run=True)

    plan = volseg.convert(hospital, tmp_path / "cases", options).plan

    chosen = {case.assignment.channels["t1n"].series.facts.description for case in plan.cases}
    assert "t1_mprage_tra_MPR" not in chosen
    assert plan.failures == ()


def test_maps_alone_are_no_source(tmp_path):
    tags = {"ImageType": ["DERIVED", "PRIMARY", "ADC"], "SeriesDescription": "ADC"}
    write_series(tmp_path / "source", np.zeros((4, 4, 4), np.uint16), np.eye(4), Header(tags=tags))

    with pytest.raises(DataListError, match="can be converted: a map of diffusion"):
        volseg.convert(tmp_path / "source", tmp_path / "cases")


def test_a_map_with_a_fault_is_left_out_with_the_fault(tmp_path):
    write_study(tmp_path / "source", "A", "first", "20200304")
    tags = {"ImageType": ["DERIVED", "PRIMARY", "ADC"], "SeriesDescription": "ADC"}
    header = Header(patient="A", series="30", tags=tags)
    write_series(tmp_path / "source" / "030", np.zeros((4, 4, 1), np.uint16), np.eye(4), header)

    done = run(tmp_path / "source", "-o", tmp_path / "cases")

    assert done.exit_code == 0
    plan = volseg.convert(tmp_path / "source", tmp_path / "cases").plan
    assert [entry.reason for entry in plan.left_out] == [
        "a map of diffusion (ADC in Image Type): holds a single slice, which is no volume; export "
        "the whole series again"
    ]


def test_a_file_that_vanishes_after_its_header_was_read_is_a_fault_of_its_case(
    tmp_path, monkeypatch
):
    written = write_study(tmp_path / "source" / "a", "A", "first", "20200304")
    write_study(tmp_path / "source" / "b", "B", "first", "20200304")
    finding = find_series(tmp_path / "source")
    vanished = written["t2w"][3]
    vanished.unlink()
    monkeypatch.setattr("volseg.tasks.convert.find_series", lambda *_: finding)

    done = run(tmp_path / "source", "-o", tmp_path / "cases")

    assert done.exit_code == 3
    assert "cannot be read (No such file" in " ".join(done.stdout.split())
    assert "1 case written" in done.stdout


def test_a_source_without_scans_is_refused(tmp_path):
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "README.txt").write_text("nothing here, but long enough" * 9)

    with pytest.raises(DataListError, match="holds no series that can be converted: neither DICOM"):
        volseg.convert(tmp_path / "source", tmp_path / "cases")
    with pytest.raises(DataListError, match="does not exist"):
        volseg.convert(tmp_path / "none", tmp_path / "cases")


def write_images(folder, dtype=np.int16, label=None):
    folder.mkdir(parents=True)
    affine = np.diag([-1.0, -1, 2, 1])
    for number, name in enumerate(("t1", "t1ce", "t2", "flair")):
        voxels = np.arange(12 * 12 * 8, dtype=dtype).reshape(12, 12, 8) + number
        image = nib.Nifti1Image(voxels, affine)
        image.header["descrip"] = b"SECRET^A"
        nib.save(image, folder / f"{folder.name}_{name}.nii.gz")
    if label is not None:
        nib.save(nib.Nifti1Image(label, affine), folder / f"{folder.name}_seg.nii.gz")


def test_image_files_are_named_by_their_names_and_label_maps_travel(tmp_path):
    label = np.zeros((12, 12, 8), np.float32)
    label[3:5, 3:5, 3:5] = 4
    write_images(tmp_path / "source/Smith_John", label=label)

    volseg.convert(tmp_path / "source", tmp_path / "cases")

    (case,) = find_cases([tmp_path / "cases"]).cases
    assert case.case_id == "PAT-00001-000"
    assert case.channels == ("t1n", "t1c", "t2w", "t2f")
    (seg,) = case.label
    written = np.asarray(nib.load(seg).dataobj)
    assert (written.dtype, written.max(), (written == 4).sum()) == (np.uint8, 4, 8)
    assert b"SECRET" not in gzip.decompress(case.images[0].read_bytes())


def write_slices(folder):
    folder.mkdir(parents=True)
    for k in range(6):
        Image.fromarray(np.full((5, 4), 20 * k, np.uint8)).save(folder / f"{k:03}.png")


def test_slices_without_geometry_become_a_case_once_it_is_given(tmp_path):
    write_slices(tmp_path / "source/P7/t1c")
    words = [tmp_path / "source", "-o", tmp_path / "cases"]

    refused = run(*words)
    done = run(*words, "--spacing", "0.5,0.6,3", "--orientation", "RAS")

    assert refused.exit_code == 3
    assert "such as --spacing 0.5,0.5,3" in " ".join(refused.output.split())
    assert (done.exit_code, "voxels of 0.5,0.6,3 mm, as given" in done.output) == (0, True)
    image = nib.load(tmp_path / "cases/PAT-00001-000/PAT-00001-000-t1c.nii.gz")
    assert image.shape == (4, 5, 6)
    assert np.allclose(image.affine, np.diag([0.5, 0.6, 3, 1]))


def test_another_geometry_converts_the_case_again(tmp_path):
    write_slices(tmp_path / "source/P7/t1c")
    results = [
        volseg.convert(
            tmp_path / "source", tmp_path / "cases", volseg.ConvertOptions(spacing_mm=(1, 1, mm))
        )
        for mm in (2, 2, 3)
    ]

    assert [len(result.outcome.kept) for result in results] == [0, 1, 0]
    image = nib.load(tmp_path / "cases/PAT-00001-000/PAT-00001-000-t1c.nii.gz")
    assert np.allclose(image.header.get_zooms(), (1, 1, 3))


def test_names_of_image_files_are_kept_on_request(tmp_path):
    write_images(tmp_path / "source/UPENN-GBM-00002_11")

    options = volseg.ConvertOptions(keep_names=True)
    result = volseg.convert(tmp_path / "source", tmp_path / "cases", options)

    assert result.outcome.written == ["UPENN-GBM-00002_11"]


def test_scans_in_two_formats_are_noted_as_of_different_people(one_study, tmp_path):
    write_images(one_study / "A/nifti")

    plan = volseg.convert(one_study, tmp_path / "cases", volseg.ConvertOptions(dry_run=True)).plan

    assert len({case.case_id for case in plan.cases}) == 2
    assert "DICOM and of other files are taken for different people" in " ".join(plan.notes)


def test_a_kept_name_never_replaces_the_case_of_another_patient(tmp_path, one_study):
    write_images(tmp_path / "images/PAT-00001-000")
    keep = volseg.ConvertOptions(keep_names=True)
    volseg.convert(one_study, tmp_path / "pseudonym first")
    volseg.convert(tmp_path / "images", tmp_path / "name first", keep)
    before = {path: path.read_bytes() for path in tmp_path.glob("*first*/**/*") if path.is_file()}

    with pytest.raises(ConfigError, match="two cases would have the name PAT-00001-000"):
        volseg.convert(tmp_path / "images", tmp_path / "pseudonym first", keep)
    with pytest.raises(ConfigError, match="give another --prefix"):
        volseg.convert(one_study, tmp_path / "name first")

    assert {path: path.read_bytes() for path in before} == before
    result = volseg.convert(
        one_study, tmp_path / "name first", volseg.ConvertOptions(prefix="CLINIC")
    )
    assert result.outcome.written == ["CLINIC-00001-000"]


def test_a_folder_of_equal_name_in_another_source_replaces_no_case(tmp_path):
    write_images(tmp_path / "one/P1")
    write_images(tmp_path / "other/P1", np.float32)
    output = tmp_path / "cases"
    volseg.convert(tmp_path / "one", output)
    before = (output / "PAT-00001-000/PAT-00001-000-t1c.nii.gz").read_bytes()

    refused = volseg.convert(tmp_path / "other", output)
    kept = (output / "PAT-00001-000/PAT-00001-000-t1c.nii.gz").read_bytes() == before
    on_purpose = volseg.convert(tmp_path / "other", output, volseg.ConvertOptions(overwrite=True))

    ((case_id, reason),) = refused.failures
    assert (case_id, kept) == ("PAT-00001-000", True)
    assert "perhaps of another patient; convert it into another folder" in reason
    assert any("read from another folder" in note for note in refused.plan.notes)
    assert on_purpose.outcome.rewritten == ["PAT-00001-000"]


def test_after_overwrite_the_new_folder_is_the_source_of_a_case(tmp_path):
    write_images(tmp_path / "one/P1")
    write_images(tmp_path / "other/P1", np.float32)
    volseg.convert(tmp_path / "one", tmp_path / "cases")
    volseg.convert(tmp_path / "other", tmp_path / "cases", volseg.ConvertOptions(overwrite=True))
    shutil.rmtree(tmp_path / "other/P1")
    write_images(tmp_path / "other/P1", np.int32)

    changed = volseg.convert(tmp_path / "other", tmp_path / "cases")

    assert (changed.failures, changed.plan.notes) == ((), ())
    assert changed.outcome.rewritten == ["PAT-00001-000"]
    (entry,) = PseudonymTable.read(changed.table).entries
    assert entry.facts["source"] == str(tmp_path / "other/P1")


def write_visit(folder):
    write_images(folder)
    for path in folder.iterdir():
        path.rename(folder / path.name.partition("_")[2])


@pytest.mark.parametrize("output", ["cases", "others"])
def test_a_new_examination_of_a_patient_of_another_source_is_noted(tmp_path, output):
    table = volseg.ConvertOptions(pseudonyms=tmp_path / "patients.pseudonyms.csv")
    for visit in ("h1/P1/2019", "h1/P2/2020", "h2/P1/2021", "h2/P3/2020"):
        write_visit(tmp_path / visit)
    volseg.convert(tmp_path / "h1", tmp_path / "cases", table)
    write_visit(tmp_path / "h1/P1/2020")

    same = volseg.convert(tmp_path / "h1", tmp_path / "cases", table).plan
    other = volseg.convert(tmp_path / "h2", tmp_path / output, table).plan

    (point_2,) = [case.case_id for case in other.cases if case.case_id.endswith("-002")]
    assert (len(same.cases), [note for note in same.notes if "patient of" in note]) == (3, [])
    (note,) = [note for note in other.notes if "patient of" in note]
    assert note.startswith(f"{point_2}: taken for another examination of the patient of the same")


def test_a_label_map_with_fractions_is_a_fault_of_its_case(tmp_path):
    label = np.full((12, 12, 8), 0.5, np.float32)
    write_images(tmp_path / "source/P1", label=label)

    result = volseg.convert(tmp_path / "source", tmp_path / "cases")

    assert [reason for _, reason in result.failures if "0.5" in reason or "label" in reason]


@pytest.mark.parametrize(
    ("voxels", "dtype"),
    [
        (np.array([-5, 1000]), "int16"),
        (np.array([0, 65535]), "uint16"),
        (np.array([-1, 65535]), "int32"),
        (np.array([0, 1], ">u2"), "int16"),
        (np.array([0.5, 1]), "float32"),
    ],
)
def test_grey_values_are_stored_in_a_type_that_is_exact(voxels, dtype):
    stored = writing.as_stored(voxels)

    assert stored.dtype == np.dtype(dtype).newbyteorder("<")
    np.testing.assert_array_equal(stored, voxels)


def test_of_a_source_with_a_new_case_the_kept_ones_are_not_shown_again(one_study, tmp_path):
    run(one_study, "-o", tmp_path / "cases")
    write_study(one_study / "more", "B", "second", "20210101")

    done = run(one_study, "-o", tmp_path / "cases")
    dry = run(one_study, "-o", tmp_path / "cases", "--dry-run")

    headings = [line for line in done.stdout.splitlines() if line.startswith("PAT-")]
    assert headings == ["PAT-00002-000"]
    assert "PAT-00001-000\n  t1n" in dry.stdout


def test_many_cases_are_shown_by_kind_unless_the_run_is_dry(hospital, tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.cli.convert._MOST_CASES", 1)

    done = run(hospital, "-o", tmp_path / "cases")
    dry = run(hospital, "-o", tmp_path / "more", "--dry-run")

    assert "2 cases, such as PAT-" in done.stdout
    assert "2 cases, such as PAT-" not in dry.stdout


def test_processes_give_the_cases_of_one_process(hospital, converted, tmp_path, monkeypatch):
    monkeypatch.setattr("volseg.conversion.cases._WORTH_VOXELS", 0)
    monkeypatch.setattr("volseg.conversion.cases.cores", lambda: 2)
    shutil.copy(converted.table, tmp_path / "cases.pseudonyms.csv")

    volseg.convert(hospital, tmp_path / "cases")

    records = [
        json.loads((f / "conversion.json").read_text())
        for f in (converted.folder, tmp_path / "cases")
    ]
    assert records[0] == records[1]


def test_ct_becomes_a_case_of_one_channel(tmp_path):
    tags = {"Modality": "CT", "SeriesDescription": "Head", "ContrastBolusAgent": None}
    only = {channel: {"SeriesDescription": "Head"} for channel in SIEMENS}
    write_study(tmp_path / "source", "A", "first", "20200304", only, tags)
    for number in (2, 4, 5):
        shutil.rmtree(tmp_path / f"source/{number:03d}")

    volseg.convert(tmp_path / "source", tmp_path / "cases")

    assert [Path(name).name for name in files_of(tmp_path / "cases")] == [
        "PAT-00001-000-ct.nii.gz",
        "conversion.json",
    ]
    assert len(find_cases([tmp_path / "cases"], ["ct"]).cases) == 1


def test_a_ct_of_a_tilted_gantry_is_written_in_hounsfield_units(tmp_path):
    shape, affine = grid("axial")
    affine[1, 2] = np.tan(np.radians(15)) * affine[2, 2]
    stored = head(affine, shape, "t2w").astype(np.int16)
    header = Header(modality="CT", tags={"ConvolutionKernel": "H31s", "SeriesNumber": 2})
    write_series(tmp_path / "source", stored, affine, header, slopes=(1, -1024))

    done = run(tmp_path / "source", "-o", tmp_path / "cases")

    assert "gantry tilt of 15.0 degrees resampled away" in " ".join(done.stdout.split())
    image = nib.load(next((tmp_path / "cases").rglob("*-ct.nii.gz")))
    found = np.asarray(image.dataobj)
    assert (found.dtype, found.min()) == (np.int16, -1024)
    assert abs(found.max() - (int(stored.max()) - 1024)) < 30
    assert nib.affines.voxel_sizes(image.affine) == pytest.approx([4.5, 4.5, 8])
    axes = image.affine[:3, :3] / nib.affines.voxel_sizes(image.affine)
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)


def test_a_later_export_of_some_series_takes_no_channel_from_a_case(one_study, tmp_path):
    volseg.convert(one_study, tmp_path / "cases")
    shutil.rmtree(one_study / "005")

    result = volseg.convert(one_study, tmp_path / "cases")

    assert result.failures[0][1] == (
        "its source gives no t1c now, which an earlier conversion wrote; put all series of the "
        "examination into one source, or give --overwrite to convert the case without it"
    )
    assert (tmp_path / "cases/PAT-00001-000/PAT-00001-000-t1c.nii.gz").is_file()


def test_overwrite_drops_a_channel_but_never_a_file_of_others(one_study, tmp_path):
    output = tmp_path / "cases"
    volseg.convert(one_study, output)
    shutil.rmtree(one_study / "005")
    mine = output / "PAT-00001-000" / "notes.txt"
    mine.write_text("mine")

    refused = run(one_study, "-o", output, "--overwrite")

    assert refused.exit_code == 3
    assert "was not written by volseg convert" in " ".join(refused.output.split())
    assert len(list(mine.parent.iterdir())) == 5

    mine.unlink()
    done = run(one_study, "-o", output, "--overwrite")

    assert done.exit_code == 0
    assert [path.name[14:-7] for path in sorted(mine.parent.iterdir())] == ["t1n", "t2f", "t2w"]
    assert list(read_record(output)["PAT-00001-000"].channels) == ["t1n", "t2w", "t2f"]


def test_a_folder_that_another_conversion_filled_meanwhile_is_refused(one_study, tmp_path):
    output = tmp_path / "cases"

    def another(_):
        options = volseg.ConvertOptions(pseudonyms=tmp_path / "other.csv")
        volseg.convert(one_study, output, options)

    with pytest.raises(OutputError, match=r"1 case, such as PAT-00001-000, that the table of ps"):
        volseg.convert(one_study, output, on_plan=another)

    assert not (tmp_path / "cases.pseudonyms.csv").exists()


def test_overwrite_empties_no_case_whose_channels_are_all_refused(one_study, tmp_path):
    output = tmp_path / "cases"
    volseg.convert(one_study, output)
    for number in ("002", "003", "004"):
        shutil.rmtree(one_study / number)
    for path in (one_study / "005").iterdir():
        dataset = pydicom.dcmread(path)
        dataset.ContrastBolusAgent = "NONE"
        dataset.save_as(path)

    result = volseg.convert(one_study, output, volseg.ConvertOptions(overwrite=True))

    assert all("is refused" in reason for _, reason in result.failures)
    assert len(list((output / "PAT-00001-000").iterdir())) == 4


def test_an_archive_is_named_with_the_remedy_to_unpack_it(one_study, tmp_path):
    packed = shutil.make_archive(str(tmp_path / "export"), "zip", one_study)
    shutil.copy(packed, one_study)

    given = run(packed, "-o", tmp_path / "cases")
    beside = run(one_study, "-o", tmp_path / "cases", "--dry-run")

    assert given.exit_code == 2
    assert "is an archive, not a folder; unpack it" in " ".join(given.output.split())
    assert beside.exit_code == 0
    assert "an archive, which is not opened; unpack it" in " ".join(beside.output.split())


def test_a_study_over_two_days_is_one_case_with_a_note(tmp_path):
    paths = write_study(tmp_path / "source", "A", "first", "20200304")
    for path in paths["t2w"]:
        dataset = pydicom.dcmread(path)
        dataset.AcquisitionDate = "20200306"
        dataset.save_as(path)

    done = run(tmp_path / "source", "-o", tmp_path / "cases")

    assert done.exit_code == 0
    words = " ".join(done.stdout.split())
    note = "PAT-00001-000: one study over several days, taken as one examination: t2w 2 days later"
    assert note in words
