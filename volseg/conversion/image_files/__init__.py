"""Image files other than DICOM: MetaImage, NRRD, Analyze, NIfTI, and stacks of 2D images."""
