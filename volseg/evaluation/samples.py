"""Sample pictures of `fit` and `evaluate`: best, median and worst case by Dice."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.channels import LABEL
from volseg.errors import DataListError, GeometryError
from volseg.evaluation.pairs import CasePair
from volseg.figures.case_view import CaseView
from volseg.figures.image_views import view_of_images
from volseg.figures.samples import dice_by_case, draw_samples, shown_channel
from volseg.files.writing import remove
from volseg.images.grid import is_same_grid
from volseg.metrics import ScoreTable

logger = logging.getLogger(__name__)


def draw_scored_samples(path: Path, table: ScoreTable, pairs: Iterable[CasePair]) -> bool:
    """Draw samples of the cases that `evaluate` scored, read from their files; see `draw_samples`.

    Args:
        path: Picture to write.
        table: Scores of the cases.
        pairs: Cases with their predictions.

    Returns:
        Whether the picture was written.
    """
    of_case = {pair.case.case_id: pair for pair in pairs}
    if not any(has_images(pair) for pair in of_case.values()):
        remove(path)  # an older picture shows other cases
        logger.info("samples are not drawn: the reference has label maps but no images")
        return False
    draw_samples(
        path,
        dice_by_case(table),
        lambda case_id: pair_view(of_case[case_id]),
        "Scored cases",
    )
    return path.is_file()


def has_images(pair: CasePair) -> bool:
    """Whether there is an image to draw on; masks may stand in for the images of 2D slices."""
    return bool(pair.case.images) and pair.case.channels != (LABEL,)


def pair_view(pair: CasePair, *, every_channel: bool = False) -> CaseView:
    """View of a case, read from its files: of `shown_channel`, or of every channel.

    Channels of raw scans that do not lie on the grid of the reference are left out.

    Raises:
        VolsegError: If a file cannot be read, or the case has no image.
    """
    case = pair.case
    if not has_images(pair):
        raise DataListError("the reference has no image", case_id=case.case_id)
    channels = _on_grid_of_reference(case)
    channels = channels if every_channel else [shown_channel(channels)]
    images = case.read_images(channels)
    reference, _ = case.read_reference()
    prediction, _ = case.read_prediction(pair.prediction)
    expected, found = (
        {region: masks[region] for region in pair.regions}
        for masks in (
            pair.reference_labels.masks(reference),
            pair.predicted_labels.masks(prediction),
        )
    )
    return view_of_images(case, images, channels, expected, found)


def _on_grid_of_reference(case: Case) -> list[str]:
    """Channels on the grid of the reference; each channel of a raw scan may lie on its own."""
    if case.slices:
        return list(case.channels)
    reference = case.read_reference_grid()
    alike = [name for name in case.channels if is_same_grid(case.read_grid([name]), reference)]
    if not alike:
        raise GeometryError("no image lies on the grid of the reference", case_id=case.case_id)
    return alike
