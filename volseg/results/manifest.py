"""Reading of the manifests of a folder of results: of one process, or of several shards."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from volseg.cases.result_maps import recorded_maps
from volseg.errors import ConfigError
from volseg.files.documents import check_regular, parse_json, validated
from volseg.files.writing import MANIFEST_FILE
from volseg.results import journal
from volseg.words import reason

# Enough for several 100,000 slices, each a case.
_MOST_BYTES = 2**29
# Keys that `infer` of all versions writes.
_ALWAYS = {"models", "labels", journal.RECORDS}
_NAME = re.compile(r"manifest-([1-9][0-9]*)-of-([1-9][0-9]*)\.json")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Share of the cases for one process: number `number`, from 1, of `count`; 1 of 1 is all."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """The shard from text such as `2/8`; all cases for None.

        Raises:
            ConfigError: If `text` is not K/N, or K is not in 1 to N.
        """
        if text is None:
            return cls()
        match = re.fullmatch(r"([0-9]+)/([0-9]+)", text)
        shard = cls(int(match[1]), int(match[2])) if match else cls(0, 0)
        if not 1 <= shard.number <= shard.count:
            raise ConfigError(
                f"shard is {text!r}, expected K/N with K from 1 to N",
                remedy="give 2/8 for the second of eight shards",
            )
        return shard

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    @property
    def is_whole(self) -> bool:
        """Whether the shard is all cases."""
        return self.count == 1

    @property
    def file(self) -> str:
        """Name of the manifest of this shard."""
        return MANIFEST_FILE if self.is_whole else f"manifest-{self.number}-of-{self.count}.json"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th item; the shares of all shards are disjoint and complete.

        >>> Shard(2, 3).share("abcde")
        'be'
        """
        return items[self.number - 1 :: self.count]


@dataclass(frozen=True)
class Manifest:
    """A manifest that was read, with its journal.

    Attributes:
        path: Path of the manifest.
        shard: Shard that wrote it.
        text: Text of manifest and journal.
        content: Content of manifest and journal, as plain data.
        time_ns: Time of the last write by the file system, in ns.
    """

    path: Path
    shard: Shard
    text: str
    content: Mapping[str, Any]
    time_ns: int

    @property
    def cases(self) -> dict[str, Any]:
        """Records of results by case id."""
        return dict(self.content.get(journal.RECORDS, {}))

    @property
    def failures(self) -> dict[str, str]:
        """Reasons of failed cases by case id."""
        return dict(self.content.get(journal.FAILURES, {}))

    @property
    def unfinished(self) -> dict[str, str | list[str]]:
        """Files by case id, of results without a record that may be half written."""
        return dict(self.content.get(journal.UNFINISHED, {}))

    @property
    def case_ids(self) -> tuple[str, ...]:
        """Ids of all cases with an entry."""
        return (*self.cases, *self.failures, *self.unfinished)

    @property
    def is_finished(self) -> bool:
        """Whether the manifest is of all cases, or of a finished shard."""
        return self.shard.is_whole or self.content.get("finished") is True


def is_manifest(name: str) -> bool:
    """Whether a name is the name of a manifest of `infer` or of a journal."""
    manifest = name.removesuffix(journal.ENDING) + ".json" * name.endswith(journal.ENDING)
    return manifest == MANIFEST_FILE or _shard_of(manifest) is not None


# Voxels, ml, mm2 or mm: no scan has so many, and charts of such numbers do not overflow.
_LARGEST = 10**12
_Size = Annotated[float, Field(ge=0, le=_LARGEST)]
_Count = Annotated[int, Field(ge=0, le=_LARGEST)]


class _Loose(BaseModel):
    model_config = ConfigDict(strict=True, extra="allow")


class _Source(_Loose):
    path: str
    bytes: int
    time_ns: int
    sha256: str


class _File(_Loose):
    file: str
    bytes: int
    sha256: str


class _Native(_Loose):
    file: str
    volumes_ml: dict[str, float] = {}
    is_reference: bool = False
    sources: list[_Source] = []


