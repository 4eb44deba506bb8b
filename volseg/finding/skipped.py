"""Messages on left-out files."""

from __future__ import annotations

import re
import shlex
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePath

from volseg.errors import NoCaseError
from volseg.finding.finding import Skipped
from volseg.finding.name_reading import unknown_channel
from volseg.images.file_names import is_nifti

NO_IMAGE = "not .nii or .nii.gz, nor a 2D image"
_DICOM = "DICOM; convert it with volseg convert"
_OTHER_FORMAT = "a scan, but not NIfTI; convert it with volseg convert"
_MRI_FORMAT = "a scan, but not NIfTI; convert it to .nii.gz, such as with nibabel"
_PACKED = "packed; unpack it, or pack images as .nii.gz"
_FORMATS = {
    **dict.fromkeys((".dcm", ".dicom", ".ima"), _DICOM),
    **dict.fromkeys((".mha", ".mhd", ".nrrd", ".nhdr", ".hdr", ".img"), _OTHER_FORMAT),
    ".vtk": "a scan, but not NIfTI; convert it to .nii.gz, such as with SimpleITK",
    **dict.fromkeys((".mgz", ".mgh", ".mnc", ".par"), _MRI_FORMAT),
    **dict.fromkeys((".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"), _PACKED),
}
# DICOM files without an ending are named by numbers, such as 1.3.12.2.1107.5.2.
_DICOM_NAME = re.compile(r"DICOMDIR|\d+(?:\.\d+){5,}")

_FEW = 3
_KINDS_SHOWN = 6


def nothing_usable(path: Path, skipped: Sequence[Skipped], channels: Sequence[str]) -> NoCaseError:
    """Error for a folder or data list without a usable case, with the first reasons.

    Args:
        path: Folder or data list.
        skipped: Left-out files and cases.
        channels: Contrasts that were looked for.
    """
    if not skipped:
        remedy = "give a folder of NIfTI files (.nii, .nii.gz) or of 2D images"
        return NoCaseError(f"{path} holds no scans", remedy=remedy, path=path)
    reasons = in_words(skipped)
    name_them = _naming_options(channels)
    no_channel = unknown_channel(channels)
    unknown = any(entry.reason == no_channel for entry in skipped) and name_them not in reasons
    hint = f"if these are images of a case, name the files: {name_them}" if unknown else None
    if path.is_dir() and {_DICOM, _OTHER_FORMAT} & {entry.reason for entry in skipped}:
        hint = f"for all of them: volseg convert {shlex.quote(str(path))} -o cases"
    lacks = [channel for entry in skipped for channel in entry.lacks]
    return NoCaseError(f"{path} holds no usable case: {reasons}", lacks, hint, path)


def no_image(name: str) -> str:
    """Reason to leave out a file that is neither NIfTI nor a 2D image; for scans with a remedy.

    >>> no_image("P7_T1.nrrd")
    'a scan, but not NIfTI; convert it with volseg convert'
    """
    ending = PurePath(name).suffix.lower()
    if name.lower().endswith(".tar.gz"):
        return _PACKED
    return _DICOM if _DICOM_NAME.fullmatch(name) else _FORMATS.get(ending, NO_IMAGE)


def _naming_options(channels: Sequence[str]) -> str:
    """Options that name the files of channels.

    >>> _naming_options(["ct", "adc", "pet"])
    "--name ct='*GLOB*' --name adc='*GLOB*' and so on"
    """
    options = " ".join(f"--name {channel}='*GLOB*'" for channel in channels[:2])
    return f"{options} and so on" if len(channels) > 2 else options


def of_one_case_perhaps(home: Path, files: int, cases: int, channels: Sequence[str]) -> Skipped:
    """Entry for files of a folder that were read as several cases, each lacking channels."""
    reason = (
        f"{files} files were read as {cases} cases that each lack channels; if they "
        f"are one case, name the files: {_naming_options(channels)}"
    )
    return Skipped(home, reason, home.name)


