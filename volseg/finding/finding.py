"""Result of a search in folders: cases, and left-out files with reasons."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.layouts import Layout


@dataclass(frozen=True)
class Skipped:
    """A left-out file or folder, with the reason.

    Attributes:
        path: Path of the file, or of the folder of several files.
        reason: A clause without a full stop, which does not name the case.
        case_id: Id of the case that is left out, if any.
        files: Left-out files, if `path` is their folder.
        what: What `files` are: files, folders, or both.
        lacks: Missing channels of the case, if they are the reason.
    """

    path: Path
    reason: str
    case_id: str | None = None
    files: tuple[Path, ...] = ()
    lacks: tuple[str, ...] = ()
    what: str = "files"

    @property
    def sentence(self) -> str:
        """The reason, with the case, or with the number of files and the first file."""
        if self.case_id is not None:
            return f"case {self.case_id}: {self.reason}"
        if self.files:
            first = self.files[0].relative_to(self.path)
            return f"{len(self.files)} {self.what}, such as {first}: {self.reason}"
        return self.reason


@dataclass(frozen=True)
class Finding:
    """Result of a search in folders.

    Attributes:
        cases: Usable cases, sorted by `case_id`.
        skipped: Left-out files and cases.
        layouts: Number of cases by name of the layout.
        layout_of: Layout by case id.
        notes: Odd facts of usable cases, a clause each.
    """

    cases: tuple[Case, ...]
    skipped: tuple[Skipped, ...]
    layouts: Mapping[str, int]
    layout_of: Mapping[str, Layout]
    notes: tuple[str, ...] = ()

    @classmethod
    def of(
        cls,
        cases: Iterable[Case],
        skipped: Iterable[Skipped],
        layout_of: Mapping[str, Layout],
        notes: Iterable[str] = (),
    ) -> Finding:
        """Sort `cases` and count their layouts; `layout_of` may name further cases."""
        ordered = tuple(sorted(cases, key=lambda case: case.case_id))
        kept = {case.case_id: layout_of[case.case_id] for case in ordered}
        layouts = dict(sorted(Counter(map(str, kept.values())).items()))
        return cls(ordered, tuple(skipped), layouts, kept, tuple(notes))

    @property
    def lost(self) -> dict[str, str]:
        """Reasons by case id, of cases that were found but cannot be used."""
        usable = {case.case_id for case in self.cases}
        return {
            skipped.case_id: skipped.reason
            for skipped in self.skipped
            if skipped.case_id is not None and skipped.case_id not in usable
        }
