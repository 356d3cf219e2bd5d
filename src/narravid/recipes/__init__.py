"""Narravid: recipes."""
