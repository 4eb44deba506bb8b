"""Names of cases, and the patients that these names mean."""

from __future__ import annotations

import re
import unicodedata

from volseg.cases.layouts import patient_by_layout

# File systems allow names of 255 bytes, including the endings of results.
_LONGEST_NAME = 200
# TCIA_101 of 2017 is TCIA01_101 or TCIA10_101 in later years, by the collection.
_YEAR = re.compile(r"brats(?:1[789]|20)_(?:(?P<place>tcia)\d*_)?")
# Endings of names that distinguish examinations of a patient.
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
# Endings that distinguish examinations, or number the cases of a data set.
_PERHAPS_TIME = re.compile(
    rf"(?:^|[-_. ]+)(?:{_DATE}|(?:scan|exam|examination|study|v|t|mri?){_NUMBER}"
    rf"|scan|exam|study|pre|post|intra|early|late|initial|first|last|final|base|bl|diagnosis"
    rf"|[dwmy]\d{{1,3}}|op(?:{_NUMBER})?)$",
    re.IGNORECASE,
)
_MONTH = r"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_Y = r"(?:19[5-9]\d|20[0-4]\d)"
_SPACE = r"[-_., ]*"
# Whole names of folders that mean a day, a month or a place in the order of examinations.
_WHEN = re.compile(
    rf"{_DATE}[-_T ]?\d{{4,6}}|[0-3]?\d[-_.][01]?\d[-_.]{_Y}"
    rf"|(?:[0-3]?\d{_SPACE})?{_MONTH}{_SPACE}{_Y}|{_Y}{_SPACE}{_MONTH}(?:{_SPACE}[0-3]?\d)?"
    rf"|{_Y}{_SPACE}q[1-4]|q[1-4]{_SPACE}{_Y}"
    r"|(?:visit|session|time ?point|follow[-_ ]?up)[-_ ](?:one|two|three|four|five|six)"
    r"|(?:visit|session|scan|exam|time ?point)[-_ ]?[a-h]"
    r"|(?:pre|post|intra|inter)[-_ ](?:op|operative|operation|surgery|treatment|radiotherapy"
    r"|chemotherapy|therapy|rt)|follow[-_ ]up",
    re.IGNORECASE,
)
# Whole names that mean a year or a month, or number patients.
_YEARLY = re.compile(rf"{_Y}(?:[-_.]?(?:0[1-9]|1[0-2]))?|(?:0?[1-9]|1[0-2])[-_.]{_Y}")
# Whole names that say what a folder holds, and not of whom.
_NOTHING = re.compile(
    r"mri?|mr[-_ ]?(?:brain|head)|ct|brain|head|scans|exams?|visits?|series|images?|dicom|files"
    r"|\d(?:st|nd|rd|th)",
    re.IGNORECASE,
)
#: Names that number patients.
NUMBERED_PATIENT = re.compile(
    r"(?:pat|patient(?:id)?|subj?|subject|case|p|id)[-_ ]?\d+", re.IGNORECASE
)


def unfit_name(case_id: str) -> str:
    """Why a case cannot have this name, which also names its results; '' if it can.

    A name must not lead out of the folder of results, hide them, or look different from what it is.

    >>> unfit_name("BraTS-GLI-00002-000"), unfit_name("..")
    ('', 'begins with a dot')
    """
    if not case_id:
        return "is empty"
    if case_id.startswith("."):
        return "begins with a dot"
    if len(case_id.encode(errors="surrogateescape")) > _LONGEST_NAME:
        return f"is longer than {_LONGEST_NAME} bytes"
    if not {"/", "\\"}.isdisjoint(case_id):
        return "holds a slash or backslash"
    # Names that are not UTF-8 hold raw bytes here; data lists refuse such names.
    bytes_left_out = re.sub("[\udc80-\udcff]", "", case_id)
    return "" if bytes_left_out.isprintable() else "holds control or invisible characters"


def patient_of(case_id: str) -> str:
    """The patient of a case: its id without time point or examination.

    BraTS 2023 released the gliomas of 2021 again under the same five digits, so both releases get
    one patient. Joining two persons does no harm, but splitting one would put the same head into
    training and validation. `patient_key` decides whether two patients are one person.

    >>> patient_of("BraTS-GLI-00002-001"), patient_of("Brats18_2013_21_1")
    ('BraTS-GLI-00002', 'Brats18_2013_21')
    >>> patient_of("BraTS2021_00002"), patient_of("TCGA_CS_4941_19960909")
    ('BraTS-GLI-00002', 'TCGA_CS_4941')
    >>> patient_of("UPENN-GBM-00001_21"), patient_of("sub-01_ses-2"), patient_of("p7_week-012")
    ('UPENN-GBM-00001', 'sub-01', 'p7')
    """
    return patient_by_layout(case_id) or _without_examination(case_id)


def examination_of(case_id: str) -> str:
    """The rest of a case id behind its patient, which distinguishes examinations; '' if none.

    >>> examination_of("BraTS-GLI-00002-001"), examination_of("sub-01_ses-2")
    ('-001', '_ses-2')
    """
    patient = patient_of(case_id)
    return case_id.removeprefix(patient) if case_id != patient else ""


def patient_key(patient_id: str) -> str:
    """Key of a patient, equal for all names that are known to mean one person.

    BraTS 2017 to 2020 use one name after a prefix of the year. Letter case and the encoding of
    accents do not matter.

    >>> patient_key("Brats18_2013_21") == patient_key("BraTS19_2013_21")
    True
    """
    key = unicodedata.normalize("NFC", patient_id).casefold()
    if match := _YEAR.match(key):
        place = f"{match['place']}_" if match["place"] else ""
        return f"brats_{place}{key[match.end() :]}"
    return key


def _without_examination(case_id: str) -> str:
    """The name without endings that distinguish examinations, unless nothing would be left."""
    shorter = case_id
    while match := _TIME.search(shorter) or _PERHAPS_TIME.search(shorter):
        ahead = shorter[: match.start()]
        if not (_TIME.search(shorter) or any(sign.isdigit() for sign in ahead)):
            break
        shorter = ahead
    return shorter or case_id


def is_examination(name: str) -> bool:
    """Whether a name means only an examination of a patient.

    >>> is_examination("week-000-1"), is_examination("2019-03-04"), is_examination("scan_1")
    (True, True, False)
    >>> is_examination("March 2020"), is_examination("post op"), is_examination("2020")
    (True, True, False)
    """
    match = _TIME.search(name)
    whole = re.fullmatch(rf"{_DATE}|t\d{{1,2}}", name, re.IGNORECASE)
    is_time = match is not None and match.start() == 0
    return is_time or whole is not None or _WHEN.fullmatch(name) is not None


def is_year(name: str) -> bool:
    """Whether a name is that of a year or a month, or may number a patient.

    >>> is_year("2020"), is_year("2020-03"), is_year("202003"), is_year("1002")
    (True, True, True, False)
    """
    return _YEARLY.fullmatch(name) is not None


def says_nothing(name: str) -> bool:
    """Whether the name of a folder says what it holds, such as `MRI`, and not of whom."""
    return _NOTHING.fullmatch(name) is not None


def may_be_examination(name: str) -> bool:
    """Whether a name may mean an examination, or number a case of a data set.

    >>> may_be_examination("scan_1"), may_be_examination("MR2"), may_be_examination("patient_7")
    (True, True, False)
    """
    match = _PERHAPS_TIME.search(name)
    return match is not None and match.start() == 0
