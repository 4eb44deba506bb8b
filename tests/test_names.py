"""What names of files and cases say: channel, label map, case, patient; in public cohorts too."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.cases.identity import is_examination, patient_key, patient_of
from volseg.errors import ConfigError, DataListError
from volseg.finding.folders import find_cases, find_scans
from volseg.finding.name_reading import read_name
from volseg.finding.naming import Naming

FOUR = ("t1n", "t1c", "t2w", "t2f")


def touch(folder: Path, *names: str) -> Path:
    """Files that differ from each other, so that none is a copy."""
    for name in names:
        path = folder / f"{name}.nii.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return folder


def cases_in(folder: Path, **options: object) -> dict[str, Case]:
    return {case.case_id: case for case in find_cases([folder], **options).cases}  # type: ignore[arg-type]


def reasons(folder: Path) -> dict[str, str]:
    return {skipped.path.name: skipped.sentence for skipped in find_cases([folder]).skipped}


# Contents


@pytest.mark.parametrize(
    "name",
    [
        "T1c T1ce T1CE T1gd T1Gd T1wCE T1wGd T1post T1contrast T1KM CT1 CET1 GdT1 ceT1w postT1",
        "T1_post T1_GD T1_Gd T1w_CE T1-C T1+C T1_+C T1_+gd T1_contrast T1_postcontrast T1_gad",
        "T1_post_contrast T1_contrast_enhanced T1_with_contrast T1_gadolinium T1_post_gd",
        "ce_T1 ce-gadolinium_T1w gd_T1 gad_T1 contrast_T1w postcontrast_T1 CE-T1w ce_T1c",
        "MPRAGE_GD MPRAGEpost T1_MPRAGE_post MPRAGE_T1_gd gd_MPRAGE T1MPRAGE_ce",
    ],
)
def test_words_of_contrast_agent_on_either_side_of_t1_mean_t1c(name):
    for one in name.split():
        read = read_name(f"P7_{one}.nii.gz", ())
        assert (read.case, read.contents, read.other) == ("P7", ("t1c",), None), one


@pytest.mark.parametrize(
    "name",
    [
        *["p1/p1_ce-gd_run-1_T1w", "p1/p1_ce-gd_acq-mprage_T1w", "p1/p1_gd_run1_T1", "p1/Gd_p1_T1"],
        *[
            "p1/p1_gad_reg_T1",
            "p1/p1_post_gd_brain_T1",
            "p1/p1_post_brain_T1",
            "p1/p1_post_run1_T1",
        ],
        *[
            "p1/postcontrast/T1",
            "p1/T1_post/T1",
            "p1/Gd/T1",
            "p1/ce-gd/T1w",
            "p1/post/T1",
            "p1_gd/p1_T1",
            "p1/Gd/nii/T1",
        ],
    ],
)
def test_a_word_of_contrast_agent_in_a_name_or_its_folder_never_stands_beside_native_t1(
    tmp_path, name
):
    touch(tmp_path, name)

    with contextlib.suppress(DataListError):
        assert [case.channels for case in find_cases([tmp_path], ["t1c"]).cases] == [("t1c",)]
        return

    with pytest.raises(
        DataListError, match="a word of contrast agent; if it is T1 without the agent, give"
    ):
        find_cases([tmp_path], ["t1n"])


@pytest.mark.parametrize(
    "name",
    [
        *[
            "p1/p1_T1_C-",
            "p1/p1_T1C-",
            "p1/p1_T1_Gd-",
            "p1/p1_T1_-C",
            "p1/p1_noGd_T1",
            "p1/p1_T1_no_gd",
        ],
        *["p1/p1_no_gd_run1_T1", "p1/no-contrast/T1", "p1/noncontrast/T1", "p1/wo_contrast/T1"],
        *["p1/pre/T1", "Gdansk_7/Gdansk_7_T1", "CEDAR-1/T1", "gadget/p1_T1", "P7_post-op/T1"],
        *["MU-Glioma-Post_0003/MU-Glioma-Post_0003_T1", "ses-post/sub-1_ses-post_T1w"],
    ],
)
def test_t1_without_agent_and_names_that_only_begin_like_one_are_t1n(tmp_path, name):
    touch(tmp_path, name)

    (case,) = find_cases([tmp_path], ["t1n"]).cases

    assert case.channels == ("t1n",)


def test_beside_t1_after_contrast_a_word_of_it_in_the_name_of_a_case_says_nothing(tmp_path):
    touch(tmp_path / "CE_001", "CE_001_T1", "CE_001_T1CE", "CE_001_T2", "CE_001_FLAIR")
    touch(tmp_path / "x" / "Gd", "T1", "T1c", "T2", "FLAIR")

    assert cases_in(tmp_path)["CE_001"].images[0].name == "CE_001_T1.nii.gz"
    assert cases_in(tmp_path)["Gd"].images[0].name == "T1.nii.gz"


@pytest.mark.parametrize(
    "name",
    [
        "T1 t1n T1w T1WI T1_pre T1_native T1_pre_contrast T1_without_contrast T1_no_contrast",
        "T1_noncontrast non_contrast_T1 precontrast_T1w pre_gd_T1 native_T1 MPRAGE T1_MPRAGE preT1",
    ],
)
def test_t1_without_such_a_word_or_with_its_opposite_is_t1n(name):
    for one in name.split():
        read = read_name(f"P7_{one}.nii.gz", ())
        assert (read.case, read.contents, read.other) == ("P7", ("t1n",), None), one


@pytest.mark.parametrize(
    ("names", "channel"),
    [
        ("T2 T2w t2wi", "t2w"),
        ("FLAIR fla t2f T2_FLAIR T2w_FLAIR T2FLAIR T2wFLAIR FLAIR_T2 FLAIR_T2w T2-flair", "t2f"),
    ],
)
def test_flair_is_never_taken_for_t2(names, channel):
    for one in names.split():
        read = read_name(f"P7_{one}.nii.gz", ())
        assert (read.case, read.contents) == ("P7", (channel,)), one


@pytest.mark.parametrize(
    "name",
    [
        "T2star",
        "T2_star",
        "T2s",
        "T2map",
        "SWI",
        "SWI_T2",
        "DWI",
        "ADC",
        "DTI_eddy_FA",
        "ASL",
        "T1rho",
        "T1_map",
        "T1_bias",
        "T1_unstripped",
        "T1_FLAIR",
        "T1_T2",
        "FLAIR_post",
        "T2_GD",
        "contrast_t1n",
        "T1c_pre",
        "T1_pre_post",
        "brain_mask",
        "mask",
        "seg_mask",
        "brain_segmentation",
        "brain_parenchyma_segmentation",
        "automated_approx_segm",
        "T1_seg",
        "GlistrBoost",
        "pred_seg",
    ],
)
def test_what_a_name_does_not_say_is_not_guessed(name):
    assert read_name(f"P7_{name}.nii.gz", ()).contents == ()


@pytest.mark.parametrize(
    "name",
    [
        "seg",
        "Seg",
        "segm",
        "segmentation",
        "segmentations",
        "label",
        "labels",
        "gtv",
        "gt",
        "tumor_segmentation",
        "tumour_seg",
        "tumorMask",
        "tumor_mask",
        "lesion_mask",
        "tumorseg",
        "final_seg",
        "manual_segmentation",
        "T1c_tumor_seg",
        "GlistrBoost_ManuallyCorrected",
    ],
)
def test_label_maps_are_known_by_many_endings(name):
    read = read_name(f"P7_{name}.nii.gz", ())
    assert (read.case, read.contents) == ("P7", (LABEL,))


@pytest.mark.parametrize(
    ("name", "contents"),
    [
        ("T1w", ("t1n",)),
        ("ce-gadolinium_T1w", ("t1c",)),
        ("acq-ax_ce-gd_rec-norm_run-2_T1w", ("t1c",)),
        ("acq-postcontrast_T1w", ("t1c",)),
        ("acq-mpragegd_run-1_T1w", ("t1c",)),
        ("ce-none_T1w", ("t1n",)),
        ("acq-precontrast_T1w", ("t1n",)),
        ("acq-space_T1w", ("t1n",)),
        ("T1ce", ("t1c",)),
        ("T2w", ("t2w",)),
        ("acq-tse_run-1_T2w", ("t2w",)),
        ("FLAIR", ("t2f",)),
        ("t2f", ("t2f",)),
        ("seg", (LABEL,)),
        ("dseg", (LABEL,)),
        ("label-tumor_mask", (LABEL,)),
        ("desc-lesion_dseg", (LABEL,)),
        ("T2starw", ()),
        ("acq-flair_T2w", ()),
        ("part-phase_T1w", ()),
        ("ce-gadolinium_FLAIR", ()),
        ("ce-none_T1ce", ()),
        ("desc-brain_mask", ()),
        ("desc-aparcaseg_dseg", ()),
    ],
)
def test_entities_of_bids_make_no_new_case(name, contents):
    read = read_name(f"sub-01_ses-pre_{name}.nii.gz", ())
    assert (read.case, read.contents) == ("sub-01_ses-pre", contents)


def test_a_contrast_that_is_asked_for_is_known_by_its_name():
    assert read_name("P7_ADC.nii", ("adc",)).contents == ("adc",)
    assert read_name("sub-01_adc.nii", ("adc",)).contents == ("adc",)


def test_names_beside_it_tell_whether_post_is_a_time_or_a_contrast(tmp_path):
    visits = [f"visits/P7_{v}_{c}" for v in ("pre", "post") for c in ("T1", "T1ce", "T2", "FLAIR")]
    agents = [f"agents/P8_{c}" for c in ("pre_T1", "post_T1", "T2", "FLAIR")]
    touch(tmp_path, *visits, *agents)

    cases = cases_in(tmp_path)

    assert set(cases) == {"P7_pre", "P7_post", "P8"}
    assert cases["P7_post"].images[0].name == "P7_post_T1.nii.gz"
    assert cases["P8"].images[1].name == "P8_post_T1.nii.gz"
    assert cases["P7_pre"].patient_id == cases["P7_post"].patient_id == "P7"


def test_where_no_name_tells_it_post_is_refused(tmp_path):
    touch(tmp_path, "P7_post_T1", "P7_post_seg")

    with pytest.raises(DataListError, match="may mean the time of the examination or the contrast"):
        find_cases([tmp_path], ("t1n",))


# Patients


@pytest.mark.parametrize(
    ("cases", "patient"),
    [
        (("Brats17_2013_10_1", "Brats18_2013_10_1", "BraTS19_2013_10_1"), "brats_2013_10"),
        (("Brats17_TCIA_192_1", "Brats18_TCIA01_192_1", "BRATS19_TCIA01_192_2"), "brats_tcia_192"),
        (("BraTS2021_00002", "BraTS-GLI-00002-000", "brats-gli-00002-001"), "brats-gli-00002"),
        (("UPENN-GBM-00001_11", "upenn-gbm-00001_21"), "upenn-gbm-00001"),
        (("UCSF-PDGM-0004", "UCSF-PDGM-0004_FU007d", "UCSF-PDGM-4"), "ucsf-pdgm-0004"),
        (("RHUH-0001_0", "RHUH-0001_2"), "rhuh-0001"),
        (("PatientID_0003_Timepoint_1", "PatientID_0003_Timepoint_12"), "patientid_0003"),
        (("Patient-001_week-000-1", "Patient-001_week-044"), "patient-001"),
        (("sub-01", "sub-01_ses-1", "SUB-01_ses-post"), "sub-01"),
        (("TCGA_CS_4941_19960909", "TCGA_CS_4941"), "tcga_cs_4941"),
        (("TCGA-02-0006_1996.08.23", "TCGA-02-0006"), "tcga-02-0006"),
        (("P7_20190304", "P7_2020-01-02", "P7_baseline", "P7_visit2", "P7_fu1", "p7"), "p7"),
        (("M\u00fcller_baseline", "Mu\u0308ller_visit1"), "m\u00fcller"),
        (("100001_time1", "100001_time2"), "100001"),
        (("ReMIND-001-preop", "ReMIND-001-intraop", "ReMIND-001-post_op2"), "remind-001"),
        (("P7_pretreatment", "P7-post-surgery", "P7_month3", "P7_M12", "P7_recurrence"), "p7"),
    ],
)
def test_examinations_of_a_patient_have_one_patient(cases, patient):
    assert {patient_key(patient_of(case)) for case in cases} == {patient}


@pytest.mark.parametrize(
    "case",
    ["patient_7", "exam.5", "scan_3", "glioma_scan_007", "BRATS_001", "A", "BraTS20_Training_001"],
)
def test_the_name_of_a_case_is_not_cut_down_to_a_word(case):
    assert patient_of(case) == case


@pytest.mark.parametrize(
    "name", ["week-000", "week-000-1", "Timepoint_2", "ses-01", "baseline", "2019-03-04", "T0"]
)
def test_folders_of_examinations_are_known(name):
    assert is_examination(name)


# Cohorts


def cohort(*patterns: str) -> list[str]:
    """Names of files; `{a,b}` stands for each of its words."""
    names: list[str] = []
    for pattern in patterns:
        before, brace, rest = pattern.partition("{")
        if not brace:
            names.append(pattern)
            continue
        words, _, after = rest.partition("}")
        names += cohort(*(before + word + after for word in words.split(",")))
    return names


COHORTS = {
    "UPENN-GBM": (
        [
            "images_structural/UPENN-GBM-00002_{11,21}/UPENN-GBM-00002_11_{T1,T1GD,T2,FLAIR}",
            "images_segm/UPENN-GBM-00002_11_segm",
            "automated_segm/UPENN-GBM-00002_11_automated_approx_segm",
        ],
        {"UPENN-GBM-00002_11": ("UPENN-GBM-00002", "images_segm/UPENN-GBM-00002_11_segm")},
    ),
    "UCSF-PDGM": (
        [
            "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1_bias,T1c,T1c_bias,T2,FLAIR,ADC,SWI,DWI}",
            "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{tumor,brain,brain_parenchyma}_segmentation",
            "UCSF-PDGM-0004_FU003d_nifti/UCSF-PDGM-0004_FU003d_{T1,T1c,T2,FLAIR}",
        ],
        {
            "UCSF-PDGM-0004": (
                "UCSF-PDGM-0004",
                "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_tumor_segmentation",
            ),
            "UCSF-PDGM-0004_FU003d": ("UCSF-PDGM-0004", None),
        },
    ),
    "RHUH-GBM": (
        ["RHUH-0001/0/RHUH-0001_0_{adc,flair,segmentations,t1ce,t1,t2}"],
        {"RHUH-0001_0": ("RHUH-0001", "RHUH-0001/0/RHUH-0001_0_segmentations")},
    ),
    "LUMIERE": (
        [
            "Imaging/Patient-{001,002}/week-{000-1,044}/{T1,CT1,T2,FLAIR}",
            "Imaging/Patient-001/week-044/HD-GLIO-AUTO-segmentation/native/segmentation_CT1_x",
        ],
        {
            f"Imaging_Patient-{p}_week-{w}": (f"Patient-{p}", None)
            for p in ("001", "002")
            for w in ("000-1", "044")
        },
    ),
    "MU-Glioma-Post": (
        [
            "PatientID_0003/Timepoint_1/PatientID_0003_Timepoint_1_brain_{t1n,t1c,t2w,t2f}",
            "PatientID_0003/Timepoint_1/PatientID_0003_Timepoint_1_tumorMask",
        ],
        {
            "PatientID_0003_Timepoint_1": (
                "PatientID_0003",
                "PatientID_0003/Timepoint_1/PatientID_0003_Timepoint_1_tumorMask",
            )
        },
    ),
    "BraTS-Africa": (
        ["95_Glioma/BraTS-SSA-00041-000/BraTS-SSA-00041-000-{t1n,t1c,t2w,t2f,seg}"],
        {
            "BraTS-SSA-00041-000": (
                "BraTS-SSA-00041",
                "95_Glioma/BraTS-SSA-00041-000/BraTS-SSA-00041-000-seg",
            )
        },
    ),
    "EGD": (
        [
            "SUBJECTS/EGD-0001/1_T1/NIFTI/T1",
            "SUBJECTS/EGD-0001/2_T1GD/NIFTI/T1GD",
            "SUBJECTS/EGD-0001/3_T2/NIFTI/T2",
            "SUBJECTS/EGD-0001/4_FLAIR/NIFTI/FLAIR",
            "SUBJECTS/EGD-0001/5_MASK/NIFTI/MASK",
        ],
        {"EGD-0001": ("EGD-0001", "SUBJECTS/EGD-0001/5_MASK/NIFTI/MASK")},
    ),
    "BIDS": (
        [
            "sub-01/ses-{1,2}/anat/sub-01_ses-1_{T1w,ce-gadolinium_T1w,T2w,FLAIR}",
            "derivatives/drawn/sub-01/ses-1/anat/sub-01_ses-1_{dseg,desc-brain_mask}",
        ],
        {"sub-01_ses-1": ("sub-01", "derivatives/drawn/sub-01/ses-1/anat/sub-01_ses-1_dseg")},
    ),
    "folders for each kind": (
        ["T1/P7_T1", "T1CE/P7_T1CE", "T2/P7_T2", "FLAIR/P7_FLAIR", "labels/P7_seg"],
        {"P7": ("P7", "labels/P7_seg")},
    ),
    "time points called T0 and T1": (
        ["P7/{T0,T1}/{t1,t1ce,t2,flair}"],
        {"P7_T0": ("P7", None), "P7_T1": ("P7", None)},
    ),
}


@pytest.mark.parametrize("name", COHORTS)
def test_public_cohorts_are_found_as_they_lie(tmp_path, name):
    patterns, expected = COHORTS[name]
    # Two visits of one name in a pattern are told apart by the folder.
    names = [
        n.replace("00002_11_", "00002_21_") if "00002_21/" in n else n for n in cohort(*patterns)
    ]
    names = [n.replace("ses-1_", "ses-2_") if "/ses-2/" in n else n for n in names]
    touch(tmp_path, *names)

    cases = cases_in(tmp_path)

    found = {
        case_id: (
            case.patient_id,
            case.label[0].relative_to(tmp_path).as_posix()[:-7] if case.label else None,
        )
        for case_id, case in cases.items()
        if case_id in expected
    }
    assert found == {
        case_id.removeprefix("Imaging_") if case_id not in cases else case_id: told
        for case_id, told in expected.items()
    }
    assert all(case.channels == FOUR for case in cases.values())


def test_the_label_map_of_another_patient_is_given_to_no_one(tmp_path):
    touch(tmp_path, *cohort("P1/scan_{t1,t1ce,t2,flair}", "P2/scan_seg"))

    assert cases_in(tmp_path)["scan"].label == ()
    assert reasons(tmp_path) == {"scan_seg.nii.gz": "label map without images"}


def test_a_label_map_that_may_be_of_either_of_two_cases_is_given_to_neither(tmp_path):
    images = cohort("images_{2018,2021}/P7/P7_{t1,t1ce,t2,flair}")
    touch(tmp_path, *images, "labels/P7_seg")

    assert {case.label for case in cases_in(tmp_path).values()} == {()}
    assert "map of one of several cases of this name, in" in reasons(tmp_path)["P7_seg.nii.gz"]


def test_two_runs_of_a_channel_are_refused_by_name(tmp_path):
    touch(tmp_path, *cohort("sub-01/anat/sub-01_{run-1_T1w,run-2_T1w,ce-gd_T1w,T2w,FLAIR}"))

    with pytest.raises(DataListError, match=r"channel t1n: sub-01_run-1_T1w\S+ sub-01_run-2_T1w"):
        find_cases([tmp_path])


# Names that only the user knows

SERIES = {"t1c": "*MPRAGE_GD*", "t1n": "*MPRAGE*", "t2w": "*T2_tse*", "t2f": "*dark-fluid*"}


@pytest.mark.parametrize(
    ("pattern", "case_ids"),
    [
        ("P{1,2}/P{1,2}_{MPRAGE_GD_iso,MPRAGE_iso,T2_tse,dark-fluid}", {"P1", "P2"}),
        ("P{1,2}_{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}", {"P1", "P2"}),
        ("{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}_P{1,2}", {"P1", "P2"}),
        ("P{1,2}/{3_MPRAGE_GD,4_MPRAGE_a,5_T2_tse,6_dark-fluid}", {"P1", "P2"}),
        ("P{1,2}/{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}", {"P1", "P2"}),
        (
            "sub-{1,2}_ses-1_acq-x_{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}",
            {"sub-1_ses-1", "sub-2_ses-1"},
        ),
    ],
)
def test_the_user_says_which_names_channels_have(tmp_path, pattern, case_ids):
    names = [n for n in cohort(pattern) if not ("P1/P2" in n or "P2/P1" in n)]
    touch(tmp_path, *names)

    cases = cases_in(tmp_path, naming=Naming(SERIES))

    assert set(cases) == case_ids
    for case in cases.values():
        assert [name for name in SERIES if name in case.channels] == list(SERIES)
        assert ["GD" in path.name for path in case.images] == [False, True, False, False]


PROTOCOL = {"t1c": "*POST_GAD*", "t1n": "T1_AX*", "t2w": "*T2_AX*", "t2f": "*FLAIR*"}
PROTOCOL_NAMES = (
    "MRHR_FLAIR_AX_Si_MRHR_FLAIR_AX_SE_IR_5_tir2d1_21_fla",
    "MRHR_T2_AX_Si_MRHR_T2_AX_SE_2_tse2d1_11_t2",
    "MRHR_T1_AX_POST_GAD_Si_MRHR_T1_AX_POST_GAD_SE_13_se2d1r_t1c",
    "T1_AX_Si_T1_AX_SE_10_se2d1_t1",
)


@pytest.mark.parametrize(
    ("globs", "folders", "below", "case_ids"),
    [
        (PROTOCOL, ("P7",), "", {"P7"}),
        (PROTOCOL, ("P7",), "P7", {"P7"}),
        (PROTOCOL, ("P7", "P8"), "", {"P7", "P8"}),
        (PROTOCOL, ("P7/anat",), "", {"P7"}),
        (PROTOCOL, ("P7/one", "P8/one"), "", {"P7_one", "P8_one"}),
        ({"t1c": "*_t1c.nii.gz", "t1n": "*_T1.nii*", "t2w": "*_t2", "t2f": "*fla.*gz"}, ("P7",), "",
         {"P7"}),
        ({"t1c": "*POST_GAD*"}, ("P7",), "", {"P7"}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("find", [find_cases, find_scans])
def test_files_called_by_protocol_are_one_case_called_by_the_folder(
    tmp_path, find, globs, folders, below, case_ids
):
    touch(tmp_path, *(f"{folder}/{name}" for folder in folders for name in PROTOCOL_NAMES))
    top = tmp_path / below

    finding = find(top if find is find_scans else [top], naming=Naming(globs))

    assert {case.case_id for case in finding.cases} == case_ids
    for case in finding.cases:
        assert [path.name.split(".")[0].rpartition("_")[2] for path in case.images] == [
            "t1", "t1c", "t2", "fla"
        ]  # fmt: skip
    assert not finding.skipped
    assert [note.partition(" are ")[2] for note in finding.notes] == [
        "taken as one case, named after its folder"
    ]


IN_FOLDER = ("FLAIR_AX_TCGA-9_IR_5_fla", "T2_AX_TCGA-9_tse2d_t2", "T1_AX_TCGA-9_SE_10_t1")


@pytest.mark.parametrize("find", [find_cases, find_scans])
def test_files_whose_names_all_hold_the_name_of_their_folder_are_one_case(tmp_path, find):
    touch(tmp_path, *(f"scans/TCGA-9/{name}" for name in IN_FOLDER))
    channels = ("t1n", "t2w", "t2f")

    finding = find(tmp_path if find is find_scans else [tmp_path], channels)

    (case,) = finding.cases
    assert (case.case_id, case.channels) == ("TCGA-9", channels)
    (note,) = finding.notes
    assert "are taken as one case: each name holds TCGA-9, and each is of another" in note


@pytest.mark.parametrize(
    "names",
    [
        IN_FOLDER[:2],  # perhaps of two examinations
        (*IN_FOLDER, "T1_COR_TCGA-9_SE_10_t1"),  # two files of a channel
        (*IN_FOLDER[:2], "T1_AX_TCGA-99_SE_10_t1"),  # of another patient
    ],
)
def test_other_files_in_a_folder_are_not_one_case(tmp_path, names):
    touch(tmp_path, *(f"TCGA-9/{name}" for name in names))

    with pytest.raises(DataListError, match="files were read as"):
        find_cases([tmp_path], ["t1n", "t2w", "t2f"])


def test_what_is_left_of_names_is_no_case_without_a_number(tmp_path):
    touch(tmp_path, *cohort("scans/MRHR_{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}"))

    assert set(cases_in(tmp_path, naming=Naming(SERIES))) == {"scans"}
    assert not find_cases([tmp_path], naming=Naming(SERIES)).notes


@pytest.mark.parametrize("patient", ["TCGA-FG-669", "P"])
def test_files_of_two_patients_are_not_one_case(tmp_path, patient):
    touch(
        tmp_path, *cohort(f"{patient}1_{{MPRAGE_GD,MPRAGE}}", f"{patient}2_{{T2_tse,dark-fluid}}")
    )

    with pytest.raises(DataListError, match=rf"case {patient}1: missing channels t2w, t2f"):
        find_cases([tmp_path], naming=Naming(SERIES))


def test_names_from_which_no_case_is_left_are_refused_with_what_each_glob_fits(tmp_path):
    touch(tmp_path, *(f"P7/{name}" for name in (*PROTOCOL_NAMES, "COR_T2_AX_b")))
    touch(tmp_path, *cohort("P8_{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}"))

    with pytest.raises(DataListError) as refusal:
        find_cases([tmp_path / "P7"], naming=Naming(PROTOCOL))

    told = str(refusal.value)
    assert "P7: case P7: the rest of the names differs from channel to channel: " in told
    assert "--name t2w=*T2_AX* fits COR_T2_AX_b.nii.gz and 1 more" in told
    assert (
        "--name t2f=*FLAIR* fits MRHR_FLAIR_AX_Si_MRHR_FLAIR_AX_SE_IR_5_tir2d1_21_fla.nii.gz"
        in (told)
    )


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (PROTOCOL_NAMES, "4 files were read as 4 cases that each lack channels; if they are"),
        (("MRHR_T2", "MRHR_FLAIR", "AX_T1", "AX_T1_gd"), "4 files were read as 2 cases"),
        (("1_T1_gd", "2_T1_gd", "1x_T2", "2x_T2"), "4 files were read as 4 cases"),
        (("3_tirm", "T1_mpr"), "no known channel (such as t1n, t1c, t2w, t2f) and not in seg; if"),
    ],
)
def test_where_names_are_not_understood_the_refusal_is_short_and_says_how_to_name_files(
    tmp_path, names, told
):
    touch(tmp_path, *(f"P7/{name}" for name in names))

    with pytest.raises(DataListError) as refusal:
        find_cases([tmp_path / "P7"])

    assert told in str(refusal.value)
    assert str(refusal.value).endswith(
        "name the files: --name t1n='*GLOB*' --name t1c='*GLOB*' and so on"
    )
    assert "complete the case" not in str(refusal.value)
    assert len(str(refusal.value).replace(str(tmp_path), "")) < 300


def test_cases_of_one_folder_that_all_lack_the_same_are_told_one_by_one(tmp_path):
    touch(tmp_path, *cohort("scans/P{1,2}_{t1,t1ce,t2}"))

    with pytest.raises(DataListError, match=r"case P1: missing channel t2f; .*case P2: missing"):
        find_cases([tmp_path])


def test_a_case_that_lacks_a_channel_does_not_hide_one_that_is_complete(tmp_path):
    touch(
        tmp_path, *cohort("P1_{MPRAGE_GD,MPRAGE,T2_tse,dark-fluid}", "P2_{MPRAGE_GD,MPRAGE,T2_tse}")
    )

    finding = find_cases([tmp_path], naming=Naming(SERIES))

    assert [case.case_id for case in finding.cases] == ["P1"]
    assert [entry.case_id for entry in finding.skipped] == ["P2"]


def test_what_the_user_names_counts_instead_of_names_that_are_known(tmp_path):
    touch(tmp_path, *cohort("P7_{t1,t1ce,t1ce_sharp,t2,flair,seg,drawn}"))
    naming = Naming({"t1c": "*_sharp"}, "_drawn")

    case = cases_in(tmp_path, naming=naming)["P7"]

    assert (case.images[1].name, case.label[0].name) == ("P7_t1ce_sharp.nii.gz", "P7_drawn.nii.gz")


def test_a_glob_with_a_slash_is_compared_with_the_path(tmp_path):
    touch(tmp_path, *cohort("P7/{pre,post}/T1", "P7/{T2,FLAIR}"))
    naming = Naming({"t1n": "*/pre/T1", "t1c": "*/post/T1"})

    with pytest.raises(DataListError, match="missing channel"):
        find_cases([tmp_path], naming=Naming({"t1n": "*/pre/T1"}))
    assert naming.read(Path("P7/post/T1.nii.gz"), read_name("T1.nii.gz", ())).contents == ("t1c",)


def test_a_name_that_fits_no_file_or_two_channels_alike_is_refused(tmp_path):
    touch(tmp_path, *cohort("P7_{t1,t1ce,t2,flair}"))

    with pytest.raises(DataListError, match=r"--name t1c=\*XYZ\* fits no file name below"):
        find_cases([tmp_path], naming=Naming({"t1c": "*XYZ*"}))
    with pytest.raises(DataListError, match=r"the pattern, such as '\*t1c\*' for a part of names"):
        find_cases([tmp_path], naming=Naming({"t1c": "t1c"}))
    with pytest.raises(DataListError, match=r"--label-name \*drawn fits no file name below"):
        find_cases([tmp_path], naming=Naming({}, "drawn"))
    with pytest.raises(ConfigError, match=r"--name gives \*t1ce for 2 channels; give each channel"):
        Naming({"t1n": "*t1ce", "t1c": "*t1ce"})


def test_a_channel_that_is_named_must_be_looked_for(tmp_path):
    touch(tmp_path, *cohort("P7_{t1,t1ce,t2,flair,ADC_map}"))
    naming = Naming({"adc": "*ADC_map"})

    with pytest.raises(ConfigError, match="--name names files of adc, which is not looked"):
        find_cases([tmp_path], naming=naming)
    assert cases_in(tmp_path, channels=("t1n", "adc"), naming=naming)["P7"].channels == (
        "t1n",
        "adc",
    )


def test_2d_images_have_no_such_names(tmp_path):
    (tmp_path / "1.png").touch()

    with pytest.raises(DataListError, match=r"are for NIfTI files, and .* holds 2D images"):
        find_cases([tmp_path], naming=Naming({"t1c": "*x*"}))


@pytest.mark.parametrize(
    ("names", "label", "message"),
    [
        (["t1c"], None, "--name is 't1c', expected CHANNEL=GLOB"),
        (["t1ce=*x*"], None, "channel 't1ce' is called 't1c' here"),
        (["t1c=*"], None, r"--name t1c=\* names no files"),
        (["t1c=*x", "t1c=*y"], None, "--name names t1c twice"),
        ([], "_", "--label-name '_' is empty"),
    ],
)
def test_a_name_with_a_mistake_is_refused_in_words(names, label, message):
    with pytest.raises(ConfigError, match=message):
        Naming.parse(names, label)


# Rare forms


def test_an_acquisition_called_native_is_t1_without_contrast_agent():
    assert read_name("sub-1_acq-native_T1w.nii.gz", ()).contents == ("t1n",)
    assert read_name("sub-1_acq-pre_T1w.nii.gz", ()).contents == ("t1n",)


def test_a_name_of_two_contrasts_alone_is_left_out_with_both(tmp_path):
    touch(tmp_path, "p1_flair_t1")

    assert read_name("p1_flair_t1.nii.gz", ()).problem == "the name says both flair and t1"
    with pytest.raises(DataListError, match="the name says both flair and t1"):
        find_cases([tmp_path], ["t1n"])


@pytest.mark.parametrize(
    "name", ["P1_FLAIR_to_T1", "T1c_to_T1", "FLAIR_brain_reg_T1gd", "T1_in_FLAIR", "T2_space-T1w"]
)
def test_a_contrast_that_was_moved_onto_another_is_neither(name):
    assert read_name(f"{name}.nii.gz", ()).problem.endswith("one moved onto the other")


@pytest.mark.parametrize("name", ["P1_reg_T1", "to_T1", "t2_space_flair"])
def test_a_contrast_that_was_moved_onto_something_is_that_contrast(name):
    assert read_name(f"{name}.nii.gz", ()).contents


def test_two_patterns_that_fit_a_file_as_well_as_each_other_name_neither(tmp_path):
    touch(tmp_path, "p/a_b", "p/b_a", "q/a_b_a")
    naming = Naming({"t1n": "*a_b*", "t1c": "*b_a*"})

    found = find_cases([tmp_path], ["t1n", "t1c"], naming=naming)

    assert [skipped.path.name for skipped in found.skipped] == ["a_b_a.nii.gz"]
    assert "--name and --label-name call it t1n and t1c" in found.skipped[0].sentence


def test_a_pattern_may_stretch_over_folders(tmp_path):
    touch(tmp_path, "a/bx/c")

    (case,) = find_cases([tmp_path], ["t1n"], naming=Naming({"t1n": "a/b*c"})).cases

    assert case.images == (tmp_path / "a" / "bx" / "c.nii.gz",)


def test_a_case_whose_files_name_several_patients_is_left_out(tmp_path):
    touch(tmp_path / "scans", "X_first_P1", "X_second_P2")
    naming = Naming({"t1n": "*first*", "t1c": "*second*"})

    with pytest.raises(DataListError, match="its files name as patient P1, P2; correct the"):
        find_cases([tmp_path / "scans"], ["t1n", "t1c"], patient_regex=r"P\d", naming=naming)
