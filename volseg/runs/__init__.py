"""The folder of a run: its files, checks before a resume, and folds."""
