"""A cohort on its way to a data list: label values and schemes, grey values, copies, patients."""
