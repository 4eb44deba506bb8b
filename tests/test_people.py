"""Patients of cases by the folders above them, alike in every command; copies of a patient."""

from __future__ import annotations

import json
import shutil

import nibabel
import numpy as np
import pytest
import SimpleITK
from typer.testing import CliRunner

from volseg.cli import app
from volseg.conversion.image_files.finding import find_image_series
from volseg.conversion.image_files.sorting import sort_files
from volseg.finding.folders import find_cases
from volseg.tasks.split import split

TWO = ("t1c", "t2f")


def add(top, *folders, seed=0):
    """A small case with a label map in each folder, of contents of its own."""
    for number, folder in enumerate(folders, seed):
        (top / folder).mkdir(parents=True)
        drawn = np.random.default_rng(number).integers(0, 4, (3, 8, 8, 8)).astype(np.uint8)
        for name, array in zip((*TWO, "seg"), drawn, strict=True):
            nibabel.save(nibabel.Nifti1Image(array, np.eye(4)), top / folder / f"{name}.nii.gz")


def patients(top):
    """Patient by folder, as `split` and `infer` find them; `convert` finds the same."""
    found = find_cases([top], TWO).cases
    by_find = {case.images[0].parent.relative_to(top).as_posix(): case.patient_id for case in found}
    files = {path: (path,) for path in sorted(top.rglob("*.nii.gz"))}
    for path, place in sort_files(files, top).items():
        assert place.patient_id == by_find[path.parent.relative_to(top).as_posix()]
    return by_find


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("2020", "2021"),
        ("2020-03", "2021-01"),
        ("202003", "202101"),
        ("03.2020", "01.2021"),
        ("March 2020", "Jan 2021"),
        ("2020Q1", "2021Q2"),
        ("31-01-2020", "01-02-2021"),
        ("20200131_1130", "20210131_0900"),
        ("MR_2020", "MR_2021"),
        ("1", "2"),
        ("scan1", "scan2"),
        ("Study 1", "Study 2"),
        ("visit_1", "visit_2"),
        ("Visit One", "Visit Two"),
        ("session A", "session B"),
        ("2020/03", "2021/01"),
        ("1st", "2nd"),
        ("preop", "postop"),
        ("pre op", "post op"),
        ("week_0", "week_12"),
        ("baseline", "follow up"),
    ],
)
@pytest.mark.parametrize("site", ["", "siteA/"])
def test_folders_of_examinations_belong_to_the_patient_above(tmp_path, first, second, site):
    places = [f"{site}Adams/{first}", f"{site}Adams/{second}", f"{site}Baker/{first}"]
    add(tmp_path, *places)

    expected = dict(zip(places, ("Adams", "Adams", "Baker"), strict=True))
    assert patients(tmp_path) == expected


@pytest.mark.parametrize("between", ["2020", "2020-01-02", "1", "scan1"])
def test_a_folder_in_a_folder_of_an_examination_belongs_to_the_patient_above_both(
    tmp_path, between
):
    add(tmp_path, f"Adams/{between}/MRI", f"Baker/{between}/MRI")

    assert set(patients(tmp_path).values()) == {"Adams", "Baker"}


@pytest.mark.parametrize("name", ["MRI", "brain", "2020"])
def test_two_folders_of_one_name_that_says_no_patient_are_two_patients(tmp_path, name):
    add(tmp_path, f"Adams/{name}", f"Baker/{name}")

    assert set(patients(tmp_path).values()) == {"Adams", "Baker"}


@pytest.mark.parametrize("times", [("2020", "2021"), ("2019", "2020", "2021"), ("pre", "post")])
@pytest.mark.parametrize(("one", "two"), [("Adams", "Baker"), ("1", "2"), ("001", "002")])
def test_patients_below_folders_of_time_are_the_patients(tmp_path, times, one, two):
    places = {f"{time}/{name}": name for time in times for name in (one, two)}
    add(tmp_path, *places)

    assert patients(tmp_path) == places


@pytest.mark.parametrize("parts", [("",), ("data/",), ("train/", "val/"), ("HGG/", "LGG/")])
def test_patients_numbered_like_years_stay_patients(tmp_path, parts):
    places = [f"{part}{2001 + 10 * n + m}" for n, part in enumerate(parts) for m in range(2)]
    add(tmp_path, *places)

    assert patients(tmp_path) == {place: place.rpartition("/")[2] for place in places}


@pytest.mark.parametrize(
    ("places", "folders"),
    [
        (["Adams/2020", "Carl/1", "Carl/2020"], ["Adams", "Carl", "Carl"]),
        (["Adams/1", "Carl/1", "Carl/2020"], ["Adams", "Carl", "Carl"]),
        (["Adams/2020", "Carl/scan1", "Carl/2", "Carl/2020"], ["Adams", *["Carl"] * 3]),
        (["Carl/week-0", "Carl/1", "Carl/scan2"], ["Carl"] * 3),
        (["Carl/week-0", "Carl/1/MRI"], ["Carl"] * 2),
        (["Carl/week-0", "Carl/1", *(f"all/{n}" for n in range(1, 12))], ["Carl"] * 2),
        (["siteA/2020", "siteA/1", "Boston/2020"], ["siteA_2020", "1", "2020"]),
    ],
)
def test_a_number_beside_an_examination_is_an_examination(tmp_path, places, folders):
    add(tmp_path, *places)

    found = patients(tmp_path)
    assert [found[place] for place in places[: len(folders)]] == folders


def test_the_example_of_names_taken_as_patients_holds_such_names_alone(tmp_path):
    add(tmp_path, "Adams/Smith", "Adams/2", "Adams/1", "Baker/Jones")

    (note,) = find_cases([tmp_path], TWO).notes

    assert note.endswith("not as examinations of one patient, such as 1 and 2")


