"""Data sets that describe themselves in a `dataset.json`: MSD and nnU-Net."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.cases.channels import LABEL, channel_of
from volseg.cases.layouts import MSD, NNUNET, Layout
from volseg.errors import DataListError
from volseg.files.documents import read_json
from volseg.finding.name_reading import read_name, read_numbered_name
from volseg.images.file_names import stem
from volseg.labels import LABEL_SCHEMES

FILE_NAME = "dataset.json"

# Letters of a name in a dataset.json -> tissue or region as our schemes know it, one word for each
# meaning: necrosis and non-enhancing tumour are one label up to 2023.
_MEANINGS = {
    **dict.fromkeys(("edema", "oedema", "peritumoraledema", "snfh", "ed"), "ED"),
    **dict.fromkeys(("nonenhancingtumor", "nonenhancing", "necrosis", "necroticcore"), "NCR"),
    **dict.fromkeys(("netc", "ncr", "net", "ncrnet"), "NCR"),
    **dict.fromkeys(("enhancingtumor", "enhancing", "et"), "ET"),
    **dict.fromkeys(("resectioncavity", "rc"), "RC"),
    **dict.fromkeys(("cysticcomponent", "cc"), "CC"),
    **dict.fromkeys(("wholetumor", "wt"), "WT"),
    **dict.fromkeys(("tumorcore", "tc"), "TC"),
}


@dataclass(frozen=True)
class Description:
    """What a `dataset.json` says.

    Attributes:
        path: The file.
        layout: `MSD` (channels in the fourth dimension) or `NNUNET` (a file for each channel).
        channels: What the images hold, in order.
        labels: Name of the label scheme, if the names of the labels are those of a scheme.
    """

    path: Path
    layout: Layout
    channels: tuple[str, ...]
    labels: str | None

    def read_name(self, path: Path) -> tuple[str, tuple[str, ...]]:
        """Case and content of a NIfTI file: channels, a label map, or nothing if not known."""
        whole = stem(path.name)
        if path.parent.name.startswith("labels"):
            return whole, (LABEL,)
        if self.layout is MSD:
            return whole, self.channels
        case, number = read_numbered_name(path.name) or (whole, len(self.channels))
        return case, self.channels[number : number + 1]


def read_description(path: Path, image_names: Collection[str]) -> Description:
    """Read a `dataset.json`.

    Args:
        path: The file.
        image_names: Names of the images; they distinguish MSD from the first nnU-Net.

    Raises:
        DataListError: If it is not JSON or does not name the channels.
    """
    content = read_json(path, DataListError, "it")
    try:
        numbered = content["channel_names"] if "channel_names" in content else content["modality"]
        names = {_integer(number): _channel(name) for number, name in numbered.items()}
    except (AttributeError, KeyError, TypeError, ValueError):
        raise DataListError("names no channels under 'modality' or 'channel_names'") from None
    numbers = [read_numbered_name(name) for name in image_names]
    separate = "channel_names" in content or all(n and n[1] < len(names) for n in numbers)
    return Description(
        path,
        layout=NNUNET if separate else MSD,
        channels=tuple(names[number] for number in sorted(names)),
        labels=_scheme_of(content.get("labels")),
    )


def _channel(name: str) -> str:
    """Channel by the name that the file gives it, such as `T1_post`; one not known stays."""
    read = read_name(name, ())
    return read.contents[0] if read.contents and not read.case else channel_of(name)


def _scheme_of(labels: Any) -> str | None:
    """The scheme whose labels or regions are exactly these, if their names say what they mean."""
    try:
        pairs = [(v, k) if isinstance(v, str) else (k, v) for k, v in labels.items()]
        meant = {_meaning(name): _integers(values) for name, values in pairs}
    except (AttributeError, TypeError, ValueError):
        return None
    tissues = {name: values for name, values in meant.items() if values != {0}}
    for scheme in LABEL_SCHEMES.values():
        by_label = {_meaning(name): {value} for value, name in scheme.labels.items()}
        by_region = {name: set(values) for name, values in scheme.regions.items()}
        if tissues in (by_label, by_region) and set(tissues) <= set(_MEANINGS.values()):
            return scheme.name
    return None


def _meaning(name: str) -> str:
    letters = re.sub("[^a-z]", "", name.casefold()).replace("tumour", "tumor")
    return _MEANINGS.get(letters, name)


def _integers(values: Any) -> set[int]:
    return {_integer(value) for value in (values if isinstance(values, list) else [values])}


def _integer(value: Any) -> int:
    """An integer, or a text of one; neither a switch nor what would be cut to one."""
    if isinstance(value, bool | float):
        raise ValueError(f"{value} is no integer")
    return int(value)
