"""Results and pictures that volseg wrote into a folder, which are no scans."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from volseg.files.ownership import (
    CONVERSION_FILE,
    PICTURES,
    PREPARATION_FOLDER,
    PREPARED_FOLDER,
    TIME_POINTS_FILE,
    is_ours,
)
from volseg.results.companions import is_companion
from volseg.results.explanation_record import EXPLANATIONS_FILE, explanations_in
from volseg.results.journal import UNFINISHED
from volseg.results.manifest import is_manifest, read_manifests, recorded_names, unite


def written_by_volseg(folder: Path, files: Collection[str]) -> set[str]:
    """Names of the files and folders in `folder` that commands of volseg wrote.

    Args:
        folder: Any folder.
        files: Names of the files in the folder.
    """
    written = {picture for picture, beside in PICTURES.items() if {picture, beside} <= set(files)}
    manifests = set(filter(is_manifest, files))
    companions = set(filter(is_companion, files)) if manifests else set()
    companions |= {CONVERSION_FILE, TIME_POINTS_FILE} & set(files)
    written |= {name for name in companions if is_ours(folder / name)}
    if EXPLANATIONS_FILE in files:
        written |= explanations_in(folder)
    if _is_of_records(folder / PREPARATION_FOLDER):
        written.add(PREPARATION_FOLDER)
    if manifests and _is_of_records(folder / PREPARED_FOLDER / PREPARATION_FOLDER):
        written.add(PREPARED_FOLDER)
    return written | (_results(folder, manifests) if manifests else set())


def prepared_folder_around(path: Path) -> Path | None:
    """The folder of prepared cases that a path is or lies in; None outside of any."""
    for folder in (path.resolve(), *path.resolve().parents):
        if _is_of_records(folder / PREPARATION_FOLDER):
            return folder
    return None


def _is_of_records(folder: Path) -> bool:
    """Whether a folder holds nothing but records and pictures of `prepare`."""
    try:
        visible = [path for path in folder.iterdir() if path.name[0] != "."]
    except OSError:
        return False
    records = [path for path in visible if path.suffix == ".json"]
    others = {path.suffix for path in visible} - {".json", ".png"}
    return bool(records) and not others and is_ours(min(records))


def _results(folder: Path, manifests: set[str]) -> set[str]:
    """Names of manifests of `infer` and of the results that they record."""
    try:
        united = unite(read_manifests(folder))
        case_ids = {*united["cases"], *united.get(UNFINISHED, {})}
        # A preview is in a folder of previews.
        results = {
            name.partition("/")[0]
            for case_id in case_ids
            for name in recorded_names(united, case_id)
        }
    # Other programs have manifests too.
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return set()
    return manifests | results
