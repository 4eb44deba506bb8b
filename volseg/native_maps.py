"""Label maps of prepared cases on the original grids of their channels, made from results."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg import memory
from volseg.cases.case import Case
from volseg.cases.channels import channel_among
from volseg.cases.sources import fingerprint
from volseg.errors import (
    DataListError,
    GeometryError,
    OutputError,
    VolsegError,
    of_case,
)
from volseg.files.writing import make_folder, remove_unfinished
from volseg.images.grid import Grid, check_same_grid
from volseg.images.nifti_reading import read_label_map
from volseg.images.nifti_writing import write_label_map
from volseg.inference.result_writer import ResultWriter
from volseg.labels import LabelScheme
from volseg.preparation.native import to_native
from volseg.preparation.record import PreparationRecord, PreparedChannel, find_record
from volseg.progress import track
from volseg.results.journal import FAILURES, RECORDS
from volseg.results.manifest import unite
from volseg.results.native_files import NATIVE, check_native_files, is_edited, native_name
from volseg.words import cases_in_words

logger = logging.getLogger(__name__)

ALL, REFERENCE = "all", "reference"

# Registration neither mirrors a head nor changes its volume by more.
_MOST_SCALING = 4.0
_PREPARE = "prepare the case with volseg prepare, or leave --native out"
# Bytes for each voxel of a native grid: shares of two labels, and the label map.
_VOXEL_BYTES = 24


@dataclass(frozen=True)
class NativePlan:
    """Native label maps that are wanted.

    Attributes:
        records: Record of the preparation by case id.
        channels: Channels by case id.
        refused: Why a case gets none, by case id; it is not segmented either.
    """

    records: Mapping[str, PreparationRecord]
    channels: Mapping[str, tuple[str, ...]]
    refused: Mapping[str, str]


def plan_native(cases: Sequence[Case], wanted: str | None) -> NativePlan:
    """The native label maps of some cases; none if `wanted` is None.

    Args:
        cases: Cases to segment.
        wanted: `reference`, `all`, or names of channels with commas.

    Raises:
        DataListError: If `volseg prepare` wrote none of the cases.
    """
    records: dict[str, PreparationRecord] = {}
    channels: dict[str, tuple[str, ...]] = {}
    refused: dict[str, str] = {}
    for case in cases if wanted is not None else ():
        try:
            record = _record_of(case)
            channels[case.case_id] = _channels(record, str(wanted))
            records[case.case_id] = record
        except DataListError as error:
            refused[case.case_id] = error.without_case
    if refused and not records:
        case_id, why = next(iter(refused.items()))
        raise DataListError(
            f"no case has a way back to its original grid: {why} (case {case_id})"
            if len(refused) > 1
            else f"case {case_id}: {why}"
        )
    return NativePlan(records, channels, refused)


def write_native_maps(
    cases: Sequence[Case], plan: NativePlan, writer: ResultWriter, stop: Callable[[], bool]
) -> tuple[dict[str, str], bool]:
    """Write the native label maps that are missing or no longer belong to their results.

    Args:
        cases: Cases with a result in the folder of `writer`.
        plan: Native label maps that are wanted.
        writer: Writer of the results.
        stop: Function called before each case; once it returns True, no further case begins.

    Returns:
        Reason of each case that failed, and whether `stop` ended the work before the last case.

    Raises:
        OutputError: If a label map cannot be written.
    """
    failures: dict[str, str] = {}
    waiting = [case for case in cases if case.case_id in plan.channels]
    waiting = [case for case in waiting if _NativeCase(case, plan, writer).missing]
    if not waiting:
        return failures, False
    folder = writer.output / NATIVE
    make_folder(folder, "choose another with -o")
    remove_unfinished(folder, _written_names(waiting, plan).__contains__)
    for case in track(waiting, "native grids", len(waiting)):
        if stop():
            return failures, True
        try:
            with of_case(case.case_id), memory.in_words():
                _NativeCase(case, plan, writer).write()
        except OutputError:
            raise
        except VolsegError as error:
            failures[case.case_id] = error.without_case
            logger.error("%s failed: %s", case.case_id, error.without_case)
            writer.manifest.add(FAILURES, case.case_id, error.without_case)
    written = cases_in_words(len(waiting) - len(failures))
    logger.info("label maps of %s lie on original grids in %s", written, folder)
    return failures, False


def native_example(
    cases: Sequence[Case], plan: NativePlan, output: Path
) -> tuple[Path, Path] | None:
    """An original scan and the label map on its grid; None if no scan is where it was."""
    for case_id in (case.case_id for case in cases if case.case_id in plan.channels):
        # The last is t2f in the order of BraTS, which shows the whole tumour best.
        for channel in reversed(plan.channels[case_id]):
            scan = Path(plan.records[case_id].channels[channel].source)
            label_map = output / native_name(case_id, channel)
            if scan.is_file() and label_map.is_file():
                return scan, label_map
    return None


def check_room(plan: NativePlan, writer: ResultWriter) -> None:
    """Raise OutputError if a native label map would replace what volseg did not write."""
    if plan.channels:
        check_native_files(writer.output, plan.channels, unite(writer.earlier))


class _NativeCase:
    """The native label maps of one case."""

    def __init__(self, case: Case, plan: NativePlan, writer: ResultWriter) -> None:
        self.case, self.writer = case, writer
        self.preparation = plan.records[case.case_id]
        self.channels = plan.channels[case.case_id]

    @property
    def missing(self) -> list[str]:
        """Channels without a label map of this result and this preparation."""
        return [channel for channel in self.channels if not self._is_current(channel)]

    def write(self) -> None:
        """Write the missing label maps, each between two lines of the journal."""
        case_id, output = self.case.case_id, self.writer.output
        label_map, grid = read_label_map(self.case.label_map_files(output)[0])
        _check_grid(self.preparation, grid)
        for channel in self.missing:
            name = native_name(case_id, channel)
            if is_edited(output, self._marks.get(channel, {})) and not self.writer.overwrite:
                raise DataListError(
                    f"{output / name} was edited or damaged after volseg wrote it",
                    remedy="move it away, or replace it with --overwrite",
                )
            prepared = self.preparation.channels[channel]
            native = _native_map(label_map, self.preparation.grid.grid, prepared, channel)
            self._record(channel, {"file": name})
            write_label_map(output / name, native, prepared.native.header())
            self._record(channel, self._mark(channel, name, native))

    @property
    def _result(self) -> dict[str, Any]:
        found: dict[str, Any] = self.writer.manifest.content[RECORDS][self.case.case_id]
        return found

    @property
    def _marks(self) -> dict[str, Any]:
        return dict(self._result.get(NATIVE, {}))

    @property
    def _made_of(self) -> dict[str, str | None]:
        """What decides a native label map: the result, and how the case was prepared."""
        files = self._result.get("files") or [{}]
        text = self.preparation.model_dump_json()
        return {
            "result_sha256": files[0].get("sha256"),
            "preparation_sha256": hashlib.sha256(text.encode()).hexdigest(),
        }

    def _is_current(self, channel: str) -> bool:
        mark = self._marks.get(channel, {})
        is_made = "sha256" in mark and (self.writer.output / mark["file"]).is_file()
        same = all(mark.get(name) == value for name, value in self._made_of.items())
        return is_made and same and not is_edited(self.writer.output, mark)

    def _record(self, channel: str, mark: Mapping[str, Any]) -> None:
        marks = self._marks | {channel: dict(mark)}
        record = self._result | {NATIVE: marks}
        self.writer.manifest.add(RECORDS, self.case.case_id, record)

    def _mark(self, channel: str, name: str, native: npt.NDArray[np.uint8]) -> dict[str, Any]:
        prepared = self.preparation.channels[channel]
        of_channel = [m.model_dump() for m in self.preparation.sources if m.path == prepared.source]
        return {
            "file": name,
            **fingerprint(self.writer.output / name),
            **self._made_of,
            "volumes_ml": _volumes_ml(native, self.writer.scheme, prepared.native.grid.voxel_ml),
            "is_reference": channel == self.preparation.reference,
            # Scans of a reference are compared with these when native label maps are scored.
            "sources": of_channel,
        }


def _record_of(case: Case) -> PreparationRecord:
    record = find_record(case)
    if record is None:
        raise DataListError(
            "no record of volseg prepare belongs to its images, so their grids before are unknown",
            remedy=_PREPARE,
        )
    return record


def _channels(record: PreparationRecord, wanted: str) -> tuple[str, ...]:
    """Channels that `wanted` names; DataListError if the case has none of this name."""
    if wanted == ALL:
        return tuple(record.channels)
    words = [word.strip() for word in wanted.split(",")]
    known = record.channels
    names = [record.reference if w == REFERENCE else channel_among(w, known) for w in words]
    for name in names:
        if name not in record.channels:
            raise DataListError(
                f"its preparation has no channel {name}, but {', '.join(record.channels)}",
                remedy=f"give one of them to --native, or {ALL} or {REFERENCE}",
            )
    return tuple(dict.fromkeys(names))


def _check_grid(record: PreparationRecord, grid: Grid) -> None:
    try:
        check_same_grid({"its record": record.grid.grid, "its label map": grid})
    except GeometryError as error:
        raise GeometryError(error.problem, remedy="prepare the case again") from None


def _native_map(
    label_map: npt.NDArray[np.uint8], grid: Grid, channel: PreparedChannel, name: str
) -> npt.NDArray[np.uint8]:
    native = channel.native.grid
    scaling = float(np.linalg.det(channel.world_matrix[:3, :3]))
    if not 1 / _MOST_SCALING <= scaling <= _MOST_SCALING:
        raise GeometryError(
            f"the recorded transform of {name} changes volumes by a factor of {scaling:.3g}, but "
            f"{1 / _MOST_SCALING:g} to {_MOST_SCALING:g} is expected",
            remedy="prepare the case again",
        )
    memory.require(
        int(np.prod(native.shape)) * _VOXEL_BYTES, f"the label map on the grid of {name}"
    )
    return to_native(label_map, grid, native, channel.world_matrix)


def _volumes_ml(
    label_map: npt.NDArray[np.uint8], scheme: LabelScheme, voxel_ml: float
) -> dict[str, float]:
    masks = scheme.masks(label_map)
    return {region: round(float(mask.sum()) * voxel_ml, 4) for region, mask in masks.items()}


def _written_names(cases: Sequence[Case], plan: NativePlan) -> set[str]:
    return {
        Path(native_name(case.case_id, channel)).name
        for case in cases
        for channel in plan.channels[case.case_id]
    }