def test_what_is_assumed_of_years_and_numbers_is_said(tmp_path):
    add(tmp_path / "years", "Adams/2020", "Baker/2019")
    add(tmp_path / "sites", "siteA/2001", "siteB/2001")
    add(tmp_path / "one", "Adams/2020", "Adams/2021")
    add(tmp_path / "numbers", "Adams/1", "Adams/2")
    add(tmp_path / "scans", "Adams/scan1", "Adams/scan2")
    add(tmp_path / "same", "here/Adams", "there/Adams")

    notes = {top.name: find_cases([top], TWO).notes for top in tmp_path.iterdir()}

    assert notes == {
        "years": (
            "folders named by year are taken as examinations of the patient above them, such as "
            "Adams/2020",
        ),
        "sites": (
            "equal numbers in several parts of the data are taken as different patients, such as "
            "siteA/2001 and siteB/2001",
        ),
        "one": (
            "names like years are taken as patients, not as examinations of one patient, such as "
            "2020 and 2021",
        ),
        "numbers": (
            "names like numbers are taken as patients, not as examinations of one patient, such "
            "as 1 and 2",
        ),
        "scans": (
            "names like examinations are taken as patients, not as examinations of one patient, "
            "such as scan1 and scan2",
        ),
        "same": (
            "cases of one name in several folders are taken as examinations of one patient, such "
            "as here/Adams and there/Adams",
        ),
    }


def test_years_of_a_patient_share_a_fold(tmp_path):
    add(tmp_path / "in", *(f"{name}/{year}" for name in ("A", "B", "C") for year in (2019, 2020)))

    listed = split(
        [tmp_path / "in"], tmp_path / "list.json", 3, "brats2023", channels=TWO
    ).data_list

    folds = {}
    for case in listed.training:
        folds.setdefault(case.patient_id, []).append(case.fold)
    assert sorted(folds) == ["A", "B", "C"]
    assert sorted(tuple(set(of)) for of in folds.values()) == [(0,), (1,), (2,)]


def test_convert_numbers_the_years_of_each_patient_and_names_nobody(tmp_path):
    add(tmp_path / "in", "Adams/2021", "Baker/2020", "Adams/2020")

    result = CliRunner().invoke(app, ["convert", str(tmp_path / "in"), "-o", str(tmp_path / "out")])

    assert result.exit_code == 0, result.output
    assert "folders named by year are taken as examinations" in " ".join(result.output.split())
    table = (tmp_path / "out.pseudonyms.csv").read_text(encoding="utf-8").splitlines()
    rows = {row.split(",")[0] for row in table[1:]}
    assert len({row.rpartition("-")[0] for row in rows}) == 2
    document = json.loads((tmp_path / "out" / "conversion.json").read_text(encoding="utf-8"))
    text = json.dumps(document)
    assert "folders named by year" in text
    assert not any(word in text for word in ("Adams", "Baker", "2020", "2021"))


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".mhd"])
@pytest.mark.parametrize(("original", "copy"), [("Smith", "backup/Smith"), ("A/MRI", "B/MRI")])
def test_a_copy_is_left_out_of_a_conversion_with_the_reason(tmp_path, ending, original, copy):
    add(tmp_path, original)
    if ending != ".nii.gz":
        for path in list((tmp_path / original).iterdir()):
            image = SimpleITK.ReadImage(str(path))
            SimpleITK.WriteImage(image, str(path).replace(".nii.gz", ending))
            path.unlink()
    shutil.copytree(tmp_path / original, tmp_path / copy)

    found = find_image_series(tmp_path)

    assert len({one.patient.key for one in found.series}) == 1
    assert [one.name for one in found.series] == [f"{original}/{n}{ending}" for n in ("seg", *TWO)]
    assert {one.name: one.reason for one in found.left_out} == {
        f"{copy}/{name}{ending}": f"copy of {original}/{name}{ending}, which is used"
        for name in ("seg", *TWO)
    }


def test_headers_alike_of_different_voxels_are_no_copies(tmp_path):
    for place, value in (("Smith", 1), ("backup/Smith", 2)):
        (tmp_path / place).mkdir(parents=True)
        image = SimpleITK.GetImageFromArray(np.full((4, 4, 4), value, np.int16))
        SimpleITK.WriteImage(image, str(tmp_path / place / "t1c.mhd"))

    found = find_image_series(tmp_path)

    assert len({one.study.key for one in found.series}) == 2
    assert found.left_out == ()
    assert len({one.patient.key for one in found.series}) == 1


def test_a_copy_without_the_label_map_is_a_copy(tmp_path):
    add(tmp_path, "Smith")
    shutil.copytree(tmp_path / "Smith", tmp_path / "backup" / "Smith")
    (tmp_path / "backup" / "Smith" / "seg.nii.gz").unlink()

    found = find_image_series(tmp_path)

    assert len(found.series) == 3
    assert len(found.left_out) == 2


def test_examinations_whose_names_are_unfit_for_results_keep_their_patients(tmp_path):
    long = "a" * 220
    add(tmp_path, "a_b/c/X", "a/b_c/X", long, "Baker")

    series = find_image_series(tmp_path).series

    keys = {one.name.rpartition("/")[0]: (one.patient.key, one.study.key) for one in series}
    assert keys == {
        "a_b/c/X": ("x", "a_b/c/X/a_b_c_X"),
        "a/b_c/X": ("x", "a/b_c/X/a_b_c_X"),
        long: (long, f"{long}/{long}"),
        "Baker": ("baker", "Baker"),
    }
