"""Manifests of a folder of results: that of one process, and those of shards, read as one."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ConfigDict

from volseg.errors import ConfigError
from volseg.files.documents import check_regular, parse_json, validated
from volseg.files.writing import MANIFEST_FILE
from volseg.results import journal
from volseg.words import reason

# Of several 100,000 slices, each a case.
_MOST_BYTES = 2**29
# What `infer` of all versions writes.
_ALWAYS = {"models", "labels", journal.RECORDS}
_NAME = re.compile(r"manifest-([1-9][0-9]*)-of-([1-9][0-9]*)\.json")

Item = TypeVar("Item")


@dataclass(frozen=True)
class Shard:
    """Share `number`, from 1, of `count` shares of the cases; 1 of 1 is all of them."""

    number: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str | None) -> Shard:
        """The shard that `2/8` names; of None the whole.

        Raises:
            ConfigError: If it is not of that form, or K is not in 1 to N.
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
        """Whether there are no other shares."""
        return self.count == 1

    @property
    def file(self) -> str:
        """Name of the manifest that this share writes."""
        return MANIFEST_FILE if self.is_whole else f"manifest-{self.number}-of-{self.count}.json"

    def share(self, items: Sequence[Item]) -> Sequence[Item]:
        """Every `count`-th item; the shares are disjoint, and together they are all.

        >>> Shard(2, 3).share("abcde")
        'be'
        """
        return items[self.number - 1 :: self.count]


@dataclass(frozen=True)
class Manifest:
    """A manifest as it was read.

    Attributes:
        path: Its file.
        shard: The share that wrote it.
        text: What the file and its journal held.
        content: The same as data.
        time_ns: When it was written, as the file system says.
    """

    path: Path
    shard: Shard
    text: str
    content: Mapping[str, Any]
    time_ns: int

    @property
    def cases(self) -> dict[str, Any]:
        """Record of each result."""
        return dict(self.content.get(journal.RECORDS, {}))

    @property
    def failures(self) -> dict[str, str]:
        """Reason of each case that failed."""
        return dict(self.content.get(journal.FAILURES, {}))

    @property
    def unfinished(self) -> dict[str, str | list[str]]:
        """Files of each case whose result may be there or half written, but has no record."""
        return dict(self.content.get(journal.UNFINISHED, {}))

    @property
    def case_ids(self) -> tuple[str, ...]:
        """All cases that have an entry."""
        return (*self.cases, *self.failures, *self.unfinished)

    @property
    def is_finished(self) -> bool:
        """Whether it is that of all cases, or of a shard that came to its end."""
        return self.shard.is_whole or self.content.get("finished") is True


def is_manifest(name: str) -> bool:
    """Whether a name is that of a manifest of `infer` or of its journal."""
    manifest = name.removesuffix(journal.ENDING) + ".json" * name.endswith(journal.ENDING)
    return manifest == MANIFEST_FILE or _shard_of(manifest) is not None


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


class _Record(_Loose):
    inputs: dict[str, str] | list[str] = []
    sources: list[_Source] = []
    output: str = ""
    probabilities: list[str] = []
    files: list[_File] = []
    models: list[str] = []
    settings: dict[str, Any] = {}
    missing_channels: list[str] = []


class _Content(_Loose):
    """What readers of a manifest rely on; there may be more."""

    cases: dict[str, _Record] = {}
    failures: dict[str, str] = {}
    unfinished: dict[str, str | list[str]] = {}
    skipped: list[dict[str, Any]] = []
    models: list[dict[str, Any]] = []


def recorded_names(content: Mapping[str, Any], case_id: str) -> set[str]:
    """Names, in the folder of the results, of the files and folders recorded for a case."""
    record = content.get(journal.RECORDS, {}).get(case_id, {})
    unfinished = content.get(journal.UNFINISHED, {}).get(case_id, [])
    names = {unfinished} if isinstance(unfinished, str) else set(unfinished)
    names |= {*record.get("probabilities", ())}
    return names | {record["output"]} if "output" in record else names


def is_from_infer(content: Mapping[str, Any]) -> bool:
    """Whether a manifest is one of `infer`: other programs have manifests too."""
    return isinstance(content.get("volseg"), str) and content.keys() >= _ALWAYS


