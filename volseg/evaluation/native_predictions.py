"""Label maps on original grids: of each case, that on the grid of its reference or its scan."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from volseg.cases.case import Case
from volseg.errors import GeometryError, VolsegError
from volseg.evaluation.predictions import Prediction, find_predictions
from volseg.evaluation.records import read_records
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_reading import read_header, read_label_map
from volseg.results.journal import RECORDS
from volseg.results.native_files import NATIVE, results_of

# Entry of a manifest about a native label map.
_Mark = Mapping[str, Any]

_OTHER_CHANNEL = "write those of the channel that it was drawn on with volseg infer --native"
_ALONE = (
    "copy the label map of the channel that it was drawn on into another folder as "
    "<case_id>.nii.gz, and score that folder with --labels"
)


@dataclass(frozen=True)
class _Target:
    """What a native label map must fit.

    Attributes:
        name: Name of the target in sentences.
        grid: Its grid.
        channels: Channels whose label map is taken first, of several with different labels.
        if_none: Remedy if no label map has the grid.
        if_several: Remedy if several label maps with different labels have it.
    """

    name: str
    grid: Grid
    channels: Sequence[str]
    if_none: str
    if_several: str


def find_native_label_map(
    folder: Path, case_id: str, scan: Grid, channels: Sequence[str]
) -> Prediction:
    """The native label map of a case on the grid of its scan; empty if none is recorded.

    Of several with different labels, that of the first of `channels` counts, or else that of the
    channel that the others were registered to.

    Args:
        folder: Folder of results of `infer`, or its folder `native`.
        case_id: Name of the case.
        scan: Grid of the channels that are shown.
        channels: These channels.
    """
    native = folder if results_of(folder) is not folder else folder / NATIVE
    marks = read_records(native).get(RECORDS, {}).get(case_id, {}).get(NATIVE, {})
    remedy = (
        f"write it with volseg infer --native {channels[0]}, or show another channel with --channel"
    )
    one = "give the file of one of them"
    return _on_grid(native, marks, _Target("scan", scan, channels, remedy, one))


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
    if not _files(folder, marks):
        return Prediction()
    try:
        grid = case.read_reference_grid()
    except VolsegError as error:
        return Prediction(problem=error.without_case)
    return _on_grid(folder, marks, _Target("reference", grid, (), _OTHER_CHANNEL, _ALONE))


def _files(folder: Path, marks: Mapping[str, _Mark]) -> dict[str, Path]:
    """The files that are there, by channel."""
    files = {channel: folder / Path(mark["file"]).name for channel, mark in marks.items()}
    return {channel: path for channel, path in files.items() if path.is_file()}


def _on_grid(folder: Path, marks: Mapping[str, _Mark], target: _Target) -> Prediction:
    files = _files(folder, marks)
    if not files:
        return Prediction()
    try:
        grids = {channel: read_header(path)[0] for channel, path in files.items()}
    except VolsegError as error:
        return Prediction(problem=error.without_case)
    problems = {channel: _difference(grid, target, channel) for channel, grid in grids.items()}
    alike = [channel for channel, problem in problems.items() if problem is None]
    if not alike:
        problem = ", ".join(str(problem) for problem in problems.values())
        return Prediction(
            problem=f"no native label map has the grid of the {target.name} ({problem}); "
            f"{target.if_none}"
        )
    if _are_equal([files[channel] for channel in alike]):
        return Prediction((files[alike[0]],))
    first = [channel for channel in target.channels if channel in alike]
    first += [channel for channel in alike if marks[channel].get("is_reference")]
    if first:
        return Prediction((files[first[0]],), channel=first[0])
    return Prediction(
        problem=f"{' and '.join(alike)} have the grid of the {target.name}, but different label "
        f"maps; {target.if_several}"
    )


def _difference(grid: Grid, target: _Target, channel: str) -> str | None:
    """How a grid differs from that of the target; None: they are the same."""
    try:
        check_same_grid({target.name: target.grid, channel: grid})
    except GeometryError as error:
        return error.problem
    return None


def _are_equal(files: Sequence[Path]) -> bool:
    first, *others = (read_label_map(path)[0] for path in files)
    return all(np.array_equal(first, other) for other in others)
