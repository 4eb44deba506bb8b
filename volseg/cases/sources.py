"""Source files of results and runs, recorded to recognise the same files later."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

from volseg.cases.case import Case
from volseg.errors import ImageError
from volseg.files.documents import open_regular

_BLOCK_BYTES = 2**20
# Only parts of large images are read, since a run has hundreds: the ends and parts in between.
_WHOLE_BYTES, _PART_BYTES, _PARTS = 2**24, 2**14, 16
_READERS = 8

Relation = Literal["same", "moved", "changed", "elsewhere"]


def read_sources(case: Case) -> list[dict[str, Any]]:
    """Record of each image of a case, see `fingerprint`; OSError if an image cannot be read."""
    return [{"path": str(path.absolute()), **fingerprint(path)} for path in case.images]


def relocated_sources(sources: Iterable[Mapping[str, Any]], case: Case) -> list[dict[str, Any]]:
    """Records of images with the known content of `sources`, without reading them."""
    found = zip(sources, case.images, states(case.images), strict=True)
    return [{**old, "path": str(path.absolute()), **state} for old, path, state in found]


def states(paths: Iterable[Path]) -> list[dict[str, int]]:
    """Size and times of files, see `fingerprint`; OSError if a file is missing."""
    return [_state(path.stat()) for path in paths]


def check_unchanged(
    case: Case, before: Sequence[Mapping[str, int]], sources: Iterable[Mapping[str, Any]]
) -> None:
    """Refuse images that were written while they were read, since the result would be doubtful.

    Args:
        case: The case.
        before: `states` of the images before they were read.
        sources: Result of `read_sources` after that.

    Raises:
        ImageError: If an image was written meanwhile.
    """
    for path, state, source in zip(case.images, before, sources, strict=True):
        if any(source[name] != value for name, value in state.items()):
            raise ImageError(
                f"{path} was written while it was read", remedy="segment it again", path=path
            )


def fingerprint(path: Path) -> dict[str, Any]:
    """Size, times and SHA-256 of a file; OSError if it cannot be read.

    The times are those of the content, which copying programs can set, and of the entry in the file
    system, which they cannot. They are taken first, so that later writing is noticed.
    """
    digest = hashlib.sha256()
    with open_regular(path) as file:
        found = os.fstat(file.fileno())
        while block := file.read(_BLOCK_BYTES):
            digest.update(block)
    return {**_state(found), "sha256": digest.hexdigest()}


def has_fingerprint(path: Path, noted: Mapping[str, Any]) -> bool:
    """Whether a file still has the recorded content; it is read only if its times differ.

    Raises:
        OSError: If the file is missing or cannot be read.
    """
    state = _state(path.stat())
    if all(noted.get(name) == value for name, value in state.items()):
        return True
    return state["bytes"] == noted["bytes"] and bool(fingerprint(path)["sha256"] == noted["sha256"])


def _state(found: os.stat_result) -> dict[str, int]:
    return {
        "bytes": found.st_size,
        "time_ns": found.st_mtime_ns,
        "changed_ns": found.st_ctime_ns,
    }


def relation(record: Mapping[str, Any], case: Case, result: Path) -> Relation:
    """Relation of the images of a case to the source images of a result.

    Files are read only if their path or times differ. Missing images count as the same, since the
    result is still theirs.

    Args:
        record: Record of the result in a manifest.
        case: The case now.
        result: A file of the result.

    Returns:
        "same" files; "moved": same content, but another path or other times; "changed": other
        content in the same folder; "elsewhere": other content in other folders, such as another
        patient's.
    """
    sources = record.get("sources")
    if not sources:
        return _relation_without_sources(record, case, result)
    now = [path.absolute() for path in case.images]
    is_untouched = _are_untouched(sources, now)
    if is_untouched or (len(now) == len(sources) and all(map(_is_same, sources, now))):
        spacing_mm = list(case.spacing_mm) if case.spacing_mm else None
        if record.get("spacing_mm") != spacing_mm:
            return "changed"
        # Missing images leave nothing new to record.
        return "same" if is_untouched or not all(path.exists() for path in now) else "moved"
    folders = {Path(source["path"]).parent for source in sources} & {path.parent for path in now}
    return "changed" if folders else "elsewhere"


def _are_untouched(sources: Sequence[Mapping[str, Any]], paths: Sequence[Path]) -> bool:
    """Whether files have the recorded paths and times, without reading them."""
    if [source["path"] for source in sources] != [str(path) for path in paths]:
        return False
    try:
        found = states(paths)
    except OSError:
        return False
    return all(
        source.get(name) == value
        for source, state in zip(sources, found, strict=True)
        for name, value in state.items()
    )


def is_of_others(record: Mapping[str, Any], case: Case) -> bool:
    """Whether a result was certainly made from none of the images of a case.

    Args:
        record: Record of the result in a manifest.
        case: The case that the result is assigned to.
    """
    sources = record.get("sources") or ()
    if not sources or not case.images or not all(path.is_file() for path in case.images):
        return False
    images = [path.absolute() for path in case.images]
    return not any(_is_same(source, path) for source in sources for path in images)


def changed_since(record: Mapping[str, Any], case: Case) -> Path | None:
    """A source image of a result in this case whose content has changed since, or None."""
    images = {str(path.absolute()): path for path in case.images}
    sources = [source for source in record.get("sources") or () if source["path"] in images]
    changed = (source for source in sources if not _is_same(source, Path(source["path"])))
    return next((images[source["path"]] for source in changed), None)


def _is_same(source: Mapping[str, Any], path: Path) -> bool:
    in_place = source["path"] == str(path)
    try:
        # Files in other places may have equal times, as copies do.
        noted = source if in_place else {name: source[name] for name in ("bytes", "sha256")}
        return has_fingerprint(path, noted)
    except OSError:
        return in_place


def case_fingerprints(cases: Iterable[Case]) -> dict[str, str]:
    """A fingerprint for each case, which changes if the content of an image or label map changes.

    Small files are read completely; for larger files, the size and parts are read, since any change
    of a compressed file changes its end. Paths and times do not count. A case with an unreadable
    file has no fingerprint.
    """
    with ThreadPoolExecutor(_READERS) as pool:
        fingerprints = pool.map(lambda case: (case.case_id, _case_fingerprint(case)), cases)
        return {
            case_id: fingerprint for case_id, fingerprint in fingerprints if fingerprint is not None
        }


def _case_fingerprint(case: Case) -> str | None:
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
    """`relation` for results of older versions, which recorded only paths."""
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
