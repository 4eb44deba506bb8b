"""Raw scans made ready for a network: registration, brain mask, one grid; and label maps back."""
