"""Reading of the images of a case or of the folder of a case."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from volseg.cases.case import Case
from volseg.errors import DataListError
from volseg.files.paths import PathLike
from volseg.finding.folders import find_cases
from volseg.images.case_images import CaseImages


def read_case(
    case: Case | PathLike, channels: Sequence[str] | None = None, fill: str | None = None
) -> CaseImages:
    """Read the images of a case as one array (C, I, J, K), with their grid.

    Args:
        case: Found or listed case, or the folder of a case in a layout that `find_cases` knows.
        channels: Channels to read, in this order; None: all channels of the case.
        fill: Channel that stands in for missing channels; None: a missing channel is an error.

    Raises:
        DataListError: If the folder does not hold exactly one case.
        ImageError: If a channel is missing, or its file is missing, damaged, of another kind,
            holds NaN or infinite voxels, or is constant.
        GeometryError: If the files do not have the same grid.
    """
    if not isinstance(case, Case):
        cases = find_cases([Path(case)], channels, None if fill is None else [fill]).cases
        if len(cases) != 1:
            raise DataListError(
                f"{case} holds {len(cases)} cases, expected one",
                remedy="give the folder of one case, or a case of find_cases",
            )
        (case,) = cases
    return case.read_images(case.channels if channels is None else channels, fill)
