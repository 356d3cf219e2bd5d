"""Which videos a corpus has, and what is said in each of them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from narravid.errors import AnnotationError
from narravid.text.captions import CaptionTrack
from narravid.text.transcripts import TRANSCRIPT_SUFFIXES, find_transcript, load_transcript
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
    for path in _video_files(root):
        video_id = path.relative_to(root).with_suffix("").as_posix()
        transcript = _find_transcript(path, root, captions_dir)
        if video_id in taken:
            bad.append((path, f"has the name of {taken[video_id].name}, which is used; rename one of them"))
        elif transcript is None:
            bad.append((path, f"no transcript of the same name ({', '.join(TRANSCRIPT_SUFFIXES)})"))
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


def _find_transcript(path: Path, root: Path, captions_dir: Path | None) -> Path | None:
    if captions_dir is None:
        return find_transcript(path)
    nested = captions_dir / path.relative_to(root).parent
    return find_transcript(path, captions_dir=nested) or find_transcript(path, captions_dir=captions_dir)
