"""Pictures of cases and runs: slices with outlines, montages, samples, curves."""
