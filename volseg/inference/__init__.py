"""A trained model applied: windows, ensembles, predictions and their manifest."""
