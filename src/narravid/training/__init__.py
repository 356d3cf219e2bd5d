"""Narravid: training."""
