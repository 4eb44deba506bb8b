"""Label maps on the original grids of prepared cases: names, marks in a manifest, ownership."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from volseg.cases.sources import has_fingerprint
from volseg.errors import OutputError
from volseg.results.journal import RECORDS, UNFINISHED
from volseg.results.manifest import read_manifests, recorded_names, unite
from volseg.results.manifest_file import remove_written

logger = logging.getLogger(__name__)

#: Folder of these label maps, and key of their marks, by channel, in the record of a result.
NATIVE = "native"

_REMEDY = "move it away, or choose another folder with -o"


def native_name(case_id: str, channel: str) -> str:
    """Name of a label map on the original grid of a channel, in a folder of results.

    >>> native_name("P7", "t1c")
    'native/P7-t1c.nii.gz'
    """
    return f"{NATIVE}/{case_id}-{channel}.nii.gz"


def results_of(folder: Path) -> Path:
    """The folder of results that a folder of native label maps belongs to; any other, itself."""
    home = folder.resolve().parent
    if folder.resolve().name != NATIVE:
        return folder
    try:
        recorded = unite(read_manifests(home)).get(RECORDS, {})
    # Another program's manifest, or none.
    except (OSError, ValueError, LookupError):
        return folder
    return home if any(record.get(NATIVE) for record in recorded.values()) else folder


def native_records(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A manifest as that of the native label maps: with original scans as sources of the results.

    The former sources are in `prepared_sources`. Cases whose native label maps were not finished
    are among the unfinished.
    """
    cases, unfinished = {}, dict(manifest.get(UNFINISHED, {}))
    for case_id, record in manifest.get(RECORDS, {}).items():
        marks = record.get(NATIVE, {}).values()
        sources = {mark["path"]: mark for of in marks for mark in of.get("sources", ())}
        prepared = record.get("sources", [])
        cases[case_id] = {
            **record,
            "sources": list(sources.values()),
            "prepared_sources": prepared,
        }
        if half := [mark["file"] for mark in marks if "sha256" not in mark]:
            unfinished[case_id] = half
    return {**manifest, RECORDS: cases, UNFINISHED: unfinished}


def check_native_files(
    output: Path, wanted: Mapping[str, Iterable[str]], known: Mapping[str, Any]
) -> None:
    """Check that these label maps may be written.

    Args:
        output: Folder of results; need not exist.
        wanted: Channels by case id.
        known: Content of the manifest of the folder.

    Raises:
        OutputError: If a file or folder is in the way that volseg did not write, or two cases
            would share a file.
    """
    folder = output / NATIVE
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise OutputError(
            f"{folder} is there already and is no folder", remedy=_REMEDY, path=folder
        )
    cases = {*known.get(RECORDS, {}), *known.get(UNFINISHED, {})}
    ours = {name: case_id for case_id in cases for name in recorded_names(known, case_id)}
    paths = folder.iterdir() if folder.is_dir() else ()
    there = [path.name for path in paths if path.name[0] != "."]
    if there and not any(f"{NATIVE}/{name}" in ours for name in there):
        raise OutputError(
            f"{folder} is there already, but no manifest lists a label map in it",
            remedy=_REMEDY,
            path=folder,
        )
    owners: dict[str, str] = {}
    for case_id, channels in wanted.items():
        for name in (native_name(case_id, channel) for channel in channels):
            if owners.setdefault(name, case_id) != case_id:
                raise OutputError(
                    f"{output / name} would be the result of case {case_id} and of {owners[name]}",
                    remedy="segment them into separate folders",
                )
            path = output / name
            if os.path.lexists(path) and (ours.get(name) != case_id or path.is_symlink()):
                raise OutputError(
                    f"{path} is there already, but no manifest lists it as a result of volseg",
                    remedy=_REMEDY,
                    path=path,
                )


def is_edited(output: Path, mark: Mapping[str, Any]) -> bool:
    """Whether a label map is there, but with other content than volseg wrote."""
    # Without a digest, a process was killed while it wrote the file.
    if "sha256" not in mark:
        return False
    try:
        return not has_fingerprint(output / mark["file"], mark)
    except FileNotFoundError:
        return False
    except OSError:
        return True


def remove_native_files(output: Path, record: Mapping[str, Any], *, overwrite: bool) -> None:
    """Remove the label maps of an older result, unless they were edited.

    Args:
        output: Folder of results.
        record: Record of the older result.
        overwrite: Whether edited ones are removed too.

    Raises:
        OutputError: If one cannot be removed.
    """
    for mark in record.get(NATIVE, {}).values():
        path = output / mark["file"]
        if is_edited(output, mark) and not overwrite:
            logger.warning("%s was edited after volseg wrote it, so it stays as it is", path)
        else:
            remove_written(path, "a native label map of an old result")
