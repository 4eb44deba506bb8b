"""The kind of a case, by the names of its images."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.images.file_names import is_slice


def kind_of(images: Sequence[str]) -> type[VolumeCase] | type[SliceStackCase]:
    """Kind of a case with images of these names; a case without images counts as volumes.

    >>> kind_of(["P7_3.tif"]).kind, kind_of(["P7_t1c.nii.gz"]).kind
    ('slices', 'volumes')
    """
    return SliceStackCase if images and is_slice(images[0]) else VolumeCase
