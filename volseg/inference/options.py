"""Options of `infer`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from volseg.cases.result_maps import MapKind
from volseg.config.yaml_file import read_word
from volseg.errors import ConfigError
from volseg.words import shown


@dataclass(frozen=True, kw_only=True)
class ScanOptions:
    """Options of the search for cases.

    Args:
        fold: Fold of a data list to use; None: all cases.
        data_root: Folder that paths of a data list are relative to; None: as in the list.
        patient_regex: Pattern that finds the patient in a file name.
        names: `CHANNEL=GLOB` for channels whose file names volseg does not know.
        label_name: End of the names of label maps, which are no scans; None: known endings.
        spacing_mm: Size of a voxel of 2D slices along columns, rows and slices; None: unknown.
    """

    fold: int | None = None
    data_root: Path | None = None
    patient_regex: str | None = None
    names: tuple[str, ...] = ()
    label_name: str | None = None
    spacing_mm: tuple[float, ...] | None = None


@dataclass(frozen=True)
class InferOptions(ScanOptions):
    """Options of segmentation and output, and those of `ScanOptions`.

    Args:
        probabilities: Whether to write a float32 probability map for each region too.
        uncertainty: Whether to write float32 maps of entropy for each region too, and, if several
            copies or models are averaged, of their disagreement.
        preview: Whether to draw a picture of each case, and contact sheets of all.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        overwrite: Whether to segment finished cases again.
        labels: Name of the label scheme to write; None: scheme of the first model.
        overrides: Words such as `inference.tta=true`, which override options of the models.
        shard: `K/N`: only share K of N of the cases; other processes may segment the other shares
            at the same time, into the same folder. None: every case.
        native: Channels on whose original grids label maps are written too, of cases that `prepare`
            wrote: names with commas, `reference` (the channel that the others were registered to)
            or `all`. None: none.
    """

    probabilities: bool = False
    uncertainty: bool = False
    preview: bool = True
    device: str = "auto"
    overwrite: bool = False
    labels: str | None = None
    overrides: tuple[str, ...] = ()
    shard: str | None = None
    native: str | None = None


def map_kinds(options: InferOptions, copies: int) -> tuple[MapKind, ...]:
    """Kinds of maps that are wanted and possible for the mean of so many copies."""
    wanted = {
        MapKind.PROBABILITY: options.probabilities,
        MapKind.ENTROPY: options.uncertainty,
        MapKind.DISAGREEMENT: options.uncertainty and copies > 1,
    }
    return tuple(kind for kind, is_wanted in wanted.items() if is_wanted)


def inference_options(words: Sequence[str], named: Mapping[str, Any]) -> dict[str, Any]:
    """Options of section `inference` by name, from words and from named values.

    Raises:
        ConfigError: If a word has not the form inference.KEY=VALUE, or an option has two values.

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
            remedy="of a trained model, only options of the section inference can be changed",
        )
    return option, read_word(text, word)
