"""The only rooms that know files: DICOM, NIfTI, BIDS data sets, remote archives, and the case store."""
