"""Which voxels of a head are brain: skull-stripping, by several methods."""
