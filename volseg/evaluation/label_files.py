"""Label maps and masks below a folder, with the case or slice in the name of each file."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.channels import LABEL
from volseg.finding.name_reading import read_name
from volseg.images.file_names import is_nifti, is_slice, stem

_MASK_ENDING = re.compile(r"[-_](mask|seg|label)$", re.IGNORECASE)


@dataclass(frozen=True)
class VolumeFile:
    """A NIfTI file that may be a label map.

    Attributes:
        path: Path of the file.
        case_id: Case of a file named `<case_id>`, `<case_id>-seg`, or `seg` in the folder of a
            case.
        is_named: Whether the name says that the file is a label map.
        is_exact: Whether the name is exactly `<case_id>`.
    """

    path: Path
    case_id: str
    is_named: bool
    is_exact: bool


def volume_files(folder: Path) -> list[VolumeFile]:
    """NIfTI files below a folder, sorted by path."""
    paths = (path for path in folder.rglob("*") if is_nifti(path.name))
    return [_volume_file(path) for path in sorted(paths) if not path.name.startswith(".")]


def _volume_file(path: Path) -> VolumeFile:
    read, name = read_name(path.name, ()), stem(path.name)
    is_named = LABEL in read.contents
    case_id = (read.case or path.parent.name) if is_named else name
    return VolumeFile(path, case_id, is_named, name == case_id)


def slice_files(folder: Path) -> list[Path]:
    """2D images below a folder, sorted by folder, then by the numbers in their names."""
    files = [path for path in folder.rglob("*") if is_slice(path.name)]
    # Hidden folders hold unfinished files.
    visible = (p for p in files if not any(n[0] == "." for n in p.relative_to(folder).parts))
    return sorted(visible, key=lambda path: (path.parent, _by_number(path.name)))


def _by_number(name: str) -> list[int | str]:
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", name)]


def slice_of(name: str) -> str:
    """Name of the slice in the name of a 2D image or mask.

    >>> slice_of("patient_3.tif"), slice_of("patient_3_mask.png")
    ('patient_3', 'patient_3')
    """
    return _MASK_ENDING.sub("", Path(name).stem)
