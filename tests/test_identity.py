"""Which cases are of one patient, which are lost, and how `volseg split` says it."""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, leaks, read_data_list, write_data_list
from volseg.cases.layouts import OTHER
from volseg.cases.volume_case import VolumeCase
from volseg.cli import app
from volseg.errors import DataListError
from volseg.evaluation.references import find_references
from volseg.finding.distinct import _with_valid_names
from volseg.finding.folders import find_cases, find_scans
from volseg.finding.people import Found
from volseg.finding.skipped import in_words, notes_in_words, table_rows
from volseg.survey.label_maps import empty_regions, read_label_maps
from volseg.survey.patients import doubts
from volseg.tasks.split import SplitOptions, SplitResult, split

FOUR = ("t1n", "t1c", "t2w", "t2f")


def tumour(seed: int, *, enhancing: int = 3) -> np.ndarray:
    """A label map of some 300 labelled voxels; another seed gives another one."""
    drawn = np.random.default_rng(seed).integers(0, 3, (8, 8, 8)).astype(np.uint8)
    return np.where(drawn == 2, enhancing, drawn).astype(np.uint8)


def add_case(home: Path, stem: str, label_map: np.ndarray | None, *, image: bytes = b"") -> None:
    """A case of files that are no images, and a label map; `stem` is what stands before t1n."""
    home.mkdir(parents=True, exist_ok=True)
    for name in FOUR:
        (home / f"{stem}{name}.nii.gz").write_bytes(image + f"{home}{stem}{name}".encode())
    if label_map is not None:
        nibabel.save(nibabel.Nifti1Image(label_map, np.eye(4)), home / f"{stem}seg.nii.gz")


def add(folder: Path, *case_ids: str, first: int = 0) -> Path:
    for number, case_id in enumerate(case_ids, first):
        add_case(folder / case_id, f"{case_id}_", tumour(number))
    return folder


def run_split(folder: Path, folds: int = 2, **options: object) -> SplitResult:
    chosen = SplitOptions(**options)  # type: ignore[arg-type]
    return split([folder], folder.parent / "list.json", folds, "brats2023", options=chosen)


def patients(result: SplitResult) -> set[frozenset[str]]:
    """The cases of each patient, all of which have one fold."""
    of: dict[str, set[Case]] = {}
    for case in result.data_list.training:
        of.setdefault(case.patient_id, set()).add(case)
    assert all(len({case.fold for case in cases}) == 1 for cases in of.values())
    return {frozenset(case.case_id for case in cases) for cases in of.values()}


def command(*words: object) -> tuple[int, str]:
    result = CliRunner().invoke(app, list(map(str, words)))
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result.exit_code, result.output


# One patient under several names


@pytest.mark.parametrize(
    "pairs",
    [
        [(f"Brats18_2013_{n}_1", f"BraTS19_2013_{n}_1") for n in range(5)],
        [(f"Brats17_TCIA_{n}_1", f"Brats18_TCIA0{n}_{n}_1") for n in range(1, 5)],
        [(f"sub-{n}_ses-1", f"sub-{n}_ses-2") for n in range(5)],
        [(f"UPENN-GBM-0000{n}_11", f"UPENN-GBM-0000{n}_21") for n in range(5)],
        [(f"UCSF-PDGM-000{n}", f"UCSF-PDGM-000{n}_FU007d") for n in range(5)],
        [(f"PatientID_000{n}_Timepoint_1", f"PatientID_000{n}_Timepoint_2") for n in range(5)],
        [(f"Case{n}", f"CASE{n}_2020-01-31") for n in range(5)],
    ],
    ids=lambda pairs: pairs[0][1],
)
def test_examinations_of_a_patient_share_a_fold(tmp_path, pairs):
    add(tmp_path / "scans", *(case_id for pair in pairs for case_id in pair))

    assert patients(run_split(tmp_path / "scans")) == {frozenset(pair) for pair in pairs}


