"""Record of the explanations in a folder, `explanations.json`: which files are there, of what.

A case has an entry for each region and kind of map: `cases.CASE.maps.ET_saliency`, and
`ET_saliency-at-maximum` for the voxel of highest probability.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from volseg.files.documents import parse_json, read_bytes, validated
from volseg.results import journal
from volseg.results.journal import RECORDS
from volseg.words import reason

#: Name of the record, and of the table of channels beside it.
EXPLANATIONS_FILE, SHARES_FILE = "explanations.json", "channel_shares.csv"
#: Parts of the record of a case: maps by region and kind, bars of channels by kind, reasons why
#: maps are missing by the key of the map, and names of files that may be half written.
MAPS, BARS, FAILED, WRITING = "maps", "bars", "failed", "writing"
#: Marks of the files of a map: the map itself, and its picture if it was drawn.
MAP, PICTURE = "map", "picture"

# Enough for 100,000 maps.
_MOST_BYTES = 2**28


class _Loose(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Mark(_Loose):
    file: str
    bytes: int
    sha256: str


class _Map(_Loose):
    region: str
    method: str
    map: _Mark
    picture: _Mark | None = None
    options: dict[str, Any] = {}
    models: list[str] = []
    resolved: list[dict[str, Any]] = []
    sources: list[dict[str, Any]] = []
    by_channel: dict[str, float] = {}
    channel_values: dict[str, float] = {}


class _Case(_Loose):
    maps: dict[str, _Map] = {}
    bars: dict[str, _Mark] = {}
    failed: dict[str, str] = {}
    writing: list[str] = []


class _Content(_Loose):
    """Entries that readers rely on; others are allowed."""

    volseg: str
    cases: dict[str, _Case]
    failures: dict[str, str] = {}


def kind_of(method: str, *, at_maximum: bool) -> str:
    """Kind of a map in names of files: its method, and what is explained if not the mask.

    >>> kind_of("saliency", at_maximum=False), kind_of("saliency", at_maximum=True)
    ('saliency', 'saliency-at-maximum')
    """
    return f"{method}-at-maximum" if at_maximum else method


def map_key(region: str, kind: str) -> str:
    """Key of a map among the maps of a case; `kind` as of `kind_of`."""
    return f"{region}_{kind}"


def map_name(case_id: str, region: str, kind: str) -> str:
    """Name of a map without its ending.

    >>> map_name("BraTS-GLI-00001-000", "ET", "saliency")
    'BraTS-GLI-00001-000_ET_saliency'
    """
    return f"{case_id}_{map_key(region, kind)}"


def bars_name(case_id: str, kind: str) -> str:
    """Name of the picture of the shares of channels.

    >>> bars_name("BraTS-GLI-00001-000", "occlusion")
    'BraTS-GLI-00001-000_occlusion_channels.png'
    """
    return f"{case_id}_{kind}_channels.png"


def read_explanations(folder: Path) -> dict[str, Any] | None:
    """Content of the record of a folder, with its journal; None if there is no record.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it is no record of explanations.
    """
    path = folder / EXPLANATIONS_FILE
    try:
        # The journal comes first, as its entries are in the record before it is removed.
        lines = _text(journal.path_of(path))
    except FileNotFoundError:
        lines = ""
    try:
        content = validated(_Content, parse_json(_text(path)))
        found: dict[str, Any] = journal.apply(lines, content) if lines else dict(content)
        return dict(validated(_Content, found))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ValueError(f"{path} is no record of explanations ({reason(error)})") from None


def _text(path: Path) -> str:
    return read_bytes(path, _MOST_BYTES).decode()


def recorded_files(record: Mapping[str, Any]) -> set[str]:
    """Names of the files of the record of a case."""
    maps = record.get(MAPS, {}).values()
    marks = [one[part] for one in maps for part in (MAP, PICTURE) if one.get(part)]
    marks += record.get(BARS, {}).values()
    return {mark["file"] for mark in marks} | {*record.get(WRITING, ())}


def explanations_in(folder: Path) -> set[str]:
    """Names of the files in a folder that `explain` wrote; empty if its record is of no use."""
    try:
        content = read_explanations(folder)
    except (OSError, ValueError):
        return set()
    if content is None:
        return set()
    record = folder / EXPLANATIONS_FILE
    beside = {record.name, journal.path_of(record).name, SHARES_FILE}
    return beside.union(*map(recorded_files, content[RECORDS].values()))
