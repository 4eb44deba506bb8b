"""What the names of files and cases say: channel or label map, case, patient, family of data."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection

LABEL = "label map"
# File systems hold names of 255 bytes, and results have endings.
_LONGEST_NAME = 200

#: Names of the four contrasts in BraTS of all years, MSD, nnU-Net, Slicer and BraTS Toolkit.
CHANNEL_NAMES = {
    **dict.fromkeys(("t1", "t1n", "t1w"), "t1n"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd"), "t1c"),
    **dict.fromkeys(("t2", "t2w"), "t2w"),
    **dict.fromkeys(("t2f", "flair", "fla"), "t2f"),
}
_NUMBERED = re.compile(r"(?P<case>.+)_(?P<number>\d{4})")
_NEW_ID = re.compile(r"(?P<patient>BraTS-(?P<task>[a-z]+(?:-[a-z]+)*)-\d+)(?:-\d+)?", re.IGNORECASE)
_OLD_ID = re.compile(r"BraTS(?:1[789]|20|202[012])_.+", re.IGNORECASE)
_ID_2021 = re.compile(r"BraTS2021_(?P<number>\d{5})", re.IGNORECASE)
_EXAMINATION_2017_TO_2019 = re.compile(r"(?P<patient>BraTS1[789]_.+)_\d+", re.IGNORECASE)
# 2017 calls TCIA_101 what later years call TCIA01_101 or TCIA10_101, by the collection.
_YEAR = re.compile(r"brats(?:1[789]|20)_(?:(?P<place>tcia)\d*_)?")
# The second token is the institution, the last the date of the examination.
_TCGA_ID = re.compile(r"(?P<patient>TCGA_(?P<institution>[^_]+)_[^_]+)(?:_\d{8})?")
# Cohorts that number the examinations of a patient: pre- and postoperative, follow-up.
_COHORTS = re.compile(
    r"(?P<patient>(?P<cohort>UPENN-GBM|UCSF-PDGM|RHUH|EGD|TCGA)"
    r"-(?P<number>(?:(?<=TCGA-)[a-z0-9]{2}-)?[a-z0-9]+))(?:[-_.].*)?",
    re.IGNORECASE,
)
_BIDS_ID = re.compile(r"(?P<patient>sub-[a-z0-9]+)(?:_.*)?", re.IGNORECASE)
# What tells examinations of a patient apart, at the end of a name.
_NUMBER = r"[-_. ]?\d+[a-z]?(?:[-_.]\d)?"
_DATE = r"(?:19|20)\d\d[-_.]?[01]\d[-_.]?[0-3]\d"
_TIME = re.compile(
    r"(?:^|[-_. ]+)"
    rf"(?:(?:ses|session|weeks?|wk|days?|months?|mo|years?|yr|visit|fu|timepoint|time|tp){_NUMBER}"
    rf"|ses-[a-z0-9]+|baseline|follow[-_]?up(?:{_NUMBER})?|fu|visit|session|nadir"
    rf"|recurrence|recurrent|progression"
    rf"|(?:pre|post|intra|inter)[-_]?(?:op|operative|operation|surg|surgery|surgical|resection"
    rf"|treatment|tx|rt|radiation|radiotherapy|chemo|chemotherapy|therapy)(?:{_NUMBER})?)$",
    re.IGNORECASE,
)
# These may as well be what a data set calls its cases.
_PERHAPS_TIME = re.compile(
    rf"(?:^|[-_. ]+)(?:{_DATE}|(?:scan|exam|examination|study|v|t|mri?){_NUMBER}"
    rf"|scan|exam|study|pre|post|intra|early|late|initial|first|last|final|base|bl|diagnosis"
    rf"|[dwmy]\d{{1,3}}|op(?:{_NUMBER})?)$",
    re.IGNORECASE,
)
_MU_ID = re.compile(r"PatientID_\d+_Timepoint_\d+", re.IGNORECASE)

#: Names that count patients.
NUMBERED_PATIENT = re.compile(
    r"(?:pat|patient(?:id)?|subj?|subject|case|p|id)[-_ ]?\d+", re.IGNORECASE
)

MU_GLIOMA_POST = "MU-Glioma-Post"
BRATS_TO_2022 = "BraTS 2017 to 2022"
BIDS = "BIDS"
WITH_T1CE = "other data sets with t1ce"
OTHER = "other data sets"


def unfit_name(case_id: str) -> str:
    """Why a case cannot be called so, since results are called by it; '' if it can.

    A name must not lead out of the folder of results, nor hide them, nor show otherwise than it is.

    >>> unfit_name("BraTS-GLI-00002-000"), unfit_name("..")
    ('', 'begins with a dot')
    """
    if case_id.startswith("."):
        return "begins with a dot"
    if len(case_id.encode(errors="surrogateescape")) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    if not {"/", "\\"}.isdisjoint(case_id):
        return "holds a slash or backslash"
    # Of a name that is not UTF-8, the bytes stand for themselves; data lists refuse it.
    bytes_left_out = re.sub("[\udc80-\udcff]", "", case_id)
    return "" if bytes_left_out.isprintable() else "holds control or invisible characters"


def is_nifti(name: str) -> bool:
    """Whether a file is called `.nii` or `.nii.gz`."""
    return name.lower().endswith((".nii", ".nii.gz"))


def is_slice(name: str) -> bool:
    """Whether a file is called as a 2D image.

    >>> is_slice("TCGA_CS_4941_19960909_1.tif"), is_slice("scan.nii.gz")
    (True, False)
    """
    return name.lower().endswith((".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp"))


def stem(name: str) -> str:
    """Name of a NIfTI file without its ending.

    >>> stem("BraTS2021_00000_t1.nii.gz")
    'BraTS2021_00000_t1'
    """
    return re.sub(r"\.nii(\.gz)?$", "", name, flags=re.IGNORECASE)


def channel_of(name: str) -> str:
    """Our name of a contrast; a name that we do not know stays, in lower case.

    >>> channel_of("FLAIR"), channel_of("T1gd"), channel_of("ADC")
    ('t2f', 't1c', 'adc')
    """
    return CHANNEL_NAMES.get(name.casefold(), name.casefold())


def read_numbered_name(name: str) -> tuple[str, int] | None:
    """Case and channel number of a file named as nnU-Net does, or None.

    >>> read_numbered_name("BraTS2021_00000_0003.nii.gz")
    ('BraTS2021_00000', 3)
    """
    match = _NUMBERED.fullmatch(stem(name))
    return (match["case"], int(match["number"])) if match else None


def patient_of(case_id: str) -> str:
    """The person: an id without time point or examination, else the case itself.

    BraTS 2023 released the gliomas of 2021 again under the same five digits, so both releases get
    one patient. To take two persons for one costs nothing; one for two would put the same head into
    training and validation. Whether two patients are one, `patient_key` says.

    >>> patient_of("BraTS-GLI-00002-001"), patient_of("Brats18_2013_21_1")
    ('BraTS-GLI-00002', 'Brats18_2013_21')
    >>> patient_of("BraTS2021_00002"), patient_of("TCGA_CS_4941_19960909")
    ('BraTS-GLI-00002', 'TCGA_CS_4941')
    >>> patient_of("UPENN-GBM-00001_21"), patient_of("sub-01_ses-2"), patient_of("p7_week-012")
    ('UPENN-GBM-00001', 'sub-01', 'p7')
    """
    if match := _ID_2021.fullmatch(case_id):
        return f"BraTS-GLI-{match['number']}"
    if _OLD_ID.fullmatch(case_id):
        match = _EXAMINATION_2017_TO_2019.fullmatch(case_id)
        return match["patient"] if match else case_id
    if match := _COHORTS.fullmatch(case_id):
        # The tables of UCSF-PDGM write 4 for 0004.
        padded = match["cohort"].upper() == "UCSF-PDGM" and match["number"].isdecimal()
        return f"{match['cohort']}-{int(match['number']):04}" if padded else match["patient"]
    for known in (_NEW_ID, _TCGA_ID, _BIDS_ID):
        if match := known.fullmatch(case_id):
            return match["patient"]
    return _without_examination(case_id)


def patient_key(patient_id: str) -> str:
    """The same for all names of a patient that are known to be of one person.

    BraTS 2017 to 2020 give a patient one name after a prefix of the year; neither letter case nor
    the way in which a system stores an accent parts any.

    >>> patient_key("Brats18_2013_21") == patient_key("BraTS19_2013_21")
    True
    """
    key = unicodedata.normalize("NFC", patient_id).casefold()
    if match := _YEAR.match(key):
        place = f"{match['place']}_" if match["place"] else ""
        return f"brats_{place}{key[match.end() :]}"
    return key


def _without_examination(case_id: str) -> str:
    """The name without words at its end that say which examination it is, if any is left."""
    shorter = case_id
    while match := _TIME.search(shorter) or _PERHAPS_TIME.search(shorter):
        ahead = shorter[: match.start()]
        if not (_TIME.search(shorter) or any(sign.isdigit() for sign in ahead)):
            break
        shorter = ahead
    return shorter or case_id


def is_examination(name: str) -> bool:
    """Whether a name says which examination of a patient it is, and nothing else.

    >>> is_examination("week-000-1"), is_examination("2019-03-04"), is_examination("scan_1")
    (True, True, False)
    """
    match = _TIME.search(name)
    whole = re.fullmatch(rf"{_DATE}|t\d{{1,2}}", name, re.IGNORECASE)
    return (match is not None and match.start() == 0) or whole is not None


def may_be_examination(name: str) -> bool:
    """Whether a name may say that, or be what a data set calls its cases.

    >>> may_be_examination("scan_1"), may_be_examination("MR2"), may_be_examination("patient_7")
    (True, True, False)
    """
    match = _PERHAPS_TIME.search(name)
    return match is not None and match.start() == 0


#: Releases of which one holds patients of another, under names of its own.
_RELEASES = (
    (re.compile(r"BraTS1[789]_.+", re.IGNORECASE), "BraTS 2017 to 2019"),
    (re.compile(r"BraTS20_.+", re.IGNORECASE), "BraTS 2020"),
    (re.compile(r"BraTS202[12]_.+", re.IGNORECASE), "BraTS 2021"),
    (re.compile(r"BraTS-GLI-.+", re.IGNORECASE), "BraTS-GLI of 2023 and later"),
    (re.compile(r"BRATS_\d{3}"), "MSD"),
    (re.compile(r"UPENN-GBM-.+", re.IGNORECASE), "UPENN-GBM"),
    (re.compile(r"UCSF-PDGM-.+", re.IGNORECASE), "UCSF-PDGM"),
    (re.compile(r"TCGA[-_].+", re.IGNORECASE), "TCGA"),
    (re.compile(r"PatientID_\d+_.+", re.IGNORECASE), "MU-Glioma-Post"),
)


def release_of(case_id: str) -> str | None:
    """The release of a case, if others hold the same patients under other names, or None.

    >>> release_of("Brats18_2013_21_1"), release_of("BraTS-PED-00001-000")
    ('BraTS 2017 to 2019', None)
    """
    return next((name for known, name in _RELEASES if known.fullmatch(case_id)), None)


def institution_of(case_id: str) -> str | None:
    """Where a TCGA patient was examined, or None.

    >>> institution_of("TCGA_CS_4941_19960909"), institution_of("BraTS2021_00002")
    ('CS', None)
    """
    match = _TCGA_ID.fullmatch(case_id)
    return match["institution"] if match else None


def read_slice_name(stem: str, folder: str) -> tuple[str, int] | None:
    """Case and number of a slice that is called `<folder>_<n>` or `<TCGA id>_<n>`, or None.

    >>> read_slice_name("p7_12", "p7"), read_slice_name("p7_12", "images")
    (('p7', 12), None)
    >>> read_slice_name("TCGA_CS_4941_19960909_3", "images")
    ('TCGA_CS_4941_19960909', 3)
    """
    case_id, _, number = stem.rpartition("_")
    tcga = _TCGA_ID.fullmatch(case_id)
    known = case_id == folder or (tcga and tcga["patient"] != case_id)
    return (case_id, int(number)) if known and case_id and number.isdecimal() else None


def family_of(case_id: str, file_names: Collection[str]) -> str:
    """Family of data that a case belongs to by its id, or by a file called t1ce.

    >>> family_of("BraTS-PED-00003-000", ()), family_of("BraTS2021_00000", ())
    ('BraTS-PED', 'BraTS 2017 to 2022')
    """
    if match := _NEW_ID.fullmatch(case_id):
        return f"BraTS-{match['task'].upper()}"
    if match := _COHORTS.fullmatch(case_id):
        return match["cohort"].upper()
    if _MU_ID.fullmatch(case_id):
        return MU_GLIOMA_POST
    if _OLD_ID.fullmatch(case_id):
        return BRATS_TO_2022
    if any(stem(n).casefold().endswith("t1ce") for n in file_names):
        return WITH_T1CE
    return BIDS if _BIDS_ID.fullmatch(case_id) else OTHER
