"""Entries of a tuned model file: options, fits, and their figures in held-out patients."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import volseg
from volseg.model_header import write_changed_header
from volseg.tuning.cases import TunedRun
from volseg.tuning.confidence import Confidence
from volseg.tuning.decoding import Decoding
from volseg.tuning.gain import Gain

#: Entries of the header of a model with fits of a tuning.
CALIBRATION, PREDICTED_DICE = FITS = ("calibration", "predicted_dice")
#: Entries of the header of a model that a tuning writes.
ENTRIES = ("tuning", *FITS)


@dataclass(frozen=True)
class TunedOptions:
    """Options of decoding that are better than the initial options in held-out patients.

    Attributes:
        before: Options before tuning.
        after: Tuned options.
        gain: Gain of the tuned options.
        score: Name of the tuned score.
    """

    before: Decoding
    after: Decoding
    gain: Gain
    score: str

    def record(self) -> dict[str, Any]:
        """Entry `tuning` of the header of a model."""
        return {
            "volseg": volseg.__version__,
            "score": self.score,
            **self.gain.to_dict(),
            "before": self.before.inference(),
            "after": self.after.inference(),
        }


def write_tuned(
    run: TunedRun, target: Path, options: TunedOptions | None, confidence: Confidence
) -> None:
    """Write a model file with tuned options and fits, atomically; its weights stay the same bytes.

    Args:
        run: The model.
        target: File to write; may be the model file itself.
        options: Tuned options of decoding; None: those of the file stay.
        confidence: Temperatures and predicted Dice, which replace those of an earlier tuning.

    Raises:
        OutputError: If the file cannot be written.
    """
    config = dict(run.header.content["config"])
    decoding = {} if options is None else options.after.inference()
    config["inference"] = {
        **config["inference"],
        **decoding,
        "temperature": confidence.temperature,
    }
    predictor = confidence.predictor
    changes: dict[str, Any] = {
        "config": config,
        CALIBRATION: confidence.calibration(),
        PREDICTED_DICE: None if predictor is None else predictor.to_dict(),
    }
    if options is not None:
        changes["tuning"] = options.record()
    write_changed_header(run.header, target, changes)
