"""A case: one examination, its images and its label map."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from volseg.images.file_names import is_slice


@dataclass(frozen=True)
class Case:
    """One examination: its images and at most one label map.

    Attributes:
        case_id: Name of the examination.
        patient_id: Name of the person; all cases of a person share a fold.
        images: One file for each of `channels`, in that order; or one 4D file that holds them all;
            or, in a stack, one 2D image of all channels for each slice, in the order of slices.
        channels: What the files hold.
        label: Label map: one file, in a stack one for each slice; empty if there is none.
        labels: Name of the label scheme of `label`; None: that of the config.
        fold: Share of the cross-validation.
        spacing_mm: Size of a voxel of a stack along columns, rows and slices; None: not known.
        groups: What else is known of the patient, such as `{"institution": "CS"}`.
    """

    case_id: str
    patient_id: str
    images: tuple[Path, ...]
    channels: tuple[str, ...]
    label: tuple[Path, ...] = ()
    labels: str | None = None
    fold: int | None = None
    spacing_mm: tuple[float, float, float] | None = None
    groups: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def is_stack(self) -> bool:
        """Whether the images are 2D slices (TIFF, PNG, ...) and not volumes."""
        return is_slice(self.images[0].name) if self.images else False

    @property
    def has_size(self) -> bool:
        """Whether the size of a voxel is known; without it, there are no mm and no ml."""
        return not self.is_stack or self.spacing_mm is not None

    @property
    def place(self) -> Path:
        """The image, or the folder of several."""
        return self.images[0] if len(self.images) == 1 else self.images[0].parent
