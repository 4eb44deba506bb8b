"""Scores of a model on subsets of the channels of its cases."""
