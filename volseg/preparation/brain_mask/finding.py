"""The brain mask of a case, by the method that the user chose, or by the best one at hand."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np

from volseg.errors import BrainMaskError
from volseg.images.grid import check_same_grid
from volseg.preparation.brain_mask.command import check_command, run_command
from volseg.preparation.brain_mask.limits import LIMITS_ML, checked
from volseg.preparation.brain_mask.mask import BrainMask, Proposal
from volseg.preparation.brain_mask.stripped import stripped_brain, tissue_mask
from volseg.preparation.volume import Volume

#: Methods by name; anything else is a command of the user.
METHODS = ("auto", "mask", "none")
_KEPT = (
    "the skull is kept: models that were trained on stripped brains, as those of BraTS are, "
    "segment such images badly"
)


def check_method(method: str) -> None:
    """Check the word or command for a method before any case is read.

    Raises:
        BrainMaskError: If it is none of `METHODS` and no command that can be run.
    """
    if method not in METHODS:
        check_command(method)


def find_mask(
    volumes: Mapping[str, Volume],
    method: str = "auto",
    limits_ml: tuple[float, float] = LIMITS_ML,
    own: Proposal | None = None,
) -> BrainMask:
    """Find the brain in the channels of a case.

    Args:
        volumes: Channels by name, at least one, registered and on one grid of any spacing and
            orientation.
        method: "auto": the volumes as they are if their skull is already stripped, else the
            network HD-BET; "mask": every voxel that is tissue in any channel; "none": the skull
            is kept; otherwise a command with the placeholders {input} and {output}.
        limits_ml: Least and largest volume that is accepted for a brain.
        own: Mask of the user, which is checked and taken instead of that of a method.

    Returns:
        The mask: one component without holes, except that "none" keeps every voxel and "mask"
        keeps the mask as it is.

    Raises:
        BrainMaskError: If the mask is not within the limits, the command fails, or the weights of
            HD-BET are needed and not installed.
        GeometryError: If the volumes do not lie on one grid.
    """
    start = time.process_time()
    check_same_grid({name: volume.grid for name, volume in volumes.items()})
    grid = next(iter(volumes.values())).grid
    if method == "none":
        proposal = Proposal(np.ones(grid.shape, np.bool_), "none", notes=(_KEPT,))
    else:
        found = own or _proposal(volumes, method, limits_ml[1])
        proposal = checked(found, volumes, limits_ml)
    return BrainMask(
        proposal.mask,
        grid,
        proposal.method,
        proposal.channels,
        float(proposal.mask.sum() * grid.voxel_ml),
        time.process_time() - start,
        proposal.notes,
    )


def _proposal(volumes: Mapping[str, Volume], method: str, most_ml: float) -> Proposal:
    if method == "mask":
        return Proposal(tissue_mask(volumes), "background", tuple(volumes))
    if method != "auto":
        return run_command(method, volumes)
    if (stripped := stripped_brain(volumes, most_ml)) is not None:
        return stripped
    # Only this method needs torch.
    from volseg.preparation.brain_mask.hd_bet import hd_bet_brain
    from volseg.preparation.brain_mask.hd_bet_weights import REMEDY, weights_file

    if weights_file() is not None:
        return hd_bet_brain(volumes)
    raise BrainMaskError("the skull is not stripped", remedy=REMEDY)
