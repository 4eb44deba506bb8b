"""Cases found in folders, folds by patient, and data lists on disk."""

from __future__ import annotations

import json
import os
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from monai.data import load_decathlon_datalist

from volseg.cases.case import Case
from volseg.cases.data_list import DataList, read_data_list, write_data_list
from volseg.cases.folds import assign_folds
from volseg.cases.identity import patient_of
from volseg.cases.layouts import layout_of
from volseg.cases.volume_case import VolumeCase
from volseg.errors import DataListError, LabelError, NoCaseError
from volseg.finding.folders import find_cases, find_scans
from volseg.survey.schemes import Group, schemes_of

CHANNELS = ("t1n", "t1c", "t2w", "t2f")
OLD = ("t1", "t1ce", "t2", "flair")
SHIPPED = Path(__file__).resolve().parents[1] / "data_lists"


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def brats(folder: Path, case_id: str, *, names=CHANNELS, separator="-", label="seg") -> Path:
    """A case in a folder of its own; `label=None` leaves the label map out."""
    contents = [*names, *([label] if label else [])]
    return touch(folder / case_id, *(f"{case_id}{separator}{c}.nii.gz" for c in contents))


def dataset(folder: Path, *names: str, **content: object) -> Path:
    """A data set that describes itself."""
    touch(folder, *names)
    (folder / "dataset.json").write_text(json.dumps(content), encoding="utf-8")
    return folder


def reasons(finding) -> dict[str, str]:
    return {skipped.path.name: skipped.sentence for skipped in finding.skipped}


def only_case(folder: Path, **options) -> Case:
    finding = find_cases([folder], **options)
    assert finding.skipped == ()
    (case,) = finding.cases
    return case


@pytest.mark.parametrize(
    ("case_id", "names", "separator", "label", "patient"),
    [
        ("Brats17_2013_10_1", OLD, "_", "seg", "Brats17_2013_10"),
        ("Brats18_2013_21_1", OLD, "_", "seg", "Brats18_2013_21"),
        ("BraTS19_CBICA_AAB_1", OLD, "_", "seg", "BraTS19_CBICA_AAB"),
        ("BraTS20_Training_001", OLD, "_", "seg", "BraTS20_Training_001"),
        ("BraTS2021_00000", OLD, "_", "seg", "BraTS-GLI-00000"),
        ("BraTS-GLI-00002-001", CHANNELS, "-", "seg", "BraTS-GLI-00002"),
        ("BraTS-GLI-02063-104", CHANNELS, "-", "seg", "BraTS-GLI-02063"),
        ("BraTS-MEN-RT-0001-1", CHANNELS, "_", "gtv", "BraTS-MEN-RT-0001"),
        ("UPENN-GBM-00001_11", ("T1", "T1GD", "T2", "FLAIR"), "_", "Seg", "UPENN-GBM-00001"),
        ("exam.5", ("t1w", "T1Gd", "T2W", "fla"), ".", "label", "exam.5"),
    ],
)
def test_names_of_every_year_are_known(tmp_path, case_id, names, separator, label, patient):
    folder = brats(tmp_path, case_id, names=names, separator=separator, label=label)

    case = only_case(tmp_path)

    assert (case.case_id, case.patient_id, case.channels) == (case_id, patient, CHANNELS)
    assert [path.name for path in case.images] == [
        f"{case_id}{separator}{name}.nii.gz" for name in names
    ]
    assert case.label == (folder / f"{case_id}{separator}{label}.nii.gz",)


def test_cases_lie_at_any_depth_and_are_sorted_by_id(tmp_path):
    for place in ("HGG/Brats18_B_1", "LGG/Brats18_A_1", "more/deep/Brats18_a_1"):
        brats(tmp_path / Path(place).parent, Path(place).name, names=OLD, separator="_")

    finding = find_cases([tmp_path])

    assert [case.case_id for case in finding.cases] == ["Brats18_A_1", "Brats18_B_1", "Brats18_a_1"]
    assert finding.layouts == {"BraTS 2017 to 2022": 3}
    assert str(finding.layout_of["Brats18_a_1"]) == "BraTS 2017 to 2022"


def test_flat_files_of_one_folder_are_sorted_into_cases(tmp_path):
    for case_id in ("BraTS2021_00002", "BraTS2021_00000"):
        touch(tmp_path, *(f"{case_id}_{name}.NII" for name in (*OLD, "SEG")))

    cases = find_cases([tmp_path]).cases

    assert [case.case_id for case in cases] == ["BraTS2021_00000", "BraTS2021_00002"]
    assert cases[1].images[1] == tmp_path / "BraTS2021_00002_t1ce.NII"
    assert cases[1].label == (tmp_path / "BraTS2021_00002_SEG.NII",)


def test_files_called_by_channel_alone_belong_to_the_case_of_their_folder(tmp_path):
    folder = touch(tmp_path / "BraTS-MET-00110-000", "t1.nii.gz", "t1c.nii.gz", "t2.nii.gz")
    touch(folder, "flair.nii.gz", "BraTS-MET-00110-000_seg.nii.gz")

    case = only_case(folder)

    assert case.case_id == "BraTS-MET-00110-000"
    assert case.images[3].name == "flair.nii.gz"
    assert len(case.label) == 1


