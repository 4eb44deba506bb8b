"""A case of which only some channels are used; its files are read once for all subsets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from volseg.cases.case import Case
from volseg.cases.filling import filled, present_channels
from volseg.images.case_images import CaseImages


@dataclass(frozen=True, eq=False)
class ReducedCase:
    """A case as if it had only the channels `kept`; see `inference.preparing.Readable`.

    Attributes:
        case: The whole case.
        whole: Its images, of the channels `held`.
        held: Channels of `whole`, in order.
        kept: Channels that are used.
    """

    case: Case
    whole: CaseImages
    held: tuple[str, ...]
    kept: tuple[str, ...]

    @property
    def case_id(self) -> str:
        """Name of the examination."""
        return self.case.case_id

    @property
    def has_size(self) -> bool:
        """Whether the size of a voxel is known."""
        return self.case.has_size

    @property
    def images(self) -> tuple[Path, ...]:
        """Files of the whole case."""
        return self.case.images

    @property
    def slices(self) -> tuple[Path, ...]:
        """Image of each slice along K, if slices have files; else empty."""
        return self.case.slices

    def read_images(
        self, channels: Sequence[str], fill: str | None = None, *, optional: bool = False
    ) -> CaseImages:
        """Images of the kept channels, without reading a file; others may always be missing."""
        present = present_channels(self.kept, channels, fill, optional=True)
        numbers = [self.held.index(name) for name in present]
        # The axes keep the order of the file, K outermost.
        array = self.whole.array.transpose(0, 3, 2, 1)[numbers].transpose(0, 3, 2, 1)
        return filled(replace(self.whole, array=array), present, channels, fill)