def test_a_regex_names_the_patients_of_volumes(tmp_path):
    add(tmp_path / "scans", "A1x", "A2x", "B1x", "B2x")

    by_name = run_split(tmp_path / "scans", patient_regex="^([AB])")
    by_path = run_split(tmp_path / "scans", patient_regex=r"/([AB])[^/]*/[^/]+$")

    assert (
        patients(by_name)
        == patients(by_path)
        == {frozenset(p) for p in (("A1x", "A2x"), ("B1x", "B2x"))}
    )


def test_a_regex_names_the_patients_of_folders(tmp_path):
    for place in ("siteA/x1", "siteA/x2", "siteB/y1", "siteB/y2"):
        add_case(tmp_path / "scans" / place, "", None)

    found = find_cases([tmp_path / "scans"], patient_regex=r"site(.)")

    assert {case.patient_id for case in found.cases} == {"A", "B"}


def test_a_regex_that_finds_no_patient_is_refused(tmp_path):
    add(tmp_path / "scans", "A1", "B1", "C1")

    code, told = command(
        "split", tmp_path / "scans", "-o", tmp_path / "x.json", "--patient-regex", "(Q)"
    )
    assert code == 2
    assert "no patient is found in the name by '(Q)'; correct the pattern" in told
    with pytest.raises(
        DataListError, match=r"^2 cases left out .* case B1: no patient .*, and 1 patient with"
    ):
        run_split(tmp_path / "scans", patient_regex="(A)")


def test_a_regex_for_a_data_list_is_refused_since_the_list_names_patients(tmp_path):
    result = run_split(add(tmp_path / "scans", "A1", "B1"))

    with pytest.raises(DataListError, match=r"is a data list, which already .* leave --patient-"):
        find_scans(result.path, patient_regex="(.)")


def test_the_same_label_map_under_two_names_is_one_patient(tmp_path):
    scans = add(tmp_path / "scans", "A", "B", "C")
    # Another release: the integers differ, the voxels do not.
    add_case(scans / "D", "D_", tumour(0, enhancing=2))

    result = run_split(scans)

    assert patients(result) == {frozenset("AD"), frozenset("B"), frozenset("C")}
    assert "1 pair of cases, such as A and D: the same label map, so taken as one patient" in (
        result.notes
    )


def test_empty_and_nearly_empty_label_maps_tell_nothing(tmp_path):
    scans = add(tmp_path / "scans", "A")
    few = np.zeros((8, 8, 8), np.uint8)
    few.flat[:50] = 1
    for case_id, label_map in {"B": few, "C": few, "D": few * 0, "E": few * 0}.items():
        add_case(scans / case_id, f"{case_id}_", label_map)

    assert patients(run_split(scans)) == {frozenset(case_id) for case_id in "ABCDE"}


def test_the_same_images_under_two_names_are_one_patient(tmp_path):
    scans = tmp_path / "scans"
    noise = np.random.default_rng(0).bytes(5000)
    for number, case_id in enumerate("ABC"):
        add_case(scans / case_id, f"{case_id}_", tumour(number))
        for name in FOUR:
            content = noise[::-1] if case_id == "C" else noise
            (scans / case_id / f"{case_id}_{name}.nii.gz").write_bytes(content)

    result = run_split(scans)

    assert patients(result) == {frozenset("AB"), frozenset("C")}
    assert "such as A and B: the same images" in result.notes[0]


def test_one_image_of_the_same_bytes_is_enough(tmp_path):
    scans = add(tmp_path / "scans", "A", "B", "C")
    for case_id in "AB":
        noise = np.random.default_rng(0).bytes(5000)
        (scans / case_id / f"{case_id}_t1c.nii.gz").write_bytes(noise)

    assert patients(run_split(scans)) == {frozenset("AB"), frozenset("C")}


def test_an_image_that_all_cases_share_joins_none_and_is_told_of(tmp_path):
    scans = add(tmp_path / "scans", "A", "B", "C")
    for case_id in "ABC":
        noise = np.random.default_rng(0).bytes(5000)
        (scans / case_id / f"{case_id}_t1c.nii.gz").write_bytes(noise)

    result = run_split(scans)

    assert len(patients(result)) == 3
    assert result.warnings[0].startswith("all 3 cases have the same images: copies of one scan")


