"""Reading and preprocessing of a case for its models, without any network."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from volseg.cases.filling import copies_in_words, lacking_in_words
from volseg.config import ExperimentConfig, PreprocessingConfig
from volseg.figures.grey_images import GreyImages
from volseg.images.case_images import CaseImages
from volseg.images.grid import Grid
from volseg.transforms import Preprocessed, preprocess

logger = logging.getLogger(__name__)

# Channels, channel that replaces missing ones, and whether channels may be missing.
_Source = tuple[tuple[str, ...], str | None, bool]


class Readable(Protocol):
    """Interface of a case of files or in memory."""

    @property
    def case_id(self) -> str:
        """Name of the examination."""

    @property
    def has_size(self) -> bool:
        """Whether the size of a voxel is known."""

    @property
    def images(self) -> tuple[Path, ...]:
        """Files of the images; empty for a case in memory."""

    @property
    def slices(self) -> tuple[Path, ...]:
        """Image of each slice along K, if slices have files; else empty."""

    def read_images(
        self, channels: Sequence[str], fill: str | None = None, *, optional: bool = False
    ) -> CaseImages:
        """Images of the channels, in this order; see `Case.read_images`."""


@dataclass(frozen=True, eq=False)
class PreparedCase:
    """A case read and preprocessed, once for each preprocessing of the models.

    Attributes:
        case: The case.
        images: Image after each preprocessing.
        grid: Grid of the files.
        header: NIfTI header of the first image.
        notes: Assumptions and oddities of the images.
        missing: Missing channels; zeros or another channel stand in for them.
        greys: The images for pictures, if they are wanted.
        unlike_training: Sentences on how the case differs from the training cases of the models;
            none if it is like them, or if the model files do not describe them.
    """

    case: Readable
    images: Mapping[PreprocessingConfig, Preprocessed]
    grid: Grid
    header: Any
    notes: tuple[str, ...]
    missing: tuple[str, ...]
    greys: GreyImages | None = None
    unlike_training: tuple[str, ...] = ()

    @property
    def case_id(self) -> str:
        """Name of the examination."""
        return self.case.case_id


def prepare_case(
    case: Readable,
    configs: Sequence[ExperimentConfig],
    notes: Sequence[str] = (),
    *,
    greys: bool = False,
    logs: bool = True,
) -> PreparedCase:
    """Read and preprocess one case for models with these configs.

    Args:
        case: Case with all channels that the models need.
        configs: Config of each model.
        notes: Notes that hold for every case.
        greys: Whether to keep the images for pictures, a few MB.
        logs: Whether to log missing channels and unusual grey values.

    Raises:
        ImageError: If an image cannot be read or holds unusable values.
        GeometryError: If the images do not lie on one grid.
    """
    read: dict[_Source, CaseImages] = {}
    prepared: dict[PreprocessingConfig, Preprocessed] = {}
    for options in dict.fromkeys(config.preprocessing for config in configs):
        optional = all(c.data.channels_optional for c in configs if c.preprocessing == options)
        source = options.channels, options.fill_missing, optional
        if source not in read:
            read[source] = case.read_images(*source[:2], optional=optional)
        prepared[options] = preprocess(read[source], options)
    first, *_ = read.values()
    of_values = dict.fromkeys(note for image in prepared.values() for note in image.notes)
    for (channels, _, optional), images in read.items():
        of_values |= dict.fromkeys(copies_in_words(images.own(channels)) if optional else ())
    if logs:
        _log(case.case_id, read, of_values)
    of_images = [note for images in read.values() for note in images.notes]
    of_size = [] if case.has_size else _notes_without_size(configs[0])
    absent = {name for images in read.values() for name in images.missing}
    names = dict.fromkeys(name for config in configs for name in config.data.channels)
    return PreparedCase(
        case=case,
        images=prepared,
        grid=first.grid,
        header=first.header,
        notes=tuple(dict.fromkeys([*of_images, *of_values, *of_size, *notes])),
        missing=tuple(name for name in names if name in absent),
        greys=_greys(case.case_id, read, configs[0].data.windows) if greys else None,
    )


def _log(case_id: str, read: Mapping[_Source, CaseImages], notes: Iterable[str]) -> None:
    for (_, fill, _), images in read.items():
        if images.missing:
            logger.info("%s: %s", case_id, lacking_in_words(images.missing, fill))
    for note in notes:
        logger.warning("%s: %s", case_id, note)


def _greys(
    case_id: str,
    read: Mapping[_Source, CaseImages],
    windows: Mapping[str, tuple[float, float]],
) -> GreyImages | None:
    """Greys of the images that were read with most channels; None if that fails."""
    (channels, *_), images = max(read.items(), key=lambda found: len(found[0][0]))
    # No case may fail because of a picture.
    try:
        return GreyImages.of(images, channels, windows)
    except Exception as error:
        logger.warning("%s: the images cannot be drawn: %s", case_id, error)
        return None


def _notes_without_size(config: ExperimentConfig) -> list[str]:
    notes = ["the size of a voxel is not known: taken as 1 mm"]
    for name in ("min_component_mm3", "min_region_mm3"):
        if getattr(config.inference, name):
            notes.append(f"inference.{name} counts voxels")
    return notes
