"""Text headers of MetaImage and NRRD: lines of names and values before the voxels."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

import numpy as np
import numpy.typing as npt

from volseg.conversion.image_files.stored import Part
from volseg.errors import ImageError
from volseg.files.documents import open_regular
from volseg.words import cut, reason, shown

Order = Literal["<", ">", "="]
#: Longest header in bytes: lists of thousands of files, or descriptions of segments.
MOST_HEADER_BYTES = 2**20
# A header cannot name more files than a volume has slices.
_MOST_FILES = 32767
_REMEDY = "correct its header, or export it again"


def read_lines(path: Path, where: str, is_last: Callable[[str], bool]) -> tuple[list[str], int]:
    """Lines of a header up to the last, and the number of bytes that they take.

    Args:
        path: The file.
        where: Name of the file in errors.
        is_last: Whether a line is the last of the header. If none is, all lines are returned.

    Raises:
        ImageError: If the file is missing, empty, not readable, or its header has no end.
    """
    lines: list[str] = []
    try:
        with open_regular(path) as file:
            while line := file.readline(MOST_HEADER_BYTES):
                lines.append(line.decode("utf-8", "replace").rstrip("\r\n"))
                if is_last(lines[-1]):
                    break
                if file.tell() >= MOST_HEADER_BYTES:
                    raise ImageError(
                        f"{where} has a header without end, longer than {MOST_HEADER_BYTES} bytes",
                        remedy=_REMEDY,
                    )
            end = file.tell()
    except OSError as error:
        raise ImageError(
            f"{where} cannot be read ({reason(error)})", remedy="give a file that you may read"
        ) from None
    if not lines:
        raise ImageError(f"{where} is empty", remedy="copy it again")
    return lines, end


class Fields:
    """Values of a header by name in lower case, and errors that name the file."""

    def __init__(self, where: str, values: dict[str, str]) -> None:
        self.where = where
        self._values = values

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def first(self, *names: str) -> str | None:
        """Value under the first of some names that the header has, or None."""
        return next((self._values[name] for name in names if name in self._values), None)

    def needed(self, *names: str) -> str:
        """Value under the first of some names; ImageError if the header has none of them."""
        value = self.first(*names)
        if value is None:
            raise ImageError(
                f"{self.where} has no {names[0]} in its header", remedy="export it again"
            )
        return value

    def numbers(self, name: str, text: str, count: int | None) -> npt.NDArray[np.float64]:
        """Numbers in a text; ImageError unless there are `count` of them."""
        try:
            found = np.array(text.replace(",", " ").split(), np.float64)
        except ValueError:
            self.refuse(name, text, "numbers are" if count is None else f"{count} numbers are")
        if count is not None and found.size != count:
            self.refuse(name, text, f"{count} numbers are")
        return found

    def integers(self, name: str, text: str, count: int | None) -> tuple[int, ...]:
        """Whole numbers in a text; ImageError unless there are `count` of them."""
        found = self.numbers(name, text, count)
        if not (np.isfinite(found).all() and (found == np.rint(found)).all()):
            self.refuse(name, text, "whole numbers are")
        return tuple(int(number) for number in found)

    def refuse(self, name: str, value: str, expected: str) -> NoReturn:
        """Raise ImageError on a value; `expected` ends in "is" or "are"."""
        raise ImageError(
            f"{self.where} has {name} {shown(cut(value, 60))} in its header, but {expected} "
            "expected",
            remedy=_REMEDY,
        )


def named_files(
    fields: Fields, header: Path, names: Sequence[str], start: int | None
) -> tuple[Part, ...]:
    """Parts of files named beside a header; ImageError if a name is impossible or too many."""
    if not 1 <= len(names) <= _MOST_FILES or any("\0" in name or not name for name in names):
        raise ImageError(
            f"{fields.where} names {len(names)} files of voxels, but 1 to {_MOST_FILES} with "
            "possible names are expected",
            remedy=_REMEDY,
        )
    return tuple(Part(header.parent / name, start) for name in names)


def numbered_files(fields: Fields, text: str) -> list[str]:
    """Names of a pattern with numbers, such as `slice%03d.raw 1 20 1`."""
    pattern, *ends = text.rsplit(maxsplit=3)
    if len(ends) != 3 or pattern.count("%") != 1:
        fields.refuse("a pattern of files", text, "a name with %d, first, last and step are")
    first, last, step = fields.integers("a pattern of files", " ".join(ends), 3)
    numbers = range(first, last + int(math.copysign(1, step)), step) if step else range(0)
    if not 1 <= len(numbers) <= _MOST_FILES:
        fields.refuse("a pattern of files", text, f"1 to {_MOST_FILES} files are")
    try:
        return [pattern % number for number in numbers]
    except (TypeError, ValueError):
        fields.refuse("a pattern of files", text, "a name with %d, first, last and step are")


def typed(fields: Fields, name: str, kinds: dict[str, str], order: Order) -> np.dtype[Any]:
    """Type of voxels that a header names; ImageError if it is none of `kinds`."""
    if name not in kinds:
        fields.refuse("the type of voxels", name, "a type of numbers is")
    return np.dtype(kinds[name]).newbyteorder(order)
