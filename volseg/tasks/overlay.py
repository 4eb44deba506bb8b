"""`volseg overlay`: a picture or an animation of a scan with the regions of a label map on top."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from volseg.cases.case import Case
from volseg.cases.channels import channel_among, channel_of
from volseg.cases.layouts import Layout
from volseg.config import CHANNELS
from volseg.errors import ConfigError
from volseg.evaluation.case_label_map import Shown, read_case_label_map
from volseg.evaluation.records import recorded_channels
from volseg.figures.case_view import CaseView, choose_slices
from volseg.figures.figure_files import save_figure
from volseg.figures.image_views import view_of_images
from volseg.figures.looks import Look
from volseg.figures.overlay import overlay_figure
from volseg.figures.planes import Plane
from volseg.figures.samples import shown_channel
from volseg.figures.sweep import FRAMES_PER_SECOND, sweep
from volseg.files.ownership import check_no_inputs
from volseg.files.paths import PathLike
from volseg.files.writing import make_output
from volseg.finding.one_case import find_case
from volseg.labels import Masks

#: Endings of pictures, and of animations through the slices.
PICTURES, ANIMATIONS = (".png", ".jpg", ".jpeg", ".svg", ".pdf"), (".webp", ".gif")


@dataclass(frozen=True)
class OverlayOptions:
    """What a picture shows, and how.

    Attributes:
        reference: A second label map, outlined with dashes: a file, a folder of results or masks,
            or the folder of the case.
        labels: Name of the label scheme of the label map; None: that of the results of volseg, or
            the scheme that follows from names and values of the files.
        reference_labels: Name of the label scheme of the reference, likewise.
        channels: Channels to show, side by side; empty: `t2f`, or else the first channel.
        window: Grey values that become black and white in all shown channels; None: percentiles
            of each channel, and for CT the window of the brain.
        regions: Regions to draw; empty: all.
        plane: Plane of the slices, if the scan records the orientation.
        slice: Number of the slice, counted from 1 in the file; None: the slice with the largest
            area.
        montage: Number of slices in a picture of several; None: one slice.
        outline: Opacity of outlines, from 0 to 1.
        fill: Opacity of the areas of regions, from 0 to 1.
        text: Whether names, sides of the patient, legend and disclaimer are written.
        frames_per_second: Slices a second in an animation; None: 12.
    """

    reference: PathLike | None = None
    labels: str | None = None
    reference_labels: str | None = None
    channels: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    regions: tuple[str, ...] = ()
    plane: Plane = "axial"
    slice: int | None = None
    montage: int | None = None
    outline: float = 1.0
    fill: float = 0.0
    text: bool = True
    frames_per_second: float | None = None


@dataclass(frozen=True)
class OverlayResult:
    """A picture and what it shows.

    Attributes:
        path: The picture.
        slices: Names of its slices, such as `axial slice 71`.
        chosen_by: What the slices were chosen by, such as `largest area of the label map`.
    """

    path: Path
    slices: tuple[str, ...]
    chosen_by: str


def overlay(
    scan: PathLike, labels: PathLike, output: PathLike, options: OverlayOptions | None = None
) -> OverlayResult:
    """Draw a scan with the regions of a label map on top, for a paper or a slide.

    Args:
        scan: A NIfTI file, a 2D image or the folder of a case.
        labels: The label map: a file, a folder of results or masks, or the folder of the case.
        output: Picture (`.png`, `.jpg`, `.svg`, `.pdf`), or animation through the slices (`.webp`,
            `.gif`).
        options: What the picture shows; None: all defaults.

    Raises:
        ConfigError: If options contradict each other, the scan or the label maps.
        DataListError: If the scan is not one case, or has no such label map.
        GeometryError: If scan and label map lie on different grids, or slices of unknown
            orientation have no such plane.
        ImageError: If a file is damaged.
        LabelError: If the label scheme is not known or does not define all values.
        OutputError: If volseg did not write the file in the place of the picture, or it cannot be
            written.
    """
    options, output = options or OverlayOptions(), Path(output)
    _check(options, output)
    case, layout = find_case(Path(scan), _looked_for(Path(labels), options.channels))
    given = [Path(labels), *([Path(options.reference)] if options.reference else [])]
    check_no_inputs([output], [*case.images, *case.label, *given])
    make_output(output.parent, [output.name])
    view = _view(case, layout, given, options)
    look = Look(options.outline, options.fill, options.text)
    channels = list(view.images)
    if output.suffix.lower() in ANIMATIONS:
        speed = options.frames_per_second or FRAMES_PER_SECOND
        indices = sweep(view, channels[0], output, look, speed)
        chosen_by = f"all with tissue, {speed:g} a second"
    else:
        indices, chosen_by = _indices(view, options), _chosen_by(view, options)
        save_figure(overlay_figure(view, channels, indices, look), output)
    return OverlayResult(output, tuple(map(view.slice_name, indices)), chosen_by)


def _looked_for(labels: Path, asked: Sequence[str]) -> tuple[str, ...]:
    """Channels of the scan, any of which is enough: those of results, those asked for, BraTS."""
    return tuple(dict.fromkeys((*recorded_channels([labels]), *map(channel_of, asked), *CHANNELS)))


def _check(options: OverlayOptions, output: Path) -> None:
    """Raise ConfigError for options that contradict each other, before anything is read."""
    ending = output.suffix.lower()
    if ending not in (*PICTURES, *ANIMATIONS):
        raise ConfigError(
            f"{output} has no ending of a picture",
            remedy=f"use one of {', '.join((*PICTURES, *ANIMATIONS))}",
        )
    if options.plane not in get_args(Plane):
        raise ConfigError(
            f"plane is {options.plane!r}", remedy=f"use one of {', '.join(get_args(Plane))}"
        )
    for name, value in (("outline", options.outline), ("fill", options.fill)):
        if not 0 <= value <= 1:
            raise ConfigError(f"{name} is {value:g}, but an opacity from 0 to 1 is expected")
    if options.outline == options.fill == 0:
        raise ConfigError(
            "outline and fill are both 0, so no region would show", remedy="raise one of them"
        )
    if options.window and not options.window[0] < options.window[1]:
        raise ConfigError(
            f"window is {options.window[0]:g} to {options.window[1]:g}",
            remedy="give the smaller value first",
        )
    if problem := _contradiction(options, moves=ending in ANIMATIONS):
        raise ConfigError(f"{output.name} {problem}", remedy="leave one of them out")


def _contradiction(options: OverlayOptions, *, moves: bool) -> str | None:
    """Why the options do not fit a picture, or an animation if it `moves`; None if they do."""
    if not moves:
        if options.frames_per_second is not None:
            return "is a single picture, but has a number of frames a second"
        both = options.slice is not None and options.montage is not None
        return "has both one slice and a montage of slices" if both else None
    if options.slice is not None or options.montage is not None:
        return "moves through all slices, but has one slice or a montage of slices"
    many = len(options.channels) > 1
    return f"moves in one channel, but has {' and '.join(options.channels)}" if many else None


def _view(case: Case, layout: Layout, given: Sequence[Path], options: OverlayOptions) -> CaseView:
    """View of the case in the wanted plane, with the label map and perhaps the reference."""
    channels = _shown_channels(case, options.channels) or (shown_channel(case.channels),)
    images = case.read_images(channels)
    schemes = ((options.labels, "--labels"), (options.reference_labels, "--reference-labels"))
    shown = Shown(case, images.grid, layout, channels)
    prediction, *reference = (
        read_case_label_map(path, shown, *scheme).masks
        for path, scheme in zip(given, schemes, strict=False)
    )
    windows = dict.fromkeys(channels, options.window) if options.window else None
    drawn = (reference[0] if reference else None, prediction)
    view = view_of_images(case, images, channels, *drawn, windows)
    if len(case.slices) == 1:
        view = replace(view, name=case.slices[0].stem)
    return _of_regions(view, options.regions).in_plane(options.plane)


def _shown_channels(case: Case, asked: Sequence[str]) -> tuple[str, ...]:
    """The channels of the case that are asked for by any of their names."""
    channels = tuple(dict.fromkeys(channel_among(name, case.channels) for name in asked))
    if absent := [name for name in channels if name not in case.channels]:
        raise ConfigError(
            f"{case.place} has no channel {', '.join(absent)}, but {', '.join(case.channels)}",
            remedy="choose among them with --channel",
        )
    return channels


def _of_regions(view: CaseView, regions: Sequence[str]) -> CaseView:
    """The view with these regions alone, or with all regions if none is given."""
    if not regions:
        return view
    if unknown := [region for region in regions if region not in view.regions]:
        raise ConfigError(
            f"region is {', '.join(unknown)}, but the label maps define {', '.join(view.regions)}",
            remedy="choose among them",
        )

    def chosen(masks: Masks | None) -> Masks | None:
        return masks and {region: mask for region, mask in masks.items() if region in regions}

    return replace(view, reference=chosen(view.reference), prediction=chosen(view.prediction))


def _indices(view: CaseView, options: OverlayOptions) -> list[int]:
    """Slices to show, by their index along the third axis."""
    if options.slice is None:
        return choose_slices(view.target, options.montage or 1)
    numbers = list(view.numbers[view.plane])
    if options.slice not in numbers:
        raise ConfigError(
            f"slice is {options.slice}, but {view.plane} slices are numbered {min(numbers)} to "
            f"{max(numbers)}",
            remedy="choose one of them, or leave it out",
        )
    return [numbers.index(options.slice)]


def _chosen_by(view: CaseView, options: OverlayOptions) -> str:
    """What the slices of a picture are chosen by; see `CaseView.target`."""
    if options.slice is not None:
        return "as asked for"
    others = ", and others spread evenly" if options.montage is not None else ""
    for (masks, _), name in zip(view.masks, ("reference", "label map"), strict=True):
        if any(mask.any() for mask in masks.values()):
            return f"the largest area of the {name}{others}"
    return f"the label map is empty: the largest area of the scan{others}"