STORED = {
    "float32, packed": lambda image: (image.get_fdata().astype(np.float32), image.affine),
    "brighter": lambda image: ((image.get_fdata() * 1.3).astype(np.float32), image.affine),
    "mirrored": lambda image: (
        np.ascontiguousarray(image.get_fdata()[::-1]).astype(np.int16),
        image.affine @ np.array([[-1, 0, 0, 23], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]]),
    ),
    "axes permuted": lambda image: (
        np.ascontiguousarray(image.get_fdata().transpose(2, 0, 1)).astype(np.int16),
        image.affine[:, [2, 0, 1, 3]],
    ),
}


@pytest.mark.parametrize("change", STORED.values(), ids=STORED.keys())
def test_a_scan_that_is_stored_otherwise_and_whose_label_map_was_corrected_is_one_patient(
    tmp_path, change
):
    scans = tmp_path / "scans"
    random = np.random.default_rng(0)
    label_map = np.zeros((24, 20, 16), np.uint8)
    label_map[8:15, 9:14, 5:10] = 1
    affine = np.diag([-1.0, -1.0, 1.0, 1.0])
    for case_id in "ABC":
        (scans / case_id).mkdir(parents=True)
        noise = random.integers(1, 900, (4, *label_map.shape), np.int16)
        for name, voxels in zip((*FOUR, "seg"), (*noise, label_map), strict=True):
            path = scans / case_id / f"{case_id}_{name}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, affine), path)
        label_map = label_map.copy()
        label_map[8, 9, 5 + "ABC".index(case_id)] = 0  # each differs, and all are alike
    (scans / "D").mkdir()
    for name in (*FOUR, "seg"):
        voxels, turned = change(nibabel.load(scans / "A" / f"A_{name}.nii.gz"))
        if name == "seg":
            voxels = (voxels > 0).astype(np.uint8)
            voxels[tuple(np.argwhere(voxels)[-1])] = 0
        nibabel.save(nibabel.Nifti1Image(voxels, turned), scans / "D" / f"D_{name}.nii")

    result = run_split(scans)

    assert patients(result) == {frozenset("AD"), frozenset("B"), frozenset("C")}
    assert "such as A and D: the same image, though stored otherwise" in result.notes[0]


def test_a_label_map_that_was_mirrored_and_turned_has_the_same_outline(tmp_path):
    label_map = np.zeros((6, 7, 8), np.uint8)
    label_map[0:4, 1:6, 2:8] = 1
    turned = label_map[::-1].transpose(2, 0, 1)
    nibabel.save(nibabel.Nifti1Image(label_map, np.diag([-1, 1, 1, 1])), tmp_path / "a.nii")
    columns = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(turned, columns.astype(float)), tmp_path / "b.nii")
    cases = [VolumeCase(name, name, (), ("t1n",), (tmp_path / f"{name}.nii",)) for name in "ab"]

    one, two = read_label_maps(cases).values()

    # 4 x 5 x 6 voxels with their centre at 1.5, 3 and 4.5; i is stored from right to left.
    assert one.outline == pytest.approx(
        (np.log(120), 3.5, 3, 4.5, (15 / 12) ** 0.5, 2**0.5, (35 / 12) ** 0.5)
    )
    assert two.outline == pytest.approx(one.outline)


def test_a_label_map_is_the_same_in_pieces_as_in_one(monkeypatch, tmp_path):
    add_case(tmp_path / "a", "a_", tumour(0))
    case = VolumeCase("a", "a", (), ("t1n",), (tmp_path / "a" / "a_seg.nii.gz",))
    whole = read_label_maps([case])

    monkeypatch.setattr("volseg.survey.label_maps._PIECE", 10_000)
    assert read_label_maps([case]) == whole
    monkeypatch.setattr("volseg.survey.label_maps._PIECE", 100)
    parted = read_label_maps([case])["a"]

    assert (parted.values, parted.outline) == (whole["a"].values, whole["a"].outline)
    assert parted.tumour_slices == whole["a"].tumour_slices == 8


