"""Who and which: names of cases, and the patients that they name."""

from __future__ import annotations

import re
import unicodedata

from volseg.cases.layouts import patient_by_layout

# File systems hold names of 255 bytes, and results have endings.
_LONGEST_NAME = 200
# 2017 calls TCIA_101 what later years call TCIA01_101 or TCIA10_101, by the collection.
_YEAR = re.compile(r"brats(?:1[789]|20)_(?:(?P<place>tcia)\d*_)?")
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
#: Names that count patients.
NUMBERED_PATIENT = re.compile(
    r"(?:pat|patient(?:id)?|subj?|subject|case|p|id)[-_ ]?\d+", re.IGNORECASE
)


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
    return patient_by_layout(case_id) or _without_examination(case_id)


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
