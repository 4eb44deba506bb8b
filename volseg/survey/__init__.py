"""What the scans of a cohort hold: label values, grey values, copies, doubtful patients."""
