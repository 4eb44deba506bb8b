"""Undocumented parts of libraries, a file for each library.

No other module of volseg uses private attributes of a library. Each file names the version of the
library that has these parts, and a test fails if a library drops one.
"""
