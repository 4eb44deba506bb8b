"""Preprocessed cases on disk, made once and mapped into memory."""
