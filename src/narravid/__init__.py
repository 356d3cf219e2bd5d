"""Narravid: learn from narrated video and search it by meaning."""

from narravid.models.hub import load
from narravid.models.sharing import push_to_hub, save_pretrained

__all__ = ["load", "push_to_hub", "save_pretrained"]
