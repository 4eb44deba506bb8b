"""Search of the options of decoding that raise the scores of a model, and their honest gain."""
