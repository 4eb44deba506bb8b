"""Scoring of predictions against references: files, pairs, scores, samples."""
