"""Narravid: text."""
