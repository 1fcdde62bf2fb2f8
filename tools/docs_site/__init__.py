"""The site: the pages of ``docs/``, and pages that are made from the code and say what it says."""
