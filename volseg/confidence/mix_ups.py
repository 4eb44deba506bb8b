"""Whether two channels of a case look exchanged, or the grey values of a channel inverted.

After such a mix-up, each number alone may be usual, but all numbers together fit the training cases
much better once the mix-up is undone. So the sums of squared deviations are compared.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping

from volseg.confidence.training_profile import FAR, TrainingProfile, trait_of
from volseg.confidence.traits import PERCENTILES

# Least gain in the sum of squares; larger in one of about 3300 comparisons of unchanged cases:
# 8 BraTS cases and 51 LGG patients, with 3 to 50 training cases; see docs/studies/unlike.md.
_GAIN = 18.0
_COMPARED = {"greys", "roughness"}

Values = Mapping[str, float]


def mix_up(profile: TrainingProfile, values: Values) -> str | None:
    """Sentence on the mix-up that explains a case best; None if there seems to be none.

    Args:
        profile: Profile of the training cases.
        values: Numbers of the case; see `CaseProfile.values`.
    """
    channels = sorted({name.partition("/")[2] for name in values if name.startswith("p50/")})
    undone = {
        f"{one} and {two} look exchanged, by their grey values in the training cases; check which "
        "file is which channel": _exchanged(values, one, two)
        for one, two in itertools.combinations(channels, 2)
    }
    for inverted in {(channel,) for channel in channels} | {tuple(channels)}:
        sentence = (
            f"{' and '.join(inverted)} {'looks' if len(inverted) == 1 else 'look'} inverted, dark "
            "for bright, by the grey values in the training cases; give the images as they were "
            "acquired"
        )
        undone[sentence] = _inverted(values, inverted)
    before = sum(_squares(profile, values))
    gains = {}
    for sentence, of in sorted(undone.items()):
        squares = _squares(profile, of)
        if max(squares, default=0) <= FAR**2:
            gains[sentence] = before - sum(squares)
    best = max(gains, key=lambda sentence: gains[sentence], default=None)
    return best if best is not None and gains[best] > _GAIN else None


def _squares(profile: TrainingProfile, values: Values) -> list[float]:
    """Squared deviations of grey values from the medians in training."""
    return [
        profile.deviation(name, value) ** 2
        for name, value in values.items()
        if name in profile.ranges and trait_of(name).group in _COMPARED
    ]


def _exchanged(values: Values, one: str, two: str) -> dict[str, float]:
    """The numbers of a case whose channels `one` and `two` are exchanged."""
    other = {one: two, two: one}
    found = {}
    for name, value in values.items():
        trait, _, part = name.partition("/")
        parts = [other.get(channel, channel) for channel in part.split(" ")]
        # A correlation has one name for both orders of its channels.
        names = (f"{trait}/{' '.join(order)}" for order in (parts, parts[::-1]))
        found[next((new for new in names if new in values), f"{trait}/{' '.join(parts)}")] = value
    return found


def _inverted(values: Values, channels: tuple[str, ...]) -> dict[str, float]:
    """The numbers of a case whose normalised grey values are negated in some channels."""
    found = dict(values)
    for channel, percent in itertools.product(channels, PERCENTILES):
        if (mirrored := f"p{100 - percent}/{channel}") in values:
            found[f"p{percent}/{channel}"] = -values[mirrored]
    for name, value in values.items():
        trait, _, part = name.partition("/")
        if trait == "correlation" and sum(one in channels for one in part.split(" ")) == 1:
            found[name] = -value
    return found
