"""Narravid: learn from narrated video and search it by meaning."""

from narravid.models.hub import load

__all__ = ["load"]
