"""Explanations of a prediction: which voxels and channels the probability of a region rests on."""