def test_the_same_slice_under_two_names_is_one_patient_but_an_empty_slice_is_not(tmp_path):
    drawn = np.random.default_rng(0).integers(0, 255, (3, 80, 80), np.uint8)
    images = {"a": drawn[0], "b": drawn[0], "c": drawn[1], "d": drawn[2] * 0, "e": drawn[2] * 0}
    for part in ("images", "masks"):
        (tmp_path / "scans" / part).mkdir(parents=True)
    for stem, image in images.items():
        Image.fromarray(image).save(tmp_path / "scans" / "images" / f"{stem}.tif")
        mask = np.eye(80, dtype=np.uint8) * 255
        Image.fromarray(mask).save(tmp_path / "scans" / "masks" / f"{stem}.tif")

    result = split([tmp_path / "scans"], tmp_path / "list.json", 2)

    assert patients(result) == {frozenset("ab"), frozenset("c"), frozenset("d"), frozenset("e")}


def test_where_all_label_maps_are_the_same_names_part_patients_and_it_is_said(tmp_path):
    for case_id in ("sub-1_ses-1", "sub-1_ses-2", "sub-2_ses-1", "sub-3_ses-1"):
        add_case(tmp_path / "scans" / case_id, f"{case_id}_", tumour(0))

    result = run_split(tmp_path / "scans")

    assert len(patients(result)) == 3
    assert result.warnings[0].startswith("all 4 cases have the same label map: copies of one scan")


def test_a_row_of_a_table_is_one_patient(tmp_path):
    scans = add(tmp_path / "scans", "A-x", "A-y", "B-x", "C-x")
    (tmp_path / "table.csv").write_text("patient,grade\na,2\nB,3\nC,2\n")

    result = run_split(scans, table=tmp_path / "table.csv")

    assert patients(result) == {frozenset(p) for p in (("A-x", "A-y"), ("B-x",), ("C-x",))}
    assert {case.groups["grade"] for case in result.data_list.training} == {"2", "3"}


def test_a_patient_is_held_out_by_any_of_the_names(tmp_path):
    scans = add(tmp_path / "scans", "Brats18_2013_1_1", "BraTS19_2013_1_1", "BraTS19_2013_2_1")

    held_out = run_split(scans, validation=("brats19_2013_1",)).data_list.split(0)[1]

    assert {case.case_id for case in held_out} == {"Brats18_2013_1_1", "BraTS19_2013_1_1"}


@pytest.mark.parametrize(
    ("case_ids", "warning"),
    [
        (("Brats18_2013_1_1", "BraTS2021_00000"), "BraTS 2017 to 2019, BraTS 2021 are combined"),
        (("BraTS19_CBICA_AAB_1", "BraTS20_Training_001"), "BraTS 2017 to 2019, BraTS 2020 are"),
        (("BraTS2021_00000", "BraTS-GLI-00003-000"), "which names match by number alone"),
        (("UPENN-GBM-00001_11", "BraTS-GLI-00003-000"), "BraTS-GLI of 2023 and later, UPENN-GBM"),
        (("P7_1", "P7_2"), "cases such as P7_1 and P7_2 count as different patients; if they are"),
        (("BraTS-GLI-00003-000", "BraTS-MEN-00003-000"), None),
        (("Brats18_2013_1_1", "Brats18_2013_2_1"), None),
    ],
)
def test_what_names_cannot_tell_is_warned_of(tmp_path, case_ids, warning):
    result = run_split(add(tmp_path / "scans", *case_ids))

    assert bool(result.warnings) is bool(warning)
    assert not warning or warning in result.warnings[0]
    if warning and "P7" not in warning:
        assert "in a data list or with --patient-regex, or use one release" in result.warnings[0]


def test_folders_that_may_be_patients_are_warned_of(tmp_path):
    for number, place in enumerate(("P/a1", "P/a2", "Q/a3", "Q/a4", "R/a5")):
        add_case(tmp_path / "scans" / place, "", tumour(number))

    (warning,) = run_split(tmp_path / "scans").warnings

    assert warning.startswith("cases such as a1 and a2 count as different patients")


# Examinations of one name


