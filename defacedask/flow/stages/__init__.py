"""What is done to one case, one stage a file. Each reads what it needs from the store and returns rows.

No volume crosses the scheduler: a stage gets paths and earlier results, and gives back numbers. The order of the
stages is `defacedask.runs.study_stages`'s business.
"""
