"""Predictions against references: pairing, scoring, samples."""
