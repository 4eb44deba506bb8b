"""Names of label maps, and of other segmentations that are no label map of the tumour."""

from __future__ import annotations

import re

from volseg.cases.channels import LABEL
from volseg.finding.name_words import Reading, Words, kind_of

LABELS = re.compile(
    r"(?P<tumour>tumou?rs?|lesions?|glioma|gbm)?"
    r"(?:d?seg|segm|segs|segmentations?|labels?|labelmap|gtv|gt|groundtruth)"
)
MASKS = re.compile(r"(?P<tumour>tumou?rs?|lesions?|glioma|gbm)?(?:mask|roi)")
TUMOUR = re.compile(r"tumou?rs?|lesions?|glioma|gbm")
BY_HAND = frozenset(("final", "manual", "manually", "expert", "corrected"))
# fmt: off
_NOT_THE_TUMOUR = frozenset((
    "brain", "parenchyma", "tissue", "wm", "gm", "csf", "aseg", "aparc", "vessel", "vessels",
    "ventricle", "ventricles", "skull", "head", "auto", "automated", "automatic", "approx", "pred",
    "prediction", "predicted",
))
# fmt: on


def read_label(words: Words) -> Reading | None:
    """Reading of a name that ends in words of a label map; None for any other name."""
    end = len(words.texts) - 1
    last = words.texts[end]
    if last == "manuallycorrected" and words.text(end - 1) == "glistrboost":
        return Reading(words.before(end - 1), (LABEL,))
    match = LABELS.fullmatch(last) or MASKS.fullmatch(last)
    if match is None:
        return None
    tumour, start = bool(match["tumour"]), end
    while start > 0 and (TUMOUR.fullmatch(words.text(start - 1)) or _is_by_hand(words, start)):
        start -= 1
        tumour |= words.texts[start] not in BY_HAND
    if MASKS.fullmatch(last) and not tumour:
        return Reading(words.whole, problem="a mask, but the name does not mention the tumour")
    before = words.text(start - 1)
    if before in _NOT_THE_TUMOUR:
        return Reading(words.whole, problem=f"a segmentation, but of or by {before!r}")
    if kind_of(before) and not tumour:
        problem = f"a segmentation, but of {before!r}, perhaps not of the tumour"
        return Reading(words.whole, problem=problem, other=(words.before(start), LABEL))
    # A label map drawn on one of the channels belongs to the case.
    return Reading(words.before(start - bool(kind_of(before) and tumour)), (LABEL,))


def _is_by_hand(words: Words, start: int) -> bool:
    return words.text(start - 1) in BY_HAND
