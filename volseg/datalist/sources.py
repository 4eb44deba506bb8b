"""The files that a result or a run was made from, so that it is kept for these and no others."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from volseg.datalist.case import Case
from volseg.documents import open_regular

_BLOCK_BYTES = 2**20
# Of a large image of a run, which has hundreds, parts are read: its ends and some in between.
_WHOLE_BYTES, _PART_BYTES, _PARTS = 2**24, 2**14, 16
_READERS = 8

Relation = Literal["same", "moved", "changed", "elsewhere"]


def read_sources(case: Case) -> list[dict[str, Any]]:
    """Path, size, time of change and SHA-256 of each image of a case; OSError if one is not read.

    The time is taken first, so that what is replaced meanwhile shows as changed.
    """
    return [_source(path) for path in case.images]


def _source(path: Path) -> dict[str, Any]:
    digest = hashlib.sha256()
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return {
        "path": str(path.absolute()),
        "bytes": found.st_size,
        "time_ns": found.st_mtime_ns,
        "sha256": digest.hexdigest(),
    }


def relation(record: Mapping[str, Any], case: Case, result: Path) -> Relation:
    """What the images of a case are to those that a result was made from.

    Files are read only where their place or their time of change is another. Images that are gone
    are taken for the same: it is the result of these all the same.

    Args:
        record: That of the result in a manifest.
        case: The case now.
        result: A file of the result.

    Returns:
        "same" files; "moved", the same content in another place; "changed", other content in the
        same place; "elsewhere", other content in another place, such as another patient's.
    """
    sources = record.get("sources")
    if not sources:
        return _relation_without_sources(record, case, result)
    before = [Path(source["path"]) for source in sources]
    now = [path.absolute() for path in case.images]
    spacing_mm = list(case.spacing_mm) if case.spacing_mm else None
    if len(now) == len(sources) and all(map(_is_same, sources, now)):
        if record.get("spacing_mm") != spacing_mm:
            return "changed"
        return "same" if before == now else "moved"
    folders = {path.parent for path in before} & {path.parent for path in now}
    return "changed" if folders else "elsewhere"


def is_of_others(record: Mapping[str, Any], case: Case) -> bool:
    """Whether a result was made from none of the images of a case, as far as both can be told.

    Args:
        record: That of the result in a manifest.
        case: The case that the result is taken for.
    """
    sources = record.get("sources") or ()
    if not sources or not case.images or not all(path.is_file() for path in case.images):
        return False
    images = [path.absolute() for path in case.images]
    return not any(_is_same(source, path) for source in sources for path in images)


def changed_since(record: Mapping[str, Any], case: Case) -> Path | None:
    """An image of a case that a result was made from and that holds other things now, if any."""
    images = {str(path.absolute()): path for path in case.images}
    sources = [source for source in record.get("sources") or () if source["path"] in images]
    changed = (source for source in sources if not _is_same(source, Path(source["path"])))
    return next((images[source["path"]] for source in changed), None)


def _is_same(source: Mapping[str, Any], path: Path) -> bool:
    in_place = source["path"] == str(path)
    try:
        found = path.stat()
        if found.st_size != source["bytes"]:
            return False
        if in_place and found.st_mtime_ns == source["time_ns"]:
            return True
        return bool(_source(path)["sha256"] == source["sha256"])
    except OSError:
        return in_place


def case_marks(cases: Iterable[Case]) -> dict[str, str]:
    """For each case, a text that is another once an image or the label map holds other things.

    Label maps are read whole, as are small images. Of larger ones their size and parts are read; a
    compressed file that changes anywhere changes at its end. Where the files lie, and when they
    were written, does not count. A case of which a file cannot be read has no mark.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        marks = pool.map(lambda case: (case.case_id, _case_mark(case)), cases)
        return {case_id: mark for case_id, mark in marks if mark is not None}


def _case_mark(case: Case) -> str | None:
    digest = hashlib.sha256()
    try:
        for path in case.images:
            _add_file(digest, path, _PART_BYTES * _PARTS)
        for path in case.label:
            _add_file(digest, path, _WHOLE_BYTES)
    except OSError:
        return None
    return digest.hexdigest()[:16]


def _add_file(digest: Any, path: Path, whole_bytes: int) -> None:
    with open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        digest.update(f"{size} ".encode())
        if size <= whole_bytes:
            digest.update(file.read())
            return
        for number in range(_PARTS):
            file.seek((size - _PART_BYTES) * number // (_PARTS - 1))
            digest.update(file.read(_PART_BYTES))


def _relation_without_sources(record: Mapping[str, Any], case: Case, result: Path) -> Relation:
    """The same for results of older versions, which noted paths alone."""
    inputs = record.get("inputs", [])
    paths = list(inputs.values()) if isinstance(inputs, dict) else list(inputs)
    now = [str(path) for path in case.images]
    if {*map(str, paths)} != {*now}:
        return "elsewhere"
    try:
        is_newer = any(p.stat().st_mtime > result.stat().st_mtime for p in case.images)
    except OSError:
        return "same"
    return "changed" if is_newer else "same"
