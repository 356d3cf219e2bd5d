"""Narravid: models."""
