"""One module for each command, which calls the layers below and returns a small result.

This file imports nothing, so that each command loads only the libraries that it needs.
"""
