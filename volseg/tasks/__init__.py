"""One module for each command: it calls the layers below in order and returns a small result.

Imports nothing, so that each command pays only for what it needs.
"""
