"""Where `infer` puts the results of a case, and what they must not replace."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import OutputError
from volseg.files.ownership import check_no_inputs
from volseg.files.writing import MANIFEST_FILE
from volseg.images.slice_masks import check_masks_have_room, mask_paths
from volseg.results.manifest import Shard


def home(output: Path, case: Case) -> Path:
    """Folder of the results of a case."""
    return output / case.case_id if case.is_stack and len(case.images) > 1 else output


def results(output: Path, case: Case, maps: Sequence[str]) -> list[Path]:
    """All files of the result of a case, with a map of probabilities for each region of `maps`."""
    if case.is_stack:
        files = mask_paths(home(output, case), case.images)
    else:
        files = [output / f"{case.case_id}.nii.gz"]
    return files + [output / f"{case.case_id}_{region}.nii.gz" for region in maps]


def are_there(output: Path, case: Case, maps: Sequence[str]) -> bool:
    """Whether the result of a case is whole on disk."""
    return all(path.is_file() for path in results(output, case, maps))


def check_outside(scans: Path, output: Path) -> None:
    """Refuse, with OutputError, results of shards in the folder that is searched for scans."""
    if scans.is_dir() and output.resolve().is_relative_to(scans.resolve()):
        raise OutputError(
            f"results in {output} would lie among the scans of {scans}, where another shard could "
            "take them for scans",
            remedy="choose a folder outside with -o",
        )


def check_places(
    scans: Path, cases: Sequence[Case], output: Path, regions: Sequence[str], shard: Shard
) -> None:
    """Check that results replace no input, no other file, and not one another.

    Raises:
        OutputError: If they would, or another shard might take them for scans.
    """
    if not shard.is_whole:
        check_outside(scans, output)
    files = [file for case in cases for file in (*case.images, *case.label)]
    places = {output / name: "the manifest" for name in (MANIFEST_FILE, shard.file)}
    for case in cases:
        if case.is_stack:
            check_masks_have_room(home(output, case), case.images)
        for result in results(output, case, regions):
            other = places.setdefault(result, f"case {case.case_id}")
            if other != f"case {case.case_id}":
                raise OutputError(
                    f"{result} would be the result of case {case.case_id} and of {other}",
                    remedy="segment them into folders of their own",
                )
    check_no_inputs(places, [scans, *files])
