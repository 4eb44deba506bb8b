"""Results of `infer` on disk: paths, manifest, and reuse in later runs."""
