"""Checks of the paths of results: which are there, and that they replace no other file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import OutputError
from volseg.files.ownership import check_no_inputs
from volseg.files.writing import MANIFEST_FILE
from volseg.results.manifest import Shard


def is_complete(output: Path, case: Case, maps: Sequence[str]) -> bool:
    """Whether all files of the result of a case are on disk."""
    return all(path.is_file() for path in case.result_files(output, maps))


def check_outside_scans(scans: Path, output: Path) -> None:
    """Raise OutputError if results of shards would be in the folder that is searched for scans."""
    if scans.is_dir() and output.resolve().is_relative_to(scans.resolve()):
        raise OutputError(
            f"results in {output} would be among the scans of {scans}, where another shard could "
            "take them as scans",
            remedy="choose a folder outside with -o",
        )


def check_result_files(
    cases: Sequence[Case],
    output: Path,
    maps: Sequence[str],
    shard: Shard,
    scans: Path | None = None,
) -> None:
    """Check that results replace no input, no other file, and no other result.

    Args:
        cases: Cases to segment.
        output: Folder of the results.
        maps: Names of all maps that a result may have.
        shard: Shard of this process.
        scans: Folder or data list of the cases.

    Raises:
        OutputError: If a result would replace another file, or another shard might take it as a
            scan.
    """
    if scans is not None and not shard.is_whole:
        check_outside_scans(scans, output)
    files = [file for case in cases for file in (*case.images, *case.label)]
    owners = {output / name: "the manifest" for name in (MANIFEST_FILE, shard.file)}
    for case in cases:
        case.check_room(output)
        for result in case.result_files(output, maps):
            other = owners.setdefault(result, f"case {case.case_id}")
            if other != f"case {case.case_id}":
                raise OutputError(
                    f"{result} would be the result of case {case.case_id} and of {other}",
                    remedy="segment them into separate folders",
                )
    check_no_inputs(owners, [*([scans] if scans else []), *files])
