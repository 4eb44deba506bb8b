"""Label maps in the label scheme of an official protocol, converted by the names of regions.

Enhancing tumour is label 4 in one scheme and label 3 in another. The regions that hold a label give
its meaning: the label in TC but not in ET is 1 in both schemes, whatever its name. A region that a
scheme does not separate from other tissue, such as ET in a scheme with WT alone, is not scored.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from volseg.labels import LabelScheme, get_scheme
from volseg.metrics.official.protocol import Protocol

_BACKGROUND = 0

# Labels of a protocol by the shared regions that hold them.
_Alike = dict[frozenset[str], set[int]]


@dataclass(frozen=True)
class Conversion:
    """How label maps of a scheme become label maps of a protocol.

    Attributes:
        labels: Label of the protocol by label of the scheme; tissue in none of the shared regions
            becomes background.
        regions: Regions of the protocol that the scheme separates, in the order of the protocol.
        unknown: The other regions of the protocol.
    """

    labels: Mapping[int, int]
    regions: tuple[str, ...]
    unknown: tuple[str, ...]

    @classmethod
    def of(cls, scheme: LabelScheme, protocol: Protocol) -> Conversion:
        """Conversion of the label maps of a scheme."""
        target = get_scheme(protocol.scheme)
        if dict(scheme.labels) == dict(target.labels):
            return cls({value: value for value in scheme.labels}, tuple(protocol.regions), ())
        shared = [region for region in target.regions if region in scheme.regions]
        # Labels of the protocol that the shared regions do not separate.
        alike: _Alike = defaultdict(set)
        for value in (_BACKGROUND, *target.labels):
            alike[_holding(target, value, shared)].add(value)
        meaning = {value: _holding(scheme, value, shared) for value in scheme.labels}
        fits = set(meaning.values()) <= alike.keys()
        known = [name for name in protocol.regions if fits and _is_known(protocol, name, alike)]
        return cls(
            {value: min(alike[of]) for value, of in meaning.items() if of in alike},
            tuple(known),
            tuple(region for region in protocol.regions if region not in known),
        )

    @property
    def is_change(self) -> bool:
        """Whether any label gets another value."""
        return any(value != to for value, to in self.labels.items())

    def converted(self, label_map: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """A label map in the scheme of the protocol, in C order."""
        if not self.is_change:
            return np.ascontiguousarray(label_map)
        table = np.zeros(256, np.uint8)
        table[list(self.labels)] = list(self.labels.values())
        return table[np.ascontiguousarray(label_map)]


def _holding(scheme: LabelScheme, value: int, regions: Sequence[str]) -> frozenset[str]:
    """The regions that hold a label."""
    return frozenset(region for region in regions if value in scheme.regions[region])


def _is_known(protocol: Protocol, region: str, alike: _Alike) -> bool:
    """Whether labels that the scheme does not separate lie all in a region or all outside.

    A tissue that joins its lesions must be known too, or be in no label map of the scheme.
    """

    def is_apart(labels: set[int]) -> bool:
        return all(group <= labels or not group & labels for group in alike.values())

    rule = protocol.regions[region]
    joining = [set(protocol.tissues[name].labels) for name in rule.joined_by]
    nowhere = alike[frozenset()]
    return is_apart(set(rule.labels)) and all(is_apart(of) or of <= nowhere for of in joining)
