"""Synthetic brains with tumours, written as a BraTS 2023 cohort, for the demo and the tests.

A head is built in millimetres from smooth random fields. The cortex folds around sulci, the
surfaces on which one field is zero; a tumour grows from seeds, and its oedema follows the white
matter. Four contrasts are rendered from the shares of the tissues in each voxel.
"""
