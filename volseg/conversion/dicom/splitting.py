"""Volumes of one series: echoes, b-values, stacks and time points under one Series Instance UID."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field

import numpy as np

from volseg.conversion.dicom.frames import Frame
from volseg.conversion.dicom.geometry import (
    SAME_MM,
    check_plane,
    distances_mm,
    place_of,
    same_orientation,
)
from volseg.conversion.evidence_words import agent_in_tag
from volseg.errors import GeometryError, ImageError
from volseg.words import number_of

_REMEDY = "export the series again, or separate its files"


@dataclass(frozen=True)
class Part:
    """Slices of one contrast and one time.

    Attributes:
        frames: The slices, in any order.
        label: What separates it from other parts of its series, such as "echo 2"; empty if alone.
        number: Number of the time point, from 1.
        numbers: Number of time points.
        notes: Assumptions.
        fault: Why it is no volume.
    """

    frames: tuple[Frame, ...]
    label: str = ""
    number: int = 1
    numbers: int = 1
    notes: tuple[str, ...] = ()
    fault: GeometryError | None = field(default=None, compare=False)


# What separates contrasts, and how a part is named by it.
_CONTRASTS: tuple[tuple[Callable[[Frame], Hashable], str], ...] = (
    (lambda frame: "/".join(frame.facts.image_type), "{}"),
    (lambda frame: frame.echo, "echo {}"),
    (lambda frame: frame.facts.echo_ms, "TE {} ms"),
    (lambda frame: frame.facts.inversion_ms, "TI {} ms"),
    (lambda frame: frame.facts.b_value, "b {}"),
    (lambda frame: frame.stack, "stack {}"),
)


def contrasts(frames: Sequence[Frame]) -> list[Part]:
    """Slices by contrast: kind of image, echo, inversion time, b-value and stack."""
    varying = [(key, text) for key, text in _CONTRASTS if len({key(frame) for frame in frames}) > 1]
    groups: dict[tuple[Hashable, ...], list[Frame]] = defaultdict(list)
    for frame in frames:
        groups[tuple(key(frame) for key, _ in varying)].append(frame)
    return [
        Part(tuple(members), ", ".join(_named(varying, values)))
        for values, members in groups.items()
    ]


def _named(
    varying: Sequence[tuple[Callable[[Frame], Hashable], str]], values: Sequence[Hashable]
) -> list[str]:
    return [
        text.format(f"{value:g}" if isinstance(value, float) else value)
        for (_, text), value in zip(varying, values, strict=True)
        if value is not None
    ]


def orientations(frames: Sequence[Frame]) -> list[list[Frame]]:
    """Slices by orientation."""
    groups: list[list[Frame]] = []
    for frame in frames:
        of = next((group for group in groups if same_orientation(group[0], frame)), None)
        if of is None:
            groups.append([frame])
        else:
            of.append(frame)
    return groups


def check_one_grid(frames: Sequence[Frame]) -> None:
    """Check that slices share orientation and resolution.

    Raises:
        GeometryError: If not, or if a slice has no possible geometry.
    """
    for frame in frames:
        check_plane(frame)
    sizes = Counter(
        f"{f.columns} x {f.rows} pixels of {f.spacing[1]:.4g} x {f.spacing[0]:.4g} mm"
        for f in frames
        if f.spacing
    )
    if len(sizes) > 1:
        (first, n_first), (second, n_second) = sizes.most_common(2)
        raise GeometryError(
            f"holds two resolutions: {number_of(n_first, 'slice')} of {first}, and {n_second} of "
            f"{second}",
            remedy=_REMEDY,
        )
    counts = [len(group) for group in orientations(frames)]
    if len(counts) > 1:
        raise GeometryError(
            f"holds slices in {len(counts)} orientations: {', '.join(map(str, counts))} slices",
            remedy=_REMEDY,
        )


def check_one_agent(frames: Sequence[Frame]) -> None:
    """Check that all slices of a volume, or none, have a tag that names a contrast agent.

    Raises:
        ImageError: If only some have it: they are slices of two acquisitions.
    """
    given = sum(agent_in_tag(frame.facts.contrast_agent) == "given" for frame in frames)
    if 0 < given < len(frames):
        raise ImageError(
            f"holds {number_of(given, 'slice')} with the tag of a contrast agent, and "
            f"{len(frames) - given} without",
            remedy=_REMEDY,
        )


def time_points(part: Part) -> list[Part]:
    """Volumes of a part whose slices share orientation and resolution.

    Returns:
        The part itself if each position has one slice; else a part for each time point. A part
        with fewer slices than the others has a fault.

    Raises:
        GeometryError: If several slices lie at one position and no value separates them.
    """
    slots = _slots(part.frames)
    repeats = Counter(slots)
    most = max(repeats.values())
    if most == 1:
        return [part]
    for column in range(len(part.frames[0].times)):
        keys = [frame.times[column] for frame in part.frames]
        groups = _separated(part.frames, slots, keys, most)
        if groups:
            return _numbered(part, groups, len(repeats), ())
    if set(repeats.values()) == {most} and all(frame.instance for frame in part.frames):
        note = "time points are separated by the order of instance numbers"
        return _numbered(part, _by_instance(part.frames, slots), len(repeats), (note,))
    slot = repeats.most_common(1)[0][0]
    one, other = [f for f, of in zip(part.frames, slots, strict=True) if of == slot][:2]
    names = f"{place_of(one)} and {place_of(other)}"
    if (folder := other.stored.path.parent) != one.stored.path.parent:
        names += f" in {folder.name}"
    raise GeometryError(
        f"holds {number_of(most, 'slice')} at one position, such as {names}, and "
        "nothing that tells time points apart",
        remedy=_REMEDY,
    )


def _slots(frames: Sequence[Frame]) -> list[int]:
    """Number of the position of each slice along the normal."""
    places = distances_mm(frames)
    order = np.argsort(places, kind="stable")
    numbers = np.concatenate([[0], np.cumsum(np.diff(places[order]) > SAME_MM)])
    slots = np.empty(len(frames), int)
    slots[order] = numbers
    return slots.tolist()


def _separated(
    frames: Sequence[Frame], slots: Sequence[int], keys: Sequence[Hashable], most: int
) -> list[list[Frame]] | None:
    """Slices by key, if each key has at most one slice at each position."""
    if None in keys or len(set(keys)) != most:
        return None
    if len(set(zip(keys, slots, strict=True))) < len(frames):
        return None
    groups: dict[Hashable, list[Frame]] = defaultdict(list)
    for frame, key in zip(frames, keys, strict=True):
        groups[key].append(frame)
    return [groups[key] for key in sorted(groups, key=_natural)]


def _natural(key: Hashable) -> tuple[float, str]:
    """Order of numbers by size, before other texts."""
    try:
        return float(str(key)), ""
    except ValueError:
        return float("inf"), str(key)


def _by_instance(frames: Sequence[Frame], slots: Sequence[int]) -> list[list[Frame]]:
    at: dict[int, list[Frame]] = defaultdict(list)
    for frame, slot in zip(frames, slots, strict=True):
        at[slot].append(frame)
    ordered = [sorted(members, key=lambda frame: frame.instance or ()) for members in at.values()]
    return [list(volume) for volume in zip(*ordered, strict=True)]


def _numbered(
    part: Part, groups: Sequence[Sequence[Frame]], slices: int, notes: tuple[str, ...]
) -> list[Part]:
    parts = []
    for number, group in enumerate(groups, start=1):
        label = f"time point {number} of {len(groups)}"
        fault = None
        if len(group) < slices:
            fault = GeometryError(
                f"holds {number_of(len(group), 'slice')}, other time points {slices}",
                remedy="export the whole series again",
            )
        named = f"{part.label}, {label}" if part.label else label
        parts.append(Part(tuple(group), named, number, len(groups), notes, fault))
    return parts
