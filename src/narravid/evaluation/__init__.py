"""Narravid: evaluation."""
