"""Search for cases in folders: names, layouts, and left-out files with reasons."""
