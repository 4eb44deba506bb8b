"""Scores of all cases for options of decoding, each computed once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt

from volseg.config import InferenceConfig
from volseg.images.boxes import placed
from volseg.inference.ensemble import check_regions_of_scheme
from volseg.labels import LabelScheme, Masks, get_scheme
from volseg.metrics import lesionwise_scores, region_overlaps
from volseg.metrics.official.protocol import Protocol
from volseg.postprocess import cleaned
from volseg.ranks import cores
from volseg.tuning.decoding import Decoding
from volseg.tuning.forest import Forest, is_nested
from volseg.tuning.levels import CaseLevels, LevelStore

Values = npt.NDArray[np.float64]
#: Scores (n, R) of the case with an index in a store, for n options of decoding.
CaseScorer = Callable[[LevelStore, int, Sequence[Decoding]], Values]
#: Test-time augmentation and thresholds; they decide the components.
Key = tuple[bool, tuple[float, ...]]
#: Score of each region from its predicted and reference masks and the size of a voxel.
MaskScorer = Callable[[Masks, Masks, tuple[float, ...]], dict[str, float]]

# Each takes a few kB.
_MOST_FORESTS = 100_000


class ScoreBook:
    """Scores of the cases of a store; threads share the cases.

    Args:
        store: The cases.
        score: Scores of one case.
    """

    def __init__(self, store: LevelStore, score: CaseScorer) -> None:
        self.store, self.score = store, score
        self._known: dict[Decoding, Values] = {}

    def __call__(self, decodings: Sequence[Decoding]) -> Values:
        """Scores (n, cases, R) of n options of decoding."""
        new = [one for one in dict.fromkeys(decodings) if one not in self._known]
        if new:
            with ThreadPoolExecutor(cores()) as pool:
                by_case = list(pool.map(partial(self._of_case, new), range(len(self.store))))
            self._known |= dict(zip(new, np.stack(by_case, axis=1), strict=True))
        return np.stack([self._known[one] for one in decodings])

    def _of_case(self, decodings: Sequence[Decoding], index: int) -> Values:
        return self.score(self.store, index, decodings)


def dice_scorer(scheme: LabelScheme, cuts: Sequence[float]) -> CaseScorer:
    """Dice of each region, as `evaluate` scores the written label map.

    Args:
        scheme: Label scheme of the regions.
        cuts: Thresholds of the levels.
    """
    if not is_nested(scheme):
        return mask_scorer(scheme, cuts, _dice_of_masks)
    forests: dict[int, dict[Key, Forest]] = defaultdict(dict)

    def score(store: LevelStore, index: int, decodings: Sequence[Decoding]) -> Values:
        known = forests[index]
        if len(known) > _MOST_FORESTS // len(store):
            known.clear()
        new = {(one.tta, one.thresholds): one for one in decodings}
        new = {key: one for key, one in new.items() if key not in known}
        if new:
            case = store.read(index)
            for key, one in new.items():
                masks, box = _raw_masks(case, one, scheme, cuts)
                known[key] = Forest(masks, box, case.reference, scheme, case.voxel_mm3)
        return np.array([known[one.tta, one.thresholds].dice(one.options) for one in decodings])

    return score


def mask_scorer(scheme: LabelScheme, cuts: Sequence[float], score: MaskScorer) -> CaseScorer:
    """Any score of masks, of the regions that it has.

    Args:
        scheme: Label scheme of the regions.
        cuts: Thresholds of the levels.
        score: Score of the decoded masks.
    """

    def score_case(store: LevelStore, index: int, decodings: Sequence[Decoding]) -> Values:
        case = store.read(index)
        reference = dict(zip(scheme.regions, case.reference, strict=True))
        found = []
        for one in decodings:
            masks = decoded_masks(case, one, scheme, cuts)
            scores = score(masks, reference, case.spacing_mm)
            found.append(list(scores.values()))
        return np.array(found)

    return score_case


def decoded_masks(
    case: CaseLevels, decoding: Decoding, scheme: LabelScheme, cuts: Sequence[float]
) -> dict[str, npt.NDArray[np.bool_]]:
    """Final mask of each region within the box of the case, as `postprocess.decode` gives it.

    Args:
        case: The case.
        decoding: Options of decoding; their thresholds are among `cuts`.
        scheme: Label scheme of the regions.
        cuts: Thresholds of the levels.
    """
    raw, box = _raw_masks(case, decoding, scheme, cuts)
    clean = cleaned(raw, scheme, InferenceConfig(**decoding.inference()), case.voxel_mm3)
    shape = case.reference.shape[1:]
    return {region: placed(mask, box, shape) for region, mask in clean.items()}


def lesion_scorer(scheme: LabelScheme, protocol: Protocol) -> MaskScorer:
    """Score of a protocol for each region: its lesion-wise Dice or, without one, its Dice.

    Args:
        scheme: Label scheme of the masks.
        protocol: The official program.

    Raises:
        LabelError: If the protocol scores a region that the scheme lacks.
    """
    written = get_scheme(protocol.scheme)
    check_regions_of_scheme(written, scheme)
    reach = max(rule.dilation for rule in protocol.regions.values())
    name = score_of(protocol)

    def score(masks: Masks, reference: Masks, spacing_mm: tuple[float, ...]) -> dict[str, float]:
        # Lesions are dilated, and the box of the masks may end at a lesion.
        expected, predicted = (
            np.pad(written.label_map(side), reach) for side in (reference, masks)
        )
        found = lesionwise_scores(expected, predicted, spacing_mm, protocol)
        return {region: of.scores[name] or 0.0 for region, of in found.items()}

    return score


def score_of(protocol: Protocol) -> str:
    """Name of the score of a protocol that is tuned."""
    names = {score.name for score in protocol.scores}
    return "lesion_dice" if "lesion_dice" in names else "legacy_dice"


def _raw_masks(
    case: CaseLevels, decoding: Decoding, scheme: LabelScheme, cuts: Sequence[float]
) -> tuple[dict[str, npt.NDArray[np.bool_]], tuple[slice, ...]]:
    places = [cuts.index(threshold) for threshold in decoding.thresholds]
    return case.raw_masks(decoding.tta, places, scheme)


def _dice_of_masks(
    masks: Masks, reference: Masks, spacing_mm: tuple[float, ...]
) -> dict[str, float]:
    return {region: of.dice for region, of in region_overlaps(masks, reference).items()}
