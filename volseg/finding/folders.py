"""Cases in folders of any known layout; what is left out is named with its reason."""

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
from volseg.finding.distinct import Found, distinct
from volseg.finding.finding import Finding, Skipped
from volseg.finding.listing import Listing
from volseg.finding.naming import Naming
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
    """Cases to segment: in a folder, of one case folder, or in a data list.

    Args:
        path: Folder in any layout that `find_cases` knows, or a JSON data list.
        channels: Contrasts that are looked for, and that 2D images of unknown layout hold.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        required: Those of `channels` that every case must have; None: all.
        patient_regex: As `find_cases` takes it.
        naming: As `find_cases` takes it.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If nothing usable is there, or a folder is asked for what only a list has.
    """
    wanted = Wanted.of(channels, required, patient_regex, naming, labelled=False)
    if path.suffix.lower() != ".json":
        check_list_is_not_needed(path, fold, data_root)
        return _find([path], wanted)
    if patient_regex is not None or naming is not None:
        raise DataListError(
            f"{path} is a data list, which says which files are which channel of which patient",
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
    """Raise DataListError if `path`, which is no data list, is asked for what only a list has."""
    if fold is not None:
        raise DataListError(
            f"{path} is no data list and has no fold {fold}", remedy="give its list", path=path
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
    """Find the cases in folders, at any depth, by the names of files; nothing is renamed.

    Known are the names of BraTS 2017 to 2025 (a folder for each case, or all files in one), of BIDS
    and public cohorts, files called by their channel in a folder called as the case, MSD, and
    nnU-Net. A folder may be that of one case. Where there are no NIfTI cases, 2D images are slices
    of cases, as `find_stacks` sorts them. Results and pictures that volseg wrote there are left
    out. No image is opened, but files of cases that bear one name are compared: copies are left
    out, and different cases are called by their paths.

    Args:
        folders: Folder, or several. Of a case found twice, the first counts.
        channels: Contrasts that are looked for, in the order wanted in `Case.images`; of 2D images
            of unknown layout, what they hold. None: the four of BraTS; of 2D images, as their
            layout says, else one called "image".
        required: Those of `channels` that every case must have; a case then lists those that it
            has. None: all.
        patient_regex: Is searched for in the names of files, without their ending, or with a `/` in
            it in their paths below the folder and its name; its group called `patient`, or the
            first one, or the whole match is the patient. Where no file of a volume names one, the
            name of the case and its folders, joined by `_`, may.
        naming: Which names volumes have that are not known.

    Returns:
        Cases sorted by id; files and folders left out, each with its reason.

    Raises:
        ConfigError: If `patient_regex` is no regular expression.
        DataListError: If a folder does not exist or holds no usable case, `naming` fits no file, or
            one of the four contrasts is asked for by an older name.
    """
    for channel in (*(channels or ()), *(required or ())):
        if (ours := CHANNEL_NAMES.get(channel, channel)) != channel:
            raise DataListError(
                f"channel {channel!r} is called {ours!r} here", remedy=f"ask for {ours}"
            )
    return _find(paths_of(folders), Wanted.of(channels, required, patient_regex, naming))


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
    kept, skipped, more = distinct(found, skipped)
    notes = list(dict.fromkeys([*notes, *more]))
    for note in notes:
        logger.info("%s", note)
    layout_of = {one.case.case_id: one.layout for one in kept}
    cases = [wanted.spelled(one.case) for one in kept]
    return Finding.of(cases, skipped, layout_of, notes)


def _check_naming(wanted: Wanted, named: Collection[str], folders: Sequence[Path]) -> None:
    """Raise DataListError if what the user says of names fits no file."""
    for content, glob in wanted.naming.globs.items() if wanted.naming else ():
        if content in named or (content == LABEL and not wanted.labelled):
            continue
        option = f"--label-name {glob}" if content == LABEL else f"--name {content}={glob}"
        where = ", ".join(map(str, folders))
        part = "" if "*" in glob else f", as '*{glob}*' if it is a part of names"
        raise DataListError(
            f"{option} fits the name of no file below {where}", remedy=f"correct it{part}"
        )
