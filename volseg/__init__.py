"""volseg: segmentation of brain tumours in MRI, in 3D and slice by slice: from scans to scores.

For research only, not for clinical use.
"""

from __future__ import annotations

__version__ = "0.1.0"
DISCLAIMER = "For research only, not for clinical use."
__all__ = ["DISCLAIMER", "Predictor", "__version__"]

# As `typing` has it, whose import takes as long as all else until Ctrl-C can be handled.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from volseg.inference.predictor import Predictor


def __getattr__(name: str) -> object:
    """Import `Predictor`, and torch with it, only when it is asked for."""
    if name == "Predictor":
        from volseg.inference.predictor import Predictor

        return Predictor
    raise AttributeError(f"module 'volseg' has no attribute {name!r}")
