"""Order of slices and grid of a volume, by the positions of its slices along their normal.

Instance numbers and slice locations are not used: scanners number slices in the order of
acquisition, and archives number them anew.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.conversion.dicom.frames import Frame
from volseg.errors import GeometryError
from volseg.images.grid import Affine, Grid, ras_from_lps
from volseg.words import number_of

Vectors = npt.NDArray[np.float64]

REMEDY = "export the whole series again"
#: Slices nearer than this share their position: the rounding of decimal strings.
SAME_MM = 0.01
# Directions that differ by less are one direction, and as perpendicular as headers round them.
_SAME_DIRECTION = 1e-3
_SPACING_MM = (0.01, 50.0)
# A slice may lie off the regular grid by this share of the distance of slices, or by the rounding
# of positions to a tenth of a mm.
_OFF, _OFF_MM = 0.05, 0.06
_NOTED_MM = 1e-3
# Slices shifted by more than this share of their distance are those of a tilted gantry.
_TILTED = 1e-3


@dataclass(frozen=True)
class Layout:
    """Where the slices of a volume lie.

    Attributes:
        frames: Slices in the order of the third axis of the grid.
        affine: RAS affine of the slices as stored; sheared if the gantry was tilted.
        tilt_deg: Angle between the normal of the slices and their line; 0 if not tilted.
        notes: Assumptions.
    """

    frames: tuple[Frame, ...]
    affine: Affine
    tilt_deg: float
    notes: tuple[str, ...]

    @property
    def grid(self) -> Grid:
        """Grid of the slices as stored."""
        first = self.frames[0]
        return Grid((first.columns or 0, first.rows or 0, len(self.frames)), self.affine)


def layout(frames: Sequence[Frame]) -> Layout:
    """Order and affine of the slices of one volume.

    Args:
        frames: Slices of one orientation and resolution, each at its own position.

    Raises:
        GeometryError: If geometry is missing or impossible, slices are missing, or there is only
            one slice.
    """
    check_plane(frames[0])
    if len(frames) == 1:
        raise GeometryError("holds a single slice, which is no volume", remedy=REMEDY)
    places = distances_mm(frames)
    order = np.argsort(places)
    ordered = [frames[k] for k in order]
    notes = _check_regular(ordered, places[order])
    positions = np.array([frame.position for frame in ordered])
    step = (positions[-1] - positions[0]) / (len(ordered) - 1)
    rows, columns, normal = directions(ordered[0])
    dy, dx = ordered[0].spacing or (1.0, 1.0)
    affine = np.eye(4)
    affine[:3] = np.column_stack([rows * dx, columns * dy, step, positions[0]])
    cosine = float(step @ normal) / float(np.linalg.norm(step))
    shift = math.sqrt(max(1 - cosine**2, 0))
    tilt = math.degrees(math.acos(min(cosine, 1))) if shift > _TILTED else 0.0
    return Layout(tuple(ordered), ras_from_lps(affine), tilt, notes)


def check_plane(frame: Frame) -> None:
    """Check that a slice has size, position, orientation and spacing, and that these are possible.

    Raises:
        GeometryError: If not.
    """
    missing = [
        name
        for name, value in (
            ("Image Position (Patient)", frame.position),
            ("Image Orientation (Patient)", frame.orientation),
            ("Pixel Spacing", frame.spacing),
            ("Rows or Columns", frame.rows and frame.columns),
        )
        if not value
    ]
    if missing:
        raise GeometryError(
            f"has no {' and no '.join(missing)}, so side and distances are unknown",
            remedy="export it again from the archive, with its geometry",
        )
    low, high = _SPACING_MM
    spacing = frame.spacing or ()
    if not all(low <= mm <= high for mm in spacing):
        raise GeometryError(
            f"has a Pixel Spacing of {' x '.join(f'{mm:g}' for mm in spacing)} mm, but {low:g} to "
            f"{high:g} mm is possible",
            remedy="export it again from the archive, with its geometry",
        )
    along = np.array(frame.orientation).reshape(2, 3)
    if abs(along @ along.T - np.eye(2)).max() > _SAME_DIRECTION:
        raise GeometryError(
            "has an Image Orientation (Patient) whose directions are no perpendicular unit vectors",
            remedy="export it again from the archive, with its geometry",
        )


def directions(frame: Frame) -> tuple[Vectors, Vectors, Vectors]:
    """Unit vectors in LPS along rows, along columns, and along their normal."""
    rows, columns = np.array(frame.orientation).reshape(2, 3)
    rows = rows / np.linalg.norm(rows)
    # What rounding left of the angle is taken out.
    columns = columns - rows * (columns @ rows)
    columns = columns / np.linalg.norm(columns)
    return rows, columns, np.cross(rows, columns)


def distances_mm(frames: Sequence[Frame]) -> Vectors:
    """Places of slices along the normal of the first, in mm."""
    normal = directions(frames[0])[2]
    return np.array([frame.position for frame in frames]) @ normal


def same_orientation(frame: Frame, other: Frame) -> bool:
    """Whether two slices are parallel, with rows along the same direction."""
    difference = np.subtract(frame.orientation or (), other.orientation or ())
    return bool(abs(difference).max(initial=0) < _SAME_DIRECTION)


def place_of(frame: Frame) -> str:
    """Name of a slice in messages: its file, with its frame if the file has several."""
    name = frame.stored.path.name
    several = frame.stored.frames > 1 or frame.tile is not None
    number = frame.tile.number if frame.tile else frame.index
    return f"{name} frame {number + 1}" if several else name


def _check_regular(ordered: Sequence[Frame], places: Vectors) -> tuple[str, ...]:
    steps = np.diff(places)
    usual = float(np.median(steps))
    if usual > _SPACING_MM[1]:
        raise GeometryError(f"has slices at a distance of {usual:.1f} mm", remedy=REMEDY)
    _check_gaps(ordered, steps, usual)
    regular = np.linspace(places[0], places[-1], len(places))
    off = float(abs(places - regular).max())
    if off > max(_OFF * usual, _OFF_MM):
        raise GeometryError(
            f"has slices at distances from {steps.min():.2f} to {steps.max():.2f} mm",
            remedy="convert a series with slices at one distance: reconstruct or export it again",
        )
    notes = []
    if off > _NOTED_MM:
        notes.append(f"slices lie up to {off:.2g} mm off a regular grid: accepted")
    stated = ordered[0].between_mm
    if stated and abs(stated - usual) > _OFF * usual and ordered[0].tile is None:
        _check_every_second(ordered, usual / abs(stated))
        notes.append(
            f"slices lie {usual:.3g} mm apart by their positions; Spacing Between Slices says "
            f"{stated:.3g} mm"
        )
    return tuple(notes)


def _check_gaps(ordered: Sequence[Frame], steps: Vectors, usual: float) -> None:
    gaps = [k for k, step in enumerate(steps) if step > 1.5 * usual]
    if not gaps:
        return
    # A series of two regular parts is not one with lost slices.
    lost = [round(float(steps[k]) / usual) - 1 for k in gaps]
    k = gaps[0]
    between = f"between {place_of(ordered[k])} and {place_of(ordered[k + 1])}"
    if 1 < len(gaps) > len(steps) / 4:
        raise GeometryError(
            f"has slices at distances from {steps.min():.2f} to {steps.max():.2f} mm",
            remedy="convert a series with slices at one distance: reconstruct or export it again",
        )
    raise GeometryError(
        f"lacks {number_of(sum(lost), 'slice')}: {between} lie {steps[k]:.4g} mm, elsewhere "
        f"{usual:.4g} mm" + (f", and {number_of(len(gaps) - 1, 'more gap')}" * (len(gaps) > 1)),
        remedy=REMEDY,
    )


def _check_every_second(ordered: Sequence[Frame], ratio: float) -> None:
    """Refuse a series of which only each second slice, or each third, was exported."""
    numbers = [frame.instance[0] for frame in ordered if frame.instance]
    jumps = set(np.abs(np.diff(numbers)).tolist())
    whole = round(ratio)
    if whole >= 2 and abs(ratio - whole) < _OFF and jumps == {whole}:
        raise GeometryError(
            f"holds each {'second' if whole == 2 else f'{whole}th'} slice only, by instance "
            "numbers and Spacing Between Slices",
            remedy=REMEDY,
        )
