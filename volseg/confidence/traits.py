"""The traits in which a case is compared with the training cases, and the words for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Trait:
    """A trait of cases.

    Attributes:
        words: Name of the trait in a sentence; `{}` is its part: an axis or a channel.
        unit: Unit, with a space before it; may be empty.
        spread: Standard deviation that is expected in training cases of one source, on the scale of
            comparison; with few training cases, it counts more than theirs.
        by_ratio: Whether values are compared by their ratio, that is on a logarithmic scale.
        remedy: What the user can do; may be empty.
    """

    words: str
    unit: str
    spread: float
    by_ratio: bool = False
    remedy: str = ""

    def scaled(self, value: float) -> float:
        """A value on the scale of comparison."""
        return math.log(max(value, 1e-9)) if self.by_ratio else value


TRAITS: Mapping[str, Trait] = {
    "spacing_mm": Trait("spacing along {}", " mm", 0.06, by_ratio=True),
    "tissue_ml": Trait("the volume of the tissue", " ml", 0.12, by_ratio=True),
    "extent_mm": Trait("the extent of the tissue along {}", " mm", 0.06, by_ratio=True),
    "extent_pixels": Trait("the extent of the tissue along {}", " pixels", 0.1, by_ratio=True),
}
