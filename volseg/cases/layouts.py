"""Layouts of data sets: names of cases, patients and files, and schemes of label maps.

Each known data set is a `Layout` in `LAYOUTS`, which finding, label schemes, warnings and the
reference page use. Words in file names (`t1ce`, `FLAIR`, `seg`, ...) mean the same in all layouts;
`volseg.finding.name_reading` reads them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from volseg.images.file_names import stem


@dataclass(frozen=True)
class Release:
    """A release that shares patients with another release under different names.

    Attributes:
        name: Name in warnings.
        case_id: Pattern of complete case ids.
    """

    name: str
    case_id: re.Pattern[str]


def _named_patient(match: re.Match[str]) -> str:
    """The patient, by the group of that name."""
    return match["patient"]


@dataclass(frozen=True)
class Layout:
    """Names of cases and files of a data set, and the schemes of its label maps.

    Attributes:
        name: Name that `split` shows.
        example: Paths of the files of one case, with shell braces; shown on the reference page and
            checked by a test.
        example_patient: Patient of that case.
        case_id: Pattern of complete case ids; its group `patient` is the patient. None: the layout
            is not recognised by ids.
        patient: Function from a match of `case_id` to the patient.
        schemes: Possible label schemes; the second applies if a label map holds a value that the
            first does not define. Empty: the values alone decide.
        patients: How well names identify the patient: `known`; `doubtful` if a number may count
            patients or examinations; `unknown` if names are those of images.
        slices: Whether images are 2D.
        channels: Channels of a 2D image; None: those given by the user, else one channel `image`.
        masks: File names of label maps, without ending, that are label maps only in this layout.
        misnamed: Case of each misnamed label map of a release, by file name in lower case, without
            ending.
        releases: Releases that share patients with others.
    """

    name: str
    example: str
    example_patient: str
    case_id: re.Pattern[str] | None = None
    patient: Callable[[re.Match[str]], str] = _named_patient
    schemes: tuple[str, ...] = ()
    patients: Literal["known", "doubtful", "unknown"] = "known"
    slices: bool = False
    channels: tuple[str, ...] | None = None
    masks: frozenset[str] = frozenset()
    misnamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    releases: tuple[Release, ...] = ()

    def __str__(self) -> str:
        return self.name

    def __reduce__(self) -> str | tuple[Any, ...]:
        # Layouts of the registry are compared by identity, in other processes too.
        is_registered = any(self is layout for layout in LAYOUTS)
        return (_registered, (self.name,)) if is_registered else super().__reduce__()

    @property
    def paths(self) -> list[str]:
        """The paths of `example`.

        >>> PAIRS.paths
        ['images/1.png', 'masks/1.png']
        """
        before, _, rest = self.example.partition("{")
        alternatives, _, after = rest.partition("}")
        return [before + one + after for one in alternatives.split(",")]


def _ignoring_case(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE)


def _brats(task: str, schemes: tuple[str, ...] = (), release: str | None = None) -> Layout:
    """The layout of a task of BraTS 2023 to 2025."""
    pattern = _ignoring_case(rf"(?P<patient>BraTS-{task}-\d+)(?:-\d+)?")
    releases = (Release(release, _ignoring_case(rf"BraTS-{task}-.+")),) if release else ()
    example = f"BraTS-{task}-00002-000/BraTS-{task}-00002-000-{{t1n,t1c,t2w,t2f,seg}}.nii.gz"
    patient = f"BraTS-{task}-00002"
    return Layout(f"BraTS-{task}", example, patient, pattern, schemes=schemes, releases=releases)


def _cohort(
    name: str,
    example: str,
    example_patient: str,
    schemes: tuple[str, ...] = (),
    number: str = "[a-z0-9]+",
    masks: frozenset[str] = frozenset(),
    releases: tuple[Release, ...] = (),
) -> Layout:
    """The layout of a cohort that numbers its patients, followed by their examinations."""
    pattern = _ignoring_case(rf"(?P<patient>(?P<cohort>{name})-(?P<number>{number}))(?:[-_.].*)?")
    return Layout(
        name, example, example_patient, pattern, _padded, schemes, masks=masks, releases=releases
    )


def _padded(match: re.Match[str]) -> str:
    """The patient; the tables of UCSF-PDGM write 4 for 0004."""
    padded = match["cohort"].upper() == "UCSF-PDGM" and match["number"].isdecimal()
    return f"{match['cohort']}-{int(match['number']):04}" if padded else match["patient"]


def _of_2017_to_2022(match: re.Match[str]) -> str:
    """The patient; BraTS 2023 released the gliomas of 2021 again under the same five digits."""
    if match["number"]:
        return f"BraTS-GLI-{match['number']}"
    return match["patient"] or match[0]


BRATS_TO_2022 = Layout(
    "BraTS 2017 to 2022",
    "BraTS2021_00000/BraTS2021_00000_{t1,t1ce,t2,flair,seg}.nii.gz",
    "BraTS-GLI-00000",
    _ignoring_case(
        r"BraTS2021_(?P<number>\d{5})|(?P<patient>BraTS1[789]_.+)_\d+|BraTS(?:1[789]|20|202[012])_.+"
    ),
    _of_2017_to_2022,
    schemes=("brats2021",),
    # In the training data of BraTS 2020.
    misnamed={"w39_1998.09.19_segm": "BraTS20_Training_355"},
    releases=(
        Release("BraTS 2017 to 2019", _ignoring_case(r"BraTS1[789]_.+")),
        Release("BraTS 2020", _ignoring_case(r"BraTS20_.+")),
        Release("BraTS 2021", _ignoring_case(r"BraTS202[12]_.+")),
    ),
)
MU_GLIOMA_POST = Layout(
    "MU-Glioma-Post",
    "PatientID_0003/Timepoint_1/PatientID_0003_Timepoint_1_"
    "{brain_t1n,brain_t1c,brain_t2w,brain_t2f,tumorMask}.nii.gz",
    "PatientID_0003",
    _ignoring_case(r"(?P<patient>PatientID_\d+)_Timepoint_\d+"),
    schemes=("brats2023", "brats2024-gli"),
    releases=(Release("MU-Glioma-Post", _ignoring_case(r"PatientID_\d+_.+")),),
)
#: Files named t1ce often come with label maps as in 2017 to 2022, where 4 is enhancing tumour.
WITH_T1CE = Layout(
    "other data sets with t1ce",
    "P7/P7_{t1,t1ce,t2,flair,seg}.nii.gz",
    "P7",
    schemes=("brats2023", "brats2021"),
    patients="doubtful",
)
#: Pseudonyms of `convert`: any name, the number of the patient, the time point.
CONVERTED = Layout(
    "volseg convert",
    "PAT-00001-000/PAT-00001-000-{t1n,t1c,t2w,t2f,seg}.nii.gz",
    "PAT-00001",
    _ignoring_case(r"(?P<patient>[a-z][a-z0-9]*(?:-[a-z0-9]+){0,2}-\d{5,})-\d{3,}"),
)
BIDS = Layout(
    "BIDS",
    "sub-01/ses-1/anat/sub-01_ses-1_{T1w,ce-gadolinium_T1w,T2w,FLAIR,dseg}.nii.gz",
    "sub-01",
    _ignoring_case(r"(?P<patient>sub-[a-z0-9]+)(?:_.*)?"),
    patients="doubtful",
)
OTHER = Layout(
    "other data sets",
    "patient_7/visit_1/{t1,t1c,t2,flair,seg}.nii.gz",
    "patient_7",
    patients="doubtful",
)
MSD = Layout(
    "MSD",
    "{dataset.json,imagesTr/BRATS_001.nii.gz,labelsTr/BRATS_001.nii.gz}",
    "BRATS_001",
    releases=(Release("MSD", re.compile(r"BRATS_\d{3}")),),
)
NNUNET = Layout(
    "nnU-Net",
    "{dataset.json,imagesTr/P7_0000.nii.gz,imagesTr/P7_0001.nii.gz,labelsTr/P7.nii.gz}",
    "P7",
)
# The second token is the institution, the last the date of the examination.
LGG = Layout(
    "LGG (TCGA slices)",
    "kaggle_3m/TCGA_CS_4941_19960909/TCGA_CS_4941_19960909_{1,1_mask,2,2_mask}.tif",
    "TCGA_CS_4941",
    re.compile(r"(?P<patient>TCGA_(?P<institution>[^_]+)_[^_]+)(?:_\d{8})?"),
    schemes=("lgg",),
    slices=True,
    channels=("t1n", "t2f", "t1c"),  # before contrast, FLAIR, after contrast
)
NUMBERED_SLICES = Layout(
    "numbered slices in a folder for each case",
    "patient_7/patient_7_{1,1_mask,2,2_mask}.png",
    "patient_7",
    schemes=("binary",),
    patients="doubtful",
    slices=True,
)
PAIRS = Layout(
    "2D images and masks",
    "{images,masks}/1.png",
    "1",
    schemes=("binary",),
    patients="unknown",
    slices=True,
)
UNLABELLED = Layout("2D images", "1.png", "1", patients="unknown", slices=True)
DATA_LIST = Layout("data list", "list.json", "")

#: In the order in which case ids are compared with them.
LAYOUTS: tuple[Layout, ...] = (
    BRATS_TO_2022,
    _brats("GLI", ("brats2023", "brats2024-gli"), "BraTS-GLI of 2023 and later"),
    _brats("MET", ("brats2023", "brats2024-gli")),
    _brats("SSA", ("brats2023",)),
    _brats("MEN", ("brats2023",)),
    _brats("PED", ("brats2023", "brats2024-ped")),
    _brats("MEN-RT", ("men-rt",)),
    _cohort(
        "UPENN-GBM",
        "UPENN-GBM-00002_11/UPENN-GBM-00002_11_{T1,T1GD,T2,FLAIR,segm}.nii.gz",
        "UPENN-GBM-00002",
        ("brats2021",),
        releases=(Release("UPENN-GBM", _ignoring_case(r"UPENN-GBM-.+")),),
    ),
    _cohort(
        "UCSF-PDGM",
        "UCSF-PDGM-0004_nifti/UCSF-PDGM-0004_{T1,T1c,T2,FLAIR,tumor_segmentation}.nii.gz",
        "UCSF-PDGM-0004",
        ("brats2021",),
        releases=(Release("UCSF-PDGM", _ignoring_case(r"UCSF-PDGM-.+")),),
    ),
    _cohort("RHUH", "RHUH-0001/0/RHUH-0001_0_{t1,t1ce,t2,flair,segmentations}.nii.gz", "RHUH-0001"),
    _cohort(
        "EGD",
        "EGD-0001/{1_T1/NIFTI/T1,2_T1GD/NIFTI/T1GD,3_T2/NIFTI/T2,4_FLAIR/NIFTI/FLAIR,"
        "5_MASK/NIFTI/MASK}.nii.gz",
        "EGD-0001",
        ("binary",),
        masks=frozenset(("mask",)),
    ),
    _cohort(
        "TCGA",
        "TCGA-02-0003/TCGA-02-0003_{t1,t1Gd,t2,flair,GlistrBoost_ManuallyCorrected}.nii.gz",
        "TCGA-02-0003",
        ("brats2021",),
        number=r"(?:(?<=TCGA-)[a-z0-9]{2}-)?[a-z0-9]+",
        releases=(Release("TCGA", _ignoring_case(r"TCGA[-_].+")),),
    ),
    MU_GLIOMA_POST,
    CONVERTED,
    WITH_T1CE,
    BIDS,
    OTHER,
    MSD,
    NNUNET,
    LGG,
    NUMBERED_SLICES,
    PAIRS,
    UNLABELLED,
)
_ANY_TASK = _ignoring_case(r"(?P<patient>BraTS-(?P<task>[a-z]+(?:-[a-z]+)*)-\d+)(?:-\d+)?")


def _registered(name: str) -> Layout:
    """The layout of the registry with this name."""
    return next(layout for layout in LAYOUTS if layout.name == name)


def layout_of(case_id: str, file_names: Collection[str] = ()) -> Layout:
    """Layout of a case of volumes, by its id or by a file named t1ce.

    >>> str(layout_of("BraTS-PED-00003-000")), str(layout_of("BraTS2021_00000"))
    ('BraTS-PED', 'BraTS 2017 to 2022')
    """
    known = _known(case_id)
    if known is not None and known not in (BIDS, LGG):
        return known
    if any(stem(name).casefold().endswith("t1ce") for name in file_names):
        return WITH_T1CE
    return BIDS if known is BIDS else OTHER


def patient_by_layout(case_id: str) -> str | None:
    """The patient of a case id in a known layout, or None."""
    layout = _known(case_id)
    match = layout.case_id.fullmatch(case_id) if layout and layout.case_id else None
    return layout.patient(match) if layout and match else None


def _known(case_id: str) -> Layout | None:
    """The layout whose pattern matches a case id, or None."""
    for layout in LAYOUTS:
        if layout.case_id and layout.case_id.fullmatch(case_id):
            return layout
    if match := _ANY_TASK.fullmatch(case_id):
        return _brats(match["task"].upper())
    return None


def release_of(case_id: str) -> str | None:
    """The release of a case, if other releases share its patients under other names, or None.

    >>> release_of("Brats18_2013_21_1"), release_of("BraTS-PED-00001-000")
    ('BraTS 2017 to 2019', None)
    """
    releases = (release for layout in LAYOUTS for release in layout.releases)
    return next((one.name for one in releases if one.case_id.fullmatch(case_id)), None)


def institution_of(case_id: str) -> str | None:
    """Institution that examined a TCGA patient, or None.

    >>> institution_of("TCGA_CS_4941_19960909"), institution_of("BraTS2021_00002")
    ('CS', None)
    """
    assert LGG.case_id is not None
    match = LGG.case_id.fullmatch(case_id)
    return match["institution"] if match else None


def misnamed_label_map(file_stem: str) -> str | None:
    """The case of a label map that its release misnamed, or None.

    Args:
        file_stem: Name of the file without its ending.
    """
    name = file_stem.casefold()
    return next((one.misnamed[name] for one in LAYOUTS if name in one.misnamed), None)


def is_mask_of_tumour(file_stem: str, folders: Collection[str]) -> bool:
    """Whether a file is a label map by the layout of its folders, if not by its own name.

    Args:
        file_stem: Name of the file without its ending.
        folders: Names of the folders above the file.
    """
    layouts = [layout for layout in LAYOUTS if file_stem.casefold() in layout.masks]
    return any(
        layout.case_id and layout.case_id.fullmatch(name) for layout in layouts for name in folders
    )
