"""Safe reading and writing of files, and which files volseg wrote."""
