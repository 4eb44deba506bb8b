"""Official BraTS scoring programs: their rules, and their ways to count."""
