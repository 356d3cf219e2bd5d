"""Narravid: tasks."""
