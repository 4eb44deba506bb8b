"""From region probabilities to a prediction: label map, volumes and notes."""

from __future__ import annotations

import logging
from functools import partial
from typing import Any

import numpy as np

from volseg.confidence.temperature import tempered
from volseg.confidence.verdict import MOST_OF_TISSUE, filling_in_words
from volseg.confidence.voxels import entropy
from volseg.config import ExperimentConfig, InferenceConfig
from volseg.images.boxes import placed
from volseg.inference.assessment import Assessor
from volseg.inference.prediction import Map, Prediction, RegionMaps
from volseg.inference.preparing import PreparedCase
from volseg.inference.probabilities import CaseProbabilities
from volseg.labels import LabelScheme
from volseg.postprocess import decode

logger = logging.getLogger(__name__)


def decode_case(
    scored: CaseProbabilities,
    config: ExperimentConfig,
    scheme: LabelScheme,
    doubts: tuple[str, ...] = (),
    assessor: Assessor = Assessor(),  # noqa: B008  (frozen)
) -> Prediction:
    """The prediction of a case.

    Args:
        scored: Probabilities of the regions of `config`, in its order.
        config: Thresholds, smallest components and regions.
        scheme: Label scheme to write; its regions are among those of `config`.
        doubts: Reasons why results of the models may be unusable.
        assessor: What judges how far the prediction can be trusted.
    """
    case, probabilities, box = scored.case, scored.probabilities, scored.box
    regions, voxel_ml = tuple(config.labels.regions), case.grid.voxel_ml
    masks = decode(probabilities, config.labels, config.inference, voxel_ml * 1000)
    label_map = scheme.label_map(masks)
    # Volumes of written regions are those in the label map.
    masks |= scheme.masks(label_map)
    volumes_ml = {name: float(mask.sum() * voxel_ml) for name, mask in masks.items()}
    unwritten = [region for region in regions if region not in scheme.regions]
    notes = [f"{name} is no region of {scheme.name}: not written" for name in unwritten]
    tissue_ml = case.images[config.preprocessing].tissue_ml
    share = np.count_nonzero(label_map) * voxel_ml / tissue_ml if tissue_ml else 0.0
    notes += _notes_on_size(case, share)
    return Prediction(
        case_id=case.case_id,
        label_map=placed(label_map, box, case.grid.shape),
        **_maps(scored, config),
        volumes_ml=volumes_ml if case.case.has_size else {},
        found=frozenset(region for region in scheme.regions if masks[region].any()),
        scheme=scheme,
        grid=case.grid,
        header=case.header,
        notes=(*case.notes, *notes),
        doubts=doubts,
        missing=case.missing,
        inputs=case.case.images,
        slices=case.case.slices,
        confidence=assessor.assess(scored, masks, config, scheme.regions, share),
    )


def _maps(scored: CaseProbabilities, config: ExperimentConfig) -> dict[str, Any]:
    """Maps of the regions, by attribute of a prediction; each is computed on access."""
    place = scored.box, scored.case.grid.shape
    regions, options, members = tuple(config.labels.regions), config.inference, scored.disagreement
    # Functions of a module, since a prediction can be sent to another process.
    calibrated, uncertain = partial(_calibrated, options), partial(_uncertain, options)
    return {
        "probabilities": RegionMaps(regions, scored.probabilities, *place, calibrated),
        "entropy": RegionMaps(regions, scored.probabilities, *place, uncertain),
        "disagreement": None if members is None else RegionMaps(regions, members, *place),
    }


def _calibrated(options: InferenceConfig, region: str, part: Map) -> Map:
    return tempered(part, options.temperature_of(region))


def _uncertain(options: InferenceConfig, region: str, part: Map) -> Map:
    return entropy(_calibrated(options, region, part))


def _notes_on_size(case: PreparedCase, share_of_tissue: float) -> list[str]:
    """A note if the result fills so much of the brain that it is probably wrong."""
    if share_of_tissue <= MOST_OF_TISSUE:
        return []
    note = (
        f"{filling_in_words(share_of_tissue)}: look at it; was the model trained for such images, "
        "and is the skull stripped?"
    )
    logger.warning("%s: %s", case.case_id, note)
    return [note]
