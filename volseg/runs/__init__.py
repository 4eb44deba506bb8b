"""The folder of a run: what it holds, whether it can be resumed, its folds."""
