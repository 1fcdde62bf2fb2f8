"""defacedask."""