class _Section(_Loose):
    pixels: _Count
    area_mm2: _Size | None
    slice_number: _Count


class _Diameters(_Loose):
    longest_mm: _Size
    perpendicular_mm: _Size
    slice_number: _Count


class _Measures(_Loose):
    voxels: _Count | None = None
    volume_ml: _Size | None = None
    n_lesions: _Count | None = None
    section: _Section | None = None
    diameter: _Diameters | None = None


_Share = Annotated[float, Field(ge=0, le=1)]


class _PredictedDice(_Loose):
    dice: _Share
    low: _Share
    high: _Share

    @model_validator(mode="after")
    def _check_interval(self) -> Self:
        if not self.low <= self.dice <= self.high:
            raise ValueError("its dice lies outside low to high")
        return self


class _Settings(_Loose):
    overrides: list[str] = []


class _Record(_Loose):
    inputs: dict[str, str] | list[str] = []
    sources: list[_Source] = []
    output: str = ""
    probabilities: list[str] = []
    entropy: list[str] = []
    disagreement: list[str] = []
    files: list[_File] = []
    models: list[str] = []
    settings: _Settings = _Settings()
    resolved: list[dict[str, Any]] = []
    notes: list[str] = []
    missing_channels: list[str] = []
    trained_by: list[str] = []
    volumes_ml: dict[str, _Size] = {}
    measures: dict[str, _Measures] = {}
    preview: _File | None = None
    native: dict[str, _Native] = {}
    predicted_dice: dict[str, _PredictedDice] = {}
    look_at: list[str] = []
    unlike_training: list[str] = []
    is_of_fit: bool = False


class _Skipped(_Loose):
    path: str = ""
    reason: str = ""


class _Model(_Loose):
    path: str = ""
    sha256: str = ""


class _Content(_Loose):
    """Entries of a manifest that its readers rely on; others are allowed."""

    cases: dict[str, _Record] = {}
    failures: dict[str, str] = {}
    unfinished: dict[str, str | list[str]] = {}
    skipped: list[_Skipped] = []
    models: list[_Model] = []
    doubts: list[str] = []


def recorded_names(content: Mapping[str, Any], case_id: str) -> set[str]:
    """Names of the files and folders that a manifest records for a case.

    They are in the folder of the manifest; previews and native label maps are in folders there.
    """
    record = content.get(journal.RECORDS, {}).get(case_id, {})
    unfinished = content.get(journal.UNFINISHED, {}).get(case_id, [])
    names = {unfinished} if isinstance(unfinished, str) else set(unfinished)
    names |= {*recorded_maps(record)}
    names |= {mark["file"] for mark in record.get("native", {}).values()}
    names |= {preview["file"]} if (preview := record.get("preview")) else set()
    return names | {record["output"]} if "output" in record else names


def is_from_infer(content: Mapping[str, Any]) -> bool:
    """Whether `infer` wrote a manifest, and not another program."""
    return isinstance(content.get("volseg"), str) and content.keys() >= _ALWAYS


def check_content(content: Any) -> dict[str, Any]:
    """Checked content of a manifest; ValueError with one line if a type is wrong."""
    return dict(validated(_Content, content))


def read_manifests(folder: Path) -> list[Manifest]:
    """All manifests of a folder: `manifest.json`, then manifests of shards, the latest last.

    Shards may write and merge at the same time. If a manifest disappears while reading, it was
    merged into `manifest.json`, which is therefore read last.

    Raises:
        OSError: If a manifest cannot be read.
        ValueError: If a file with the name of a manifest is no manifest.
    """
    if not folder.is_dir():
        return []
    shards = [(path, shard) for path in folder.iterdir() if (shard := _shard_of(path.name))]
    read = [manifest for path, shard in shards if (manifest := _read(path, shard))]
    found = sorted(read, key=lambda manifest: (manifest.time_ns, manifest.path))
    whole = _read(folder / MANIFEST_FILE, Shard())
    return [whole, *found] if whole else found


