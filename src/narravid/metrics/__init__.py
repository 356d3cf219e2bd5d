"""Narravid: metrics."""
