"""Survey of a cohort for a data list: label values and schemes, grey values, copies, patients."""
