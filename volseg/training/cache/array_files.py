"""Arrays of a cache entry: NumPy files that are mapped into memory.

The header of a file is compared with the expected header, never parsed, since it may be damaged.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.files.documents import open_regular

#: NumPy type string and shape of an array.
Form = tuple[str, tuple[int, ...]]


def write_arrays(folder: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> dict[str, Form]:
    """Write `<name>.npy` for each array, and return the forms; OSError if a write fails."""
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array))
    return {name: (array.dtype.str, array.shape) for name, array in arrays.items()}


def is_whole(path: Path, form: Form) -> bool:
    """Whether a file holds a complete array of this form, by its header and size."""
    dtype, shape = form
    head = _header(dtype, shape)
    with open_regular(path) as file:
        size = file.seek(0, io.SEEK_END)
        file.seek(0)
        return file.read(len(head)) == head and size == len(head) + _bytes(form)


def mapped(path: Path, form: Form) -> npt.NDArray[Any]:
    """The array of a complete file (see `is_whole`), mapped into memory read-only."""
    dtype, shape = form
    return np.memmap(path, dtype, "r", len(_header(dtype, shape)), shape)


def _bytes(form: Form) -> int:
    dtype, shape = form
    return math.prod(shape) * np.dtype(dtype).itemsize


@cache
def _header(dtype: str, shape: tuple[int, ...]) -> bytes:
    """Bytes that NumPy writes before the values."""
    described = {"descr": dtype, "fortran_order": False, "shape": shape}
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, described)
    return buffer.getvalue()
