"""Search of options of decoding with better scores, and their gain in held-out patients."""
