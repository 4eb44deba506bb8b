"""DICOM files to series with grids; pydicom is imported only when a folder is read.

pydicom parses the files, its decoders and GDCM decompress pixels, and nibabel reads the private
header of Siemens mosaics. Sorting and geometry are volseg's own: dicom2nifti and SimpleITK join
slices across a gap, and nibabel refuses sequences that it does not know; none of them says which
slice is missing or which series was left out. The tests compare the results with dcm2niix.
"""
