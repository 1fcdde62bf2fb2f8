"""Whole runs: study, deface and attack, from what the user asks for to what is left in a folder."""
