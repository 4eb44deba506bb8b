"""Scans in, results out: NIfTI files read to one array and its grid, and written on that grid.

Input files are only ever read. What is written lies on the grid of the input to the last bit, and
is written whole or not at all.
"""

from volseg.nifti.grid import Grid, check_same_grid, orientation
from volseg.nifti.reading import (
    CaseImages,
    check_values,
    read_case,
    read_case_grid,
    read_first_slices,
    read_header,
    read_label_map,
)
from volseg.nifti.writing import write_label_map, write_probabilities

__all__ = [
    "CaseImages",
    "Grid",
    "check_same_grid",
    "check_values",
    "orientation",
    "read_case",
    "read_case_grid",
    "read_first_slices",
    "read_header",
    "read_label_map",
    "write_label_map",
    "write_probabilities",
]
