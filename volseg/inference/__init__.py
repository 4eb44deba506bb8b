"""Use of trained models: windows, ensembles, predictions, and their records."""
