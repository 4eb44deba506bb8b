"""Files that were left out, in words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from volseg.datalist.case import Skipped
from volseg.datalist.names import is_nifti


def nothing_usable(path: Path, skipped: Sequence[Skipped]) -> str:
    """Why there is no case at `path`, with the first reasons."""
    if not skipped:
        return (
            f"{path} holds no scans; give a folder of NIfTI files (.nii, .nii.gz) or of 2D images"
        )
    found = "; ".join(f"{entry.path}: {entry.reason}" for entry in skipped[:3])
    more = f"; and {len(skipped) - 3} more" if len(skipped) > 3 else ""
    return f"{path} holds no usable case: {found}{more}"


def summaries(strays: Sequence[tuple[str, Path]]) -> list[Skipped]:
    """One entry for files with one reason and ending, in a folder or in folders side by side."""
    kinds = [(reason, "" if is_nifti(p.name) else p.suffix.lower(), p) for reason, p in strays]
    folders = defaultdict(set)
    for reason, ending, path in kinds:
        folders[reason, ending, path.parent.parent].add(path.parent)
    entries = defaultdict(list)
    for reason, ending, path in kinds:
        beside = len(folders[reason, ending, path.parent.parent]) > 1
        entries[reason, ending, path.parent.parent if beside else path.parent].append(path)
    return [
        Skipped(paths[0], reason)
        if len(paths) == 1
        else Skipped(home, f"{len(paths)} files, such as {paths[0].relative_to(home)}: {reason}")
        for (reason, _, home), paths in entries.items()
    ]