def check_content(content: Any) -> dict[str, Any]:
    """The content of a manifest; ValueError, in a line, if it is of another shape."""
    return dict(validated(_Content, content))


def read_manifests(folder: Path) -> list[Manifest]:
    """All manifests of a folder: `manifest.json`, then those of shards, the latest last.

    Shards may write and merge at the same time. A manifest that is gone was merged into
    `manifest.json` before, which is therefore read after the others.

    Raises:
        OSError: If a manifest cannot be read.
        ValueError: If a file of that name is no manifest.
    """
    if not folder.is_dir():
        return []
    shards = [(path, shard) for path in folder.iterdir() if (shard := _shard_of(path.name))]
    read = [manifest for path, shard in shards if (manifest := _read(path, shard))]
    found = sorted(read, key=lambda manifest: (manifest.time_ns, manifest.path))
    whole = _read(folder / MANIFEST_FILE, Shard())
    return [whole, *found] if whole else found


def unite(manifests: Sequence[Manifest]) -> dict[str, Any]:
    """Content of several manifests as one; of a case, the last that names it counts."""
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
        # What the search left out is recorded by the first shard alone.
        is_first = manifest.shard.number == 1
        skipped = manifest.content.get("skipped", []) if is_first else united["skipped"]
        united |= manifest.content
        united["skipped"] = skipped
    left_out = {"shard", "finished", *(() if unfinished else (journal.UNFINISHED,))}
    united |= {journal.RECORDS: cases, journal.FAILURES: failures, journal.UNFINISHED: unfinished}
    return {name: value for name, value in united.items() if name not in left_out}


def labels_of(manifests: Sequence[Manifest], case_ids: Collection[str]) -> list[Any]:
    """The recorded label schemes of the results of these cases, each once."""
    last = {case_id: manifest for manifest in manifests for case_id in manifest.case_ids}
    recorded = {id(manifest): manifest.cases.keys() for manifest in manifests}
    found: list[Any] = []
    for case_id in case_ids:
        if case_id in last and case_id in recorded[id(last[case_id])]:
            labels = last[case_id].content.get("labels")
            found += [labels] if labels not in found else []
    return found


def read_manifest(folder: Path) -> dict[str, Any]:
    """What all manifests of a folder hold, as one.

    Raises:
        FileNotFoundError: If there is none.
        OSError: If a manifest cannot be read.
        ValueError: If a file of that name is no manifest, or the results are in several label
            schemes.
    """
    manifests = read_manifests(folder)
    if not manifests:
        raise FileNotFoundError(errno.ENOENT, "it has no manifest.json", str(folder))
    united = unite(manifests)
    if len(manifests) > 1 and len(labels_of(manifests, united["cases"])) > 1:
        raise ValueError("shards have not yet made all old results again in their label scheme")
    return united


def _shard_of(name: str) -> Shard | None:
    """The share whose manifest has this name."""
    match = _NAME.fullmatch(name)
    shard = Shard(int(match[1]), int(match[2])) if match else Shard()
    return shard if 1 <= shard.number <= shard.count > 1 else None


def _read(path: Path, shard: Shard) -> Manifest | None:
    """The manifest at `path` with its journal; None if it is gone."""
    # First, since its entries are in the manifest before the journal is removed.
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
    """What a manifest and its journal hold; OSError if they cannot be read."""
    try:
        lines = _text(journal.path_of(manifest))[1]
    except FileNotFoundError:
        lines = ""
    return _text(manifest)[1] + lines


def _text(path: Path, tries: int = 3) -> tuple[int, str]:
    """When a file was written, and what it holds."""
    if check_regular(path) > _MOST_BYTES:
        raise OSError(errno.EFBIG, f"it holds more than {_MOST_BYTES} bytes", str(path))
    try:
        with path.open(encoding="utf-8") as file:
            return os.fstat(file.fileno()).st_mtime_ns, file.read()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no manifest of volseg ({reason(error)})") from None
    except OSError as error:
        # NFS: another machine replaced the file while it was read here.
        if error.errno == errno.ESTALE and tries > 1:
            return _text(path, tries - 1)
        raise
