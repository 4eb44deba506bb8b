"""The steps of a preparation, from the channels in their files to arrays on one grid."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from volseg.errors import RegistrationError
from volseg.images.grid import Affine, Grid
from volseg.preparation.alignment import Aligned, aligned
from volseg.preparation.bias import without_bias
from volseg.preparation.brain_mask.finding import find_mask
from volseg.preparation.brain_mask.mask import BrainMask, Proposal
from volseg.preparation.foreground import foreground_of
from volseg.preparation.grids import Mask, in_float32
from volseg.preparation.masking import without_rim
from volseg.preparation.optimising import Kind
from volseg.preparation.options import MNI, read_atlas
from volseg.preparation.own_masks import is_masks_folder, mask_file, own_mask
from volseg.preparation.record import ALMOST_ALL, Step, matrix_rows
from volseg.preparation.registration import register
from volseg.preparation.resampling import covered
from volseg.preparation.sources import Source
from volseg.preparation.volume import Volume
from volseg.processes import tell

logger = logging.getLogger(__name__)

# Least share of the brain that a channel must cover, and that an atlas must hold.
_LEAST = 0.5
# Steps of a second or so, which nobody waits for.
_QUICK = ("reading", "resampling")
# Values this low are air in CT, in HU; N4 is for MRI.
_AIR_HU = -500


@dataclass
class Log:
    """Steps and notes of a case, as they come."""

    case_id: str
    steps: list[Step] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @contextmanager
    def step(self, name: str) -> Iterator[dict[str, Any]]:
        """Record a step with its duration; the block fills in outcome, quality and matrix."""
        if not name.startswith(_QUICK):
            tell(name)
        start, found = time.monotonic(), dict[str, Any]()
        yield found
        seconds = round(time.monotonic() - start, 3)
        self.steps.append(Step(name=name, seconds=seconds, **found))

    def note(self, *notes: str) -> None:
        """Keep and log notes that are not empty, each once."""
        for note in notes:
            if note and note not in self.notes:
                logger.info("%s: %s", self.case_id, note)
                self.notes.append(note)


@dataclass(frozen=True, eq=False)
class Space:
    """Where the written files lie.

    Attributes:
        name: Channel or atlas.
        grid: Grid before the crop.
        matrix: World of the grid to the world of the reference channel.
        code: Code of that world in a NIfTI header.
        is_atlas: Whether the grid is that of an atlas, which is not cropped.
        outlines: Masks on the grid for the picture, by name.
    """

    name: str
    grid: Grid
    matrix: Affine
    code: int = 1
    is_atlas: bool = False
    outlines: Mapping[str, Mask] = field(default_factory=dict)


def corrected(channels: Mapping[str, Source], log: Log) -> dict[str, Source]:
    """The channels without their bias fields; CT has none."""
    found = {}
    for name, source in channels.items():
        found[name] = source
        if float(source.volume.values.min()) < _AIR_HU:
            log.note(f"{name} looks like CT, so N4 leaves it as it is")
            continue
        with log.step(f"bias field of {name}") as step:
            done = without_bias(source.volume)
            found[name] = replace(source, volume=Volume(done.values, source.volume.grid))
            step["outcome"] = "removed by N4"
    return found


def in_place(channels: Mapping[str, Source], reference: str, log: Log) -> dict[str, Aligned]:
    """Where each channel lies in the world of the reference channel."""
    places = {}
    still = channels[reference].volume
    for name, source in channels.items():
        if name == reference:
            places[name] = Aligned(np.eye(4), "reference", {})
            continue
        with log.step(f"registration of {name} to {reference}") as step:
            place = places[name] = aligned(name, source.volume, still)
            step["outcome"] = place.in_words
            step["quality"], step["matrix"] = place.quality, matrix_rows(place.matrix)
        log.note(*(f"{name}: {note}" for note in place.notes))
    return places


def brain_of(
    channels: Mapping[str, Source],
    places: Mapping[str, Aligned],
    grid: Grid,
    method: str,
    log: Log,
    reference: str,
) -> tuple[dict[str, Volume], BrainMask]:
    """The brain, and the channels that it was found in, on a grid in the world of the reference."""
    with log.step("resampling for the brain mask") as step:
        volumes = {
            name: Volume(without_rim(source.volume, grid, places[name].matrix), grid)
            for name, source in channels.items()
        }
        step["outcome"] = f"{grid.shape_in_words} voxels"
    with log.step("brain mask") as step:
        own = None
        if is_masks_folder(method):
            file = mask_file(method, log.case_id)
            mask, note = own_mask(file, channels, places, reference, grid)
            own = Proposal(mask, f"the file {file.name}", notes=(note,) if note else ())
        brain = find_mask(volumes, method, own=own)
        step["outcome"] = f"{brain.method}, {brain.volume_ml:.0f} ml"
        step["quality"] = {"volume_ml": round(brain.volume_ml, 3)}
    log.note(*brain.notes)
    return volumes, brain


def space_of_atlas(
    given: str, reference: Volume, brain: BrainMask, log: Log, *, affine: bool
) -> Space:
    """The grid of an atlas, and where it lies in the world of the reference channel.

    The brain alone is registered to an atlas without a skull, and the head to an atlas with one.

    Args:
        given: The atlas as the user gave it.
        reference: Reference channel, on the grid of the mask.
        brain: Brain mask.
        log: Takes the step.
        affine: Whether to scale and shear too.

    Raises:
        RegistrationError: As in `register`; also if the brain lies mostly outside the grid.
    """
    atlas, kind = read_atlas(given), _kind(affine=affine)
    is_stripped = atlas.mask is not None
    values = np.where(brain.mask, reference.values, 0) if is_stripped else reference.values
    with log.step(f"{kind} registration to {atlas.name}") as step:
        moving = Volume(values, reference.grid)
        found = register(moving, atlas.volume, kind, same_head=False)
        step["quality"] = found.quality.figures()
        before, after = found.quality.before, found.quality.after
        step["outcome"] = f"mutual information {before:.3f} to {after:.3f}"
        step["matrix"] = matrix_rows(found.matrix)
    log.note(*(f"{atlas.name}: {note}" for note in (*atlas.notes, *found.notes)))
    grid = in_float32(atlas.volume.grid)
    outlines = {} if atlas.mask is None else {atlas.name: atlas.mask}
    code = 4 if given.lower() == MNI else 2
    space = Space(atlas.name, grid, found.matrix, code, is_atlas=True, outlines=outlines)
    back = np.asarray(np.linalg.inv(found.matrix), np.float64)
    # If the skull is kept, the mask holds the air around the head too.
    is_whole = bool(brain.mask.all())
    what, mask = ("head", foreground_of(reference).mask) if is_whole else ("brain", brain.mask)
    inside = float(covered(grid, reference.grid, back)[mask].mean())
    if inside < _LEAST:
        raise RegistrationError(
            f"only {inside:.0%} of the {what} lie on the grid of {atlas.name}",
            remedy="give an atlas of a whole head, or leave --to out",
        )
    if inside < ALMOST_ALL:
        log.note(f"{1 - inside:.1%} of the {what} lie outside the grid of {atlas.name}")
    return space


def _kind(*, affine: bool) -> Kind:
    return "affine" if affine else "rigid"


def known_in(
    name: str, source: Source, matrix: Affine, grid: Grid, brain: Mask, log: Log
) -> tuple[Mask | None, float]:
    """Voxels of a grid that a channel covers, None if all of the brain, and its share of the brain.

    Raises:
        RegistrationError: If it covers less than half of the brain.
    """
    known = covered(source.volume.grid, grid, matrix)
    share = float(known[brain].mean()) if brain.any() else 1.0
    if share < _LEAST:
        raise RegistrationError(
            f"{name} covers only {share:.0%} of the brain, but half of it is needed",
            remedy="leave the channel out, or give a series of the whole head",
        )
    if share < ALMOST_ALL:
        log.note(
            f"{name} covers {share:.0%} of the brain and is 0 in the rest, where a network lacks "
            "it; give a series of the whole head if there is one"
        )
    return None if share == 1 else known, share
