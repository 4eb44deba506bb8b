"""Raw scans of a hospital to cases of channels: DICOM, other image files, pseudonyms."""