def test_the_misnamed_label_map_of_brats_2020_finds_its_case(tmp_path):
    brats(tmp_path, "BraTS20_Training_355", names=OLD, separator="_", label=None)
    touch(tmp_path / "BraTS20_Training_355", "W39_1998.09.19_Segm.nii")

    case = only_case(tmp_path)

    assert case.label == (tmp_path / "BraTS20_Training_355" / "W39_1998.09.19_Segm.nii",)


def test_hidden_files_are_not_mentioned(tmp_path):
    brats(tmp_path, "BraTS-GLI-00001-000")
    touch(tmp_path, "BraTS-GLI-00001-000/._BraTS-GLI-00001-000-t1c.nii.gz", ".cache/x_t1.nii.gz")

    assert only_case(tmp_path).case_id == "BraTS-GLI-00001-000"


def test_only_the_wanted_channels_are_taken_in_their_order(tmp_path):
    brats(tmp_path, "patient7", names=("t1ce", "flair", "ADC", "t1"), separator="_")

    case = only_case(tmp_path, channels=("t2f", "adc"))

    assert case.channels == ("t2f", "adc")
    assert [path.name for path in case.images] == ["patient7_flair.nii.gz", "patient7_ADC.nii.gz"]


@pytest.mark.parametrize(
    ("foreign", "ours"), [("t1ce", "t1c"), ("T1CE", "t1c"), ("flair", "t2f"), ("FLAIR", "t2f")]
)
def test_a_channel_under_a_foreign_name_is_refused_in_any_letter_case(tmp_path, foreign, ours):
    message = f"channel {foreign!r} is called {ours!r} here; ask for {ours}"
    with pytest.raises(DataListError, match=message):
        find_cases([tmp_path], channels=(foreign,))
    with pytest.raises(DataListError, match=message):
        find_cases([tmp_path], channels=("t1n", ours), required=(foreign,))


@pytest.mark.parametrize("names", [(), ("t1c",)])
def test_an_error_has_the_folder_without_a_usable_case(tmp_path, names):
    brats(tmp_path, "A", names=names)

    with pytest.raises(NoCaseError) as raised:
        find_cases([tmp_path])

    assert raised.value.path == tmp_path


def test_what_is_left_out_is_named_with_its_reason(tmp_path):
    brats(tmp_path, "A")
    brats(tmp_path, "B", names=CHANNELS[:3])
    touch(brats(tmp_path, "C"), "C-t1ce.nii")
    touch(brats(tmp_path, "D"), "D_seg.nii")
    touch(tmp_path / "A", "notes.txt", "A-t1c-bias.nii.gz", "A_0002.nii.gz", "__.nii")

    finding = find_cases([tmp_path])

    assert [case.case_id for case in finding.cases] == ["A"]
    found = reasons(finding)
    assert found["B"] == "case B: missing channel t2f; complete the case"
    assert found["C"] == "case C: 2 files for channel t1c: C-t1c.nii.gz, C-t1ce.nii; keep one"
    assert found["D"] == "case D: 2 files for label map: D-seg.nii.gz, D_seg.nii; keep one"
    assert found["notes.txt"] == "not .nii or .nii.gz, nor a 2D image"
    assert found["A_0002.nii.gz"] == "a numbered channel, but no dataset.json says which"
    assert found["A"].startswith("2 files, such as A-t1c-bias.nii.gz: the name ends in no known")
    assert [s.case_id for s in finding.skipped if s.case_id] == ["B", "C", "D"]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("T1.mha", "a scan, but not NIfTI; convert it with volseg convert"),
        ("T1.NRRD", "a scan, but not NIfTI; convert it with volseg convert"),
        ("T1.mgz", "a scan, but not NIfTI; convert it to .nii.gz, such as with nibabel"),
        ("1.dcm", "DICOM; convert it with volseg convert"),
        ("1.IMA", "DICOM; convert it with volseg convert"),
        ("1.3.12.2.1107.5.2", "DICOM; convert it with volseg convert"),
        ("scans.tar.gz", "packed; unpack it, or pack images as .nii.gz"),
        ("README.md", "not .nii or .nii.gz, nor a 2D image"),
    ],
)
def test_scans_of_other_formats_are_told_with_the_remedy(tmp_path, name, reason):
    brats(tmp_path, "A")
    touch(tmp_path, name)

    assert reasons(find_cases([tmp_path])) == {name: reason}


def test_scans_of_other_formats_are_told_before_files_that_are_none(tmp_path):
    touch(tmp_path, "LICENSE", "README.md", "a.csv", "P7/a.mhd", *(f"P7/{n}.dcm" for n in range(3)))

    with pytest.raises(DataListError) as refusal:
        find_cases([tmp_path])

    told = str(refusal.value)
    assert told.index("3 files, such as 0.dcm: DICOM; convert") < told.index("not .nii or .nii.gz")
    assert told.index("a.mhd: a scan, but not NIfTI; convert") < told.index("not .nii or .nii.gz")
    assert "3 files or folders, such as" in told


