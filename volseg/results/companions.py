"""Files beside the label maps of `infer`: previews, contact sheets and the table of volumes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.cases.case import Case
from volseg.errors import OutputError
from volseg.files.ownership import check_ours
from volseg.results.journal import RECORDS, UNFINISHED
from volseg.results.manifest import recorded_names

#: Folder of the previews, a picture for each case.
PREVIEWS = "previews"
#: Table of the measures of all cases.
VOLUMES_FILE = "volumes.csv"
#: Key of the mark of a preview in the record of a result.
PREVIEW = "preview"

_SHEET = re.compile(rf"{PREVIEWS}(-[0-9]+)?\.png")
_REMEDY = "move it away, or choose another folder with -o"
_REMEDY_OF_PICTURES = f"{_REMEDY}, or leave pictures out with --no-preview"


def preview_name(case_id: str) -> str:
    """Name of the preview of a case in a folder of results.

    >>> preview_name("BraTS-GLI-00001-000")
    'previews/BraTS-GLI-00001-000.png'
    """
    return f"{PREVIEWS}/{case_id}.png"


def sheet_name(page: int) -> str:
    """Name of a contact sheet, by its number from 1.

    >>> sheet_name(1), sheet_name(2)
    ('previews.png', 'previews-2.png')
    """
    return f"{PREVIEWS}-{page}.png" if page > 1 else f"{PREVIEWS}.png"


def sheets_in(output: Path) -> list[Path]:
    """Files in a folder of results that are named like contact sheets."""
    return [path for path in output.glob(f"{PREVIEWS}*.png") if _SHEET.fullmatch(path.name)]


def is_companion(name: str) -> bool:
    """Whether a file or folder beside label maps has the name of one of these files."""
    return name in {PREVIEWS, VOLUMES_FILE} or _SHEET.fullmatch(name) is not None


def case_in_place_of_previews(cases: Sequence[Case], output: Path) -> str | None:
    """Id of a case whose masks have the name of the previews or of a contact sheet; or None."""
    for case in cases:
        first = case.label_map_files(output)[0].relative_to(output).parts[0]
        if is_companion(first):
            return case.case_id
    return None


def check_companions(
    output: Path, case_ids: Iterable[str], known: Mapping[str, Any], *, previews: bool
) -> None:
    """Check that `infer` may write these files.

    Args:
        output: Folder of results; need not exist.
        case_ids: Ids of the cases of this run.
        known: Content of the manifest of the folder.
        previews: Whether pictures are to be drawn.

    Raises:
        OutputError: If a file or folder of that name is there and volseg did not write it.
    """
    check_ours(output / VOLUMES_FILE, _REMEDY)
    if not previews:
        return
    check_ours(output / sheet_name(1), _REMEDY_OF_PICTURES)
    folder = output / PREVIEWS
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(
            f"{folder} is there already and is no folder", remedy=_REMEDY_OF_PICTURES, path=folder
        )
    ours = {*known.get(RECORDS, {}), *known.get(UNFINISHED, {})}
    ours = {name for name in ours if preview_name(name) in recorded_names(known, name)}
    there = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
    if any(name[0] != "." for name in there) and not ours:
        raise OutputError(
            f"{folder} is there already, but no manifest lists a picture in it",
            remedy=_REMEDY_OF_PICTURES,
            path=folder,
        )
    for case_id in case_ids:
        path = output / preview_name(case_id)
        if path.name in there and (case_id not in ours or path.is_symlink()):
            raise OutputError(
                f"{path} is there already, but no manifest lists it as a picture of volseg",
                remedy=_REMEDY_OF_PICTURES,
                path=path,
            )
