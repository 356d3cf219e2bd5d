"""Which file of a folder is the transcript of a video."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path

__all__ = ["TRANSCRIPT_SUFFIXES", "TranscriptFolder"]

# fmt: off
TRANSCRIPT_SUFFIXES = (
    ".vtt", ".srt", ".json", ".csv", ".json3", ".srv3", ".srv2", ".srv1", ".xml", ".sbv", ".align",
)
# fmt: on
"""What can be read, the preferred kind first."""

_LANGUAGE = re.compile(r"[a-z]{2,3}(?:[-_][A-Za-z0-9]{1,8})*", re.ASCII)
"""A language as yt-dlp writes it into names: `en`, `en-US`, `en-orig`, `zh-Hans`."""


class TranscriptFolder:
    """The transcripts in a folder, listed once.

    A video takes the file of its own stem (`NAME.vtt`); else an English one (`NAME.en.vtt`, then `.en-orig`,
    then other `.en-*` by name); else the only other language, if there is only one. Among files of one
    language the suffix decides, in the order of `TRANSCRIPT_SUFFIXES`.

    Args:
        folder: The folder; one that does not exist holds nothing.
        video_suffixes: Suffixes of videos, in lower case: beside a `clip.new.mp4` the file `clip.new.vtt` is
            its transcript, and not that of `clip.mp4` in a language "new".

    Raises:
        OSError: If the folder cannot be listed.
    """

    def __init__(self, folder: Path, *, video_suffixes: Collection[str] = ()) -> None:
        self._folder = folder
        names = sorted(entry.name for entry in _entries(folder) if _is_file(entry))
        videos = {stem for stem, suffix in map(os.path.splitext, names) if suffix.lower() in video_suffixes}
        self._names: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
        for name in names:
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in TRANSCRIPT_SUFFIXES or name.startswith("."):
                continue
            self._names[stem][""].append(name)
            base, _, language = stem.rpartition(".")
            if base and stem not in videos and _LANGUAGE.fullmatch(language):
                self._names[base][language].append(name)

    def find(self, stem: str) -> Path | None:
        """The transcript of the video of this stem; None if there is none, or none is to be preferred."""
        by_language = self._names.get(stem)
        if by_language is None:
            return None
        languages = sorted(by_language, key=_preference)
        if len(languages) > 1 and not _is_preferred(languages[0]):
            return None
        return self._folder / min(by_language[languages[0]], key=_suffix_rank)

    def languages(self, stem: str) -> list[str]:
        """The languages in which there are transcripts of the video of this stem, by name."""
        return sorted(language for language in self._names.get(stem, ()) if language)


def _entries(folder: Path) -> Iterable[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_file(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_file()
    except OSError:  # such as a link to itself: whoever opens it is told
        return True


def _preference(language: str) -> tuple[bool, bool, bool, bool, str]:
    is_english = re.split("[-_]", language)[0] == "en"
    return language != "", not is_english, language != "en", language != "en-orig", language


def _is_preferred(language: str) -> bool:
    return language == "" or re.split("[-_]", language)[0] == "en"


def _suffix_rank(name: str) -> int:
    return TRANSCRIPT_SUFFIXES.index(os.path.splitext(name)[1].lower())