def test_an_incomplete_case_among_flat_files_is_shown_by_a_file(tmp_path):
    brats(tmp_path, "A")
    touch(tmp_path / "A", "B-t1c.nii.gz")

    finding = find_cases([tmp_path])

    assert reasons(finding) == {
        "B-t1c.nii.gz": "case B: missing channels t1n, t2w, t2f; complete the case"
    }


def test_many_files_of_one_kind_are_one_entry(tmp_path):
    brats(tmp_path, "A")
    for patient in range(30):
        touch(tmp_path / "lgg" / f"p{patient:02}", *(f"{i}.tif" for i in range(5)))
        touch(tmp_path / "labels" / f"q{patient:02}", f"q{patient:02}-seg.nii.gz")

    assert reasons(find_cases([tmp_path])) == {
        "labels": "30 files, such as q00/q00-seg.nii.gz: label map without images",
        "lgg": "150 files, such as p00/0.tif: 2D image beside NIfTI files; to use such images, "
        "give their folder alone",
    }


def test_a_case_in_two_folders_counts_once_and_is_named(tmp_path):
    brats(tmp_path / "first", "A")
    brats(tmp_path / "second", "A")
    brats(tmp_path / "second", "B")

    finding = find_cases([tmp_path / "second", tmp_path / "first"])

    assert [case.case_id for case in finding.cases] == ["A", "B"]
    (duplicate,) = finding.skipped
    assert duplicate.path == tmp_path / "first" / "A"
    assert duplicate.sentence == f"copy of case A in {tmp_path / 'second' / 'A'}, which is used"


def test_folders_that_overlap_give_each_case_once(tmp_path):
    brats(tmp_path / "inner", "A")
    touch(tmp_path / "inner", "notes.txt")

    finding = find_cases([tmp_path, tmp_path / "inner"])

    assert len(finding.cases) == len(finding.skipped) == 1


def test_links_are_followed_and_loops_are_named(tmp_path):
    brats(tmp_path / "store", "A")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans" / "A").symlink_to(tmp_path / "store" / "A")
    (tmp_path / "scans" / "loop").symlink_to(tmp_path / "scans")

    finding = find_cases([tmp_path / "scans"])

    assert [case.label for case in finding.cases] == [(tmp_path / "scans" / "A" / "A-seg.nii.gz",)]
    assert reasons(finding) == {"loop": "link to a folder that it lies in"}


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    brats(tmp_path, "A")
    (tmp_path / "locked").mkdir()
    read = os.scandir

    def refuse(path):
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(os, "scandir", refuse)

    assert reasons(find_cases([tmp_path]))["locked"] == "folder cannot be read (Permission denied)"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no scans; give a folder of NIfTI files"),
        (("A/A_t1.nii",), r"A: case A: missing channels t1c, t2w, t2f; complete the case$"),
        (tuple(f"{c}/{c}_t1.nii" for c in "DEFGH"), r"D: case D: .*; and 2 more$"),
    ],
)
def test_a_folder_without_cases_is_an_error_that_says_why(tmp_path, names, message):
    touch(tmp_path, *names)

    with pytest.raises(DataListError, match=message):
        find_cases([tmp_path])


def test_what_is_no_folder_is_an_error(tmp_path):
    file = touch(tmp_path, "scan.nii.gz") / "scan.nii.gz"

    with pytest.raises(DataListError, match=r"nowhere does not exist; give a folder of scans"):
        find_cases([tmp_path / "nowhere"])
    with pytest.raises(DataListError, match=r"scan\.nii\.gz is a file; give a folder of scans"):
        find_cases([file])


