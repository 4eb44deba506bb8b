"""From the files of one series to its volumes, or to the reason why there is none."""

from __future__ import annotations

import datetime
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from volseg.conversion.dicom.frames import DicomFile, Frame
from volseg.conversion.dicom.geometry import layout
from volseg.conversion.dicom.lost_slices import LostSlice
from volseg.conversion.dicom.people import note_on_key
from volseg.conversion.dicom.pixels import Reading, check_length, check_pixels, is_inverted
from volseg.conversion.dicom.scans import (
    are_planes_of_localiser,
    derivation,
    derived_note,
    no_channel,
)
from volseg.conversion.dicom.splitting import (
    Part,
    check_one_agent,
    check_one_grid,
    contrasts,
    orientations,
    time_points,
)
from volseg.conversion.dicom.tilt import straight_grid, tilt_in_words
from volseg.conversion.series import Broken, LeftOut, Patient, Series, SourceFinding, Study
from volseg.errors import VolsegError


@dataclass
class SeriesFiles:
    """Files with one Series Instance UID.

    Attributes:
        name: How messages call the series.
        files: At least one, each with frames.
        patient: The person.
        study: The examination.
        lost: A damaged file that is of the series, or may be.
    """

    name: str
    files: tuple[DicomFile, ...]
    patient: Patient
    study: Study
    lost: LostSlice | None = None

    @property
    def order(self) -> tuple[datetime.date, str, float, str]:
        """Place among the series of a patient: by date, study and series number."""
        number = self.files[0].facts.number
        date = self.study.date or datetime.date.max
        return date, self.study.key, float("inf") if number is None else number, self.name


def find_volumes(group: SeriesFiles) -> SourceFinding:
    """Volumes of one series; parts of it may be left out or broken."""
    finding = SourceFinding()
    for part in contrasts([frame for file in group.files for frame in file.frames]):
        finding += _of_part(group, part)
    return finding


def _of_part(group: SeriesFiles, part: Part) -> SourceFinding:
    name = _named(group, part)
    first = part.frames[0]
    reason = no_channel(first.facts, first.stored.samples, first.stored.photometric)
    if reason is None and _is_in_planes(part.frames):
        reason = "a localiser: a few slices in each of several directions"
    if reason is not None:
        return SourceFinding(left_out=(LeftOut(name, reason, group.patient.key),))
    try:
        for frame in part.frames:
            check_pixels(frame.stored)
        check_one_grid(part.frames)
        parts = time_points(part)
    except VolsegError as error:
        return _unusable(group, name, first, error)
    finding = SourceFinding()
    for volume in parts:
        finding += _of_volume(group, volume)
    return finding


def _is_in_planes(frames: Sequence[Frame]) -> bool:
    if any(frame.orientation is None for frame in frames):
        return False
    return are_planes_of_localiser([len(group) for group in orientations(frames)])


def _named(group: SeriesFiles, part: Part) -> str:
    return f"{group.name}, {part.label}" if part.label else group.name


def _unusable(group: SeriesFiles, name: str, frame: Frame, error: VolsegError) -> SourceFinding:
    """A scan with a fault is broken; a map or the like, which few need, is left out."""
    if kind := derivation(frame.facts):
        reason = f"{kind}: {error.without_case}"
        return SourceFinding(left_out=(LeftOut(name, reason, group.patient.key),))
    broken = Broken(name, error.without_case, group.patient.key, group.study.key)
    return SourceFinding(broken=(broken,))


def _of_volume(group: SeriesFiles, part: Part) -> SourceFinding:
    name = _named(group, part)
    try:
        if group.lost is not None:
            raise group.lost.error
        if part.fault is not None:
            raise part.fault
        check_one_agent(part.frames)
        for frame in part.frames:
            check_length(frame)
        found = layout(part.frames)
    except VolsegError as error:
        return _unusable(group, name, part.frames[0], error)
    grid = straight_grid(found.grid.shape, found.affine) if found.tilt_deg else found.grid
    facts = part.frames[0].facts
    facts = replace(facts, volumes=part.numbers, by_hand_only=derivation(facts))
    series = Series(
        name=name,
        files=tuple(dict.fromkeys(frame.stored.path for frame in found.frames)),
        patient=group.patient,
        study=group.study,
        grid=grid,
        facts=facts,
        kind="dicom",
        load=Reading(name, found),
        notes=(*_notes(group, part), *found.notes, *_tilt(found.tilt_deg)),
    )
    return SourceFinding((series,))


def _tilt(tilt_deg: float) -> tuple[str, ...]:
    return (tilt_in_words(tilt_deg),) if tilt_deg else ()


def _notes(group: SeriesFiles, part: Part) -> Iterator[str]:
    first = part.frames[0]
    yield from filter(None, [note_on_key(group.patient), derived_note(first.facts)])
    yield from part.notes
    if first.facts.burned_in:
        yield "Burned In Annotation is YES: its pixels may show the patient's name"
    if first.stored.lossy:
        yield "was once compressed with loss"
    if is_inverted(first):
        yield "MONOCHROME1: grey values are inverted"
    if first.stored.padding is not None:
        yield f"voxels of the padding value {first.stored.padding} count as outside the scan"
