"""Stacks of 2D images: numbered slices in a folder (TIFF, PNG), or the pages of one TIFF.

Columns, rows and slices become I, J and K. Such files say neither the size of a voxel, which the
user must give, nor the orientation of the patient.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.conversion.image_files.grey_values import grey_values, label_values
from volseg.conversion.image_files.volume import (
    Assumed,
    ImageVolume,
    affine_of,
    checked_grid,
    directions,
    no_spacing,
)
from volseg.errors import ImageError
from volseg.images.slice_stack import read_stack, read_stack_grid
from volseg.images.tiff_pages import read_pages, shape_of_pages

_NUMBERED = re.compile(r"(?P<name>.*?)[-_. ]*(?P<number>\d{1,6})", re.DOTALL)
_USUAL = "LPS"
_IMAGE = ("image",)
_NAMED = 5


@dataclass(frozen=True)
class Slices:
    """Numbered files of one stack, in order of their numbers.

    Attributes:
        folder: Their folder.
        name: Their common name, without the number; perhaps empty.
        files: Files in order.
        numbers: Number of each file.
    """

    folder: Path
    name: str
    files: tuple[Path, ...]
    numbers: tuple[int, ...]


def numbered_slices(paths: Iterable[Path]) -> tuple[list[Slices], list[Path]]:
    """Stacks of two or more numbered files, and all other files."""
    groups: dict[tuple[Path, str, str], list[tuple[int, Path]]] = defaultdict(list)
    others = []
    for path in paths:
        if match := _NUMBERED.fullmatch(path.stem):
            key = (path.parent, match["name"], path.suffix.casefold())
            groups[key].append((int(match["number"]), path))
        else:
            others.append(path)
    stacks = []
    for (folder, name, _), members in groups.items():
        if len(members) < 2:
            others += [path for _, path in members]
            continue
        numbers, files = zip(*sorted(members), strict=True)
        stacks.append(Slices(folder, name, files, numbers))
    return stacks, others


def inspect_slices(slices: Slices, where: str, assumed: Assumed) -> ImageVolume:
    """The volume of numbered slices.

    Args:
        slices: The slices.
        where: Name of the stack in errors.
        assumed: Size of a voxel, and orientation if it is not LPS.

    Raises:
        ImageError: If a slice is missing or double, or no image of grey values.
        GeometryError: If the slices differ in size, or the size of a voxel is not given.
    """
    _check_numbers(slices, where)
    shape = read_stack_grid(slices.files, _IMAGE, _IMAGE, None).shape
    return _volume(slices.files, shape, where, assumed, partial(_read_slices, slices.files))


def inspect_pages(path: Path, where: str, assumed: Assumed) -> ImageVolume:
    """The volume of the pages of a TIFF; arguments and errors as of `inspect_slices`."""
    shape = shape_of_pages(path, where)
    return _volume((path,), shape, where, assumed, partial(_read_pages, path, where))


def _volume(
    files: Sequence[Path], shape: Sequence[int], where: str, assumed: Assumed, read: Any
) -> ImageVolume:
    if assumed.spacing_mm is None:
        raise no_spacing(where)
    letters, note = assumed.oriented(
        _USUAL, "columns to the left, rows to the back, slices to the head in their order"
    )
    affine = affine_of(directions(letters) * assumed.spacing_mm, (0, 0, 0))
    grid = checked_grid(shape, affine, where)
    load, load_labels = partial(_grey, read, where), partial(_labels, read, where)
    sides = ",".join(f"{mm:g}" for mm in assumed.spacing_mm)
    notes = (f"voxels of {sides} mm, as given", note)
    return ImageVolume(tuple(files), grid, load, load_labels, notes)


def _grey(read: Any, where: str) -> npt.NDArray[Any]:
    return grey_values(read(), 1, 0, where)


def _labels(read: Any, where: str) -> npt.NDArray[np.uint8]:
    return label_values(read(), 1, 0, where)


def _read_slices(files: Sequence[Path]) -> npt.NDArray[Any]:
    values: npt.NDArray[Any] = read_stack(files, _IMAGE, _IMAGE, None).array[0]
    return values


def _read_pages(path: Path, where: str) -> npt.NDArray[Any]:
    """Pages (K, J, I) as (I, J, K)."""
    return read_pages(path, where).transpose(2, 1, 0)


def _check_numbers(slices: Slices, where: str) -> None:
    numbers = slices.numbers
    held = set(numbers)
    double = sorted({number for number in held if numbers.count(number) > 1})
    gaps = [number for number in range(numbers[0], numbers[-1]) if number not in held]
    if double:
        raise ImageError(
            f"{where} has two files of slice {double[0]}", remedy="keep one file of each slice"
        )
    if len(gaps) > len(held):
        raise ImageError(
            f"{where} and the others with its name have {len(held)} of the numbers "
            f"{numbers[0]} to {numbers[-1]}, as single images have, not the slices of a volume",
            remedy="leave single 2D images as they are, which split and infer read, or number the "
            "slices without gaps",
        )
    if gaps:
        some = ", ".join(map(str, gaps[:_NAMED])) + ", ..." * (len(gaps) > _NAMED)
        raise ImageError(
            f"{where} lacks {len(gaps)} of the slices {numbers[0]} to {numbers[-1]} ({some})",
            remedy="add the missing slices, or number the slices without gaps",
        )
