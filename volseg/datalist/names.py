"""What the names of files and cases say: channel or label map, case, patient, family of data."""

from __future__ import annotations

import re
from collections.abc import Collection

LABEL = "label map"

#: Names of the four contrasts in BraTS of all years, MSD, nnU-Net, Slicer and BraTS Toolkit.
CHANNEL_NAMES = {
    **dict.fromkeys(("t1", "t1n", "t1w"), "t1n"),
    **dict.fromkeys(("t1c", "t1ce", "t1gd"), "t1c"),
    **dict.fromkeys(("t2", "t2w"), "t2w"),
    **dict.fromkeys(("t2f", "flair", "fla"), "t2f"),
}
_LABEL_NAMES = ("seg", "label", "gtv")
# In the training data of BraTS 2020 the label map of one case bears this name.
_MISNAMED_LABELS = {"w39_1998.09.19_segm": "BraTS20_Training_355"}

# A whole token, since t1 is the beginning of t1ce.
_LAST_TOKEN = re.compile(r"(?:(?P<case>.*?)[_.-]+)?(?P<token>[^_.-]+)")
_NUMBERED = re.compile(r"(?P<case>.+)_(?P<number>\d{4})")
_NEW_ID = re.compile(r"(?P<patient>BraTS-(?P<task>[a-z]+(?:-[a-z]+)*)-\d+)(?:-\d+)?", re.IGNORECASE)
_OLD_ID = re.compile(r"BraTS(?:1[789]|20|202[012])_.+", re.IGNORECASE)
_ID_2021 = re.compile(r"BraTS2021_(?P<number>\d{5})", re.IGNORECASE)
_EXAMINATION_2017_TO_2019 = re.compile(r"(?P<patient>BraTS1[789]_.+)_\d+", re.IGNORECASE)
# The second token is the institution, the last the date of the examination.
_TCGA_ID = re.compile(r"(?P<patient>TCGA_(?P<institution>[^_]+)_[^_]+)(?:_\d{8})?")

BRATS_TO_2022 = "BraTS 2017 to 2022"
WITH_T1CE = "other data sets with t1ce"
OTHER = "other data sets"


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


def read_name(name: str, channels: Collection[str]) -> tuple[str, tuple[str, ...]]:
    """Case and content of a NIfTI file that follows BraTS.

    Args:
        name: File name.
        channels: Contrasts that are looked for; they may be others than the four we know.

    Returns:
        The case, empty if the file is called by its content alone, and the content: a channel,
        `LABEL`, or nothing if the name does not say.

    >>> read_name("BraTS-GLI-00002-000-t1c.nii.gz", ())
    ('BraTS-GLI-00002-000', ('t1c',))
    """
    whole = stem(name)
    if case := _MISNAMED_LABELS.get(whole.casefold()):
        return case, (LABEL,)
    match = _LAST_TOKEN.fullmatch(whole)
    if match is None:
        return whole, ()
    token = match["token"].casefold()
    if token in _LABEL_NAMES:
        return match["case"] or "", (LABEL,)
    channel = channel_of(token)
    if token in CHANNEL_NAMES or channel in channels:
        return match["case"] or "", (channel,)
    return whole, ()


def read_numbered_name(name: str) -> tuple[str, int] | None:
    """Case and channel number of a file named as nnU-Net does, or None.

    >>> read_numbered_name("BraTS2021_00000_0003.nii.gz")
    ('BraTS2021_00000', 3)
    """
    match = _NUMBERED.fullmatch(stem(name))
    return (match["case"], int(match["number"])) if match else None


def patient_of(case_id: str) -> str:
    """The person: an id of BraTS or TCGA without time point or examination, else the case itself.

    BraTS 2023 released the gliomas of 2021 again under the same five digits, so both releases get
    one patient. To take two persons for one costs nothing; one for two would put the same head into
    training and validation.

    >>> patient_of("BraTS-GLI-00002-001"), patient_of("Brats18_2013_21_1")
    ('BraTS-GLI-00002', 'Brats18_2013_21')
    >>> patient_of("BraTS2021_00002"), patient_of("TCGA_CS_4941_19960909")
    ('BraTS-GLI-00002', 'TCGA_CS_4941')
    """
    if match := _ID_2021.fullmatch(case_id):
        return f"BraTS-GLI-{match['number']}"
    for known in (_NEW_ID, _EXAMINATION_2017_TO_2019, _TCGA_ID):
        if match := known.fullmatch(case_id):
            return match["patient"]
    return case_id


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
    known = case_id == folder or (_TCGA_ID.fullmatch(case_id) and patient_of(case_id) != case_id)
    return (case_id, int(number)) if known and case_id and number.isdecimal() else None


def family_of(case_id: str, file_names: Collection[str]) -> str:
    """Family of data that a case belongs to by its id, or by a file called t1ce.

    >>> family_of("BraTS-PED-00003-000", ()), family_of("BraTS2021_00000", ())
    ('BraTS-PED', 'BraTS 2017 to 2022')
    """
    if match := _NEW_ID.fullmatch(case_id):
        return f"BraTS-{match['task'].upper()}"
    if _OLD_ID.fullmatch(case_id):
        return BRATS_TO_2022
    return WITH_T1CE if any(stem(n).casefold().endswith("t1ce") for n in file_names) else OTHER
