"""Narravid: losses."""
