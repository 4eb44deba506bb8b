"""Summary of a file with a scan, a 2D image or a label map, as plain data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from volseg.cases.channels import LABEL
from volseg.errors import VolsegError
from volseg.finding.name_reading import read_name
from volseg.finding.stacks import is_mask
from volseg.images.bitmap import read_form
from volseg.images.nifti_reading import read_header, read_label_map
from volseg.images.slice_masks import read_stack_label_map
from volseg.labels import schemes_fitting


def scan_summary(path: Path) -> dict[str, Any]:
    """Grid, type and header of a NIfTI file; for label maps also the values."""
    grid, header = read_header(path)
    return {
        "shape": [int(size) for size in header.get_data_shape()],
        "spacing_mm": [round(float(side), 6) for side in grid.spacing_mm],
        "orientation": grid.orientation,
        "dtype": str(header.get_data_dtype()),
        "qform_code": int(header["qform_code"]),
        "sform_code": int(header["sform_code"]),
        "units": _units(header),
        "affine": [[float(value) for value in row] for row in grid.affine],
        **_values(lambda: read_label_map(path)[0], _may_be_label_map(path, header)),
    }


def slice_summary(path: Path) -> dict[str, Any]:
    """Size and type of a 2D image; for masks also the values."""
    form = read_form(path, str(path))
    return {
        "columns": form.size[0],
        "rows": form.size[1],
        "channels": form.bands[0],
        "stored_as": form.kind,
        **_values(lambda: read_stack_label_map([path], None)[0], is_mask(path)),
    }


def _units(header: Any) -> list[str]:
    """Units of length and time in the header."""
    try:
        return list(header.get_xyzt_units())
    except KeyError:  # an undefined code
        return ["unknown", "unknown"]


def _may_be_label_map(path: Path, header: Any) -> bool:
    # infer writes label maps as bytes, named only after the case.
    return LABEL in read_name(path.name, ()).contents or header.get_data_dtype() == np.uint8


def _values(read: Callable[[], np.typing.NDArray[np.uint8]], asked: bool) -> dict[str, Any]:
    """Values of a label map and the schemes that define them; empty if it is no label map."""
    try:
        values = [int(value) for value in np.unique(read())] if asked else []
    except VolsegError:
        values = []
    fitting = schemes_fitting(values)
    if not values or not fitting:
        return {}
    return {"kind": "label map", "values": values, "fitting_labels": fitting}
