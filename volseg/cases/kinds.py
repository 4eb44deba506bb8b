"""The kinds of case, told by the names of their images."""

from __future__ import annotations

from collections.abc import Sequence

from volseg.cases.slice_stack_case import SliceStackCase
from volseg.cases.volume_case import VolumeCase
from volseg.images.file_names import is_slice


def kind_of(images: Sequence[str]) -> type[VolumeCase] | type[SliceStackCase]:
    """Kind of a case whose images are called so; a case without images is one of volumes.

    >>> kind_of(["P7_3.tif"]).kind, kind_of(["P7_t1c.nii.gz"]).kind
    ('slices', 'volumes')
    """
    return SliceStackCase if images and is_slice(images[0]) else VolumeCase
