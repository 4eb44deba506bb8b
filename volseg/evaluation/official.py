"""Scores of cases under official protocols: what can be scored, and the scores of one case."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from volseg.errors import ConfigError, GeometryError, LabelError
from volseg.evaluation.conversion import Conversion
from volseg.evaluation.pairs import CasePair
from volseg.images.file_names import is_nifti
from volseg.images.grid import Grid
from volseg.images.nifti_reading import read_header_spacing_mm
from volseg.metrics.official.lesionwise import lesionwise_scores
from volseg.metrics.official.protocol import Protocol
from volseg.metrics.official.protocols import OWN_SCORES, get_protocol
from volseg.metrics.official.region_scores import RegionScores


@dataclass(frozen=True)
class OfficialScores:
    """Scores of one case under one protocol, or the reason why there are none."""

    regions: Mapping[str, RegionScores] = field(default_factory=dict)
    failure: str | None = None


@dataclass(frozen=True)
class Reading:
    """Conversions of both label maps of a case into the scheme of a protocol."""

    prediction: Conversion
    reference: Conversion

    @classmethod
    def of(cls, pair: CasePair, protocol: Protocol) -> Reading:
        """Conversions of both sides of a case."""
        return cls(
            Conversion.of(pair.predicted_labels, protocol),
            Conversion.of(pair.reference_labels, protocol),
        )

    @property
    def regions(self) -> tuple[str, ...]:
        """Regions of the protocol that the schemes of both sides separate."""
        return tuple(r for r in self.prediction.regions if r in self.reference.regions)


def protocols_of(names: Iterable[str]) -> tuple[Protocol, ...]:
    """Protocols by their names, each once; `volseg`, our own scores, is always computed.

    Args:
        names: Names; a comma may separate several.

    Raises:
        ConfigError: If there is no protocol of a name.
    """
    single = [name.strip() for of in names for name in of.split(",")]
    asked = dict.fromkeys(name for name in single if name and name != OWN_SCORES)
    return tuple(get_protocol(name) for name in asked)


def check_protocols(pairs: Sequence[CasePair], protocols: Iterable[Protocol]) -> None:
    """Refuse, before any work, a protocol that cannot score any case.

    Raises:
        LabelError: If the label schemes have no region of the protocol.
        ConfigError: If no case has a known voxel size.
    """
    for protocol in protocols:
        if not any(Reading.of(pair, protocol).regions for pair in _distinct(pairs)):
            regions = " ".join(protocol.regions)
            pair = pairs[0]
            raise LabelError(
                f"{protocol.name} scores {regions}, but of these the predictions "
                f"({pair.predicted_labels.name}) and the reference "
                f"({pair.reference_labels.name}) have none in common",
                remedy="choose another --protocol, or name the label schemes of both",
            )
        if not any(pair.case.has_size for pair in pairs):
            raise ConfigError(
                f"{protocol.name} measures lesions in mm, but the voxel size of no case is known",
                remedy="give it with volseg split --spacing, or leave out --protocol",
            )


def notes_on_protocol(pairs: Sequence[CasePair], protocol: Protocol) -> list[str]:
    """Notes on labels that are converted, and on regions that are not scored."""
    sides: dict[str, list[str]] = {}
    conversions: dict[str, Conversion] = {}
    for pair in _distinct(pairs):
        schemes = {"predictions": pair.predicted_labels, "reference": pair.reference_labels}
        for side, scheme in schemes.items():
            conversions[scheme.name] = Conversion.of(scheme, protocol)
            if side not in sides.setdefault(scheme.name, []):
                sides[scheme.name].append(side)
    notes = []
    for name, conversion in conversions.items():
        where = f"{' and '.join(sides[name])} ({name})"
        if conversion.is_change:
            changes = ", ".join(f"{v} to {to}" for v, to in conversion.labels.items() if v != to)
            notes.append(f"labels of {where} converted: {changes}")
        if conversion.unknown:
            regions = ", ".join(conversion.unknown)
            notes.append(
                f"not scored: {regions}, which labels of {where} do not separate from other tissue"
            )
    return notes


def _distinct(pairs: Iterable[CasePair]) -> Iterable[CasePair]:
    """A case for each pair of label schemes."""
    return {(pair.predicted_labels, pair.reference_labels): pair for pair in pairs}.values()


def official_scores(
    pair: CasePair,
    prediction: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint8],
    grid: Grid,
) -> dict[str, OfficialScores]:
    """Scores of a case under each of its protocols, by name.

    Args:
        pair: Case with its protocols.
        prediction: Label map (I, J, K), whose labels its scheme defines.
        reference: Label map of the reference, with the labels of its scheme.
        grid: Grid of the prediction.
    """
    if not pair.case.has_size:
        unknown = GeometryError(
            "the voxel size is not known, but official protocols measure lesions in mm",
            remedy="give it with volseg split --spacing",
        )
        return dict.fromkeys(pair.protocols, OfficialScores(failure=str(unknown)))
    return {name: _scored(pair, name, prediction, reference, grid) for name in pair.protocols}


def _scored(
    pair: CasePair,
    name: str,
    prediction: npt.NDArray[np.uint8],
    reference: npt.NDArray[np.uint8],
    grid: Grid,
) -> OfficialScores:
    protocol = get_protocol(name)
    reading = Reading.of(pair, protocol)
    found = lesionwise_scores(
        reading.reference.converted(reference),
        reading.prediction.converted(prediction),
        _spacing_mm(pair, grid, protocol),
        protocol,
    )
    return OfficialScores({region: found[region] for region in reading.regions})


def _spacing_mm(pair: CasePair, grid: Grid, protocol: Protocol) -> tuple[float, float, float]:
    """Voxel size of the prediction, as the program of the protocol reads it."""
    first = pair.prediction[0]
    if protocol.reads_pixdim and is_nifti(first.name):
        return read_header_spacing_mm(first)
    return grid.spacing_mm
