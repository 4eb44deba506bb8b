"""Cases found in folders: names, layouts, what is left out and why."""
