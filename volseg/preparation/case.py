"""The preparation of one case, from its files to files on one grid.

Read, N4 if wanted, registration of the channels to the reference channel, brain mask, registration
to an atlas if wanted, one interpolation of each channel, mask, crop, and the files whole or not at
all. The transforms are multiplied, so no channel is interpolated twice.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

import volseg
from volseg import memory
from volseg.cases.case import Case
from volseg.cases.filling import copies_in_words
from volseg.cases.sources import check_unchanged, fingerprint, read_sources, states
from volseg.errors import of_case
from volseg.images.grid import Affine, Grid
from volseg.images.nifti_geometry import grid_of
from volseg.images.nifti_writing import header_on
from volseg.preparation.alignment import Aligned
from volseg.preparation.brain_mask.mask import BrainMask
from volseg.preparation.case_files import CaseFiles
from volseg.preparation.grids import Mask, brain_box, on_grid, straight_grid
from volseg.preparation.label_maps import LabelMap, outside_note, read_label_map
from volseg.preparation.masking import background_value, in_type_of, masked
from volseg.preparation.options import SPACING_MM, StepOptions, digest_of, reference_of
from volseg.preparation.own_masks import is_masks_folder, mask_file
from volseg.preparation.pictures import draw_case
from volseg.preparation.record import (
    FileMark,
    MaskRecord,
    PreparationRecord,
    PreparedChannel,
    RecordedGrid,
    matrix_rows,
)
from volseg.preparation.sources import Source, read_channels
from volseg.preparation.steps import (
    Log,
    Space,
    brain_of,
    corrected,
    in_place,
    known_in,
    space_of_atlas,
)
from volseg.preparation.volume import Volume
from volseg.processes import tell

_ALREADY = "already stripped"


@dataclass(frozen=True, eq=False)
class Prepared:
    """A prepared case in memory.

    Attributes:
        reference: Channel that the others were registered to.
        places: Where each channel lies in the world of the reference.
        space: Where the case lies.
        header: NIfTI header of all files.
        images: Arrays (I, J, K) by channel, 0 outside the brain.
        heads: The same with everything outside the brain.
        brain: The brain as it was found; None: the skull is kept.
        outlines: Masks for the picture, by name, on the grid of the images.
        label_map: The label map, if there is one.
        worlds: (4, 4) from the world of the images to that of each source.
        coverage: Share of the brain that each channel covers.
    """

    reference: str
    places: Mapping[str, Aligned]
    space: Space
    header: Any
    images: Mapping[str, npt.NDArray[Any]]
    heads: Mapping[str, npt.NDArray[Any]]
    brain: BrainMask | None
    outlines: Mapping[str, Mask]
    label_map: npt.NDArray[np.uint8] | None
    worlds: Mapping[str, Affine]
    coverage: Mapping[str, float]


def prepare_case(
    case: Case, options: StepOptions, home: Path, *, picture: bool = True
) -> PreparationRecord:
    """Prepare a case and write its images, its record and its picture.

    Args:
        case: A case of volumes, each channel on any grid.
        options: What is done.
        home: Folder of prepared cases; must exist.
        picture: Whether to draw the case.

    Raises:
        VolsegError: If an image cannot be used, the channels cannot be registered, no brain of a
            plausible volume is found, or a file cannot be written. Nothing is written then.
    """
    start, log, files = time.monotonic(), Log(case.case_id), CaseFiles(home, case.case_id)
    with of_case(case.case_id), memory.in_words():
        before = states(case.images)
        with log.step("reading") as step:
            channels = read_channels(case)
            step["outcome"] = ", ".join(f"{n} {one.size_in_words}" for n, one in channels.items())
        sources = read_sources(case)
        check_unchanged(case, before, sources)
        own = None
        if is_masks_folder(options.strip):
            own = _mark(mask_file(options.strip, case.case_id))
        log.note(*(note for source in channels.values() for note in source.notes))
        log.note(*copies_in_words({name: one.volume.values for name, one in channels.items()}))
        done = prepared(case, channels, options, log)

        def record(marks: Mapping[str, FileMark], label: FileMark | None) -> PreparationRecord:
            grid = RecordedGrid.of(grid_of(done.header, case.case_id), done.header)
            return PreparationRecord(
                volseg=volseg.__version__,
                case_id=case.case_id,
                options=options.recorded(),
                sources=tuple(FileMark(**source) for source in sources),
                label_source=_label_mark(case),
                labels=case.labels,
                reference=done.reference,
                space=done.space.name,
                atlas_sha256=digest_of(options.atlas),
                grid=grid,
                channels=_channels(done, channels, marks),
                label=label,
                mask=_mask_record(done, own),
                steps=tuple(log.steps),
                notes=tuple(log.notes),
                seconds=round(time.monotonic() - start, 2),
                peak_memory_bytes=memory.peak(),
            )

        tell("writing")
        written = files.write(done.images, done.label_map, done.header, record)
        if picture:
            draw_case(files.picture, written, done.heads, done.outlines)
    return written


def prepared(
    case: Case, channels: Mapping[str, Source], options: StepOptions, log: Log
) -> Prepared:
    """All steps but reading and writing; see `prepare_case`."""
    reference = reference_of(channels, options.channel)
    if options.n4:
        channels = corrected(channels, log)
    places = in_place(channels, reference, log)
    label = read_label_map(case, channels, places, reference)
    straight = straight_grid(channels[reference].volume.grid, options.spacing_mm or SPACING_MM)
    volumes, brain = brain_of(channels, places, straight, options.strip, log, reference)
    if options.atlas is None:
        space = Space(reference, straight, np.eye(4))
    else:
        still = volumes[reference]
        space = space_of_atlas(options.atlas, still, brain, log, affine=options.affine)
        volumes = {}
    found = _Found(reference, channels, places, volumes, brain, label, options.strip != "none")
    return _in_space(found, space, log)


@dataclass(frozen=True, eq=False)
class _Found:
    """What was found of a case: see `Prepared`; `volumes` lie on the grid of the brain."""

    reference: str
    channels: Mapping[str, Source]
    places: Mapping[str, Aligned]
    volumes: Mapping[str, Volume]
    brain: BrainMask
    label: LabelMap | None
    is_stripped: bool


def _in_space(found: _Found, space: Space, log: Log) -> Prepared:
    """Each channel interpolated once, onto the grid of the result."""
    worlds = {name: place.matrix @ space.matrix for name, place in found.places.items()}
    brain = Volume(found.brain.mask, found.brain.grid)
    mask = on_grid(brain, space.grid, space.matrix, "label")
    label_map = None
    if found.label is not None:
        label_map = found.label.on(space.grid, worlds[found.label.channel])
        outside = outside_note(label_map, mask, space.grid) if found.is_stripped else ""
        log.note(found.label.note, outside)
    box = _box(mask, label_map, space) if found.is_stripped else _whole(space.grid)
    grid, mask = space.grid.crop(box), mask[box]
    heads, images, coverage = {}, {}, dict.fromkeys(found.channels, 1.0)
    with log.step("resampling and mask") as step:
        for name, source in found.channels.items():
            background = background_value(source.volume.values)
            if name in found.volumes:
                values = found.volumes[name].values[box]
            else:
                values = on_grid(source.volume, grid, worlds[name], outside=background)
            heads[name] = images[name] = in_type_of(values, source.volume.values.dtype)
            if found.is_stripped:
                known, coverage[name] = known_in(name, source, worlds[name], grid, mask, log)
                own = background if found.brain.method == _ALREADY else None
                images[name] = masked(heads[name], mask, known, own)
        step["outcome"] = f"{grid.shape_in_words} voxels"
    outlines = {"brain": mask} if found.is_stripped else {}
    return Prepared(
        reference=found.reference,
        places=found.places,
        space=space,
        header=header_on(grid, space.code),
        images=images,
        heads=heads,
        brain=found.brain if found.is_stripped else None,
        outlines={**outlines, **{name: of[box] for name, of in space.outlines.items()}},
        label_map=None if label_map is None else label_map[box],
        worlds=worlds,
        coverage=coverage,
    )


def _box(mask: Mask, label_map: npt.NDArray[np.uint8] | None, space: Space) -> tuple[slice, ...]:
    """Box of brain and label map, with a margin; all of the grid of an atlas."""
    if space.is_atlas:
        return _whole(space.grid)
    return brain_box(mask if label_map is None else mask | (label_map > 0), space.grid)


def _whole(grid: Grid) -> tuple[slice, ...]:
    return tuple(slice(0, size) for size in grid.shape)


def _channels(
    done: Prepared, channels: Mapping[str, Source], marks: Mapping[str, FileMark]
) -> dict[str, PreparedChannel]:
    return {
        name: PreparedChannel(
            source=source.path,
            native=RecordedGrid.of(source.volume.grid, source.header),
            matrix=matrix_rows(done.worlds[name]),
            alignment=done.places[name].alignment,
            moved_mm=round(done.places[name].moved_mm, 3),
            quality=done.places[name].quality,
            coverage=round(done.coverage[name], 4),
            file=marks[name],
        )
        for name, source in channels.items()
    }


def _mask_record(done: Prepared, own: FileMark | None) -> MaskRecord | None:
    brain = done.brain
    if brain is None:
        return None
    return MaskRecord(
        method=brain.method,
        volume_ml=round(brain.volume_ml, 3),
        notes=tuple(brain.notes),
        source=own,
    )


def _label_mark(case: Case) -> FileMark | None:
    if not case.label:
        return None
    return _mark(case.label[0])


def _mark(path: Path) -> FileMark:
    return FileMark(path=str(path.absolute()), **fingerprint(path))