def test_visits_of_one_name_are_cases_of_their_patients(tmp_path):
    for patient in ("Patient-001", "Patient-002"):
        for visit in ("week-000", "week-012"):
            add_case(tmp_path / "scans" / patient / visit, "", None)

    found = find_cases([tmp_path / "scans"])

    assert {case.case_id: case.patient_id for case in found.cases} == {
        f"{patient}_{visit}": patient
        for patient in ("Patient-001", "Patient-002")
        for visit in ("week-000", "week-012")
    }
    assert found.skipped == ()


@pytest.mark.parametrize("name", ["scan", "1", "2019-01-31", "alpha"])
def test_folders_with_files_of_one_name_are_cases_of_different_patients(tmp_path, name):
    # Copies even: who they are of is not in doubt.
    for patient in ("P1", "P2", "P3"):
        add_case(tmp_path / "scans" / patient / name, "", None)
        for path in (tmp_path / "scans" / patient / name).iterdir():
            path.write_bytes(b"the same")

    found = find_cases([tmp_path / "scans"])

    assert {case.case_id: case.patient_id for case in found.cases} == {
        f"{patient}_{name}": patient for patient in ("P1", "P2", "P3")
    }


def test_a_patient_of_one_name_in_two_places_is_used_twice_unless_it_is_a_copy(tmp_path):
    for site in ("siteA", "siteB"):
        add_case(tmp_path / "scans" / site / "patient_7", "", None)
        add_case(tmp_path / "scans" / site / "patient_8", "", None)
        for path in (tmp_path / "scans" / site / "patient_8").iterdir():
            path.write_bytes(b"the same")

    found = find_cases([tmp_path / "scans"])
    both = find_cases([tmp_path / "scans" / "siteA", tmp_path / "scans" / "siteB"])

    expected = {"siteA_patient_7", "siteB_patient_7", "patient_8"}
    assert {case.case_id for case in found.cases} == {c.case_id for c in both.cases} == expected
    assert {case.patient_id for case in found.cases} == {"patient_7", "patient_8"}
    (copy,) = found.skipped
    assert copy.sentence.startswith("copy of case patient_8 in ")


@pytest.mark.parametrize("split_apart", [True, False])
def test_folders_of_patients_given_one_by_one_tell_the_patient(tmp_path, split_apart):
    tops = [tmp_path / "scans" / f"Patient-00{n}" for n in range(3)]
    for top in tops:
        for visit in ("week-000", "week-012"):
            add_case(top / visit, "", None)

    found = find_cases(tops if split_apart else [tmp_path / "scans"])

    assert {(case.case_id, case.patient_id) for case in found.cases} == {
        (f"{top.name}_{visit}", top.name) for top in tops for visit in ("week-000", "week-012")
    }


def test_cases_called_by_a_word_and_a_number_are_no_examinations_of_a_site(tmp_path):
    for site in ("siteA", "siteB"):
        for number in range(11):
            add_case(tmp_path / "scans" / site / f"scan_{number}", "", None)

    found = find_cases([tmp_path / "scans"])

    # What is called alike in both may be one person; nothing else is joined.
    assert len({case.case_id for case in found.cases}) == 22
    assert {case.patient_id for case in found.cases} == {f"scan_{n}" for n in range(11)}


def test_each_of_two_lost_visits_of_one_name_is_counted(tmp_path):
    for patient in ("P1", "P2", "P3"):
        add_case(tmp_path / "scans" / patient / "week-000", "", None)
        if patient != "P1":
            (tmp_path / "scans" / patient / "week-000" / "t1c.nii.gz").unlink()

    found = find_cases([tmp_path / "scans"])

    assert [case.case_id for case in found.cases] == ["P1_week-000"]
    assert set(found.lost) == {"P2_week-000", "P3_week-000"}


def test_of_copies_that_with_a_label_map_is_used(tmp_path):
    for part, label in (("a", None), ("b", tumour(0))):
        add_case(tmp_path / part / "X", "X_", label)
        for name in FOUR:
            (tmp_path / part / "X" / f"X_{name}.nii.gz").write_bytes(b"the same")

    (case,) = find_cases([tmp_path / "a", tmp_path / "b"]).cases

    assert (case.case_id, len(case.label)) == ("X", 1)


