"""Narravid: inference."""
