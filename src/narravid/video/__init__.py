"""Narravid: video."""
