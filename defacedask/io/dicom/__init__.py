"""DICOM in: what is there, images, structures, doses, registrations; `export` writes what leaves."""
