"""Data sets laid out by the Brain Imaging Data Structure (BIDS): names, sidecars, plans, dataset files."""
