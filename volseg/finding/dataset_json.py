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

# Letters of a name in a dataset.json -> tissue or region of our schemes. Necrosis and non-enhancing
# tumour have the same label up to 2023.
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
    """Content of a `dataset.json`.

    Attributes:
        path: Path of the file.
        layout: `MSD` (channels in the fourth dimension) or `NNUNET` (a file for each channel).
        channels: Names of the channels, in order.
        labels: Name of the label scheme with these labels; None if there is none.
    """

    path: Path
    layout: Layout
    channels: tuple[str, ...]
    labels: str | None

    def read_name(self, path: Path) -> tuple[str, tuple[str, ...]]:
        """Case and contents of a NIfTI file: channels, a label map, or nothing if not known."""
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
        path: Path of the file.
        image_names: Names of the images; they distinguish MSD from the first nnU-Net.

    Raises:
        DataListError: If the file is not JSON or does not name the channels.
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
    """Channel by its name in the file, such as `T1_post`; unknown names stay as they are."""
    read = read_name(name, ())
    return read.contents[0] if read.contents and not read.case else channel_of(name)


def _scheme_of(labels: Any) -> str | None:
    """Name of the scheme with exactly these labels or regions; None if there is none."""
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
    """An integer from a number or text; ValueError for booleans and floats."""
    if isinstance(value, bool | float):
        raise ValueError(f"{value} is no integer")
    return int(value)
