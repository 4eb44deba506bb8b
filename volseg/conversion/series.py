"""Series of a source, such as a hospital's folder, before they become channels of cases.

A series is one volume: one grid, one contrast, one time. What a reader of a format finds is a
`SourceFinding`: the series, what was left out and why, and the faults.
"""

from __future__ import annotations

import datetime
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy.typing as npt

from volseg.images.grid import Grid

Kind = Literal["dicom", "image"]


@dataclass(frozen=True)
class Patient:
    """The person of a series, with everything in the source that identifies them.

    Attributes:
        key: What all series of the person share, and no series of another person has.
        id: Patient ID in the source; None if the source has none.
        name: Name in the source.
        birth_date: Date of birth in the source.
        sex: Sex in the source: M, F or O.
    """

    key: str
    id: str | None = None
    name: str | None = None
    birth_date: datetime.date | None = None
    sex: str | None = None


@dataclass(frozen=True)
class Study:
    """One examination of a patient.

    Attributes:
        key: What all series of the examination share: Study Instance UID, or folder.
        date: Day of the examination; None if the source has no date.
        time: Time of day at which the examination began.
        description: Description in the source.
    """

    key: str
    date: datetime.date | None = None
    time: datetime.time | None = None
    description: str | None = None


@dataclass(frozen=True)
class Facts:
    """What the source says of the contrast of a series: the evidence for its channel.

    An attribute is None, or empty, if the source does not say it. Names are those of DICOM.

    Attributes:
        modality: MR, CT, PT, ...
        number: Series Number.
        description: Series Description.
        protocol: Protocol Name.
        scanning_sequence: Kinds of sequence: SE, IR, GR, EP, RM.
        variant: Variants of the sequence: SK, MTC, SS, SP, MP, OSP, NONE.
        options: Scan Options, such as FS (fat saturation).
        acquisition_contrast: Contrast as enhanced MR states it: T1, T2, FLUID_ATTENUATED, ...
        image_type: Values of Image Type, such as ORIGINAL, PRIMARY, M, ND.
        echo_ms: Echo time in ms.
        repetition_ms: Repetition time in ms.
        inversion_ms: Inversion time in ms.
        b_value: Diffusion weighting in s/mm2.
        contrast_agent: Contrast agent as the source names it.
        kernel: Reconstruction kernel of CT.
        body_part: Part of the body.
        acquired_on: Day on which the acquisition began.
        acquired: Time of day at which it began.
        burned_in: Whether the pixels hold annotations that identify the patient.
        volumes: Number of volumes of this contrast in the series: more than 1 if it is dynamic.
        is_label: Whether the voxels are labels, not intensities.
        by_hand_only: Why it is a channel only if chosen by hand, such as a map of diffusion; empty
            otherwise.
    """

    modality: str | None = None
    number: int | None = None
    description: str | None = None
    protocol: str | None = None
    scanning_sequence: tuple[str, ...] = ()
    variant: tuple[str, ...] = ()
    options: tuple[str, ...] = ()
    acquisition_contrast: str | None = None
    image_type: tuple[str, ...] = ()
    echo_ms: float | None = None
    repetition_ms: float | None = None
    inversion_ms: float | None = None
    b_value: float | None = None
    contrast_agent: str | None = None
    kernel: str | None = None
    body_part: str | None = None
    acquired_on: datetime.date | None = None
    acquired: datetime.time | None = None
    burned_in: bool | None = None
    volumes: int = 1
    is_label: bool = False
    by_hand_only: str = ""


@dataclass(frozen=True)
class Series:
    """One volume of a source; its voxels stay in the files until `read`.

    Attributes:
        name: How messages call it: the path from the source, for DICOM with its number and
            description, such as `ax/0001: series 5, t1_mprage_sag`.
        files: Files that hold it, in the order of its slices.
        patient: The person.
        study: The examination.
        grid: Grid of the array that `read` returns, in world coordinates of RAS, in mm.
        facts: Evidence for its channel.
        kind: Whether its evidence is a DICOM header, or the name of an image file.
        load: Reads the voxels; a function that can be pickled.
        notes: Assumptions, for the place where the result is shown.
    """

    name: str
    files: tuple[Path, ...]
    patient: Patient
    study: Study
    grid: Grid
    facts: Facts
    kind: Kind
    load: Callable[[], npt.NDArray[Any]] = field(repr=False, compare=False)
    notes: tuple[str, ...] = ()

    def read(self) -> npt.NDArray[Any]:
        """Voxels (I, J, K) with slope and intercept applied: integers if exact, else float32.

        Raises:
            ImageError: If a file has changed, is damaged or cannot be decoded.
        """
        return self.load()


@dataclass(frozen=True)
class LeftOut:
    """A series or a file that is no channel, and no fault: a localiser, a copy, another file.

    Attributes:
        name: The series, or the path from the source.
        reason: Why, in words that follow the name after a colon.
        patient: Key of its patient, if known.
    """

    name: str
    reason: str
    patient: str | None = None


@dataclass(frozen=True)
class Broken:
    """A series or a file with a fault; the others are used.

    Attributes:
        name: The series, or the path from the source.
        sentence: Problem and remedy, in words that follow the name after a colon.
        patient: Key of its patient, if known.
        study: Key of its study, if known: the case that may lack a channel.
        files: Its files beside the one of the name, as far as they are known.
    """

    name: str
    sentence: str
    patient: str | None = None
    study: str | None = None
    files: tuple[Path, ...] = ()


@dataclass(frozen=True)
class SourceFinding:
    """What a source holds."""

    series: tuple[Series, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    broken: tuple[Broken, ...] = ()

    def __add__(self, other: SourceFinding) -> SourceFinding:
        """The findings of two readers of one source."""
        return SourceFinding(
            self.series + other.series,
            self.left_out + other.left_out,
            self.broken + other.broken,
        )
