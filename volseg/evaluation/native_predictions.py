"""Predictions on original grids: of each case, the label map on the grid of its reference."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from volseg.cases.case import Case
from volseg.errors import GeometryError, VolsegError
from volseg.evaluation.predictions import Prediction, find_predictions
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_reading import read_header, read_label_map
from volseg.results.journal import RECORDS
from volseg.results.native_files import NATIVE

# Entry of a manifest about a native label map.
_Mark = Mapping[str, Any]

_OTHER_CHANNEL = "write those of the channel that it was drawn on with volseg infer --native"
_ALONE = (
    "copy the label map of the channel that it was drawn on into another folder as "
    "<case_id>.nii.gz, and score that folder with --labels"
)


def find_native_predictions(
    folder: Path, cases: Collection[Case], manifest: Mapping[str, Any]
) -> tuple[dict[str, Prediction], tuple[str, ...]]:
    """Native label maps by case id, and the ids of cases without reference.

    A case may have a label map for each channel. That on the grid of the reference counts; of
    several with different labels, that of the channel that the others were registered to, as in the
    preparation of label maps.

    Args:
        folder: Folder `native` of results of `infer`.
        cases: Cases of the reference.
        manifest: Manifest of these results.

    Raises:
        DataListError: If no case has a prediction.
    """
    records = manifest.get(RECORDS, {})
    marks = {case_id: record[NATIVE] for case_id, record in records.items() if record.get(NATIVE)}
    found = {
        case.case_id: _on_grid_of_reference(case, folder, marks[case.case_id])
        for case in cases
        if case.case_id in marks
    }
    if not found:
        # References may be label maps on original grids too, named like the predictions.
        return find_predictions(folder, cases)
    return found, tuple(sorted(marks.keys() - found.keys()))


def note_on_channels(found: Mapping[str, Prediction]) -> Iterator[str]:
    """Note on cases with different label maps of several channels on the grid of the reference."""
    chosen = {case_id: of.channel for case_id, of in found.items() if of.channel}
    if chosen:
        case_id, channel = next(iter(chosen.items()))
        more = f" and {len(chosen) - 1} more" if chosen.keys() - {case_id} else ""
        yield (
            f"several channels of {case_id}{more} have the grid of the reference and moved "
            f"differently; the label map of {channel} is scored, to which the others were "
            "registered"
        )


def _on_grid_of_reference(case: Case, folder: Path, marks: Mapping[str, _Mark]) -> Prediction:
    files = {channel: folder / Path(mark["file"]).name for channel, mark in marks.items()}
    files = {channel: path for channel, path in files.items() if path.is_file()}
    if not files:
        return Prediction()
    try:
        reference = case.read_reference_grid()
        grids = {channel: read_header(path)[0] for channel, path in files.items()}
    except VolsegError as error:
        return Prediction(problem=error.without_case)
    problems = {channel: _difference(grid, reference, channel) for channel, grid in grids.items()}
    alike = [channel for channel, problem in problems.items() if problem is None]
    if not alike:
        problem = ", ".join(str(problem) for problem in problems.values())
        return Prediction(
            problem=f"no native label map has the grid of the reference ({problem}); "
            f"{_OTHER_CHANNEL}"
        )
    if _are_equal([files[channel] for channel in alike]):
        return Prediction((files[alike[0]],))
    for channel in alike:
        if marks[channel].get("is_reference"):
            return Prediction((files[channel],), channel=channel)
    return Prediction(
        problem=f"{' and '.join(alike)} have the grid of the reference, but different label maps; "
        f"{_ALONE}"
    )


def _difference(grid: Grid, reference: Grid, channel: str) -> str | None:
    """How a grid differs from that of the reference; None: they are the same."""
    try:
        check_same_grid({"reference": reference, channel: grid})
    except GeometryError as error:
        return error.problem
    return None


def _are_equal(files: Sequence[Path]) -> bool:
    first, *others = (read_label_map(path)[0] for path in files)
    return all(np.array_equal(first, other) for other in others)
