"""Reading and writing of label maps as 2D images: a mask for each slice of a patient."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from volseg.errors import LabelError, OutputError
from volseg.files.writing import atomic_write, cannot_write, locked, make_folder, unfinished_path
from volseg.images.bitmap import read_bitmap, read_form, write_bitmap
from volseg.images.grid import Grid
from volseg.images.slice_stack import check_same_size, is_grey, stack_grid
from volseg.memory import require

logger = logging.getLogger(__name__)

#: Grey levels from here on are the white of a mask, not labels.
_WHITE = 128
#: Largest accepted change of black and white by JPEG; in real masks, quality 75 changes up to 43.
_BLUR = 64
_JPEG = (".jpg", ".jpeg")


def read_stack_label_map(
    masks: Sequence[Path], spacing_mm: Sequence[float] | None
) -> tuple[npt.NDArray[np.uint8], Grid]:
    """Label map (I, J, K) of the masks of a stack, and its grid.

    A mask may hold 0 and 1, 0 and a grey level of at least 128 (commonly 255), or black and one
    colour: all become 0 and 1. Smaller grey levels are labels and stay. All slices together decide
    which of these holds. JPEG changes values, so values within 64 of 0 or 255 count as 0 or 255.
    Transparent pixels are 0.

    Args:
        masks: A mask for each slice, in order.
        spacing_mm: As in `read_stack`.

    Raises:
        ImageError: If a file is missing or damaged.
        GeometryError: If the masks are not all of one size.
        LabelError: If the values can be neither black and white nor labels.
    """
    read = [_read(path) for path in masks]
    for path, values in zip(masks, read, strict=True):
        check_same_size(masks[0], read[0].shape[1::-1], path, values.shape[1::-1])
    coloured = any(values.shape[2] > 1 for values in read)
    levels = [_one_number(values) if coloured else values[..., 0] for values in read]
    found: set[float] = set()
    for path, level in zip(masks, levels, strict=True):
        found |= set(np.unique(level).tolist())
        _check_levels(path, found, coloured)
    require(len(masks) * levels[0].size, f"the label map of {masks[0].parent}")
    label_map = np.empty((len(masks), *levels[0].shape), np.uint8)
    for target, level in zip(label_map, levels, strict=True):
        target[...] = level > 0 if coloured or max(found) >= _WHITE else level
    _warn_of_covered(masks, label_map)
    label_map = label_map.transpose(2, 1, 0)
    return label_map, stack_grid(label_map.shape, spacing_mm)[0]


def _warn_of_covered(masks: Sequence[Path], label_map: npt.NDArray[np.uint8]) -> None:
    """Warn if a mask (K, rows, columns) covers more than half of a slice, as no tumour does."""
    shares = np.count_nonzero(label_map, axis=(1, 2)) / label_map[0].size
    covered = np.flatnonzero(shares > 0.5)
    if covered.size:
        more = f", and {covered.size - 1} more masks of this case likewise" * (covered.size > 1)
        logger.warning(
            "%s covers %.1f %% of its slice%s; check that its black is the background",
            masks[covered[0]],
            100 * shares[covered[0]],
            more,
        )


def read_stack_label_grid(masks: Sequence[Path], spacing_mm: Sequence[float] | None) -> Grid:
    """Grid that `read_stack_label_map` would return; raises its errors that the headers show."""
    forms = [read_form(path, str(path)) for path in masks]
    for path, form in zip(masks, forms, strict=True):
        check_same_size(masks[0], forms[0].size, path, form.size)
    return stack_grid((*forms[0].size, len(masks)), spacing_mm)[0]


def mask_paths(folder: Path, like: Sequence[Path]) -> list[Path]:
    """Path of the mask of each slice in `folder`: the name of its image, JPEG becoming PNG."""
    return [folder / (f"{p.stem}.png" if p.suffix.lower() in _JPEG else p.name) for p in like]


def write_masks(
    folder: Path, label_map: npt.NDArray[np.uint8], like: Sequence[Path], *, binary: bool
) -> list[Path]:
    """Write a label map as 8-bit grey masks, named like the images of the stack.

    A mask has the format of its image, but PNG instead of JPEG, which would change the values.
    `read_stack_label_map` reads the masks back. Several masks become a folder, which is written
    atomically and replaces that of an earlier result; a single mask is a file in the folder, beside
    the other files there.

    Args:
        folder: Made if missing.
        label_map: (I, J, K), labels below 128.
        like: Image of each slice, in order.
        binary: Write 255 for every label, which viewers show as white; else the labels.

    Returns:
        Path of each mask, in order.

    Raises:
        LabelError: If a label is too large to be distinguished from white.
        OutputError: If the masks cannot be written, two have one name, or `folder` holds other
            files.
    """
    if label_map.shape[2] != len(like):
        raise ValueError(f"label map of shape {label_map.shape}, {len(like)} slices")
    if not binary and label_map.max() >= _WHITE:
        raise LabelError(
            f"label {label_map.max()} cannot be written into a mask, which holds labels up to "
            f"{_WHITE - 1}",
            remedy="write another label scheme",
        )
    paths = mask_paths(folder, like)
    check_masks_have_room(folder, like)
    images = np.where(label_map, np.uint8(255), np.uint8(0)) if binary else label_map
    pages = list(images.transpose(2, 1, 0))
    make_folder(folder.parent if len(paths) > 1 else folder, "choose another with -o")
    if len(paths) == 1:
        with atomic_write(paths[0], known=True) as temporary:
            write_bitmap(temporary, pages[0])
    else:
        _write_folder(folder, [path.name for path in paths], pages)
    return paths


def check_masks_have_room(folder: Path, like: Sequence[Path]) -> None:
    """Raise OutputError if two masks have one name, or the folder of several holds other files."""
    names = [path.name for path in mask_paths(folder, like)]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise OutputError(
            f"the masks of two slices would both be {folder / twice[0]}",
            remedy="rename one of the images",
        )
    if len(names) > 1 and folder.is_symlink():
        raise OutputError(
            f"{folder} is a link, which is not replaced", remedy="use another folder", path=folder
        )
    # A single mask may lie beside thousands of others, which are not checked.
    is_whole = len(names) > 1 and folder.is_dir()
    present = [path.name for path in folder.iterdir()] if is_whole else []
    others = sorted(name for name in present if name not in names and not name.startswith("."))
    if others:
        raise OutputError(
            f"{folder} holds {others[0]}, which is no mask of this case, and would be replaced",
            remedy="use another folder",
            path=folder,
        )


def _write_folder(
    folder: Path, names: Sequence[str], pages: Sequence[npt.NDArray[np.uint8]]
) -> None:
    unfinished = unfinished_path(folder)
    old = unfinished.with_name(f"{unfinished.name}-old")
    try:
        unfinished.mkdir()
        with locked(unfinished):
            for name, page in zip(names, pages, strict=True):
                write_bitmap(unfinished / name, page)
            if folder.exists():
                folder.rename(old)
            unfinished.rename(folder)
    except OSError as error:
        if old.exists() and not folder.exists():
            old.rename(folder)
        raise cannot_write(folder, error) from error
    finally:
        for rest in (unfinished, old):
            _remove_masks(rest, names, folder)


def _remove_masks(rest: Path, names: Sequence[str], folder: Path) -> None:
    """Remove a folder of masks; hidden files of file browsers move to the new folder."""
    with contextlib.suppress(OSError):
        for path in list(rest.iterdir()):
            if path.name in names:
                path.unlink()
            else:
                path.rename(folder / path.name)
        rest.rmdir()


def _read(path: Path) -> npt.NDArray[Any]:
    """Values (rows, columns, 1 or 3) of a mask; 3 only if it has colours."""
    _, values = read_bitmap(path, str(path))
    if path.suffix.lower() in _JPEG:
        values = _black_and_white(values, path)
    if values.shape[2] in {2, 4}:
        visible = values[..., -1:] > 0
        values = values[..., :-1] * visible
    return values[..., :1] if is_grey(values) else values


def _black_and_white(values: npt.NDArray[Any], path: Path) -> npt.NDArray[Any]:
    """Values of a JPEG, with values near 0 or 255 set to 0 or 255."""
    if 0 < values.max() <= _BLUR:
        raise LabelError(
            f"{path} holds only values up to {values.max()}, and JPEG changes values",
            remedy="save the mask as PNG, or in black and white",
            path=path,
        )
    values = np.where(values <= _BLUR, 0, values)
    return np.where(values >= 255 - _BLUR, 255, values)


def _one_number(values: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Each colour (rows, columns, 1 or 3) as one number."""
    red, green, blue = np.moveaxis(np.broadcast_to(values, (*values.shape[:2], 3)), -1, 0)
    return (red.astype(np.int64) << 32) | (green.astype(np.int64) << 16) | blue.astype(np.int64)


def _check_levels(path: Path, found: set[float], coloured: bool) -> None:
    """Check the values of the masks up to and including `path`."""
    values = sorted(found)
    is_two = len(found - {0}) <= 1 and values[0] >= 0
    is_label_map = not coloured and values[0] >= 0 and values[-1] < _WHITE
    if (is_two or is_label_map) and all(float(value).is_integer() for value in values):
        return
    shown = [_colour(int(value)) if coloured else f"{value:g}" for value in values[:8]]
    more = f" and {len(values) - 8} more" if len(values) > 8 else ""
    raise LabelError(
        f"{path}: with this mask its case holds the {'colours' if coloured else 'values'} "
        f"{' '.join(shown)}{more}, but black and one other are expected, or labels from 0 to "
        f"{_WHITE - 1}",
        remedy="save each label as a small integer of a grey image, without loss",
    )


def _colour(number: int) -> str:
    return f"({number >> 32},{number >> 16 & 0xFFFF},{number & 0xFFFF})"