MSD = {
    "modality": {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"},
    "labels": {
        "0": "background",
        "1": "edema",
        "2": "non-enhancing tumor",
        "3": "enhancing tumour",
    },
}
MSD_FILES = ("imagesTr/BRATS_001.nii.gz", "labelsTr/BRATS_001.nii.gz", "imagesTs/BRATS_485.nii.gz")
NNUNET = {
    "channel_names": {"0": "T1", "1": "T1ce", "2": "T2", "3": "Flair"},
    "labels": {
        "background": 0,
        "whole tumor": [1, 2, 3],
        "tumor core": [2, 3],
        "enhancing tumor": [3],
    },
}
NNUNET_FILES = tuple(
    f"{folder}_{number:04}.nii.gz"
    for folder in ("imagesTr/BraTS2021_00000", "imagesTs/BraTS2021_00001")
    for number in range(4)
)


def test_msd_holds_its_channels_in_4d_files(tmp_path):
    dataset(tmp_path, *MSD_FILES, "imagesTr/._BRATS_001.nii.gz", **MSD)

    finding = find_cases([tmp_path])

    first, second = finding.cases
    assert first.images == (tmp_path / "imagesTr" / "BRATS_001.nii.gz",)
    assert first.channels == second.channels == ("t2f", "t1n", "t1c", "t2w")
    assert (first.label, first.labels) == ((tmp_path / "labelsTr" / "BRATS_001.nii.gz",), "msd")
    assert (second.label, second.labels) == ((), None)
    assert (finding.layouts, finding.skipped) == ({"MSD": 2}, ())


@pytest.mark.parametrize("names", [NNUNET, NNUNET | {"modality": NNUNET["channel_names"]}, "v1"])
def test_nnunet_numbers_its_channels(tmp_path, names):
    if names == "v1":
        names = {"modality": NNUNET["channel_names"], "labels": NNUNET["labels"]}
    dataset(tmp_path, *NNUNET_FILES, "labelsTr/BraTS2021_00000.nii.gz", **names)

    finding = find_cases([tmp_path], channels=("t2f", "t1c"))

    first, second = finding.cases
    assert [path.name[-11:] for path in first.images] == ["0003.nii.gz", "0001.nii.gz"]
    assert first.channels == ("t2f", "t1c")
    assert first.label == (tmp_path / "labelsTr" / "BraTS2021_00000.nii.gz",)
    # nnU-Net stores BraTS with consecutive labels, which are those of MSD.
    assert (first.labels, second.label) == ("msd", ())
    assert (finding.layouts, finding.skipped) == ({"nnU-Net": 2}, ())


def test_the_folder_of_images_alone_is_described_by_the_file_above(tmp_path):
    dataset(tmp_path, *NNUNET_FILES, **NNUNET)

    case = only_case(tmp_path / "imagesTs")

    assert case.case_id == "BraTS2021_00001"


def test_stray_files_of_a_described_data_set_are_named(tmp_path):
    strays = ("imagesTr/BRATS_009_0007.nii.gz", "imagesTr/notes.txt", "labelsTr/BRATS_010.nii.gz")
    dataset(tmp_path, *NNUNET_FILES, *strays, "labelsTs/BraTS2021_00001.nii.gz", **NNUNET)

    assert reasons(find_cases([tmp_path])) == {
        "BRATS_009_0007.nii.gz": "a numbered channel, but no dataset.json says which",
        "BRATS_010.nii.gz": "label map without images",
        "BraTS2021_00001.nii.gz": "label map of a test case, which is not used",
        "notes.txt": "not .nii or .nii.gz, nor a 2D image",
    }


def test_a_folder_of_a_described_data_set_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    dataset(tmp_path, *MSD_FILES, **MSD)
    read = Path.iterdir

    def refuse(path):
        if path.name == "labelsTr":
            raise PermissionError(13, "Permission denied", str(path))
        return read(path)

    monkeypatch.setattr(Path, "iterdir", refuse)

    found = reasons(find_cases([tmp_path]))
    assert found == {"labelsTr": "folder cannot be read (Permission denied)"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{", "it is not JSON ("),
        ('{"modality": {"0.5": "T1"}}', "names no channels under"),
        ('{"channel_names": {"0": "T1", "0": "T2"}}', "it is not JSON (key '0' is there twice)"),
        ("[]", "names no channels under 'modality' or 'channel_names'"),
        ('{"modality": "MRI"}', "names no channels under 'modality' or 'channel_names'"),
        ('{"modality": {"0": "CT"}}', "names the channels ct, but not t1n, t1c, t2w, t2f"),
    ],
)
def test_a_description_that_does_not_help_is_named(tmp_path, text, reason):
    touch(tmp_path, "liver/imagesTr/liver_01.nii.gz")
    (tmp_path / "liver" / "dataset.json").write_text(text, encoding="utf-8")
    brats(tmp_path, "A")

    finding = find_cases([tmp_path])

    assert [case.case_id for case in finding.cases] == ["A"]
    assert reasons(finding)["dataset.json"].startswith(reason)


@pytest.mark.parametrize(
    ("labels", "scheme"),
    [
        ({"background": 0, "NETC": 1, "SNFH": 2, "ET": 3, "RC": 4}, "brats2024-gli"),
        ({"background": 0, "NCR": 1, "ED": 2, "ET": 4}, "brats2021"),
        ({"background": 0, "whole tumor": [1, 2, 3], "TC": [1, 3], "ET": 3}, "brats2023"),
        ({"background": 0, "tumor": 1}, None),
        ({"background": 0, "foreground": 1}, None),
        ({"background": 0, "edema": "x", "y": {}}, None),
        ({"ED": 1, "NCR": 3, "ET": 2}, None),
        ({"background": False, "NCR": True, "ED": 2, "ET": 4}, None),
        ({"background": 0, "NCR": 1.5, "ED": 2, "ET": 4}, None),
        (["background", "edema"], None),
        (None, None),
    ],
)
def test_names_of_labels_tell_the_scheme_or_nothing(tmp_path, labels, scheme):
    content = {"channel_names": NNUNET["channel_names"], "labels": labels}
    dataset(tmp_path, *NNUNET_FILES, "labelsTr/BraTS2021_00000.nii.gz", **content)

    assert find_cases([tmp_path]).cases[0].labels == scheme


@pytest.mark.parametrize(
    ("case_id", "files", "family"),
    [
        ("BraTS-MET-00001-000", (), "BraTS-MET"),
        ("brats-men-rt-0001-1", (), "BraTS-MEN-RT"),
        ("BraTS-GoAT-00001", (), "BraTS-GOAT"),
        ("BRATS_001", (), "other data sets"),
        ("x", ("x_t1ce.nii",), "other data sets with t1ce"),
    ],
)
def test_ids_tell_the_family(case_id, files, family):
    assert str(layout_of(case_id, files)) == family


def group(schemes: tuple[str, ...], *values: set[int]) -> Group:
    return Group("names", schemes, {str(i): frozenset(v) for i, v in enumerate(values)})


@pytest.mark.parametrize(
    ("schemes", "values", "scheme"),
    [
        (("brats2021",), [{0, 1, 2, 4}, {0}], "brats2021"),
        (("brats2021",), [{0, 1, 2, 4}, {0, 1, 2, 3}], "brats2021"),
        (("brats2021",), [{0, 1, 2, 4}, {0, 1, 2, 3}, {0, 3}], None),
        (("brats2021",), [{0, 1, 2}, {0, 2}, {0, 1, 2, 3}], None),
        (("brats2021",), [{0, 1, 2}, {0, 2}, {0, 1, 2, 9}], "brats2021"),
        (("brats2023",), [{0, 1, 2}, {0, 2}, {0, 1, 2, 4}], None),
        (("brats2023",), [{0, 1, 2}, {0, 3}, {0, 1, 2, 4}], "brats2023"),
        (("brats2023", "brats2024-gli"), [{0, 1, 2, 3}, {0}], "brats2023"),
        (("brats2023", "brats2024-gli"), [{0, 1, 2, 3}, {0, 4}], "brats2024-gli"),
        (("brats2023", "brats2024-gli"), [{0, 1, 2, 4}, {0}], None),
        (("brats2023", "brats2024-ped"), [{0, 1, 2, 3}], None),
        (("brats2023", "brats2024-ped"), [{0, 1, 2, 3}, {0, 4}], "brats2024-ped"),
        (("brats2023", "brats2021"), [{0, 1, 2, 4}], "brats2021"),
        (("brats2023", "brats2021"), [{0, 1, 2}], None),
        (("brats2023", "brats2021"), [{0, 1, 2, 4}, {0, 3}], None),
        ((), [{0, 1}], None),
    ],
)
def test_values_decide_what_names_leave_open_or_the_user_is_asked(schemes, values, scheme):
    one = group(schemes, *values)

    if scheme:
        assert schemes_of([one], "") == dict.fromkeys(one.values, scheme)
    else:
        with pytest.raises(LabelError, match=r"is not clear: .* say it"):
            schemes_of([one], "say it")


def test_the_question_shows_values_and_what_fits():
    unclear = [group((), {0, 1}, {3}), group((), {9})]

    with pytest.raises(LabelError) as error:
        schemes_of(unclear, "say it")

    assert str(error.value) == (
        "the label scheme is not clear: 2 cases with names hold the values 0 1 3, which "
        "fit brats2023, brats2024-gli, brats2024-ped, brats2015, msd; 1 case with names holds the "
        "values 9, which fit no label scheme; say it"
    )


def cases_of(*patients: str) -> list[Case]:
    return [VolumeCase(f"{p}-{i}", p, (), CHANNELS) for i, p in enumerate(patients)]


patients = st.lists(st.sampled_from("abcdefghij"), min_size=1, max_size=40)


@given(patients, st.integers(2, 5), st.integers(0, 2**31))
def test_patients_never_straddle_folds_and_folds_are_balanced(names, folds, seed):
    sizes = Counter(names)
    cases = cases_of(*names)
    if len(sizes) < folds:
        with pytest.raises(DataListError, match="cannot fill"):
            assign_folds(cases, folds, seed)
        return

    assigned = assign_folds(cases, folds, seed)

    assert [case.case_id for case in assigned] == [case.case_id for case in cases]
    assert all(len({c.fold for c in assigned if c.patient_id == p}) == 1 for p in sizes)
    filled = Counter(case.fold for case in assigned)
    assert set(filled) == set(range(folds))
    assert max(filled.values()) - min(filled.values()) <= max(sizes.values())


def test_folds_are_the_same_everywhere_and_another_seed_gives_others():
    cases = cases_of("a", "b", "c", "d", "e", "f", "a")

    # Written down: a change of this would change the folds of all who split before.
    expected = [0, 1, 1, 0, 1, 0, 0]
    assert [case.fold for case in assign_folds(cases, 2, seed=0)] == expected
    assert [case.fold for case in assign_folds(cases, 2, seed=1)] != expected


def test_too_few_patients_are_an_error_with_the_remedy():
    with pytest.raises(DataListError, match=r"2 patients .* cannot fill 5 folds; use --folds 2"):
        assign_folds(cases_of("a", "b", "b"), 5, 0)
    with pytest.raises(DataListError, match="add scans of other patients"):
        assign_folds(cases_of("a"), 2, 0)


def test_a_list_splits_by_fold():
    a, b, c = assign_folds(cases_of("a", "b", "c"), 3, 0)
    data_list = DataList("x", CHANNELS, (a, b, c))

    assert data_list.split(None) == ((a, b, c), ())
    training, validation = data_list.split(b.fold)
    assert (training, validation) == ((a, c), (b,))


@pytest.fixture
def mixed(tmp_path) -> DataList:
    """Three cases for training, of three conventions, and one for testing."""
    scans = tmp_path / "scans"
    brats(scans, "BraTS2021_00000", names=OLD, separator="_")
    brats(scans, "BraTS-GLI-00001-000")
    brats(scans, "BraTS-GLI-00002-000", label=None)
    dataset(scans / "msd", *MSD_FILES[:2], **MSD)
    cases = find_cases([scans]).cases
    labelled = assign_folds([case for case in cases if case.label], 2, 0)
    return DataList("mixed", CHANNELS, labelled, tuple(c for c in cases if not c.label))


def test_a_list_is_read_back_as_written_wherever_both_are_moved(tmp_path, mixed):
    path = tmp_path / "lists" / "mixed.json"
    path.parent.mkdir()
    write_data_list(path, mixed, tmp_path / "scans")

    assert read_data_list(path) == mixed
    assert str(tmp_path) not in path.read_text(encoding="utf-8")
    moved = path.rename(tmp_path / "mixed.json")
    assert read_data_list(moved, tmp_path / "scans") == mixed
    assert read_data_list(moved, Path("/x")).testing[0].images[0] == Path(
        "/x/BraTS-GLI-00002-000/BraTS-GLI-00002-000-t1n.nii.gz"
    )


def test_relative_paths_on_the_command_line_do_not_change_a_list(tmp_path, mixed, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_data_list(Path("a.json"), mixed, Path("scans/../scans"))
    write_data_list(tmp_path / "b.json", mixed, tmp_path / "scans")

    assert Path("a.json").read_bytes() == Path("b.json").read_bytes()
    assert read_data_list(Path("a.json")) == mixed


def test_scans_on_another_drive_are_listed_by_their_full_path(tmp_path, mixed, monkeypatch):
    def refuse(path, start):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr(os.path, "relpath", refuse)

    write_data_list(tmp_path / "a.json", mixed, tmp_path)

    assert read_data_list(tmp_path / "a.json") == mixed


def test_monai_reads_both_parts_of_a_list(tmp_path, mixed):
    path, root = tmp_path / "mixed.json", tmp_path / "scans"
    write_data_list(path, mixed, root)

    for key, cases in (("training", mixed.training), ("testing", mixed.testing)):
        entries = load_decathlon_datalist(path, data_list_key=key, base_dir=root)

        for entry, case in zip(entries, cases, strict=True):
            image = entry["image"]
            assert [image] if isinstance(image, str) else image == list(map(str, case.images))
            assert entry.get("label", "") == "".join(map(str, case.label))
            assert entry.get("fold") == case.fold
    assert isinstance(load_decathlon_datalist(path, base_dir=root)[0]["image"], str)


def test_cases_to_segment_come_from_a_folder_or_a_list(tmp_path, mixed):
    path = tmp_path / "mixed.json"
    write_data_list(path, mixed, tmp_path / "scans")

    listed = find_scans(path)
    found = find_scans(tmp_path / "scans", ("t1c",))

    assert {case.case_id for case in listed.cases} == {case.case_id for case in found.cases}
    assert listed.layouts == {"data list": 4}
    assert {case.channels for case in found.cases} == {("t1c",), ("t2f", "t1n", "t1c", "t2w")}


def test_one_fold_of_a_list_can_be_segmented(tmp_path, mixed):
    path = tmp_path / "mixed.json"
    write_data_list(path, mixed, tmp_path / "scans")
    fold = mixed.training[0].fold

    finding = find_scans(path, fold=fold)

    assert [case.case_id for case in finding.cases] == sorted(
        case.case_id for case in mixed.training if case.fold == fold
    )
    with pytest.raises(DataListError, match="has no fold 9, but"):
        find_scans(path, fold=9)
    with pytest.raises(DataListError, match="is no data list and has no fold 0"):
        find_scans(tmp_path / "scans", fold=0)


def test_a_listed_case_without_a_wanted_channel_is_named(tmp_path, mixed):
    path = tmp_path / "mixed.json"
    one = VolumeCase("Z", "Z", (tmp_path / "Z_adc.nii.gz",), ("adc",))
    write_data_list(path, DataList("x", CHANNELS, mixed.training, (one,)), tmp_path)

    finding = find_scans(path)

    assert len(finding.cases) == 3
    assert reasons(finding) == {
        "mixed.json": "case Z: missing channels t1n, t1c, t2w, t2f; complete the case"
    }
    with pytest.raises(DataListError, match=r"holds no usable case: .* missing channel perfusion"):
        find_scans(path, ("perfusion",))


ENTRY = {"case_id": "A", "patient_id": "A", "image": ["a"], "label": "b"}
LIST = {"volseg": 1, "name": "x", "channels": ["t1c"], "data_root": ".", "training": [ENTRY]}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"volseg": 2}, "volseg: input should be 1, got 2"),
        ({"chanels": ["t1c"]}, "chanels: unknown key; did you mean 'channels'"),
        ({"xyz": 1}, "xyz: unknown key; remove it"),
        ({"training": [ENTRY | {"flod": 1}]}, "training.0.flod: unknown key; did you mean 'fold'"),
        ({"training": [{"case_id": "A"}]}, "training.0.image: missing; add it"),
        ({"training": [ENTRY | {"fold": -1}]}, "greater than or equal to 0, got -1"),
        ({"training": [ENTRY | {"image": {}}]}, "training.0.image: input should be a valid list"),
        ({"training": []}, "it holds no cases"),
        ({"training": [ENTRY, ENTRY]}, "case A is listed 2 times; keep one"),
        ({"training": [ENTRY], "testing": [ENTRY]}, "case A is listed 2 times"),
        ({"training": [ENTRY | {"label": None}]}, "case A in 'training' has no label"),
        ({"training": [ENTRY | {"image": ["a", "b"]}]}, "case A has 2 images for the channels t1c"),
        ({"training": [{}] * 9}, "and 17 more"),
        ({"data_root": None}, "does not say where its scans are; name the folder that holds a"),
        ({"training": [ENTRY | {"case_id": "../A"}]}, "training.0.case_id: "),
        ({"training": [ENTRY | {"case_id": "a\\b"}]}, "training.0.case_id: "),
        ({"testing": [ENTRY | {"case_id": ".A"}]}, "testing.0.case_id: "),
        (
            {"training": [ENTRY | {"fold": 0}, ENTRY | {"case_id": "B", "fold": 1}]},
            "patient A is in several folds: A in fold 0, B in fold 1; give all cases",
        ),
        (
            {"training": [ENTRY | {"fold": 0}, ENTRY | {"case_id": "B"}]},
            "patient A is in several folds: A in fold 0, B in no fold; give all cases",
        ),
        (
            {"training": [ENTRY | {"spacing_mm": [1.0, 1.0, 5.0]}]},
            "case A has spacing_mm, but NIfTI files hold their own; leave it out",
        ),
    ],
)
def test_a_list_with_a_mistake_is_refused_in_words(tmp_path, change, message):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST | change), encoding="utf-8")

    with pytest.raises(DataListError) as error:
        read_data_list(path)

    assert message in str(error.value)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    "content", ["{", '{"training": []}', "[]", "\udcff", '{"volseg": 1, "volseg": 1}', "[" * 9999]
)
def test_what_is_no_list_is_refused(tmp_path, content):
    path = tmp_path / "list.json"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")

    with pytest.raises(DataListError, match="make one with volseg split"):
        read_data_list(path)


