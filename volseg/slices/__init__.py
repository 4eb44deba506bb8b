"""2D images in, masks out: the slices of a patient as one volume, and label maps as slices."""

from volseg.slices.masks import (
    check_masks_have_room,
    mask_paths,
    read_stack_label_grid,
    read_stack_label_map,
    write_masks,
)
from volseg.slices.stack import read_stack, read_stack_grid

__all__ = [
    "check_masks_have_room",
    "mask_paths",
    "read_stack",
    "read_stack_grid",
    "read_stack_label_grid",
    "read_stack_label_map",
    "write_masks",
]
