"""Results of `infer` on disk: their paths, their manifest, and which of them are kept."""
