"""Preprocessed cases on disk, computed once and mapped into memory."""
