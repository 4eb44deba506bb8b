"""Options of decoding as a point of the search, and the values that the search tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, Self

from volseg.config import InferenceConfig

#: Values that are tried, besides the initial value.
THRESHOLDS = (*(round(0.05 * n, 2) for n in range(2, 20)), 0.98)
MIN_COMPONENTS_MM3 = (0.0, 10.0, 30.0, 50.0, 100.0, 200.0, 500.0, 1000.0)
MIN_REGIONS_MM3 = (0.0, 25.0, 50.0, 100.0, 200.0, 500.0, 1000.0)


@dataclass(frozen=True)
class RegionOptions:
    """Options of one region, with the meanings of `InferenceConfig`."""

    threshold: float
    min_component_mm3: float = 0.0
    largest_component: bool = False
    min_region_mm3: float = 0.0


@dataclass(frozen=True)
class Decoding:
    """Options of decoding that are searched.

    Attributes:
        tta: Whether probabilities are averaged over mirrored copies.
        regions: Names of the regions.
        options: Options of each region, in this order.
    """

    tta: bool
    regions: tuple[str, ...]
    options: tuple[RegionOptions, ...]

    @classmethod
    def of(cls, config: InferenceConfig, regions: Sequence[str]) -> Self:
        """The options of a config."""
        options = tuple(
            RegionOptions(
                config.threshold_of(region),
                config.min_component_mm3.get(region, 0.0),
                region in config.largest_component,
                config.min_region_mm3.get(region, 0.0),
            )
            for region in regions
        )
        return cls(config.tta, tuple(regions), options)

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Threshold of each region."""
        return tuple(of.threshold for of in self.options)

    def with_region(self, region: int, **changes: Any) -> Decoding:
        """The options with changes of the region with this index."""
        options = list(self.options)
        options[region] = replace(options[region], **changes)
        return replace(self, options=tuple(options))

    def inference(self) -> dict[str, Any]:
        """The options as those of section `inference`, plain data for JSON."""
        named = dict(zip(self.regions, self.options, strict=True))
        thresholds = {name: of.threshold for name, of in named.items()}
        one = set(self.thresholds)
        return {
            "tta": self.tta,
            "threshold": one.pop() if len(one) == 1 else thresholds,
            "min_component_mm3": _above_0({n: of.min_component_mm3 for n, of in named.items()}),
            "largest_component": [name for name, of in named.items() if of.largest_component],
            "min_region_mm3": _above_0({n: of.min_region_mm3 for n, of in named.items()}),
        }


def _above_0(values: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in values.items() if value}


def cuts(*initial: Decoding) -> tuple[float, ...]:
    """All thresholds that the search may need besides those of some options, increasing."""
    return tuple(sorted({*THRESHOLDS, *(one for of in initial for one in of.thresholds)}))


def joint_choices(current: Decoding, initial: Decoding, region: int) -> list[Decoding]:
    """`current` with each threshold of a region and each choice of the components that it makes.

    Values near the initial options come first.
    """
    own = initial.options[region]
    return [
        current.with_region(
            region, threshold=threshold, min_component_mm3=least, largest_component=only
        )
        for threshold, least, only in product(
            _near(THRESHOLDS, own.threshold),
            _near(MIN_COMPONENTS_MM3, own.min_component_mm3),
            (own.largest_component, not own.largest_component),
        )
    ]


def single_choices(
    option: str, values: Sequence[float]
) -> Callable[[Decoding, Decoding, int], list[Decoding]]:
    """Function that gives `current` with each value of one option of a region."""

    def choices(current: Decoding, initial: Decoding, region: int) -> list[Decoding]:
        own = getattr(initial.options[region], option)
        kind = type(own)
        return [
            current.with_region(region, **{option: kind(value)}) for value in _near(values, own)
        ]

    return choices


def _near(values: Sequence[float], own: float) -> list[float]:
    return sorted({*values, own}, key=lambda value: abs(value - own))
