"""Which files of a folder are taken for videos."""

from __future__ import annotations

__all__ = ["VIDEO_SUFFIXES"]

# fmt: off
VIDEO_SUFFIXES = frozenset([
    ".3g2", ".3gp", ".asf", ".avi", ".dv", ".f4v", ".flv", ".gif", ".m1v", ".m2ts", ".m2v", ".m4v",
    ".mjpeg", ".mkv", ".mov", ".mp4", ".mpe", ".mpeg", ".mpg", ".mpv", ".mts", ".mxf", ".nut", ".ogm",
    ".ogv", ".qt", ".rm", ".rmvb", ".ts", ".vob", ".webm", ".wmv", ".y4m",
])
# fmt: on
"""Suffixes (lower case) that make a file of a folder a video; the content decides whether it is one."""
