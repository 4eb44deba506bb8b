"""What the user asks of `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.config.yaml_file import read_word
from volseg.errors import ConfigError
from volseg.words import shown


@dataclass(frozen=True)
class InferOptions:
    """How to segment, and what to write.

    Args:
        probabilities: Also write a float32 map for each region.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        overwrite: Do finished cases again.
        labels: Name of the label scheme to write; None: that of the first model.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        overrides: Words such as `inference.tta=true`, in place of what the models say.
        patient_regex: Finds the patient in the name of a file.
        names: `CHANNEL=GLOB` of channels whose files have names that are not known.
        label_name: End of the names of label maps, which are no images, if it is not known.
        spacing_mm: Size of a voxel of 2D slices along columns, rows and slices; None: not known.
        shard: `K/N`: only share K of N of the cases; other processes may do the other shares at
            the same time, into the same folder. None: every case.
    """

    probabilities: bool = False
    device: str = "auto"
    overwrite: bool = False
    labels: str | None = None
    fold: int | None = None
    data_root: Path | None = None
    overrides: tuple[str, ...] = ()
    patient_regex: str | None = None
    names: tuple[str, ...] = ()
    label_name: str | None = None
    spacing_mm: tuple[float, ...] | None = None
    shard: str | None = None


def inference_options(words: Sequence[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """Options of the section `inference`, given in words and by name, all by name.

    Raises:
        ConfigError: If a word is not of the form inference.KEY=VALUE, or an option has two values.

    Examples:
        >>> inference_options(["inference.tta=true"], {"overlap": 0.25})
        {'tta': True, 'overlap': 0.25}
    """
    options: dict[str, Any] = {}
    for name, value in [*map(_read_word, words), *named.items()]:
        if options.setdefault(name, value) != value:
            raise ConfigError(
                f"inference.{name} is given twice, as {shown(options[name])} and as {shown(value)}",
                remedy="give it once",
            )
    return options


def _read_word(word: str) -> tuple[str, Any]:
    key, equals, text = word.partition("=")
    section, _, option = key.partition(".")
    if section != "inference" or not (option and equals):
        raise ConfigError(
            f"option {word!r} is not of the form inference.KEY=VALUE",
            remedy="only how a trained model is used can be changed",
        )
    return option, read_word(text, word)
