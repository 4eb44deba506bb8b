"""Search for cases in folders of any known layout, with a reason for each left-out file."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.channels import CHANNEL_NAMES, LABEL
from volseg.cases.data_list import read_data_list
from volseg.cases.layouts import DATA_LIST
from volseg.config import CHANNELS
from volseg.errors import DataListError
from volseg.files.paths import PathLike, paths_of
from volseg.finding.distinct import distinct
from volseg.finding.finding import Finding, Skipped
from volseg.finding.listing import Listing
from volseg.finding.naming import Naming
from volseg.finding.people import Found
from volseg.finding.skipped import nothing_usable
from volseg.finding.sorting import Sorting
from volseg.finding.wanted import Wanted, lacking, missing_channels

logger = logging.getLogger(__name__)


def find_scans(
    path: Path,
    channels: Sequence[str] = CHANNELS,
    fold: int | None = None,
    data_root: Path | None = None,
    required: Sequence[str] | None = None,
    patient_regex: str | None = None,
    naming: Naming | None = None,
) -> Finding:
    """Find cases to segment, in a folder or in a data list.

    Args:
        path: Folder in any layout that `find_cases` knows, or a JSON data list.
        channels: Contrasts to look for; 2D images of unknown layout hold these.
        fold: Fold of the data list to use; None: all cases.
        data_root: Folder that the paths of a data list start from; None: from the list.
        required: Channels that each case must have; None: all of `channels`.
        patient_regex: Pattern of the patient; see `find_cases`.
        naming: Names of files that volseg does not know; see `find_cases`.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If there is no usable case, or an option does not apply to `path`.
    """
    wanted = Wanted.of(channels, required, patient_regex, naming, labelled=False)
    if path.suffix.lower() != ".json":
        check_list_is_not_needed(path, fold, data_root)
        return _find([path], wanted)
    if patient_regex is not None or naming is not None:
        raise DataListError(
            f"{path} is a data list, which already names the channel and patient of each file",
            remedy="leave --patient-regex, --name and --label-name out",
            path=path,
        )
    listed = read_data_list(path, data_root)
    cases: list[Case] = []
    skipped: list[Skipped] = []
    for case in listed.cases(fold):
        if missing := missing_channels(case.channels, channels, required):
            skipped.append(Skipped(path, lacking(missing), case.case_id, lacks=tuple(missing)))
        else:
            cases.append(case)
    if not cases:
        raise nothing_usable(path, skipped, channels)
    return Finding.of(cases, skipped, {case.case_id: DATA_LIST for case in cases})


def check_list_is_not_needed(path: Path, fold: int | None, data_root: Path | None) -> None:
    """Raise DataListError if a fold or root is given for `path`, which is no data list."""
    if fold is not None:
        raise DataListError(
            f"{path} is no data list and has no fold {fold}", remedy="give a data list", path=path
        )
    if data_root is not None:
        raise DataListError(
            f"{path} is no data list and needs no data root",
            remedy="leave --data-root out",
            path=path,
        )


def find_cases(
    folders: PathLike | Sequence[PathLike],
    channels: Sequence[str] | None = None,
    required: Sequence[str] | None = None,
    patient_regex: str | None = None,
    naming: Naming | None = None,
) -> Finding:
    """Find the cases in folders, at any depth, by the names of files.

    Known names are those of BraTS 2017 to 2025 (a folder for each case, or all files in one
    folder), BIDS, public cohorts, MSD and nnU-Net, and files named after their channel in a folder
    named after the case. A folder may also hold a single case. Without NIfTI cases, 2D images are
    slices of cases; see `find_stacks`. Results and pictures of volseg are left out.

    No file is renamed and no image is opened, but files of cases with the same name are compared:
    copies are left out, and different cases are named after their paths.

    Args:
        folders: One or several folders. If a case is found twice, the first one counts.
        channels: Contrasts to look for, in the order of `Case.images`; 2D images of unknown layout
            hold these. None: the four of BraTS; for 2D images the channels of their layout, or else
            a channel "image".
        required: Channels that each case must have; a case lists only the channels that it has.
            None: all of `channels`.
        patient_regex: Pattern to search in file names without ending; a pattern with `/` is
            searched in the path from the name of the folder on. The patient is the group
            `patient`, or the first group, or the full match. If no file of a volume matches, the
            name of the case and its folders, joined by `_`, are searched.
        naming: Names of files that volseg does not know.

    Returns:
        Cases sorted by id, and left-out files and folders with reasons.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If a folder does not exist or holds no usable case, `naming` fits no file, or
            `channels` has an older name of one of the four contrasts, in any letter case.
    """
    for channel in (*(channels or ()), *(required or ())):
        lower = channel.casefold()
        if (ours := CHANNEL_NAMES.get(lower, lower)) != lower:
            raise DataListError(
                f"channel {channel!r} is called {ours!r} here", remedy=f"ask for {ours}"
            )
    return _find(paths_of(folders), Wanted.of(channels, required, patient_regex, naming))


def find_any_images(folder: Path, channels: Sequence[str] = ()) -> Finding:
    """Find cases to look at, for which any of `channels` is enough.

    Args:
        folder: Folder in any layout that `find_cases` knows.
        channels: Our names of channels; none: all four of BraTS, as in `find_cases`.

    Raises:
        DataListError: As in `find_cases`.
    """
    if not channels:
        return find_cases([folder])
    return find_cases([folder], channels, required=())


def _find(folders: Sequence[Path], wanted: Wanted) -> Finding:
    found: list[Found] = []
    named: set[str] = set()
    skipped: list[Skipped] = []
    notes: list[str] = []
    for folder in folders:
        sorting = Sorting(Listing.of(folder), wanted)
        skipped += sorting.skipped
        notes += sorting.notes
        if not sorting.cases:
            _check_naming(wanted, sorting.named, [folder])
            raise nothing_usable(folder, sorting.skipped, sorting.channels)
        found += sorting.cases
        named |= sorting.named
    _check_naming(wanted, named, folders)
    result = distinct(found, skipped)
    notes = list(dict.fromkeys([*notes, *result.notes]))
    for note in notes:
        logger.info("%s", note)
    layout_of = {one.case.case_id: one.layout for one in result.kept}
    cases = [wanted.spelled(one.case) for one in result.kept]
    return Finding.of(cases, result.skipped, layout_of, notes)


def _check_naming(wanted: Wanted, named: Collection[str], folders: Sequence[Path]) -> None:
    """Raise DataListError if a pattern of the user fits no file."""
    for content, glob in wanted.naming.globs.items() if wanted.naming else ():
        if content in named or (content == LABEL and not wanted.labelled):
            continue
        option = f"--label-name {glob}" if content == LABEL else f"--name {content}={glob}"
        where = ", ".join(map(str, folders))
        part = "" if "*" in glob else f", such as '*{glob}*' for a part of names"
        raise DataListError(
            f"{option} fits no file name below {where}", remedy=f"correct the pattern{part}"
        )
