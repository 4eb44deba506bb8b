"""Pictures: views of a case, outlines, curves, montages, colours."""