def test_names_that_differ_in_letter_case_alone_are_noted(tmp_path):
    found = find_cases([add(tmp_path / "scans", "abc", "ABC")])

    assert {case.patient_id for case in found.cases} == {"ABC"}
    assert found.notes[0].startswith("the names of cases ABC and abc differ only in letter case;")


# What is lost


def test_a_case_that_is_lost_ends_split_with_3_and_a_stray_file_with_0(tmp_path):
    scans = add(tmp_path / "scans", "A", "B")
    words = ("split", scans, "-o", tmp_path / "x.json", "--folds", "2", "--labels", "brats2023")
    (scans / "notes.txt").touch()
    assert command(*words)[0] == 0

    add_case(scans / "C", "C_", None)
    (scans / "C" / "C_t1c.nii.gz").unlink()
    code, told = command(*words)

    assert code == 3
    assert "missing channel t1c; complete the case" in told
    assert {case.case_id for case in read_data_list(tmp_path / "x.json").training} == {"A", "B"}


def test_a_name_that_is_not_utf_8_is_one_case_lost(tmp_path):
    scans = add(tmp_path / "scans", "A", "B")
    home = os.fsencode(scans) + b"/M\xfcller"
    try:
        Path(os.fsdecode(home)).mkdir()
    except OSError:
        pytest.skip("the file system takes no such name")
    for name in (*FOUR, "seg"):
        source = scans / "A" / f"A_{name}.nii.gz"
        Path(os.fsdecode(home + b"/M\xfcller-" + name.encode() + b".nii.gz")).write_bytes(
            source.read_bytes()
        )

    code, told = command(
        "split", scans, "-o", tmp_path / "x.json", "--folds", "2", "--labels", "brats2023"
    )

    assert code == 3
    assert "its name is not UTF-8, unlike a data list; rename its files and folders" in told
    assert len(read_data_list(tmp_path / "x.json").training) == 2


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("x\x1b[2Jy", "the name holds control or invisible characters; rename the files"),
        ("x\u202ey", "the name holds control or invisible characters; rename the files"),
        ("x" * 201, "the name is longer than 200 bytes; rename the files"),
        ("x\\y", "the name holds a slash or backslash; rename the files"),
    ],
)
def test_a_name_that_no_list_may_hold_is_one_case_lost_and_the_list_can_be_read(
    tmp_path, name, reason
):
    scans = add(tmp_path / "scans", "A", "B", name)

    found = find_cases([scans])
    listed = run_split(scans)

    assert [case.case_id for case in found.cases] == ["A", "B"]
    assert list(found.lost) == list(listed.finding.lost) == [name]
    assert reason in found.skipped[0].sentence
    assert len(read_data_list(listed.path).training) == 2


def test_a_refusal_shows_every_kind_of_file_that_was_left_out(tmp_path):
    for number in range(6):
        add_case(tmp_path / "scans" / f"p{number}", f"p{number}_", None)
        (tmp_path / "scans" / f"p{number}" / f"p{number}_lesions.nii.gz").touch()

    with pytest.raises(DataListError) as error:
        run_split(tmp_path / "scans")

    told = str(error.value)
    assert "none of 6 cases has a label map (left out: " in told
    assert "6 files, such as p0/p0_lesions.nii.gz: the name ends in no known channel" in told
    assert told.endswith("--label-name gives the ending of label map names")
    for case_id, label_map in zip((f"p{n}" for n in range(6)), map(tumour, range(6)), strict=True):
        path = tmp_path / "scans" / case_id / f"{case_id}_lesions.nii.gz"
        nibabel.save(nibabel.Nifti1Image(label_map, np.eye(4)), path)
    assert len(run_split(tmp_path / "scans", label_name="_lesions").data_list.training) == 6


