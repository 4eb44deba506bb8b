"""The manifest that a process of `infer` writes: its journal, its end, and the merge of shards."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.errors import OutputError
from volseg.files.writing import MANIFEST_FILE, atomic_write
from volseg.results import journal
from volseg.results.journal import FAILURES, RECORDS, UNFINISHED
from volseg.results.manifest import (
    Manifest,
    Shard,
    is_from_infer,
    is_manifest,
    labels_of,
    read_manifests,
    text_of,
    unite,
)
from volseg.words import reason

_REMEDY = "move it away, or choose another folder with -o"


class ManifestFile:
    """The manifest of this process, on disk and in memory.

    It is written when the run begins and ends. In between, a line of its journal is appended for
    each event, which takes the same time however many cases there are.

    One process writes `manifest.json`, a shard `manifest-K-of-N.json`, so that no two processes
    write one file.

    Args:
        output: Folder of the results.
        shard: The share of this process.
        content: What the manifest holds besides its cases, as plain data for JSON.
    """

    def __init__(self, output: Path, shard: Shard, content: Mapping[str, Any]) -> None:
        self.output, self.shard = output, shard
        self.path = output / shard.file
        parts: dict[str, Any] = {RECORDS: {}, FAILURES: {}, UNFINISHED: {}, "skipped": []}
        self.content: dict[str, Any] = {**content, **parts}
        if not shard.is_whole:
            self.content |= {"shard": str(shard), "finished": False}

    def add(self, part: str, case_id: str, entry: object) -> None:
        """Note what became of a case: at once on disk, and in what the end will write.

        Args:
            part: `RECORDS`, `FAILURES` or `UNFINISHED`.
            case_id: The case.
            entry: What that part of the manifest holds of it, as plain data for JSON.

        Raises:
            OutputError: If the journal cannot be written.
        """
        journal.add(self.path, part, case_id, entry)
        journal.put(self.content, part, case_id, entry)

    def write(self) -> None:
        """Write the manifest, which then holds what its journal held."""
        # As a rule, no case is unfinished.
        left_out = [] if self.content[UNFINISHED] else [UNFINISHED]
        _replace(self.path, without(self.content, left_out))
        journal.remove(self.path)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        """Write the manifest when the block ends, however it ends."""
        try:
            yield
        except BaseException:
            # The journal holds the same.
            with contextlib.suppress(OutputError):
                self.write()
            raise
        if journal.path_of(self.path).exists():
            self.write()

    def finish(self, case_ids: Sequence[str], complete: Callable[[], Collection[str]]) -> Path:
        """Mark a shard as finished and merge the shards if all are; the manifest to look at.

        Args:
            case_ids: All cases of all shards, in the order in which one process would do them.
            complete: Gives those of them whose results are on disk.
        """
        if not self.shard.is_whole:
            self.content["finished"] = True
            self.write()
            if self._merge(case_ids, complete):
                return self.output / MANIFEST_FILE
        return self.path

    def _merge(self, case_ids: Sequence[str], complete: Callable[[], Collection[str]]) -> bool:
        """Merge all manifests of the folder into `manifest.json`, unless a shard is not finished.

        Shards that end at the same moment read the same and so write the same.
        """
        manifests = read_earlier_manifests(self.output)
        if self.path not in {manifest.path for manifest in manifests}:
            return True  # another shard was quicker
        of_all = [manifest for manifest in manifests if manifest.shard.count == self.shard.count]
        united = unite(manifests)
        on_disk = set(complete())
        known = {*united[RECORDS], *united[FAILURES], *on_disk}
        # A shard that has not begun shows by its cases, since an earlier run may have done them.
        if not all(manifest.is_finished for manifest in of_all) or not known.issuperset(case_ids):
            return False
        # Results in another scheme are those that a shard has yet to overwrite.
        if any(old != self.content["labels"] for old in labels_of(manifests, united[RECORDS])):
            return False
        left_out = ["shard", "finished", *([] if united.get(UNFINISHED) else [UNFINISHED])]
        whole = without(self.content | {UNFINISHED: united.get(UNFINISHED)}, left_out) | {
            "options": self.content["options"] | {"shard": None},
            RECORDS: in_order(united[RECORDS], case_ids),
            # A case that has a record and failed: what is there is not what was written.
            FAILURES: in_order(
                without(united[FAILURES], on_disk - united[RECORDS].keys()), case_ids
            ),
            "skipped": united["skipped"],
        }
        _replace(self.output / MANIFEST_FILE, whole)
        remove_merged(manifests)
        return True


def read_earlier_manifests(output: Path) -> list[Manifest]:
    """Manifests of a folder whose records a run takes over.

    Raises:
        OutputError: If a file that is called as one of them is not of volseg, or cannot be read.
    """
    try:
        manifests = read_manifests(output)
    except OSError as error:
        raise OutputError(
            f"{error.filename or output} cannot be read ({reason(error)})",
            remedy="choose another folder with -o",
        ) from None
    except ValueError as error:
        raise OutputError(f"{error}", remedy="move it away") from None
    for manifest in manifests:
        if not is_from_infer(manifest.content):
            raise OutputError(f"{manifest.path} is no manifest of volseg", remedy=_REMEDY)
    _check_journals(output, {manifest.path for manifest in manifests})
    return manifests


def _check_journals(output: Path, manifests: Collection[Path]) -> None:
    """Refuse a file that is called as a journal, without the manifest that is written before it."""
    for path in output.glob(f"*{journal.ENDING}") if output.is_dir() else ():
        if is_manifest(path.name) and path.with_suffix(".json") not in manifests:
            raise OutputError(
                f"{path} is there without {path.stem}.json, whose journal it could be",
                remedy=_REMEDY,
                path=path,
            )


def remove_merged(manifests: Iterable[Manifest]) -> None:
    """Remove manifests of shards, unless a shard began anew and wrote since."""
    for manifest in manifests:
        if not manifest.shard.is_whole and manifest.path.is_file():
            with contextlib.suppress(FileNotFoundError):
                if text_of(manifest.path) == manifest.text:
                    remove_written(manifest.path, f"which is merged into {MANIFEST_FILE}")
                    journal.remove(manifest.path)


def remove_written(path: Path, what: str) -> None:
    """Remove a file that a manifest lists; OutputError, saying `what` it is, if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}, {what}, cannot be removed ({reason(error)})", remedy="remove it"
        ) from None


def in_order(named: Mapping[str, Any], case_ids: Sequence[str]) -> dict[str, Any]:
    """Entries in the order of cases; first those of other cases."""
    order = {case_id: number for number, case_id in enumerate(case_ids)}
    return {name: named[name] for name in sorted(named, key=lambda name: order.get(name, -1))}


def without(named: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """Entries except those of `names`."""
    return {name: value for name, value in named.items() if name not in names}


def _replace(path: Path, content: Mapping[str, Any]) -> None:
    with atomic_write(path, known=True) as temporary:
        temporary.write_text(_text(content), encoding="utf-8")


def _text(content: Mapping[str, Any]) -> str:
    """A manifest as text, a line for each case: so it is short, and quick to write."""
    parts = (f"{json.dumps(name)}: {_lines(part)}" for name, part in content.items())
    return "{\n  " + ",\n  ".join(parts) + "\n}\n"


def _lines(part: object) -> str:
    if not isinstance(part, dict) or not part:
        return json.dumps(part)
    lines = (f"{json.dumps(name)}: {json.dumps(entry)}" for name, entry in part.items())
    return "{\n    " + ",\n    ".join(lines) + "\n  }"
