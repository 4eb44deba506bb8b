"""Sizes of the regions of a label map: volume, lesions, largest section, diameters; no torch."""

from volseg.measures.diameters import Diameters
from volseg.measures.region import RegionMeasures, Section, measure

__all__ = ["Diameters", "RegionMeasures", "Section", "measure"]