def test_many_entries_of_one_kind_are_one_row_and_hide_no_other(tmp_path):
    for number in range(50):
        (tmp_path / f"c{number:02}").mkdir()
        (tmp_path / f"c{number:02}" / f"c{number:02}_t1n.nii.gz").touch()
    add(tmp_path, "A")
    (tmp_path / "A" / "A_t1ce.nii.gz").touch()
    add(tmp_path, "B")
    (tmp_path / "notes.txt").touch()

    skipped = find_cases([tmp_path]).skipped
    rows = table_rows(skipped)

    assert len(rows) == 3
    assert (rows[0][0], rows[1][0]) == (
        str(tmp_path / "A"),
        f"50 cases, such as {tmp_path / 'c00'}",
    )
    assert rows[1][1] == "missing channels t1c, t2w, t2f; complete the case"
    assert "2 files for channel t1c" in in_words(skipped)
    assert "notes.txt" in in_words(skipped)


def test_notes_on_cases_are_grouped():
    notes = {"a": ["odd", "old"], "b": ["odd"], "c": []}

    assert notes_in_words(notes) == ["2 cases, such as a: odd", "a: old"]


def test_what_headers_of_label_maps_leave_open_is_a_note_with_the_number_of_cases(tmp_path):
    scans = add(tmp_path / "scans", "A", "B")
    for path in scans.rglob("*seg.nii.gz"):
        image = nibabel.load(path)
        image.set_sform(np.eye(4), 0)
        image.set_qform(np.eye(4), 0)
        nibabel.save(image, path)

    assert run_split(scans).notes == (
        "label map of 2 cases, such as A: qform_code and sform_code are 0: orientation LAS assumed",
    )


def test_a_reference_of_slices_that_is_lost_is_named(tmp_path):
    for case_id, masks in (("p1", (1, 2)), ("p2", (1,))):
        (tmp_path / case_id).mkdir()
        for number in (1, 2):
            (tmp_path / case_id / f"{case_id}_{number}.png").touch()
        for number in masks:
            (tmp_path / case_id / f"{case_id}_{number}_mask.png").touch()

    references = find_references(tmp_path, None, None)

    assert [case.case_id for case in references.found.cases] == ["p1"]
    assert "no mask of 1 of 2 slices" in references.unusable["p2"]


# Label maps without tumour


@pytest.mark.parametrize(
    ("values", "warnings"),
    [
        ([{0}] * 6, ["all 6 label maps are empty (0 everywhere)"]),
        ([{0}] * 4 + [{0, 1, 2, 3}] * 2, ["4 of 6 label maps are empty"]),
        ([{0, 1, 2}] * 6, ["ET is empty in all 6 cases"]),
        ([{0, 1, 2}] * 4 + [{0, 1, 2, 3}] * 2, ["ET is empty in 4 of 6 cases"]),
        ([{0, 2}] * 6, ["TC is empty in all 6 cases", "ET is empty in all 6 cases"]),
        ([{0, 1, 2}] * 3 + [{0, 1, 2, 3}] * 3, []),
    ],
)
def test_label_maps_and_regions_that_are_empty_are_counted(values, warnings):
    by_case = {str(number): frozenset(held) for number, held in enumerate(values)}

    told = empty_regions(by_case, dict.fromkeys(by_case, "brats2023"))

    assert len(told) == len(warnings)
    assert all(one.startswith(begin) for one, begin in zip(told, warnings, strict=True))


def test_split_warns_where_all_label_maps_are_empty(tmp_path):
    noise = np.random.default_rng(0).bytes(5000)
    for case_id in "ABC":
        add_case(tmp_path / "scans" / case_id, f"{case_id}_", np.zeros((4, 4, 4), np.uint8))
        for path in (tmp_path / "scans" / case_id).glob("*_t*"):
            path.write_bytes(noise)

    same, empty = run_split(tmp_path / "scans").warnings

    assert same.startswith("all 3 cases have the same images: copies of one scan, or placeholders")
    assert empty.startswith("all 3 label maps are empty (0 everywhere): nothing can be learnt")


# Data lists


def listed(tmp_path: Path, *cases: Case) -> Path:
    write_data_list(tmp_path / "list.json", DataList("x", ("t1n",), cases), tmp_path)
    return tmp_path / "list.json"


