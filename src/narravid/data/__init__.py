"""Narravid: data."""