def test_a_key_that_is_no_text_of_any_encoding_is_refused(tmp_path):
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST | {"\udcfc": 1}), encoding="utf-8")

    with pytest.raises(DataListError, match="is not a valid data list:\n  it: "):
        read_data_list(path)


def test_what_a_list_holds_in_the_wrong_place_is_quoted_in_a_line(tmp_path):
    path = tmp_path / "list.json"
    entry = LIST["training"][0] | {"case_id": 5, "x" * 900: 1, "fold": "many words " * 900}
    path.write_text(json.dumps(LIST | {"training": [entry] * 100}), encoding="utf-8")

    with pytest.raises(DataListError) as caught:
        read_data_list(path)

    _, *lines, last = str(caught.value).splitlines()
    assert (len(lines), last) == (10, "  and 290 more")
    assert max(map(len, lines)) < 300


def test_a_list_that_is_not_there_is_refused_with_the_command_that_makes_it(tmp_path):
    path = tmp_path / "my list.json"

    with pytest.raises(DataListError, match=r"my list\.json does not exist") as error:
        read_data_list(path)

    assert error.value.remedy == f"make one with: volseg split FOLDER -o '{path}'"
    (tmp_path / "folder.json").mkdir()
    with pytest.raises(DataListError, match=r"folder\.json cannot be read"):
        read_data_list(tmp_path / "folder.json")


