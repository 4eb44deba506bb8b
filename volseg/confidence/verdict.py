"""Which results to look at first, and why: the reasons that are known without a reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from volseg.confidence.predicted_dice import LOW_DICE, PredictedDice

#: A result that fills a larger share of the tissue is probably wrong.
MOST_OF_TISSUE = 0.5
# A region without a voxel is doubtful if its highest probability is this share of its threshold.
_NEAR_THRESHOLD = 0.5

# Beginnings of reasons.
_UNLIKE, _LOW = "unlike the training images: ", "predicted Dice of "


@dataclass(frozen=True)
class CaseConfidence:
    """How far the result of one case can be trusted, as known without a reference.

    Attributes:
        predicted_dice: Predicted Dice of each region with its interval; empty if the model has no
            fit for it (`volseg tune`).
        look_at: Reasons to look at the case before others: differences from the training images,
            then regions by predicted Dice, the lowest first, then all others.
        unlike_training: How the images differ from the training images of the model.
    """

    predicted_dice: Mapping[str, PredictedDice] = field(default_factory=dict)
    look_at: tuple[str, ...] = ()
    unlike_training: tuple[str, ...] = ()

    @property
    def lowest_dice(self) -> float | None:
        """Lowest predicted Dice of a region; None without any."""
        return min((of.dice for of in self.predicted_dice.values()), default=None)


@dataclass(frozen=True)
class FoundRegion:
    """What the network found of a region.

    Attributes:
        region: Name of the region.
        is_empty: Whether the label map has no voxel of the region.
        highest: Highest probability of the region.
        threshold: Threshold of the region.
    """

    region: str
    is_empty: bool
    highest: float
    threshold: float


def judge(
    predicted_dice: Mapping[str, PredictedDice],
    unlike_training: Sequence[str],
    found: Sequence[FoundRegion],
    missing: Sequence[str],
    share_of_tissue: float,
    *,
    is_slice: bool = False,
) -> CaseConfidence:
    """The confidence in a result, with each reason to look at it.

    A case is to be looked at if the predicted Dice of a region is below `LOW_DICE`, nothing is
    found, a region has no voxel although its probability came near the threshold, the result fills
    more than `MOST_OF_TISSUE` of the tissue, a channel is missing, or its images differ from the
    training images.

    Args:
        predicted_dice: Predicted Dice by region; empty without a fit.
        unlike_training: Sentences on differences from the training images.
        found: What was found of each region.
        missing: Missing channels.
        share_of_tissue: Share of the tissue that the result fills.
        is_slice: Whether the case is a single slice, in which nothing need be found.
    """
    is_empty = all(of.is_empty for of in found)
    near = dict(_nearly_found(found))
    low = {region: of for region, of in predicted_dice.items() if region not in near}
    reasons = [
        *(f"{_UNLIKE}{sentence}" for sentence in unlike_training),
        *_low_dice(low),
        *(["no voxel of any region"] if is_empty and not is_slice else []),
        *near.values(),
        *([filling_in_words(share_of_tissue)] if share_of_tissue > MOST_OF_TISSUE else []),
        *([f"without {', '.join(missing)}"] if missing else []),
    ]
    return CaseConfidence(predicted_dice, tuple(reasons), tuple(unlike_training))


def look_at_first(cases: Mapping[str, CaseConfidence]) -> dict[str, CaseConfidence]:
    """Cases with a reason to look at them.

    Cases unlike the training images come first, as their predicted Dice says little; then the
    lowest predicted Dice. Cases without a predicted Dice come last; equal cases keep their order.
    """
    flagged = [(case_id, of) for case_id, of in cases.items() if of.look_at]
    return dict(sorted(flagged, key=lambda item: _urgency(item[1])))


def _urgency(of: CaseConfidence) -> tuple[bool, float]:
    # 2 is above any Dice.
    return not of.unlike_training, 2 if of.lowest_dice is None else of.lowest_dice


def short_lines(confidence: CaseConfidence) -> Iterator[str]:
    """Predicted Dice, the first other reason to look at a case, and the number of further ones."""
    if predicted := confidence.predicted_dice:
        doubt = "; says little for such images" if confidence.unlike_training else ""
        yield f"predicted Dice {', '.join(predicted_in_words(predicted))}{doubt}"
    others = [reason for reason in confidence.look_at if not reason.startswith(_LOW)]
    if others:
        more = f" (and {len(others) - 1} more in the manifest)" if len(others) > 1 else ""
        yield f"{others[0].partition(';')[0]}{more}"


def in_words(confidence: CaseConfidence, notes: Sequence[str] = ()) -> Iterator[str]:
    """Lines on the confidence in a result, without the reasons that its notes already give."""
    if predicted := confidence.predicted_dice:
        yield f"predicted Dice: {', '.join(predicted_in_words(predicted))}"
    yield from beside_notes(confidence, notes)


def beside_notes(confidence: CaseConfidence, notes: Sequence[str]) -> Iterator[str]:
    """Reasons to look at a case, for a reader, that its notes do not give."""
    for reason in confidence.look_at:
        if not any(note.startswith(reason) for note in notes):
            yield f"Look at it: {reason}"


def predicted_in_words(predicted_dice: Mapping[str, PredictedDice]) -> list[str]:
    """Predicted Dice of each region with its interval."""
    return [_with_interval(region, of) for region, of in predicted_dice.items()]


def filling_in_words(share_of_tissue: float) -> str:
    """Clause on a result that fills a share of the tissue."""
    return f"the result fills {share_of_tissue:.0%} of the tissue"


def _low_dice(predicted: Mapping[str, PredictedDice]) -> Iterator[str]:
    for region, of in sorted(predicted.items(), key=lambda item: item[1].dice):
        if of.dice < LOW_DICE:
            yield f"{_LOW}{_with_interval(region, of)}"


def _with_interval(region: str, of: PredictedDice) -> str:
    return f"{region} {of.dice:.2f} ({of.low:.2f} to {of.high:.2f})"


def _nearly_found(found: Sequence[FoundRegion]) -> Iterator[tuple[str, str]]:
    for of in found:
        if not of.is_empty or of.highest < of.threshold * _NEAR_THRESHOLD:
            continue
        reason = f"no voxel of {of.region}, but its probability reaches {of.highest:.2f}"
        if of.highest < of.threshold:
            yield of.region, f"{reason}, and the threshold is {of.threshold:.2f}"
        else:
            yield (
                of.region,
                f"{reason}: voxels above the threshold of {of.threshold:.2f} lie outside the outer "
                "region, or were removed as too small",
            )
