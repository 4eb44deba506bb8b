"""The manifest that a process of `infer` writes, and the merge of the manifests of shards."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from volseg.errors import OutputError
from volseg.files.writing import MANIFEST_FILE
from volseg.results import journal
from volseg.results.journal import FAILURES, RECORDS, UNFINISHED
from volseg.results.journaled_file import JournaledFile, without, write_document
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


class ManifestFile(JournaledFile):
    """The manifest of this process, on disk and in memory.

    A single process writes `manifest.json`, a shard `manifest-K-of-N.json`, so that no two
    processes write the same file.

    Args:
        output: Folder of the results.
        shard: Shard of this process.
        content: Entries of the manifest besides its cases, as plain data for JSON.
    """

    def __init__(self, output: Path, shard: Shard, content: Mapping[str, Any]) -> None:
        super().__init__(output / shard.file, content)
        self.output, self.shard = output, shard
        self.content["skipped"] = []
        if not shard.is_whole:
            self.content |= {"shard": str(shard), "finished": False}

    def finish(self, case_ids: Sequence[str], complete: Callable[[], Collection[str]]) -> Path:
        """Mark a shard as finished, and merge all shards if all are finished.

        Args:
            case_ids: Ids of the cases of all shards, in the order of a single process.
            complete: Function that gives the ids of cases whose results are on disk.

        Returns:
            Path of the merged manifest, or else of the manifest of this process.
        """
        if not self.shard.is_whole:
            self.content["finished"] = True
            self.write()
            if self._merge(case_ids, complete):
                return self.output / MANIFEST_FILE
        return self.path

    def _merge(self, case_ids: Sequence[str], complete: Callable[[], Collection[str]]) -> bool:
        """Merge all manifests of the folder into `manifest.json`, if all shards are finished.

        Shards that end at the same time read the same manifests, and so write the same content.
        """
        manifests = read_earlier_manifests(self.output)
        if self.path not in {manifest.path for manifest in manifests}:
            return True  # another shard has already merged them
        of_all = [manifest for manifest in manifests if manifest.shard.count == self.shard.count]
        united = unite(manifests)
        on_disk = set(complete())
        known = {*united[RECORDS], *united[FAILURES], *on_disk}
        # A shard that has not started is recognised by its cases, unless an earlier run did them.
        if not all(manifest.is_finished for manifest in of_all) or not known.issuperset(case_ids):
            return False
        # A shard still has to overwrite results in another label scheme.
        if any(old != self.content["labels"] for old in labels_of(manifests, united[RECORDS])):
            return False
        left_out = ["shard", "finished", *([] if united.get(UNFINISHED) else [UNFINISHED])]
        whole = without(self.content | {UNFINISHED: united.get(UNFINISHED)}, left_out) | {
            "options": self.content["options"] | {"shard": None},
            RECORDS: in_order(united[RECORDS], case_ids),
            # A case with both a record and a failure: its files were changed after writing.
            FAILURES: in_order(
                without(united[FAILURES], on_disk - united[RECORDS].keys()), case_ids
            ),
            "skipped": united["skipped"],
        }
        write_document(self.output / MANIFEST_FILE, whole)
        remove_merged(manifests)
        return True


def read_earlier_manifests(output: Path) -> list[Manifest]:
    """Manifests of a folder from earlier runs, whose records a run keeps.

    Raises:
        OutputError: If a manifest cannot be read, or is not from volseg.
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
    """Raise OutputError if a file is named like a journal but has no manifest."""
    for path in output.glob(f"*{journal.ENDING}") if output.is_dir() else ():
        if is_manifest(path.name) and path.with_suffix(".json") not in manifests:
            raise OutputError(
                f"{path} is named like a journal, but there is no {path.stem}.json",
                remedy=_REMEDY,
                path=path,
            )


def remove_merged(manifests: Iterable[Manifest]) -> None:
    """Remove merged manifests of shards, unless a restarted shard has changed them."""
    for manifest in manifests:
        if not manifest.shard.is_whole and manifest.path.is_file():
            with contextlib.suppress(FileNotFoundError):
                if text_of(manifest.path) == manifest.text:
                    remove_written(manifest.path, f"which is merged into {MANIFEST_FILE}")
                    journal.remove(manifest.path)


def remove_written(path: Path, what: str) -> None:
    """Remove a file that volseg wrote; OutputError with clause `what` if that fails."""
    try:
        path.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"{path}, {what}, cannot be removed ({reason(error)})", remedy="remove it"
        ) from None


def in_order(named: Mapping[str, Any], case_ids: Sequence[str]) -> dict[str, Any]:
    """Entries in the order of `case_ids`, after entries of other cases."""
    order = {case_id: number for number, case_id in enumerate(case_ids)}
    return {name: named[name] for name in sorted(named, key=lambda name: order.get(name, -1))}
