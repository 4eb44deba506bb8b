"""Tuned options in a model file, with the former options and the gain in held-out patients."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import volseg
from volseg.model_header import ModelHeader, write_changed_header
from volseg.tuning.decoding import Decoding
from volseg.tuning.gain import Gain


def write_tuned(
    header: ModelHeader, target: Path, before: Decoding, after: Decoding, gain: Gain, score: str
) -> None:
    """Write a model file with tuned options, atomically; its weights stay the same bytes.

    Args:
        header: Header of the model file.
        target: File to write; may be the model file itself.
        before: Options before tuning.
        after: Tuned options.
        gain: Gain of the tuned options.
        score: Name of the tuned score.

    Raises:
        OutputError: If the file cannot be written.
    """
    config = dict(header.content["config"])
    config["inference"] = {**config["inference"], **after.inference()}
    record: dict[str, Any] = {
        "volseg": volseg.__version__,
        "score": score,
        **gain.to_dict(),
        "before": before.inference(),
        "after": after.inference(),
    }
    write_changed_header(header, target, {"config": config, "tuning": record})
