"""Options of decoding with better scores, and fits of confidence, measured in held-out patients."""
