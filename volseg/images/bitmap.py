"""Reading and writing of a 2D image (TIFF, PNG, JPEG, BMP) with its values as stored.

Pillow decodes the images, unless it would change values silently: it reduces 16-bit colours to 8
bits, and drops or multiplies a fourth channel of some TIFF files. SimpleITK reads those. Values are
as stored, also in a TIFF whose 0 is white. An image with an orientation tag is turned, as in
viewers.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from volseg.compat.pillow import raw_mode
from volseg.errors import ImageError, VolsegError
from volseg.files.documents import open_regular
from volseg.memory import require
from volseg.words import reason

_FORMATS = ("TIFF", "PNG", "JPEG", "BMP")
_KINDS = {
    "1": "1-bit grey",
    "L": "8-bit grey",
    "I;16": "16-bit grey",
    "I;16B": "16-bit grey",
    "I": "32-bit grey",
    "F": "floating-point grey",
    "LA": "8-bit grey with alpha",
    "P": "palette",
    "PA": "palette with alpha",
    "RGB": "8-bit RGB",
    "RGBA": "8-bit RGBA",
}
#: Raw modes of TIFF and PNG whose values Pillow changes: 16-bit colours, a channel left out (X) or
#: multiplied into the others (a), unsigned integers of 32 bits.
_CHANGED = re.compile(r"(RGB|LA).*;16|^[A-Z]+[aX]|^I;32[NB]?$")
#: Limits along an axis, as in a NIfTI header, and in total, for a modest memory.
_MOST_PIXELS, _MOST_IN_ALL = 32767, 2**26
#: No JPEG holds more pixels per byte.
_MOST_A_BYTE = 1024
#: Tag of TIFF and EXIF; Pillow turns TIFF files by itself, SimpleITK turns nothing.
_ORIENTATION = 274
_AXES_EXCHANGED = (5, 6, 7, 8)
_PHOTOMETRIC = 262
#: Pillow's names of grey modes of few bits: number of bits, I if 0 is white, R for reversed bits.
_GREY = re.compile("[1L];?([24]?)(I?)R?")
#: Pillow multiplies grey levels of 2 and 4 bits by these to fill 8 bits.
_SPREAD = {"2": 85, "4": 17}


@dataclass(frozen=True)
class Form:
    """The facts of an image header.

    Attributes:
        size: Columns and rows.
        kind: Type of the pixels, such as `8-bit RGB`.
        bands: Numbers of channels that the image can be read as, largest first: without alpha if
            that is opaque everywhere, as one channel if all colours are equal.
        white_is_0: Whether the smallest value stands for white.
    """

    size: tuple[int, int]
    kind: str
    bands: tuple[int, ...]
    white_is_0: bool = False


def read_form(path: Path, where: str) -> Form:
    """Form of an image, without decoding it.

    Args:
        path: The file.
        where: Name of the file in errors.

    Raises:
        ImageError: If the file is missing, is not an image of these formats, or holds several pages
            or other channels (such as CMYK).
    """
    with opened_bitmap(path, where) as image:
        return _form(image, where)


def read_bitmap(path: Path, where: str) -> tuple[Form, npt.NDArray[Any]]:
    """Form and values (rows, columns, bands) of an image, with all its bands.

    Values are as stored; palette images give colours. Arguments and errors as in `read_form`; a
    damaged or truncated file is an ImageError too.
    """
    with opened_bitmap(path, where) as image:
        form, raw, suspect = _form(image, where), raw_mode(image), _is_changed(image)
        require(8 * math.prod(image.size) * form.bands[0], where)
        before = _orientation(image)
        image.load()  # also before SimpleITK reads, to find truncated files
        turn = _orientation(image)
        if suspect and (before, turn) != (1, 1):
            raise ImageError(
                f"{where} is {form.kind} and stored turned", remedy="save it again as PNG"
            )
        upright = ImageOps.exif_transpose(image) if turn != 1 else image
        if image.mode in {"P", "PA"}:
            values = np.asarray(upright.convert("RGBA" if form.bands[0] == 4 else "RGB"))
        else:
            values = np.asarray(upright)
    if suspect:
        values = _by_simple_itk(path, where, form)
    form = replace(form, size=(values.shape[1], values.shape[0]))
    values = _as_stored(values, raw)
    return form, values if values.ndim == 3 else values[..., None]


def _as_stored(values: npt.NDArray[Any], raw: str) -> npt.NDArray[Any]:
    """Undo Pillow's changes to the values of raw mode `raw`."""
    grey = _GREY.fullmatch(raw)
    if grey and grey[2]:
        values = ~values
    if values.dtype == np.bool_:
        values = values.astype(np.uint8)
    if grey and grey[1]:
        values = values // np.uint8(_SPREAD[grey[1]])
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def write_bitmap(path: Path, values: npt.NDArray[np.uint8]) -> None:
    """Write an 8-bit grey image (rows, columns), in the format of the file name.

    Raises:
        OSError: If it cannot be written.
    """
    tiff = path.suffix.lower() in {".tif", ".tiff"}
    options = {"compression": "tiff_adobe_deflate"} if tiff else {}
    Image.fromarray(np.ascontiguousarray(values)).save(path, **options)


