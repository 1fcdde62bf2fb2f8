"""The tables of a run: their columns, how they are built of all cases, what follows from them, their files."""