def test_keys_of_the_decathlon_are_accepted(tmp_path):
    path = tmp_path / "list.json"
    extra = {"description": "", "labels": {"1": "x"}, "numTraining": 1, "modality": {"0": "t1c"}}
    path.write_text(json.dumps(LIST | extra), encoding="utf-8")

    (case,) = read_data_list(path).training

    assert case == VolumeCase("A", "A", (tmp_path / "a",), ("t1c",), (tmp_path / "b",))


def test_a_glioma_of_2021_and_its_release_of_2023_are_one_patient():
    assert patient_of("BraTS2021_00002") == patient_of("BraTS-GLI-00002-000") == "BraTS-GLI-00002"
    assert patient_of("BraTS2021_00006") != patient_of("BraTS-GLI-00002-000")


def test_the_shipped_list_of_brats_2021_has_the_published_folds(tmp_path):
    data_list = read_data_list(SHIPPED / "brats2021.json", tmp_path)

    fold = {case.case_id: case.fold for case in data_list.training}
    assert Counter(fold.values()) == {0: 251, 1: 250, 2: 250, 3: 250, 4: 250}
    assert (fold["BraTS2021_00000"], fold["BraTS2021_01619"], len(fold)) == (4, 1, 1251)
    assert {case.labels for case in data_list.training} == {"brats2021"}
    first = data_list.training[0]
    assert first.images[1] == tmp_path / "BraTS2021_00000" / "BraTS2021_00000_t1ce.nii.gz"


