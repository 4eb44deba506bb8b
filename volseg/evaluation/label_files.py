"""Label maps and masks below a folder, and the case or the slice that each is called after."""

from __future__ import annotations

import re
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.finding.name_reading import read_name
from volseg.images.file_names import is_nifti, is_slice, stem

_MASK_ENDING = re.compile(r"[-_](mask|seg|label)$", re.IGNORECASE)


def nifti_files(folder: Path) -> list[Path]:
    """NIfTI files below a folder, in order."""
    files = (path for path in folder.rglob("*") if is_nifti(path.name))
    return sorted(path for path in files if not path.name.startswith("."))


def slice_files(folder: Path) -> list[Path]:
    """2D images below a folder; those of one folder in the order of the numbers in their names."""
    files = [path for path in folder.rglob("*") if is_slice(path.name)]
    # Hidden folders hold what is being written.
    visible = (p for p in files if not any(n[0] == "." for n in p.relative_to(folder).parts))
    return sorted(visible, key=lambda path: (path.parent, _by_number(path.name)))


def _by_number(name: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def case_of(path: Path) -> str:
    """Case of a label map called `<case_id>`, `<case_id>-seg`, or `seg` in the folder of a case."""
    read = read_name(path.name, ())
    return (read.case or path.parent.name) if LABEL in read.contents else stem(path.name)


def slice_of(name: str) -> str:
    """Slice that a 2D image or its mask is called after.

    >>> slice_of("patient_3.tif"), slice_of("patient_3_mask.png")
    ('patient_3', 'patient_3')
    """
    return _MASK_ENDING.sub("", Path(name).stem)
