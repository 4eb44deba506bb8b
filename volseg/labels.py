"""Label schemes: the meaning of label values, and conversion between label maps and masks.

Only this module knows that label 1 is necrosis in one data set and oedema in another, and that 4 is
enhancing tumour up to BraTS 2022, resection cavity in the post-treatment data of 2024 and oedema in
the paediatric data.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from volseg.errors import ConfigError, LabelError, SchemeError
from volseg.words import shown

#: Mask of each region, by name.
Masks = Mapping[str, npt.NDArray[np.bool_]]

#: The regions of a voxel are stored as the bits of a byte.
MAX_REGIONS = 8


@dataclass(frozen=True, eq=False)
class LabelScheme:
    """Names of the labels of a label map and the regions made of them.

    Regions may nest (ET in TC in WT). A voxel in a region, but in none of its inner regions, gets
    the one label of the region that no inner region holds. A scheme in which that label is missing
    or not unique is refused.

    Args:
        name: Name of the scheme, as written in configs and data lists.
        labels: Name of each label value; 0 is background and not listed.
        regions: Label values of each region, in the order of the channels of a model's output.

    Raises:
        ConfigError: If a region holds an undefined label, or no unique label can be derived.
    """

    name: str
    labels: Mapping[int, str]
    regions: Mapping[str, tuple[int, ...]]

    def __post_init__(self) -> None:
        # Read-only, so that no caller can change the schemes below.
        object.__setattr__(self, "labels", MappingProxyType(dict(self.labels)))
        regions = {region: tuple(values) for region, values in self.regions.items()}
        object.__setattr__(self, "regions", MappingProxyType(regions))
        if not regions:
            raise ConfigError(
                f"label scheme {self.name!r} has no regions", remedy="name at least one"
            )
        if len(self.regions) > MAX_REGIONS:
            raise ConfigError(
                f"label scheme {self.name!r} has {len(self.regions)} regions, but at most "
                f"{MAX_REGIONS} are supported",
                remedy="leave some out",
            )
        for value in self.labels:
            if not 1 <= value <= 255:
                raise ConfigError(
                    f"label scheme {self.name!r} defines label {value}",
                    remedy="labels are 1 to 255",
                )
        for region, values in self.regions.items():
            unknown = sorted(set(values) - set(self.labels))
            if unknown or not values:
                raise ConfigError(
                    f"region {region!r} of label scheme {self.name!r} holds "
                    f"{unknown or 'nothing'}, but the scheme defines {sorted(self.labels)}",
                    remedy="name those labels",
                )
            self._own_label(region)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, LabelScheme):
            return NotImplemented
        # The order of regions matters, since it is that of the output channels; mappings ignore
        # order.
        return (self.name, self.labels, list(self.regions.items())) == (
            other.name,
            other.labels,
            list(other.regions.items()),
        )

    def __hash__(self) -> int:
        return hash((self.name, tuple(self.regions.items())))

    def __reduce__(self) -> tuple[type[LabelScheme], tuple[object, ...]]:
        # A mapping proxy cannot be pickled, and data loader workers may be spawned.
        return LabelScheme, (self.name, dict(self.labels), dict(self.regions))

    def parent(self, region: str) -> str | None:
        """Smallest region that strictly contains `region`, or None."""
        own = set(self.regions[region])
        outer = [name for name, values in self.regions.items() if own < set(values)]
        return min(outer, key=lambda name: len(self.regions[name]), default=None)

    def _own_label(self, region: str) -> int:
        own = set(self.regions[region])
        inner = [set(values) for values in self.regions.values() if set(values) < own]
        rest = own.difference(*inner)
        if len(rest) != 1:
            raise ConfigError(
                f"region {region!r} of label scheme {self.name!r} holds {sorted(rest)} outside "
                "its inner regions, and one label is needed to write a label map",
                remedy="add a region",
            )
        return rest.pop()

    def check(self, values: Iterable[int], where: str = "label map") -> None:
        """Raise SchemeError, with `where`, if the scheme does not define all of `values`."""
        found = {int(value) for value in values}
        unknown = sorted(found - set(self.labels) - {0})
        if not unknown:
            return
        defined = ", ".join(f"{v}={n}" for v, n in {0: "background", **self.labels}.items())
        raise SchemeError(
            f"{where} holds {unknown}, but scheme {self.name!r} defines only {defined}",
            schemes_fitting(found),
        )

    def __str__(self) -> str:
        labels = ", ".join(f"{value} {name}" for value, name in self.labels.items())
        return f"{self.name} ({labels})"

    def masks(self, label_map: npt.NDArray[np.integer]) -> dict[str, npt.NDArray[np.bool_]]:
        """Mask of each region of a label map, by name; the inverse of `label_map`.

        Args:
            label_map: Integers of any shape, all defined by the scheme (see `check`).

        Returns:
            A mask of the shape of the label map for each region, in the order of `regions`.

        Examples:
            >>> get_scheme("brats2023").masks(np.array([0, 2, 3]))["TC"]
            array([False, False,  True])
        """
        label_map = label_map.astype(np.uint8, copy=False)
        # Numpy reserves one large array in half the time of several small ones.
        together = np.zeros((len(self.regions), *label_map.shape), dtype=bool)
        masks = {region: together[row, ...] for row, region in enumerate(self.regions)}
        # Comparing bytes is many times faster than a table lookup of each byte.
        for region, values in self.regions.items():
            for value in values:
                masks[region] |= label_map == value
        return masks

    def label_map(self, masks: Masks) -> npt.NDArray[np.uint8]:
        """Label map of the mask of each region, by name; the inverse of `masks`.

        If masks do not nest, a region counts only inside the region around it: ET outside TC, or TC
        outside WT, is dropped, as by the winners of BraTS. Where two regions without a common label
        overlap, the region of fewer labels takes the voxel, of equal ones the later region;
        `postprocess.decode` first compares their probabilities.

        Args:
            masks: One boolean array of equal shape for each region of the scheme.

        Returns:
            uint8 array with values of the scheme only.

        Raises:
            LabelError: If the mask of a region is missing.
        """
        missing = [region for region in self.regions if region not in masks]
        if missing:
            raise LabelError(
                f"scheme {self.name!r} needs the regions {list(self.regions)}, but {missing} are "
                f"not among {list(masks)}",
                remedy="choose a scheme with the regions of the model",
            )
        result = np.zeros(next(iter(masks.values())).shape, dtype=np.uint8)
        inside: dict[str, npt.NDArray[np.bool_]] = {}
        # Outer regions first; Python's sort is stable, so regions of one size keep their order.
        for region in sorted(self.regions, key=lambda name: -len(self.regions[name])):
            parent = self.parent(region)
            inside[region] = masks[region] if parent is None else masks[region] & inside[parent]
            result[inside[region]] = self._own_label(region)
        return result


_GLIOMA_REGIONS = {"WT": (1, 2, 4), "TC": (1, 4), "ET": (4,)}
_REGIONS_2023 = {"WT": (1, 2, 3), "TC": (1, 3), "ET": (3,)}

LABEL_SCHEMES: Mapping[str, LabelScheme] = MappingProxyType(
    {
        scheme.name: scheme
        for scheme in (
            LabelScheme("brats2021", {1: "NCR", 2: "ED", 4: "ET"}, _GLIOMA_REGIONS),
            LabelScheme("brats2023", {1: "NCR", 2: "ED", 3: "ET"}, _REGIONS_2023),
            LabelScheme(
                "brats2024-gli",
                {1: "NETC", 2: "SNFH", 3: "ET", 4: "RC"},
                {**_REGIONS_2023, "RC": (4,)},
            ),
            LabelScheme(
                "brats2024-ped",
                {1: "ET", 2: "NET", 3: "CC", 4: "ED"},
                {"WT": (1, 2, 3, 4), "TC": (1, 2, 3), "ET": (1,), "CC": (3,)},
            ),
            # Necrosis is a region, since a region writes one label: the core would have two.
            LabelScheme(
                "brats2015",
                {1: "NCR", 2: "ED", 3: "NET", 4: "ET"},
                {"WT": (1, 2, 3, 4), "TC": (1, 3, 4), "ET": (4,), "NCR": (1,)},
            ),
            LabelScheme(
                "msd",
                {1: "ED", 2: "NET", 3: "ET"},
                {"WT": (1, 2, 3), "TC": (2, 3), "ET": (3,)},
            ),
            LabelScheme("men-rt", {1: "GTV"}, {"GTV": (1,)}),
            LabelScheme("lgg", {1: "tumour"}, {"WT": (1,)}),
            LabelScheme("binary", {1: "foreground"}, {"foreground": (1,)}),
        )
    }
)

#: Other names of schemes. The convention of 2013 was used until 2015, and that of 2017 until 2022;
#: that of the post-treatment gliomas of 2024 is also used for the metastases of 2025. The first
#: label maps of 2012 had other labels.
SCHEME_ALIASES: Mapping[str, str] = MappingProxyType(
    {f"brats{year}": "brats2015" for year in (2013, 2014)}
    | {f"brats{year}": "brats2021" for year in (2017, 2018, 2019, 2020, 2022)}
    | {"brats2025-met": "brats2024-gli", "brats2024-met": "brats2023", "brats2024-ssa": "brats2023"}
)


def get_scheme(name: str) -> LabelScheme:
    """The label scheme called `name`, aliases included; ConfigError if there is none."""
    try:
        return LABEL_SCHEMES[SCHEME_ALIASES.get(name, name)]
    except KeyError:
        raise ConfigError(
            f"unknown label scheme {shown(name)}", remedy=f"use one of {', '.join(LABEL_SCHEMES)}"
        ) from None


def schemes_fitting(values: Iterable[int]) -> list[str]:
    """Names of the schemes that define all `values`, as a suggestion to the user."""
    found = {int(value) for value in values} - {0}
    return [name for name, scheme in LABEL_SCHEMES.items() if found <= set(scheme.labels)]


def in_shown_order(regions: Iterable[str]) -> list[str]:
    """Regions in the order of tables: WT, TC, ET, then the others in their order.

    >>> in_shown_order(["ET", "RC", "TC", "WT"])
    ['WT', 'TC', 'ET', 'RC']
    """
    first = ("WT", "TC", "ET")
    return sorted(regions, key=lambda name: first.index(name) if name in first else len(first))
