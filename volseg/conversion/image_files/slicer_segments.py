"""Segments of a segmentation of 3D Slicer, in the keys of its NRRD header."""

from __future__ import annotations

import re
from collections.abc import Mapping

from volseg.errors import LabelError
from volseg.words import cut

_KEY = re.compile(r"Segment(?P<number>\d+)_(?P<field>ID|Name|LabelValue|Layer)")
_ENDINGS = (".seg.nrrd", ".seg.nhdr")


def is_segmentation(name: str, keys: Mapping[str, str]) -> bool:
    """Whether a file is a segmentation of 3D Slicer, by its name or its keys."""
    return name.casefold().endswith(_ENDINGS) or any(map(_KEY.fullmatch, keys))


def segment_notes(keys: Mapping[str, str], where: str) -> list[str]:
    """Note on the names of the labels; none if the header names none.

    Raises:
        LabelError: If segments lie in several layers, or share a label.
    """
    segments: dict[int, dict[str, str]] = {}
    for key, value in keys.items():
        if match := _KEY.fullmatch(key):
            segments.setdefault(int(match["number"]), {})[match["field"]] = value.strip()
    layers = {one["Layer"] for one in segments.values() if "Layer" in one}
    if len(layers) > 1:
        raise LabelError(
            f"{where} holds segments that overlap, in {len(layers)} layers, but a label map has "
            "one label in each voxel",
            remedy="in 3D Slicer, export the segments as a label map",
        )
    named: dict[str, str] = {}
    for number, one in sorted(segments.items()):
        # Without a label, segments count from 1.
        label = one.get("LabelValue", str(number + 1))
        if label in named:
            raise LabelError(
                f"{where} gives label {cut(label, 20)} to two segments, but each needs its own",
                remedy="in 3D Slicer, export the segments as a label map",
            )
        named[label] = one.get("Name") or one.get("ID", "")
    said = ", ".join(f"{label} = {cut(name, 40)}" for label, name in named.items() if name)
    return [f"labels by 3D Slicer: {said}"] if said else []
