"""Grids and voxels: NIfTI files, slices as bitmaps, boxes, background. Knows no cases."""
