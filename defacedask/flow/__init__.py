"""How work runs: stages as data, one submitter, results that are kept."""