def test_the_shipped_list_of_msd_has_the_folds_of_nnunet(tmp_path):
    data_list = read_data_list(SHIPPED / "msd_task01.json", tmp_path)

    cases = data_list.training
    assert (len(cases), len(data_list.testing)) == (484, 266)
    # KFold(5, shuffle=True, random_state=12345) shuffles the indices and cuts them up in order.
    order = np.arange(len(cases))
    np.random.RandomState(12345).shuffle(order)
    for fold, members in enumerate(np.array_split(order, 5)):
        assert {cases[i].fold for i in members} == {fold}
    assert [case.case_id for case in cases] == sorted(case.case_id for case in cases)
    assert cases[0].images == (tmp_path / "imagesTr" / "BRATS_001.nii.gz",)
    assert cases[0].channels == ("t2f", "t1n", "t1c", "t2w")
    assert {case.labels for case in cases} == {"msd"}


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.name)
def test_every_shipped_list_knows_its_patients_and_is_described(path, tmp_path):
    data_list = read_data_list(path, tmp_path)

    assert all(case.patient_id == patient_of(case.case_id) for case in data_list.training)
    assert f"`{path.name}`" in (SHIPPED / "README.md").read_text(encoding="utf-8")
    with pytest.raises(DataListError, match="does not say where its scans are"):
        read_data_list(path)


