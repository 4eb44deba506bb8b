"""Parts of the pages that follow from the code, so that nobody writes a fact a second time."""
