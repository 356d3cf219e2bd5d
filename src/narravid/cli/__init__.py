"""Narravid: cli."""
