"""2D slices found in folders, their folds, tables of patients, and what `split` says of them."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.folds import assign_folds
from volseg.cases.layouts import LGG, NUMBERED_SLICES, PAIRS, UNLABELLED, institution_of
from volseg.cases.patient_table import PatientTable, add_groups, read_patient_table
from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.cli.split import print_split
from volseg.comparison import report as compare_report
from volseg.errors import ConfigError, DataListError
from volseg.files.writing import (
    CALIBRATION_PICTURE,
    COMPARISON_FILE,
    CURVES_FILE,
    METRICS_FILE,
    SAMPLES_FILE,
    WORST_FILE,
)
from volseg.finding.folders import find_cases, find_scans
from volseg.finding.own_results import PICTURES
from volseg.metrics.record import SUMMARY_FILE
from volseg.survey.label_maps import read_values
from volseg.tasks.split import SplitOptions, split

SHIPPED = Path(__file__).resolve().parents[1] / "data_lists"
PERSON = "TCGA_CS_4941"
EXAM = f"{PERSON}_19960909"
#: Slices with tumour of the 110 patients of LGG, in the order of their ids, as published.
# fmt: off
TUMOUR_SLICES = (
    8, 6, 8, 9, 8, 3, 11, 6, 6, 4, 5, 11, 11, 8, 7, 10, 13, 13, 8, 7, 10, 12, 15, 21, 8, 19, 18,
    25, 16, 9, 16, 27, 28, 27, 12, 30, 18, 11, 8, 13, 8, 9, 11, 13, 17, 13, 9, 9, 5, 13, 5, 13,
    14, 15, 12, 15, 14, 16, 11, 11, 7, 6, 26, 6, 16, 20, 12, 12, 7, 11, 18, 7, 22, 19, 18, 24,
    15, 14, 7, 9, 14, 15, 3, 10, 10, 9, 6, 9, 14, 11, 17, 6, 8, 9, 11, 17, 17, 7, 5, 17, 13, 7,
    7, 9, 11, 9, 15, 11, 37, 25,
)
# fmt: on


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def numbered(folder: Path, case_id: str, numbers, *, masks=True, suffix=".tif") -> Path:
    """A folder with the slices of a case, as Kaggle has them."""
    names = [f"{case_id}_{number}{kind}" for number in numbers for kind in ("", "_mask")]
    return touch(folder / case_id, *(f"{n}{suffix}" for n in names if masks or "_mask" not in n))


def write_slices(folder: Path, case_id: str, slices: int, tumours: int, *, size=(6, 5)) -> None:
    """A folder of readable slices, RGB and mask, `tumours` of which hold some tumour."""
    (folder / case_id).mkdir(parents=True)
    for number in range(1, slices + 1):
        image = np.random.default_rng(number).integers(1, 255, (*size, 3), np.uint8)
        mask = np.zeros(size, np.uint8)
        mask[2, 2] = 255 if number <= tumours else 0
        Image.fromarray(image).save(folder / case_id / f"{case_id}_{number}.tif")
        Image.fromarray(mask).save(folder / case_id / f"{case_id}_{number}_mask.tif")


def write_pairs(folder: Path, *stems: str, size=(6, 5)) -> Path:
    """Grey images and masks in two folders."""
    for number, stem in enumerate(stems):
        for part in ("images", "masks"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        image = np.random.default_rng(number).integers(1, 255, size, np.uint8)
        Image.fromarray(image).save(folder / "images" / f"{stem}.png")
        Image.fromarray(np.eye(*size, dtype=np.uint8) * 255).save(folder / "masks" / f"{stem}.png")
    return folder


def reasons(finding) -> dict[str, str]:
    return {skipped.path.name: skipped.sentence for skipped in finding.skipped}


def names(paths) -> list[str]:
    return [path.name for path in paths]


def by_id(finding) -> dict[str, Case]:
    return {case.case_id: case for case in finding.cases}


# Layouts


@pytest.mark.parametrize("suffix", [".tif", ".PNG", ".jpeg", ".bmp"])
def test_numbered_slices_in_the_folder_of_a_patient_are_one_case_in_order(tmp_path, suffix):
    numbered(tmp_path, EXAM, [10, 9, 1, 2, 3, 4, 5, 6, 7, 8], suffix=suffix)

    finding = find_cases([tmp_path])

    (case,) = finding.cases
    assert (case.case_id, case.patient_id, case.channels) == (EXAM, PERSON, ("t1n", "t2f", "t1c"))
    assert names(case.images) == [f"{EXAM}_{number}{suffix}" for number in range(1, 11)]
    assert names(case.label) == [f"{EXAM}_{number}_mask{suffix}" for number in range(1, 11)]
    assert (case.groups, case.spacing_mm) == ({"institution": "CS"}, None)
    assert (finding.layouts, finding.skipped, finding.notes) == ({str(LGG): 1}, (), ())
    assert find_cases([tmp_path / EXAM]).cases == finding.cases


def test_two_dates_of_a_person_are_two_cases_of_one_patient(tmp_path):
    numbered(tmp_path, EXAM, [1, 2])
    numbered(tmp_path, f"{PERSON}_19970101", [1])

    assert {c.case_id: c.patient_id for c in find_cases([tmp_path]).cases} == {
        EXAM: PERSON,
        f"{PERSON}_19970101": PERSON,
    }


def test_slices_of_tcga_are_known_in_folders_of_images_and_masks(tmp_path):
    touch(tmp_path, *(f"{d}/{EXAM}_{n}.png" for d in ("images", "masks") for n in (2, 10)))

    (case,) = find_cases([tmp_path]).cases

    assert names(case.images) == names(case.label) == [f"{EXAM}_2.png", f"{EXAM}_10.png"]
    assert case.channels == ("t1n", "t2f", "t1c")


def test_other_numbered_slices_hold_what_is_asked_for(tmp_path):
    numbered(tmp_path, "p7", [0, 1])

    finding = find_cases([tmp_path], channels=("t2f",))

    assert finding.layouts == {str(NUMBERED_SLICES): 1}
    assert [(c.channels, c.patient_id, c.groups) for c in finding.cases] == [(("t2f",), "p7", {})]
    assert find_cases([tmp_path]).cases[0].channels == ("image",)


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/1.png", "masks/1.png"),
        ("image/1.jpg", "mask/1_mask.png"),
        ("imgs/1.tif", "labels/1_seg.bmp"),
        ("Images/1.png", "Label/1_Mask.png"),
        ("train/images/1.png", "train/masks/1.png"),
        ("images/train/1.png", "masks/train/1.png"),
        ("1.png", "1_mask.png"),
        ("images/1.png", "images/1_mask.png"),
        ("1.png", "masks/1.png"),
        ("images/1_seg.png", "masks/1_seg.png"),
    ],
)
def test_a_mask_is_known_by_its_folder_or_its_name(tmp_path, image, mask):
    touch(tmp_path, image, mask)

    finding = find_cases([tmp_path])

    (case,) = finding.cases
    assert (case.images, case.label) == ((tmp_path / image,), (tmp_path / mask,))
    assert (case.case_id, case.patient_id) == (Path(image).stem, Path(image).stem)
    assert (case.channels, finding.layouts, finding.skipped) == (("image",), {str(PAIRS): 1}, ())


def test_slices_of_one_name_in_several_folders_are_called_by_folder_too(tmp_path):
    touch(tmp_path, "a/images/1.png", "b/images/1.png", "b/2.png", "images/c/1.png")

    assert set(by_id(find_cases([tmp_path]))) == {"a_1", "b_1", "2", "c_1"}
    assert set(by_id(find_cases([tmp_path / "images"]))) == {"1"}


def test_numbered_slices_in_two_places_count_once_and_are_named(tmp_path):
    numbered(tmp_path / "kaggle_3m", EXAM, [1, 2])
    numbered(tmp_path / "lgg" / "kaggle_3m", EXAM, [1, 2])

    finding = find_cases([tmp_path])

    (case,) = finding.cases
    assert (case.case_id, case.images[0].parent) == (EXAM, tmp_path / "kaggle_3m" / EXAM)
    (duplicate,) = finding.skipped
    assert duplicate.path == tmp_path / "lgg" / "kaggle_3m" / EXAM
    assert duplicate.sentence == f"copy of case {EXAM} in {case.images[0].parent}, which is used"


@pytest.mark.parametrize(
    "regex", [r"^(?P<rest>.)(?P<patient>\d+)-", r"[ab](\d+)-", r"\d+(?=-\d+$)"]
)
def test_a_regex_names_patients_and_stacks_their_slices_in_natural_order(tmp_path, regex):
    stems = ["a7-10", "a7-9", "a7-1", "b12-1"]
    touch(tmp_path, *(f"{d}/{stem}.png" for d in ("images", "masks") for stem in stems))

    finding = find_cases([tmp_path], patient_regex=regex)

    seven, twelve = by_id(finding)["7"], by_id(finding)["12"]
    assert names(seven.images) == names(seven.label) == ["a7-1.png", "a7-9.png", "a7-10.png"]
    assert (seven.patient_id, len(twelve.images)) == ("7", 1)
    assert finding.notes == (
        "case 7: no slice 2 to 8 between 1 and 10; the slices around the gap count as neighbours",
    )


@pytest.mark.parametrize("top", [".", "p7"])
def test_a_regex_with_a_slash_is_searched_in_the_path_below_the_folder(tmp_path, top):
    touch(tmp_path, *(f"p7/{d}/{n}.png" for d in ("images", "masks") for n in (1, 2, 10)))
    touch(tmp_path, "p8/3.png", "p8/3_mask.png")

    cases = by_id(find_cases([tmp_path / top], patient_regex=r"([^/]+)/[^/]+$"))

    assert set(cases) == ({"p7", "p8"} if top == "." else {"p7"})
    assert names(cases["p7"].images) == names(cases["p7"].label) == ["1.png", "2.png", "10.png"]
    assert cases["p7"].images[0].parent.name == "images"


def test_a_regex_names_the_patient_of_numbered_slices_and_leaves_their_cases(tmp_path):
    for date in ("2001", "2002"):
        numbered(tmp_path, f"exam{date}-x5", [1, 2])
    numbered(tmp_path, "other", [1])

    finding = find_cases([tmp_path], patient_regex="-(x.)")

    assert {c.case_id: c.patient_id for c in finding.cases} == {
        "exam2001-x5": "x5",
        "exam2002-x5": "x5",
    }
    assert reasons(finding) == {
        "other_1.tif": "case other: its slices name as patient none; correct the pattern"
    }


def test_a_regex_that_tears_a_case_apart_is_named(tmp_path):
    numbered(tmp_path, "p", [1, 2])
    touch(tmp_path, "q-1.png")

    found = reasons(find_cases([tmp_path], patient_regex=r"(\d)$"))

    assert found == {"p": "case p: its slices name as patient 1, 2; correct the pattern"}


def test_a_name_without_a_patient_is_named(tmp_path):
    touch(tmp_path, "images/p1_1.png", "images/odd.png", "images/even.png")

    finding = find_cases([tmp_path], patient_regex=r"^p\d")

    assert set(by_id(finding)) == {"p1"}
    assert reasons(finding)["images"] == (
        "2 files, such as even.png: no patient is found in the name by '^p\\\\d'"
    )
    with pytest.raises(ConfigError, match=r"patient regex '\(' is no regular expression \(missing"):
        find_cases([tmp_path], patient_regex="(")


def test_plain_files_are_a_case_each_without_a_label(tmp_path):
    touch(tmp_path, "scan 1.png", "scan 2.bmp")

    finding = find_cases([tmp_path])

    assert [(c.case_id, c.label) for c in finding.cases] == [("scan 1", ()), ("scan 2", ())]
    assert finding.layouts == {str(UNLABELLED): 2}


def test_the_size_of_voxels_is_known_of_volumes_and_of_stacks_that_say_it():
    volume = VolumeCase("a", "a", (Path("a.nii.gz"),), ("t1n",))
    stack = SliceStackCase("a", "a", (Path("a.png"),), ("t1n",))

    assert (volume.slices, volume.has_size) == ((), True)
    assert (stack.slices, stack.has_size) == (stack.images, False)
    assert replace(stack, spacing_mm=(1.0, 1.0, 5.0)).has_size


def test_a_folder_of_slices_has_no_data_root(tmp_path):
    with pytest.raises(DataListError, match="is no data list and needs no data root; leave"):
        find_scans(touch(tmp_path, "x.png"), data_root=tmp_path)


# What is left out


def test_what_does_not_fit_together_is_named_with_its_reason(tmp_path):
    numbered(tmp_path, "good", [1])
    numbered(tmp_path, "bare", [1, 2, 10])
    (tmp_path / "bare" / "bare_2_mask.tif").unlink()
    (tmp_path / "bare" / "bare_10_mask.tif").unlink()
    touch(numbered(tmp_path, "twice", [1, 2]), "twice_2.png", "twice_01.tif")
    touch(numbered(tmp_path, "masks2", [1]), "masks2_1_mask.png", "masks2_7_mask.tif")
    touch(tmp_path / "set", "images/1.png", "images/2.png", "masks/2.png", "masks/3_mask.png")
    touch(tmp_path / "set", "images/4.png", "images/4.jpg", "masks/4.png", "notes.txt")

    finding = find_cases([tmp_path])

    assert set(by_id(finding)) == {"good", "2"}
    assert reasons(finding) == {
        "bare": "case bare: no mask of 2 of 3 slices, such as bare_2.tif; add the masks, all 0 "
        "where there is nothing, or take these slices out",
        "twice": "case twice: 2 images of slice 1: twice_01.tif, twice_1.tif; keep one",
        "masks2_1.tif": "case masks2: 2 masks of slice 1: masks2_1_mask.png, masks2_1_mask.tif; "
        "keep one",
        "masks2_7_mask.tif": "mask without its image",
        "1.png": "image without its mask, though other images of the folder have masks; add the "
        "mask, all 0 where there is nothing",
        "3_mask.png": "mask without its image",
        "4.jpg": "case 4: 2 images of slice 4: 4.jpg, 4.png; keep one",
        "notes.txt": "not .nii or .nii.gz, nor a 2D image",
    }
    assert {s.case_id for s in finding.skipped} == {None, "bare", "twice", "masks2", "4"}


def test_to_segment_no_masks_are_needed(tmp_path):
    numbered(tmp_path, EXAM, [1, 2])
    (tmp_path / EXAM / f"{EXAM}_2_mask.tif").unlink()
    touch(tmp_path, f"{EXAM}/{EXAM}_1_mask.png", "images/1.png", "images/2.png", "masks/2.png")

    finding = find_scans(tmp_path, ("t1n",))

    found = by_id(finding)
    assert set(found) == {EXAM, "1", "2"}
    assert (len(found[EXAM].images), found[EXAM].label, found["1"].label) == (2, (), ())


def test_gaps_between_slices_are_a_note(tmp_path):
    numbered(tmp_path, "p", [1, 3, 4, 8, 10, 12, 14, 16, 18])

    finding = find_cases([tmp_path])

    assert len(finding.cases[0].images) == 9
    assert finding.notes == (
        "case p: no slice 2, 5 to 7, 9, 11, 13, ... between 1 and 18; the slices around the gap "
        "count as neighbours",
    )


def test_pictures_beside_nifti_cases_are_no_cases(tmp_path):
    case = [f"A/A-{name}.nii.gz" for name in ("t1n", "t1c", "t2w", "t2f")]
    touch(tmp_path, *case, "A/preview.png", "pictures/1.jpg", "pictures/2.jpg")
    numbered(tmp_path, EXAM, [1])

    finding = find_cases([tmp_path])

    assert set(by_id(finding)) == {"A"}
    advice = "2D image beside NIfTI files; to use such images, give their folder alone"
    found = reasons(finding)
    assert found["preview.png"] == advice
    assert found["pictures"] == f"2 files, such as 1.jpg: {advice}"
    assert set(by_id(find_cases([tmp_path / "A", tmp_path / EXAM]))) == {"A", EXAM}


def test_what_volseg_wrote_among_the_scans_is_no_scan(tmp_path):
    numbered(tmp_path, EXAM, [1])
    records = {
        "a": {"output": "a", "probabilities": ["a_t2f.nii.gz"]},
        "b": {"output": "b.png", "probabilities": []},
    }
    touch(tmp_path / "out", "a/a_1.png", "a/a_2.png", "b.png", "c.png", "a_t2f.nii.gz")
    (tmp_path / "out" / "manifest.json").write_text(json.dumps({"cases": records}))
    for picture, beside in PICTURES.items():
        touch(tmp_path / "run", picture, beside)
    touch(tmp_path / "other", "samples.png", "manifest.json")

    finding = find_cases([tmp_path])

    assert set(by_id(finding)) == {EXAM, "c", "samples"}
    assert by_id(finding)["samples"].images == (tmp_path / "other" / "samples.png",)
    assert reasons(find_cases([tmp_path / "out"])) == {
        "out": "2 files and folders, such as a: written by volseg",
        "b.png": "written by volseg",
        "manifest.json": "written by volseg",
    }


def test_masks_that_infer_wrote_into_a_folder_of_masks_are_masks(tmp_path):
    touch(tmp_path, "images/1.png", "masks/1.png")
    records = {"1": {"output": "1.png", "probabilities": []}}
    (tmp_path / "masks" / "manifest.json").write_text(json.dumps({"cases": records}))

    (case,) = find_cases([tmp_path]).cases

    assert case.label == (tmp_path / "masks" / "1.png",)


def test_pictures_bear_the_names_that_commands_give_them():
    assert PICTURES == {
        CURVES_FILE: METRICS_FILE,
        SAMPLES_FILE: SUMMARY_FILE,
        WORST_FILE: SUMMARY_FILE,
        CALIBRATION_PICTURE: SUMMARY_FILE,
        compare_report.PICTURE: COMPARISON_FILE,
    }


def test_previews_of_an_incomplete_nifti_case_are_no_cases(tmp_path):
    touch(tmp_path, "A/A-t1n.nii.gz", "A/preview.png")

    with pytest.raises(DataListError, match=r"missing channels t1c, t2w, t2f; .*2D image beside"):
        find_cases([tmp_path])


def test_a_data_set_of_nnunet_is_read_for_nifti_alone(tmp_path):
    (touch(tmp_path, "imagesTr/a_0000.png", "b.png") / "dataset.json").write_text(
        '{"channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"}}', encoding="utf-8"
    )

    finding = find_cases([tmp_path])

    assert set(by_id(finding)) == {"b"}
    assert reasons(finding) == {
        "a_0000.png": "2D image; of a data set with a dataset.json, only NIfTI files are read"
    }


# Channels


def test_a_model_of_some_channels_finds_them_in_slices_of_tcga(tmp_path):
    numbered(tmp_path, EXAM, [1])

    (case,) = find_scans(tmp_path, ("t2f",)).cases

    assert case.channels == ("t1n", "t2f", "t1c")
    with pytest.raises(DataListError, match=f"case {EXAM}: missing channel t2w; complete the case"):
        find_scans(tmp_path, ("t2f", "t2w"))
    assert len(find_scans(tmp_path, ("t2f", "t2w"), required=("t2f",)).cases) == 1
    with pytest.raises(DataListError, match="missing channel t2w"):
        find_scans(tmp_path, ("t2w",), required=())


def test_unknown_slices_hold_the_channels_of_the_model_in_order(tmp_path):
    touch(tmp_path, "x.png")

    assert find_scans(tmp_path, ("t1c", "t2f")).cases[0].channels == ("t1c", "t2f")
    stacked = find_scans(tmp_path, ("a", "b"), required=("a",), patient_regex=".").cases
    assert stacked[0].channels == ("a", "b")


def test_only_required_channels_must_be_there_in_nifti_cases(tmp_path):
    touch(tmp_path, "A/A-t1n.nii.gz", "A/A-t2f.nii.gz", "B/B-t1n.nii.gz", "C/C-t2w.nii.gz")

    finding = find_scans(tmp_path, ("t2f", "t1n"), required=("t2f",))

    (case,) = finding.cases
    assert (case.channels, names(case.images)) == (
        ("t2f", "t1n"),
        ["A-t2f.nii.gz", "A-t1n.nii.gz"],
    )
    assert reasons(finding)["B"] == "case B: missing channel t2f; complete the case"
    anything = find_cases([tmp_path], ("t2f", "t1n"), required=())
    assert [c.channels for c in anything.cases] == [("t2f", "t1n"), ("t1n",)]
    assert reasons(anything)["C"] == "case C: missing channels t2f, t1n; complete the case"


def test_only_required_channels_must_be_there_in_a_list(tmp_path):
    cases = [
        VolumeCase(name, name, (tmp_path / f"{name}.nii.gz",), (channel,))
        for name, channel in (("A", "t2f"), ("B", "t1n"))
    ]
    write_data_list(tmp_path / "l.json", DataList("l", ("t2f",), (), tuple(cases)), tmp_path)

    finding = find_scans(tmp_path / "l.json", ("t2f", "t1n"), required=("t2f",))

    assert [c.case_id for c in finding.cases] == ["A"]
    assert reasons(finding) == {"l.json": "case B: missing channel t2f; complete the case"}


# Folds


def published(ids=None) -> tuple[list[Case], dict[str, float], dict[str, str]]:
    """The patients of LGG, their slices with tumour and institutions."""
    listed = read_data_list(SHIPPED / "lgg.json", Path("/x")).training
    tumours = dict(zip((case.case_id for case in listed), TUMOUR_SLICES, strict=True))
    cases = [case for case in listed if ids is None or case.case_id in ids]
    return cases, tumours, {case.case_id: case.groups["institution"] for case in cases}


def spread(cases, weight) -> float:
    """Difference between the heaviest fold and the lightest."""
    folds = [sum(weight(c) for c in cases if c.fold == fold) for fold in range(5)]
    return max(folds) - min(folds)


def test_the_shipped_list_of_lgg_has_the_folds_that_split_makes(tmp_path):
    cases, tumours, institutions = published()

    folds = {c.case_id: c.fold for c in assign_folds(cases, 5, 0, tumours, institutions)}

    assert folds == {case.case_id: case.fold for case in cases}
    assert spread(cases, lambda case: tumours[case.case_id]) == 2
    assert len(cases) == len({case.patient_id for case in cases}) == 110
    assert sum(len(case.images) for case in cases) == 3929
    assert all(len(case.label) == len(case.images) and case.labels == "lgg" for case in cases)
    assert all(case.groups == {"institution": institution_of(case.case_id)} for case in cases)
    first = cases[0]
    assert names(first.images)[8:10] == [f"{EXAM}_9.tif", f"{EXAM}_10.tif"]
    assert first.label[0] == Path(f"/x/kaggle_3m/{EXAM}/{EXAM}_1_mask.tif")
    assert first.channels == ("t1n", "t2f", "t1c")
    lines = (SHIPPED / "lgg.json").read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.startswith('{"case_id"')]) == 110


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_folds_of_lgg_are_alike_in_tumour_and_institutions(seed):
    cases, tumours, institutions = published()

    shared = assign_folds(cases, 5, seed, tumours, institutions)

    assert sum(tumours.values()) == 1373
    # A fold has 275 on average.
    assert spread(shared, lambda case: tumours[case.case_id]) <= 10
    assert spread(shared, lambda case: 1) <= 2
    for institution in ("CS", "DU", "EZ", "FG", "HT"):
        assert spread(shared, lambda c, i=institution: institutions[c.case_id] == i) <= 1


def test_folds_of_the_real_patients_are_alike_in_tumour_and_institutions(real_data):
    ids = {path.name for path in (real_data / "lgg" / "kaggle_3m").iterdir() if path.is_dir()}
    cases, tumours, institutions = published(ids)

    shared = assign_folds(cases, 5, 0, tumours, institutions)

    assert len(shared) == 25
    assert spread(shared, lambda case: tumours[case.case_id]) <= 4
    assert spread(shared, lambda case: 1) <= 2
    for institution in ("CS", "DU", "FG", "HT"):
        assert spread(shared, lambda c, i=institution: institutions[c.case_id] == i) <= 1


def test_heavy_patients_are_shared_out_first_and_no_fold_stays_empty():
    weights = {"a": 9.0, "b": 5.0, "c": 4.0, "d": 0.0}
    cases = [VolumeCase(name, name.upper(), (), ()) for name in (*weights, "e")]

    shared = assign_folds(cases, 3, 0, weights)

    fold = {case.case_id: case.fold for case in shared}
    assert (fold["a"], fold["b"], fold["c"]) == (0, 1, 2)
    assert {fold["d"], fold["e"]} == {2}
    alike = assign_folds(cases, 2, 0, weights, {"a": "x", "b": "x", "c": "y", "d": "y"})
    assert [case.fold for case in alike][:4] == [0, 1, 1, 0]


def test_cases_of_a_patient_weigh_together():
    cases = [VolumeCase(f"{p}{i}", p, (), ()) for p, i in (("p", 1), ("p", 2), ("q", 1), ("r", 1))]

    shared = assign_folds(cases, 2, 0, {"p1": 2, "p2": 2, "q1": 3, "r1": 3})

    assert [case.fold for case in shared] == [0, 0, 1, 1]


# Tables of patients

TABLE = """Patient,MethylationCluster,grade,age,note
a,2,1,40,
b,,2,41,same
zz,3,2,42,same
"""


def table(tmp_path: Path, text: str = TABLE) -> Path:
    path = tmp_path / "data.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_gives_its_grouping_columns_to_the_cases_of_its_patients(tmp_path):
    cases = [
        VolumeCase("a_2001", "a", (), (), groups={"institution": "CS"}),
        VolumeCase("b-x", "other", (), ()),
        VolumeCase("bb", "bb", (), ()),
    ]

    grouped, sentence = add_groups(cases, read_patient_table(table(tmp_path)))

    assert [case.groups for case in grouped] == [
        {"institution": "CS", "MethylationCluster": "2", "grade": "1", "age": "40"},
        {"grade": "2", "age": "41"},
        {},
    ]
    assert sentence == (
        f"{tmp_path / 'data.csv'}: MethylationCluster, grade, age of 2 patients; "
        "patients without a row: 1 (bb); rows without a patient: 1"
    )


def test_thousands_of_rows_are_not_searched_for_each_case(tmp_path):
    class Rows(dict):
        def __iter__(self):
            self.searches = getattr(self, "searches", 0) + 1
            return super().__iter__()

    rows = Rows({str(n): {"grade": str(n % 3)} for n in range(30)})
    cases = [VolumeCase(f"{n}_x", f"{n}_x", (), ()) for n in range(30)]

    grouped, _ = add_groups(cases, PatientTable(tmp_path, ("grade",), rows))

    assert [case.groups["grade"] for case in grouped] == [str(n % 3) for n in range(30)]
    assert rows.__dict__.get("searches", 0) < 3


def test_the_longest_name_of_a_row_counts(tmp_path):
    text = "id;centre\na;x\na_1;y\n;z\n\n"
    cases = [VolumeCase("a_1_left", "p", (), ()), VolumeCase("a_12", "q", (), ())]

    grouped, _ = add_groups(cases, read_patient_table(table(tmp_path, text)))

    assert [case.groups["centre"] for case in grouped] == ["y", "x"]


def test_columns_are_those_asked_for_and_patients_stand_in_any_column(tmp_path):
    text = "\ufeffsite\tcase_id\tn\nx\ta\t1\ny\tb\t1\n"
    path = table(tmp_path, text)

    assert read_patient_table(path, ("n",)).rows == {"a": {"n": "1"}, "b": {"n": "1"}}
    assert read_patient_table(path).columns == ("site",)


def test_a_column_with_many_values_groups_nobody(tmp_path):
    rows = "".join(f"p{n},{n % 10},{n % 11},x\n" for n in range(22))

    assert read_patient_table(table(tmp_path, f"id,ten,eleven,one\n{rows}")).columns == ("ten",)


def test_of_the_table_of_tcga_clusters_and_grade_are_kept(real_data):
    found = read_patient_table(real_data / "lgg" / "kaggle_3m" / "data.csv")

    assert len(found.columns) == 8
    assert len(found.rows) == 110
    # An empty cell has no entry: this patient has no RPPACluster.
    assert found.rows[PERSON] == {
        "RNASeqCluster": "2",
        "MethylationCluster": "4",
        "miRNACluster": "2",
        "CNCluster": "2",
        "OncosignCluster": "3",
        "COCCluster": "2",
        "neoplasm_histologic_grade": "2",
    }


@pytest.mark.parametrize(
    ("text", "columns", "message"),
    [
        (
            TABLE,
            ("sex", "age"),
            "has no column sex; choose from MethylationCluster, grade, age, note",
        ),
        (TABLE + "a,,,,\n", None, "has two rows of patient a; keep one"),
        ("id,x\na,1\n", None, "no column with 2 to 10 different values; name columns with"),
        ("id,x\n", None, "holds no table; give a CSV file with a header"),
        ("", None, "holds no table"),
        ("id\na\n", None, "holds no table"),
    ],
)
def test_a_table_that_does_not_help_is_refused_in_words(tmp_path, text, columns, message):
    with pytest.raises(DataListError, match=message):
        read_patient_table(table(tmp_path, text), columns)


def test_a_table_that_cannot_be_read_or_is_of_others_is_refused(tmp_path):
    with pytest.raises(DataListError, match=r"cannot be read \(.*No such file"):
        read_patient_table(tmp_path / "nowhere.csv")
    with pytest.raises(
        DataListError, match=r"it has a, b, zz, the patients are k, l, m, \.\.\.; name"
    ):
        add_groups(
            [VolumeCase(n, n, (), ()) for n in "klmn"],
            read_patient_table(table(tmp_path), ("age",)),
        )


# split


@pytest.fixture
def lgg(tmp_path) -> Path:
    """Six examinations of five patients of two institutions."""
    folder = tmp_path / "kaggle_3m"
    for number, institution in enumerate(("CS", "CS", "DU", "DU", "HT")):
        write_slices(folder, f"TCGA_{institution}_000{number}_19990101", 4, number)
    write_slices(folder, "TCGA_HT_0004_20010101", 1, 1)
    return folder


def printed(result, capsys) -> str:
    print_split(result)
    return capsys.readouterr().out


def test_split_lists_stacks_in_folds_with_what_a_table_says(tmp_path, lgg, capsys):
    text = "Patient,grade\nTCGA_CS_0000,1\nTCGA_DU_0002,2\nTCGA_XX_0002,2\n"
    (lgg / "data.csv").write_text(text, encoding="utf-8")
    options = SplitOptions(table=lgg / "data.csv", spacing_mm=(0.5, 0.5, 5))

    result = split([lgg], tmp_path / "list.json", folds=2, options=options)

    assert read_data_list(result.path) == result.data_list
    cases = {case.case_id: case for case in result.data_list.training}
    first = cases["TCGA_CS_0000_19990101"]
    assert (first.labels, first.spacing_mm) == ("lgg", (0.5, 0.5, 5.0))
    assert first.groups == {"institution": "CS", "grade": "1"}
    assert cases["TCGA_HT_0004_19990101"].fold == cases["TCGA_HT_0004_20010101"].fold
    assert result.tumour_slices["TCGA_DU_0003_19990101"] == 3
    assert result.decisions == (f"labels lgg for 6 cases: file names of {LGG}, values 0 1",)
    assert (result.finding.skipped, result.warnings) == ((), ())
    output = printed(result, capsys)
    assert "grade of 2 patients; patients without a row: 3" in output
    assert re.search(r"fold ┃ cases ┃ patients ┃ slices ┃ with tumour ┃ CS ┃ DU ┃ HT", output)
    # Patients weigh 5 (HT), 3 and 2 (DU), 1 and 0 (CS); each goes where its institution is not.
    rows = re.findall(r"│ (\d) +│ (\d) +│ (\d) +│ (\d+) +│ (\d+) +│ (\d) +│ (\d) +│ (\d)", output)
    assert rows == [
        ("0", "4", "3", "13", "7", "1", "1", "1"),
        ("1", "2", "2", "8", "4", "1", "1", "0"),
    ]


def test_split_hints_at_a_table_beside_the_patients_and_counts_single_slices(tmp_path, lgg):
    write_slices(lgg, "TCGA_FG_0009_19990101", 1, 1)
    touch(lgg, "data.csv")

    result = split([lgg], tmp_path / "list.json", folds=2)

    assert result.notes == (
        f"{lgg / 'data.csv'} may hold more on the patients: add it with --table {lgg / 'data.csv'}",
        "patients with a single slice: 1",
    )
    assert result.finding.skipped == ()


def test_images_without_patients_are_warned_of_and_a_regex_ends_it(tmp_path, capsys, caplog):
    folder = write_pairs(tmp_path / "set", "a1", "a2", "b1", "b2", "b3")

    result = split([folder], tmp_path / "list.json", folds=2)
    output = printed(result, capsys)

    assert {case.labels for case in result.data_list.training} == {"binary"}
    assert "no patient is known" not in output
    assert caplog.text.count("no patient is known for 5 images: each counts as a separate") == 1
    assert "--patient-regex" in caplog.text
    options = SplitOptions(patient_regex="^.")
    named = split([folder], tmp_path / "named.json", folds=2, options=options)
    assert named.warnings == ()
    assert [len(case.images) for case in named.data_list.training] == [2, 3]


def test_split_leaves_out_slices_that_cannot_be_read_together(tmp_path, lgg):
    for number, kind in ((5, "tif"), (6, "mask"), (7, "image"), (8, "half"), (9, "bare")):
        case_id = f"TCGA_CS_000{number}_19990101"
        write_slices(lgg, case_id, 2, 1)
        home = lgg / case_id
        if kind == "tif":
            (home / f"{case_id}_1.tif").write_bytes(b"no image")
        elif kind == "image":
            Image.new("RGB", (9, 9), 3).save(home / f"{case_id}_2.tif")
        elif kind == "mask":
            for number_of_slice in (1, 2):
                Image.new("L", (7, 9)).save(home / f"{case_id}_{number_of_slice}_mask.tif")
        elif kind == "half":
            (home / f"{case_id}_1_mask.tif").write_bytes(b"no image")
        else:
            for mask in home.glob("*_mask.tif"):
                mask.unlink()
            (home / f"{case_id}_1.tif").write_bytes(b"no image")

    result = split([lgg], tmp_path / "list.json", folds=2)

    assert len(result.data_list.training) == 6
    assert result.data_list.testing == ()
    lost = {entry.case_id[8:12]: entry.sentence for entry in result.finding.skipped}
    assert set(lost) == {"0005", "0006", "0007", "0008", "0009"}
    assert "_0005_19990101_1.tif" in lost["0005"]
    assert lost["0006"] == (
        "case TCGA_CS_0006_19990101: images have 5 x 6 pixels, but their masks 7 x 9; "
        "give masks of that size"
    )
    assert "9 x 9" in lost["0007"]
    assert all(reason.count("case TCGA") == 1 for reason in lost.values())
    assert "_0008_19990101_1_mask.tif" in lost["0008"]
    assert "_0009_19990101_1.tif" in lost["0009"]


def test_too_few_patients_are_told_with_those_that_were_left_out(tmp_path):
    write_slices(tmp_path, "p", 2, 1)
    write_slices(tmp_path, "q", 2, 1)
    Image.new("L", (5, 6), 3).save(tmp_path / "q" / "q_2.tif")

    message = (
        r"^1 case left out \(case q: .*grey.*\), and 1 patient with .* cannot fill 2 folds; add"
    )
    with pytest.raises(DataListError, match=message):
        split([tmp_path], tmp_path / "list.json", folds=2, channels=("t1n", "t2f", "t1c"))
    options = SplitOptions(validation=("q",))
    with pytest.raises(
        DataListError, match=r"^1 case left out \(case q: .*\), and .* no such patient"
    ):
        split([tmp_path], tmp_path / "list.json", channels=("t1n", "t2f", "t1c"), options=options)


def test_values_of_label_maps_need_no_images(lgg):
    for image in lgg.glob("*/*[0-9].tif"):
        image.write_bytes(b"no image")
    home = lgg / "TCGA_HT_0004_20010101"
    (home / f"{home.name}_1_mask.tif").write_bytes(b"no image")

    values = read_values(find_cases([lgg]).cases)

    assert values["TCGA_CS_0000_19990101"] == {0}
    assert values["TCGA_HT_0004_19990101"] == {0, 1}
    assert f"{home.name}_1_mask.tif" in values[home.name]


def test_stacks_without_masks_are_for_testing(tmp_path, lgg):
    home = lgg / "TCGA_CS_0000_19990101"
    for mask in home.glob("*_mask.tif"):
        mask.unlink()

    result = split([lgg], tmp_path / "list.json", folds=2)

    assert [case.case_id for case in result.data_list.testing] == ["TCGA_CS_0000_19990101"]


def test_volumes_and_stacks_share_a_list(tmp_path, lgg, cohort, capsys):
    result = split([cohort / "scans", lgg], tmp_path / "list.json", folds=2)

    listed = read_data_list(result.path)
    assert Counter(case.kind for case in listed.training) == {"slices": 6, "volumes": 4}
    volumes = [case for case in listed.training if not case.slices]
    assert Counter(case.fold for case in volumes) == {0: 2, 1: 2}
    assert all(result.tumour_slices[case.case_id] > 0 for case in volumes)
    assert listed.channels == ("t1n", "t1c", "t2w", "t2f")
    # Slices with tumour are some of the slices beside them: those of volumes are not counted.
    folds = [row.split("│")[1:6] for row in printed(result, capsys).splitlines() if "│" in row][-2:]
    of_stacks = {c.case_id: result.tumour_slices[c.case_id] for c in listed.training if c.slices}
    for fold, row in enumerate(folds):
        members = [case for case in listed.training if case.slices and case.fold == fold]
        assert int(row[3]) == sum(len(case.images) for case in members)
        assert int(row[4]) == sum(of_stacks[case.case_id] for case in members)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            SplitOptions(group_columns=("a",)),
            "--group-columns names columns of a table, but there is no table; give",
        ),
        (
            SplitOptions(spacing_mm=(1, 1)),
            "--spacing is 1,1, but three sizes of 0.05 to 20 mm are expected",
        ),
        (SplitOptions(spacing_mm=(1, 0, 1)), "--spacing is 1,0,1, but three"),
        (SplitOptions(patient_regex="["), "is no regular expression"),
    ],
)
def test_options_that_make_no_sense_are_refused(tmp_path, lgg, options, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        split([lgg], tmp_path / "list.json", options=options)


def test_the_spacing_of_volumes_is_not_to_be_said(tmp_path, cohort):
    with pytest.raises(
        ConfigError, match="--spacing is for 2D slices, but NIfTI files record theirs"
    ):
        split([cohort / "scans"], tmp_path / "l.json", options=SplitOptions(spacing_mm=(1, 1, 1)))


# Real data


def test_the_real_patients_of_lgg_are_stacks_in_the_published_order(real_data, tmp_path):
    folder = real_data / "lgg" / "kaggle_3m"
    options = SplitOptions(table=folder / "data.csv")

    result = split([folder], tmp_path / "lgg.json", options=options)

    listed = {c.case_id: c for c in read_data_list(SHIPPED / "lgg.json", folder.parent).training}
    _, tumours, _ = published()
    training = result.data_list.training
    assert len(training) == 25
    for case in training:
        assert case.images == listed[case.case_id].images
        assert case.label == listed[case.case_id].label
        assert result.tumour_slices[case.case_id] == tumours[case.case_id]
    assert {case.labels for case in training} == {"lgg"}
    assert (
        "of 25 patients; patients without a row: 0; rows without a patient: 85" in result.notes[0]
    )
    assert (result.finding.skipped, result.finding.notes, result.warnings) == ((), (), ())


def test_the_real_pairs_are_cases_of_one_slice(real_data):
    finding = find_cases([real_data / "png3064"])

    assert finding.layouts == {str(PAIRS): 60}
    assert {len(case.images) for case in finding.cases} == {1}
    assert all(c.images[0].name == c.label[0].name for c in finding.cases)