def test_the_real_scans_are_found(real_data):
    finding = find_cases([real_data])

    assert finding.layouts == {
        "BraTS 2017 to 2022": 7,
        "BraTS-GLI": 2,
        "BraTS-MET": 1,
        "TCGA": 1,
    }
    by_id = {case.case_id: case for case in finding.cases}
    assert by_id["TCGA-FG-6692"].channels == ("t1n", "t1c", "t2w", "t2f")
    assert by_id["Brats18_2013_21_1"].patient_id == "Brats18_2013_21"
    assert [path.name for path in by_id["BraTS-MET-00110-000"].images] == [
        "t1.nii.gz",
        "t1c.nii.gz",
        "t2.nii.gz",
        "flair.nii.gz",
    ]
    assert all(path.is_file() for case in finding.cases for path in case.images)
    found = reasons(finding)
    assert "label map without images" in found["brats2024_labels"]
    assert found["kaggle_3m"].startswith("2000 files, such as TCGA_CS_4941_19960909/")


def test_monai_reads_the_slices_of_a_stack(tmp_path):
    entry = load_decathlon_datalist(SHIPPED / "lgg.json", base_dir=tmp_path)[0]

    patient = tmp_path / "kaggle_3m" / "TCGA_CS_4941_19960909"
    assert len(entry["image"]) == len(entry["label"]) == 23
    assert entry["image"][9] == str(patient / "TCGA_CS_4941_19960909_10.tif")
    assert entry["label"][0] == str(patient / "TCGA_CS_4941_19960909_1_mask.tif")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"spacing_mm": [1.0, 1.0]}, "training.0.spacing_mm: list should have at least 3 items"),
        ({"spacing_mm": [1, 0, 1]}, "training.0.spacing_mm.1: input should be greater than"),
        ({"label": ["m"]}, "case A has 1 label maps, but 2 expected; list one for each slice"),
        ({"groups": {"grade": 2}}, "training.0.groups.grade: input should be a valid string"),
    ],
)
def test_a_stack_with_a_mistake_is_refused_in_words(tmp_path, change, message):
    stack = ENTRY | {"image": ["1.png", "2.png"], "label": ["1m.png", "2m.png"]}
    path = tmp_path / "list.json"
    path.write_text(json.dumps(LIST | {"training": [stack | change]}), encoding="utf-8")

    with pytest.raises(DataListError) as error:
        read_data_list(path)

    assert message in str(error.value)


def test_a_link_to_a_list_that_is_gone_is_no_list(tmp_path):
    (tmp_path / "list.json").symlink_to(tmp_path / "gone.json")

    with pytest.raises(DataListError, match=r"list\.json does not exist"):
        read_data_list(tmp_path / "list.json")
