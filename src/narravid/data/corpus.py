"""Which videos a corpus has, and what is said in each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from narravid.errors import AnnotationError
from narravid.text.captions import CaptionTrack
from narravid.text.transcript_names import TRANSCRIPT_SUFFIXES, TranscriptFolder
from narravid.text.transcripts import load_transcript
from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["NarratedVideo", "find_narrated_videos"]


@dataclass(frozen=True, slots=True)
class NarratedVideo:
    """A video with its captions.

    Attributes:
        path: The file.
        track: What is said and when.
        video_id: Its name, unique in a corpus.
        num_dropped_captions: Captions without text that the transcript had.
    """

    path: Path
    track: CaptionTrack
    video_id: str
    num_dropped_captions: int = 0


def find_narrated_videos(
    root: Path, *, captions_dir: Path | None = None
) -> tuple[list[NarratedVideo], list[tuple[Path, str]]]:
    """Every video below a folder that has a transcript of the same stem.

    Args:
        root: The folder; hidden files and folders are passed over.
        captions_dir: Where transcripts lie, in the same sub-folders or in none; None for beside the videos.

    Returns:
        The videos by name, with the path below `root` without suffix as id; and (path, reason) of those that
        cannot be used: no transcript, a faulty or an empty one. Nothing is decoded.

    Raises:
        ValueError: If a folder does not exist.
    """
    for folder in (root, captions_dir):
        if folder is not None and not folder.is_dir():
            raise ValueError(f"{folder} is not a folder")
    videos: list[NarratedVideo] = []
    bad: list[tuple[Path, str]] = []
    taken: dict[str, Path] = {}
    transcripts = _Transcripts(root, captions_dir)
    for path in _video_files(root):
        video_id = path.relative_to(root).with_suffix("").as_posix()
        transcript = transcripts.find(path)
        if video_id in taken:
            bad.append((path, f"has the name of {taken[video_id].name}, which is used; rename one of them"))
        elif transcript is None:
            bad.append((path, transcripts.why_not(path)))
        else:
            taken[video_id] = path
            try:
                content = load_transcript(transcript)
            except AnnotationError as error:
                bad.append((path, str(error)))
                continue
            if len(content.track) == 0:
                bad.append((path, f"{transcript} holds no captions"))
            else:
                videos.append(NarratedVideo(path, content.track, video_id, content.num_dropped))
    return videos, bad


def _video_files(root: Path) -> Iterator[Path]:
    for folder, folders, names in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and os.path.splitext(name)[1].lower() in VIDEO_SUFFIXES:
                yield Path(folder, name)


class _Transcripts:
    """Finds the transcripts of videos in the folders where they may lie, each of which is listed once."""

    def __init__(self, root: Path, captions_dir: Path | None) -> None:
        self._root = root
        self._captions_dir = captions_dir
        self._listed: dict[Path, TranscriptFolder] = {}

    def find(self, video_path: Path) -> Path | None:
        found = (folder.find(video_path.stem) for folder in self._folders(video_path))
        return next((path for path in found if path is not None), None)

    def why_not(self, video_path: Path) -> str:
        """Why a video has no transcript."""
        languages = [
            name for folder in self._folders(video_path) for name in folder.languages(video_path.stem)
        ]
        if languages:
            several = ", ".join(dict.fromkeys(languages))
            return f"transcripts in several languages ({several}); name one of them {video_path.stem}.vtt"
        return f"no transcript of the same name ({', '.join(TRANSCRIPT_SUFFIXES)})"

    def _folders(self, video_path: Path) -> Iterator[TranscriptFolder]:
        folders = [video_path.parent]
        if self._captions_dir is not None:
            folders = [self._captions_dir / video_path.relative_to(self._root).parent, self._captions_dir]
        for folder in folders:
            if folder not in self._listed:
                self._listed[folder] = TranscriptFolder(folder, video_suffixes=VIDEO_SUFFIXES)
            yield self._listed[folder]
