"""What the user asks of `infer`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class InferOptions:
    """How to segment, and what to write.

    Args:
        tta: Mean over mirrored copies; None: as the models say.
        overlap: Of neighbouring windows, in [0, 0.9]; None: as the models say.
        probabilities: Also write a float32 map for each region.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        overwrite: Do finished cases again.
        labels: Name of the label scheme to write; None: that of the first model.
        fold: Only the cases of this fold of a data list.
        data_root: Folder that the paths of a data list start from; None: as the list says.
        overrides: Words such as `inference.window_batch=2`, in place of what the models say.
        patient_regex: Tells the patient from the name of a file.
        names: `CHANNEL=GLOB` of channels whose files have names that are not known.
        label_name: End of the names of label maps, which are no images, if it is not known.
        shard: `K/N`: only share K of N of the cases; other processes may do the other shares at
            the same time, into the same folder. None: every case.
    """

    tta: bool | None = None
    overlap: float | None = None
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
    shard: str | None = None
