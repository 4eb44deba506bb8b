"""Grids and voxels: NIfTI files, slices as bitmaps, boxes, background. No case is known here."""
