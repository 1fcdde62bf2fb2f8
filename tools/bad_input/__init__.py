"""Damaged and hostile input by the thousand: what becomes of it, counted."""
