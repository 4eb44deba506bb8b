"""Trust in a prediction: uncertainty of its voxels, calibration, expected Dice, unusual inputs."""