def unite(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Content of several manifests as one; for each case, the last manifest with it counts."""
    if len(manifests) == 1 and manifests[0].shard.is_whole:
        return dict(manifests[0].content)
    united: dict[str, Any] = {"skipped": []}
    cases: dict[str, Any] = {}
    failures: dict[str, str] = {}
    unfinished: dict[str, str | list[str]] = {}
    for manifest in manifests:
        for case_id in manifest.case_ids:
            for part in (cases, failures, unfinished):
                part.pop(case_id, None)
        cases |= manifest.cases
        failures |= manifest.failures
        unfinished |= manifest.unfinished
        # Only the first shard records what the search left out.
        is_first = manifest.shard.number == 1
        skipped = manifest.content.get("skipped", []) if is_first else united["skipped"]
        united |= manifest.content
        united["skipped"] = skipped
    left_out = {"shard", "finished", *(() if unfinished else (journal.UNFINISHED,))}
    united |= {journal.RECORDS: cases, journal.FAILURES: failures, journal.UNFINISHED: unfinished}
    return {name: value for name, value in united.items() if name not in left_out}


def labels_of(manifests: Sequence[Manifest], case_ids: Collection[str]) -> list[Any]:
    """Recorded label schemes of the results of these cases, each scheme once."""
    last = {case_id: manifest for manifest in manifests for case_id in manifest.case_ids}
    recorded = {id(manifest): manifest.cases.keys() for manifest in manifests}
    found: list[Any] = []
    for case_id in case_ids:
        if case_id in last and case_id in recorded[id(last[case_id])]:
            labels = last[case_id].content.get("labels")
            found += [labels] if labels not in found else []
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """Content of all manifests of a folder, as one.

    Raises:
        FileNotFoundError: If there is no manifest.
        OSError: If a manifest cannot be read.
        ValueError: If a file with the name of a manifest is no manifest, or the results have
            several label schemes.
    """
    manifests = read_manifests(folder)
    if not manifests:
        raise FileNotFoundError(errno.ENOENT, "it has no manifest.json", str(folder))
    united = unite(manifests)
    if len(manifests) > 1 and len(labels_of(manifests, united["cases"])) > 1:
        raise ValueError("shards have not yet replaced all results in another label scheme")
    return united


def _shard_of(name: str) -> Shard | None:
    """Shard whose manifest has this name; None if it is no such name."""
    match = _NAME.fullmatch(name)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard()
    return shard if 1 <= shard.number <= shard.count > 1 else None


def _read(path: Path, shard: Shard) -> Manifest | None:
    """The manifest at `path` with its journal; None if the file does not exist."""
    # The journal comes first, as its entries are in the manifest before it is removed.
    try:
        lines_ns, lines = _text(journal.path_of(path))
    except FileNotFoundError:
        lines_ns, lines = 0, ""
    try:
        time_ns, text = _text(path)
    except FileNotFoundError:
        return None
    try:
        content = check_content(parse_json(text))
        content = check_content(journal.apply(lines, content)) if lines else content
    except ValueError as error:
        raise ValueError(f"{path} is no manifest of volseg ({reason(error)})") from None
    return Manifest(path, shard, text + lines, content, max(time_ns, lines_ns))


def text_of(manifest: Path) -> str:
    """Text of a manifest and its journal; OSError if they cannot be read."""
    try:
        lines = _text(journal.path_of(manifest))[1]
    except FileNotFoundError:
        lines = ""
    return _text(manifest)[1] + lines


def _text(path: Path, tries: int = 3) -> tuple[int, str]:
    """Time of the last write in ns, and text of a file."""
    if check_regular(path) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it holds more than {_MOST_BYTES} bytes", str(path))
    try:
        with path.open(encoding="utf-8") as file:
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no manifest of volseg ({reason(error)})") from None
    except OSError as error:
        # On NFS, another machine replaced the file during the read.
        if error.errno == errno.ESTALE and tries > 1:
            return _text(path, tries - 1)
        raise