@contextlib.contextmanager
def opened_bitmap(path: Path, where: str) -> Iterator[Image.Image]:
    """An image whose pixels are not decoded yet; whatever its decoder raises is an ImageError."""
    # Odd tags do not matter. Not inside catch_warnings, which is not thread-safe.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    try:
        with open_regular(path) as file, Image.open(file, formats=_FORMATS) as image:
            held = os.fstat(file.fileno()).st_size
            if image.format == "JPEG" and math.prod(image.size) > held * _MOST_A_BYTE:
                raise ImageError(
                    f"{where} is truncated: it holds {held} bytes, but its header announces "
                    f"{image.width} x {image.height} pixels",
                    remedy="copy or download it again",
                )
            yield image
    except VolsegError:
        raise
    except FileNotFoundError:
        raise ImageError(
            f"{where} does not exist", remedy="correct the path or the data list"
        ) from None
    except UnidentifiedImageError:
        raise ImageError(
            f"{where} is not a TIFF, PNG, JPEG or BMP image, or is damaged",
            remedy="download it again or convert it to PNG",
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{where} is too large ({error})", remedy="give a single slice") from None
    # Decoders of damaged files raise errors of any kind.
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise ImageError(
                f"{where} cannot be read ({reason(error)})", remedy="give a file that you may read"
            ) from None
        raise ImageError(
            f"{where} is truncated or damaged ({reason(error)})", remedy="copy or download it again"
        ) from None


def _check(image: Image.Image, where: str) -> None:
    pages = getattr(image, "n_frames", 1)
    if pages > 1:
        raise ImageError(
            f"{where} holds {pages} pages, but one slice is expected",
            remedy="save each page as a file of its own, or the whole stack as NIfTI",
        )
    if max(image.size) > _MOST_PIXELS or math.prod(image.size) > _MOST_IN_ALL:
        raise ImageError(
            f"{where} has {image.width} x {image.height} pixels, but at most {_MOST_PIXELS} along "
            f"an axis and {_MOST_IN_ALL} in all are supported, or it is damaged",
            remedy="make it smaller, or copy it again",
        )
    if image.mode not in _KINDS:
        raise ImageError(
            f"{where} is a {image.mode} image, but grey values or RGB are expected",
            remedy="convert it to grey or RGB",
        )


def _form(image: Image.Image, where: str) -> Form:
    _check(image, where)
    bands, kind = len(image.getbands()), _KINDS[image.mode]
    count = bands
    if image.mode in {"P", "PA"}:
        count = 4 if image.has_transparency_data else 3
    elif _is_changed(image):
        count = _samples(image, bands)
        kind = kind.replace("8-bit", "16-bit") if ";16" in raw_mode(image) else kind
        kind = kind if count == bands else f"{kind.split()[0]} of {count} channels"
    size = image.size
    if image.format != "TIFF" and _orientation(image) in _AXES_EXCHANGED:
        size = size[::-1]
    tags: Any = getattr(image, "tag_v2", {})
    white_is_0 = tags.get(_PHOTOMETRIC) == 0
    channels = {4: (4, 3, 1), 3: (3, 1), 2: (2, 1)}.get(count, (count,))
    return Form(size, kind, channels, white_is_0)


def _orientation(image: Image.Image) -> int:
    """Orientation code, 1 if upright; also 1 if Pillow turned the image or the code is invalid."""
    # For a PNG, Pillow would decode all pixels to look for tags after them.
    if image.format == "PNG" and "exif" not in image.info:
        return 1
    with contextlib.suppress(Exception):
        return int(image.getexif().get(_ORIENTATION, 1))
    return 1


def _samples(image: Image.Image, bands: int) -> int:
    """Channels per pixel in the file; Pillow reads 16-bit grey with alpha in PNG as four."""
    if image.format == "TIFF":
        return int(image.tag_v2[277])  # type: ignore[attr-defined]
    return 2 if raw_mode(image).startswith("LA") else bands


def _is_changed(image: Image.Image) -> bool:
    """Whether Pillow would change the stored values."""
    if image.format not in {"TIFF", "PNG"}:
        return False
    return _CHANGED.search(raw_mode(image)) is not None


def _by_simple_itk(path: Path, where: str, form: Form) -> npt.NDArray[Any]:
    import SimpleITK

    try:
        values = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path)))
    # SimpleITK does not accept names that are not UTF-8.
    except (RuntimeError, ValueError, TypeError):
        raise ImageError(
            f"{where} is {form.kind}, which cannot be read",
            remedy="save it without alpha, or as TIFF or PNG of 8 or 16 bits",
        ) from None
    return np.asarray(values)
