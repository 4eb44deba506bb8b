"""What `infer` did, as lines and tables, and what to do next."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from volseg.cli.next_steps import REFERENCE, line, next_steps
from volseg.cli.report_option import write_and_name
from volseg.cli.tables import say
from volseg.files.ownership import PREPARATION_FOLDER, PREPARED_FOLDER
from volseg.files.writing import MANIFEST_FILE

if TYPE_CHECKING:
    from volseg.tasks.infer import InferResult

# Number of failed cases that are named at the end.
_NAMES = 20
# Number of contact sheets that are named at the end.
_PICTURES = 3


def print_result(result: InferResult, output: Path) -> None:
    """Print the sizes of regions, how many cases were segmented, and which failed."""
    from volseg.cli.measures_tables import print_measures
    from volseg.words import cases_in_words

    print_measures(result.measures)
    done = cases_in_words(len(result.done)) if result.done or not result.kept else "no new case"
    failed = f", {len(result.failures)} failed" if result.failures else ""
    # A run that was stopped while it prepared scans may have no manifest yet.
    is_there = not result.stopped or result.manifest.exists()
    place = f"; results and {result.manifest.name} are in {output}" if is_there else ""
    say(f"{done} segmented{failed}{place}")
    if result.native is not None and not result.stopped:
        say(f"Label maps on the original grids are in {result.native}")
    if result.failures and not result.stopped:
        # Each failure was logged with its reason.
        names = list(result.failures)
        more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
        say(f"Failed, for the reasons above and in the manifest: {', '.join(names[:_NAMES])}{more}")


def write_report(result: InferResult, output: Path, *, asked: bool) -> bool:
    """Write the report if it is asked for; returns whether a case was not drawn."""
    if asked and result.manifest.name != MANIFEST_FILE:
        say("Report: written by the shard that ends last")
        return False
    return bool(write_and_name(output, asked=asked))


def print_next(
    result: InferResult,
    scans: Path | Mapping[str, Path],
    output: Path,
    fold: int | None,
    *,
    prepared_here: bool,
) -> None:
    """Print the commands that look at the results and score them.

    Args:
        result: What was done.
        scans: What was given to segment.
        output: Folder of the results.
        fold: Fold of a data list.
        prepared_here: Whether `scans` are raw and were prepared first.
    """
    is_near = isinstance(scans, Path) and (result.has_references or scans.suffix == ".json")
    reference = scans if is_near else REFERENCE
    of_fold = [] if fold is None else ["--fold", fold]
    # The references of raw scans lie on the original grids.
    predictions = result.native if prepared_here and result.native else output
    evaluate = line("volseg", "evaluate", predictions, reference, *of_fold, "-o", "scores")
    steps = {}
    steps_at = output / PREPARED_FOLDER / PREPARATION_FOLDER
    if prepared_here and any(steps_at.glob("*.png")):
        steps["look at the preparation"] = [str(steps_at)]
    if result.pictures:
        steps["look at the results"] = list(map(str, result.pictures[:_PICTURES]))
    if result.example is not None:
        image, label_map = result.example
        steps["look at a result slice by slice"] = [line("itksnap", "-g", image, "-s", label_map)]
        overlay = line("volseg", "overlay", image, label_map, "-o", "result.png")
        steps["draw it for a paper or a slide"] = [overlay]
    if not _is_slice(scans):
        steps["score the results"] = [evaluate]
    next_steps(steps)


def _is_slice(scans: Path | Mapping[str, Path]) -> bool:
    """Whether a single 2D image is given: a slice of a stack, which has no reference of its own."""
    from volseg.images.file_names import is_slice

    files = [scans] if isinstance(scans, Path) else scans.values()
    return any(is_slice(file.name) and not file.is_dir() for file in files)
