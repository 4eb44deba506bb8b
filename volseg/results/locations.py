"""What the results of `infer` must not replace, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import OutputError
from volseg.files.ownership import check_no_inputs
from volseg.files.writing import MANIFEST_FILE
from volseg.results.manifest import Shard


def is_complete(output: Path, case: Case, maps: Sequence[str]) -> bool:
    """Whether the result of a case is whole on disk."""
    return all(path.is_file() for path in case.result_files(output, maps))


def check_outside_scans(scans: Path, output: Path) -> None:
    """Refuse, with OutputError, results of shards in the folder that is searched for scans."""
    if scans.is_dir() and output.resolve().is_relative_to(scans.resolve()):
        raise OutputError(
            f"results in {output} would lie among the scans of {scans}, where another shard could "
            "take them for scans",
            remedy="choose a folder outside with -o",
        )


def check_result_files(
    cases: Sequence[Case],
    output: Path,
    regions: Sequence[str],
    shard: Shard,
    scans: Path | None = None,
) -> None:
    """Check that results replace no input, no other file, and not one another.

    Args:
        cases: Those that are segmented.
        output: Folder of the results.
        regions: Those that may get a map of probabilities.
        shard: The share of this process.
        scans: Folder or data list of the cases.

    Raises:
        OutputError: If they would, or another shard might take them for scans.
    """
    if scans is not None and not shard.is_whole:
        check_outside_scans(scans, output)
    files = [file for case in cases for file in (*case.images, *case.label)]
    owners = {output / name: "the manifest" for name in (MANIFEST_FILE, shard.file)}
    for case in cases:
        case.check_room(output)
        for result in case.result_files(output, regions):
            other = owners.setdefault(result, f"case {case.case_id}")
            if other != f"case {case.case_id}":
                raise OutputError(
                    f"{result} would be the result of case {case.case_id} and of {other}",
                    remedy="segment them into folders of their own",
                )
    check_no_inputs(owners, [*([scans] if scans else []), *files])
