"""Cohorts from the public archives: The Cancer Imaging Archive (NBIA) and the Imaging Data Commons.

What is asked for (`asked`) is looked up at a service (`nbia`, `idc`), which says what there is, how large it is and
under which licence (`usage`). Each series then lands whole or not at all (`landing`), several at a time (`fetching`).

Neither of the archives' own Python packages downloads here. ``tcia_utils`` 3.3 takes a series for whole as soon as
there is a folder of its name, reads an archive into memory, compares no MD5, has no time limit and one fixed host.
``idc-index`` runs ``s5cmd``, which neither counts nor looks into what came. What ``idc-index`` knows is a package of
its own, ``idc-index-data``, and that is what is asked here.
"""
