"""Narravid: learn from narrated video and search it by meaning."""
