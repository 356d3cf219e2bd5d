"""Narravid: synthetic."""