def case(case_id: str, patient: str, fold: int, tmp_path: Path, file: str = "") -> Case:
    image = tmp_path / f"{file or case_id}.nii"
    return VolumeCase(
        case_id, patient, (image,), ("t1n",), (tmp_path / f"{case_id}-seg.nii",), fold=fold
    )


@pytest.mark.parametrize(
    "names", [("P7", "p7"), ("Brats18_2013_2", "BraTS19_2013_2"), ("UCSF-PDGM-0004",) * 2]
)
def test_a_list_with_one_patient_in_two_folds_is_refused_whatever_the_spelling(tmp_path, names):
    path = listed(tmp_path, *(case(f"c{n}", name, n, tmp_path) for n, name in enumerate(names)))

    with pytest.raises(DataListError, match="is in several folds: c0 in fold 0, c1 in fold 1"):
        read_data_list(path)


def test_a_list_whose_names_contradict_its_patients_is_warned_of(tmp_path, caplog):
    cases = [case(f"BraTS-GLI-00001-00{n}", f"p{n}", n, tmp_path) for n in range(2)]

    with caplog.at_level(logging.WARNING):
        read_data_list(listed(tmp_path, *cases))

    assert "by their names, cases of 1 patients are in several folds" in caplog.text


def test_a_file_on_both_sides_and_a_patient_on_both_sides_are_named(tmp_path):
    one, two = case("a", "a", 0, tmp_path), case("b", "b", 1, tmp_path, file="a")

    assert [str(leak) for leak in leaks([one], [two])] == [
        f"{tmp_path / 'a.nii'} is on both sides: a is trained on, b validated on; "
        "list each scan once"
    ]
    assert "patient A is on both sides" in str(next(leaks([one], [case("c", "A", 1, tmp_path)])))
    assert list(leaks([one], [case("c", "c", 1, tmp_path)])) == []


def test_a_control_character_in_the_name_of_a_listed_case_is_refused(tmp_path):
    entry = {"case_id": "a\nb", "patient_id": "a", "image": ["a.nii"], "label": "b.nii"}
    content = {"volseg": 1, "name": "x", "channels": ["t1n"], "data_root": ".", "training": [entry]}
    (tmp_path / "list.json").write_text(json.dumps(content))

    with pytest.raises(DataListError, match=r"training.0.case_id: .* holds control or invisible"):
        read_data_list(tmp_path / "list.json")


def test_cases_of_one_name_with_other_files_are_no_copies(tmp_path):
    for site, channels in (("a", FOUR), ("b", FOUR[:2])):
        for channel in channels:
            path = tmp_path / site / "patient_7" / f"{channel}.nii.gz"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(b"the same")

    found = find_cases([tmp_path], required=["t1n"])

    assert {case.case_id for case in found.cases} == {"a_patient_7", "b_patient_7"}


def test_files_that_cannot_be_compared_are_no_copies(tmp_path, monkeypatch):
    def unreadable(*_, **__):
        raise PermissionError

    for site in ("a", "b"):
        add_case(tmp_path / site / "patient_7", "", None)
    monkeypatch.setattr("volseg.finding.distinct.filecmp.cmp", unreadable)

    assert len(find_cases([tmp_path]).cases) == 2


def test_a_pattern_that_matches_patients_of_two_releases_ends_the_warning_and_another_does_not(
    tmp_path,
):
    names = ("BraTS2021_00001", "Brats18_2013_1_1")
    of_one = [case(name, "P1", 0, tmp_path) for name in names]
    of_two = [case(name, name, 0, tmp_path) for name in names]

    assert doubts(of_one, {}, by_pattern=True) == ()
    (warning,) = doubts(of_two, {}, by_pattern=True)
    assert "are combined" in warning


def test_cases_that_no_folder_tells_apart_are_left_out_all(tmp_path):
    add_case(tmp_path / "X", "X_", None)
    (case,) = find_cases([tmp_path]).cases
    one = Found(case, OTHER, tmp_path / "X", tmp_path, tmp_path)

    kept, skipped = _with_valid_names([one, one])

    assert kept == []
    assert [each.reason for each in skipped] == [
        "2 cases would have this name; rename their folders"
    ] * 2