def in_words(skipped: Sequence[Skipped]) -> str:
    """Left-out files with reasons, each kind of reason at least once.

    Cases come first, then scans, then other files. Many entries of the same kind are given by their
    number and the first of them.
    """
    kinds = list(_kinds(skipped).values())
    if len(kinds) == 1:
        found = "; ".join(": ".join(_summary([entry])) for entry in skipped[:_FEW])
        return found + (f"; and {len(skipped) - _FEW} more" if len(skipped) > _FEW else "")
    kinds_shown = [": ".join(_summary(entries)) for entries in kinds[:_KINDS_SHOWN]]
    left = sum(map(len, kinds[_KINDS_SHOWN:]))
    return "; ".join([*kinds_shown, *([f"and {left} more"] if left else [])])


def table_rows(skipped: Sequence[Skipped]) -> list[tuple[str, str]]:
    """Rows of a table of files and reasons, cases first; many of the same kind share a row."""
    table = []
    for entries in _kinds(skipped).values():
        few = len(entries) <= _FEW
        table += [_summary([entry]) for entry in entries] if few else [_summary(entries)]
    return table


def _summary(entries: Sequence[Skipped]) -> tuple[str, str]:
    """Place and reason of entries of the same kind."""
    first = entries[0]
    place = str(first.path)
    if len(entries) == 1:
        return place, first.sentence
    what = "cases" if first.case_id is not None else "files or folders"
    example = first.files[0] if first.files else first.path
    return f"{len(entries)} {what}, such as {example}", first.reason


def notes_in_words(notes: Mapping[str, Iterable[str]]) -> list[str]:
    """A sentence for each different note, with its cases; `notes` are given by case id."""
    cases: dict[str, list[str]] = defaultdict(list)
    for case_id, of_case in notes.items():
        for note in of_case:
            cases[note].append(case_id)
    return [
        f"{names[0]}: {note}"
        if len(names) == 1
        else f"{len(names)} cases, such as {names[0]}: {note}"
        for note, names in cases.items()
    ]


def _kinds(skipped: Sequence[Skipped]) -> dict[tuple[bool, str], list[Skipped]]:
    """Entries by reason without names and paths, cases first, then scans."""
    kinds: dict[tuple[bool, str], list[Skipped]] = defaultdict(list)
    for entry in sorted(skipped, key=_rank):
        reason = entry.reason
        for name in (str(entry.path), entry.path.name, entry.case_id):
            reason = reason.replace(name, "...") if name else reason
        kinds[entry.case_id is None, reason].append(entry)
    return kinds


def _rank(entry: Skipped) -> tuple[bool, bool, bool]:
    """Sort key: cases, scans that can be converted, other files, files that are no scans."""
    is_scan = entry.reason in _FORMATS.values()
    return entry.case_id is None, not is_scan, entry.reason == NO_IMAGE


def summaries(strays: Sequence[tuple[str, Path]]) -> list[Skipped]:
    """One entry for files with the same reason and ending, in a folder or in sibling folders."""
    kinds = [(reason, "" if is_nifti(p.name) else p.suffix.lower(), p) for reason, p in strays]
    folders = defaultdict(set)
    for reason, ending, path in kinds:
        folders[reason, ending, path.parent.parent].add(path.parent)
    entries = defaultdict(list)
    for reason, ending, path in kinds:
        beside = len(folders[reason, ending, path.parent.parent]) > 1
        entries[reason, ending, path.parent.parent if beside else path.parent].append(path)
    return [
        Skipped(paths[0], reason)
        if len(paths) == 1
        else Skipped(home, reason, files=tuple(paths), what=_files_or_folders(paths))
        for (reason, _, home), paths in entries.items()
    ]


def _files_or_folders(paths: Sequence[Path]) -> str:
    """What paths are, in the plural."""
    of_folders = [path.is_dir() for path in paths]
    if all(of_folders):
        return "folders"
    return "files and folders" if any(of_folders) else "files"
