"""What was found in folders: the cases, and what was left out with its reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.layouts import Layout


@dataclass(frozen=True)
class Skipped:
    """A file or folder that was left out, and why.

    Attributes:
        path: The file, or the folder of several.
        reason: A clause without a full stop, which does not name the case.
        case_id: The case that is lost by it, if any.
        files: Of `path`, where it is a folder and several files are left out.
        lacks: Channels that the case lacks, if that is the reason.
    """

    path: Path
    reason: str
    case_id: str | None = None
    files: tuple[Path, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def sentence(self) -> str:
        """The reason, with the case, or with the number of files and the first of them."""
        if self.case_id is not None:
            return f"case {self.case_id}: {self.reason}"
        if self.files:
            first = self.files[0].relative_to(self.path)
            return f"{len(self.files)} files, such as {first}: {self.reason}"
        return self.reason


@dataclass(frozen=True)
class Finding:
    """What was found in folders.

    Attributes:
        cases: Usable cases, sorted by `case_id`.
        skipped: All that was left out.
        layouts: Number of cases in each layout.
        layout_of: Layout of each case, by `case_id`.
        notes: What is odd about cases that are used, a clause each.
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
        """Reason of each case that was found and cannot be used, for want of a channel or so."""
        usable = {case.case_id for case in self.cases}
        return {
            skipped.case_id: skipped.reason
            for skipped in self.skipped
            if skipped.case_id is not None and skipped.case_id not in usable
        }
