"""Views of cases whose images were read from files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from volseg.cases.case import Case
from volseg.figures.case_view import CaseView
from volseg.figures.greys import Window, in_windows
from volseg.figures.planes import slice_numbers
from volseg.images.case_images import CaseImages
from volseg.labels import Masks


def view_of_images(
    case: Case,
    images: CaseImages,
    channels: Sequence[str],
    reference: Masks | None,
    prediction: Masks | None,
    windows: Mapping[str, Window] | None = None,
) -> CaseView:
    """View of a case in RAS, without a copy of its arrays, except of those with a window.

    Args:
        case: The case.
        images: Its images.
        channels: Names of the images, in order.
        reference: Masks (I, J, K) by region, on the grid of the images.
        prediction: Masks likewise.
        windows: Windows of channels of absolute grey values; see `in_windows`.
    """
    grid = images.grid

    def upright(masks: Masks | None) -> Masks | None:
        return masks and {region: grid.to_ras(mask) for region, mask in masks.items()}

    arrays, found = in_windows(
        {name: grid.to_ras(array) for name, array in zip(channels, images.array, strict=True)},
        windows or {},
    )
    return CaseView(
        arrays,
        upright(reference),
        upright(prediction),
        case.case_id,
        grid.ras.spacing_mm,
        slice_numbers(grid.ras, grid),
        case.is_oriented,
        windows=found,
    )
