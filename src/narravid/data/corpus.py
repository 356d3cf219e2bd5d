"""Which videos a corpus has, and what is said in each of them."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from narravid.data.annotations.caption_corpora import read_caption_corpus
from narravid.data.annotations.video_lists import read_video_list
from narravid.errors import AnnotationError
from narravid.text.captions import CaptionTrack, Transcript
from narravid.text.transcript_names import TRANSCRIPT_SUFFIXES, TranscriptFolder
from narravid.text.transcripts import load_transcript
from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["FoundVideos", "NarratedVideo", "find_narrated_videos"]


CANNOT_BE_LISTED = "the folder cannot be listed"


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


@dataclass(frozen=True, slots=True)
class FoundVideos:
    """What there is to train on, and what cannot be used.

    Attributes:
        videos: The videos with captions.
        bad: (path, reason) of the videos that cannot be used, and of folders that cannot be listed.
        num_unused: Videos of a caption file of many that are not among those looked for, or there again.
        faulty: Those of the bad ones whose captions are faulty or empty, or that are listed and not there;
            the others have no captions, or a name that another has.
    """

    videos: list[NarratedVideo]
    bad: list[tuple[Path, str]]
    num_unused: int = 0
    faulty: list[tuple[Path, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """A video file that may have captions, under the names of the corpus and of the captions."""

    path: Path
    video_id: str
    caption_id: str


@dataclass(frozen=True, slots=True)
class _Unusable:
    """A video that cannot be used; a fault, or one without captions or a name of its own."""

    path: Path
    reason: str
    is_fault: bool = False


def find_narrated_videos(
    root: Path, *, captions: Path | None = None, video_list: Path | None = None
) -> FoundVideos:
    """The videos below a folder, each with its captions.

    Args:
        root: The folder; hidden files and folders are passed over.
        captions: A folder of transcripts, which lie in the same sub-folders or in none; or a file with the
            captions of many videos (see `read_caption_corpus`), matched by the stems of the videos or the ids
            of the list; None for transcripts beside the videos.
        video_list: The videos to take (see `read_video_list`), with paths below `root`; None takes all.

    Returns:
        The videos in the order of their names or of the list, with the path below `root` without suffix as
        id; and those that cannot be used: no transcript, a faulty or an empty one. Nothing is decoded.

    Raises:
        ValueError: If `root` is not a folder or `captions` does not exist.
        AnnotationError: If the list, or the file of captions as a whole, has a fault.
    """
    if not root.is_dir():
        raise ValueError(f"{root} is not a folder")
    if captions is not None and not captions.exists():
        raise ValueError(f"{captions} is neither a folder nor a file")
    bad: list[_Unusable] = []
    candidates = _candidates(root, video_list, bad)
    transcripts: _FolderTranscripts | _CorpusTranscripts
    if captions is not None and captions.is_file():
        transcripts = _CorpusTranscripts(captions, candidates)
    else:
        transcripts = _FolderTranscripts(root, captions)
    videos: list[NarratedVideo] = []
    for candidate in candidates:
        try:
            found = transcripts.read(candidate)
        except AnnotationError as error:
            bad.append(_Unusable(candidate.path, str(error), is_fault=True))
            continue
        if isinstance(found, str):
            bad.append(_Unusable(candidate.path, found))
        else:
            videos.append(NarratedVideo(candidate.path, found.track, candidate.video_id, found.num_dropped))
    return FoundVideos(
        videos,
        [(one.path, one.reason) for one in bad],
        transcripts.num_unused,
        [(one.path, one.reason) for one in bad if one.is_fault],
    )


def _candidates(root: Path, video_list: Path | None, bad: list[_Unusable]) -> list[_Candidate]:
    """The video files, each under a name of its own; files that get none are added to `bad`."""
    listed = _video_files(root, bad) if video_list is None else _listed_files(root, video_list, bad)
    taken: dict[str, _Candidate] = {}
    for path, caption_id in listed:
        video_id = path.relative_to(root).with_suffix("").as_posix()
        if video_id not in taken:
            taken[video_id] = _Candidate(path, video_id, caption_id)
        elif path == taken[video_id].path:
            bad.append(_Unusable(path, f"is in {video_list} twice"))
        else:
            used = taken[video_id].path.name
            bad.append(_Unusable(path, f"has the name of {used}, which is used; rename one of them"))
    return list(taken.values())


def _video_files(root: Path, bad: list[_Unusable]) -> Iterator[tuple[Path, str]]:
    def note_closed(error: OSError) -> None:
        reason = f"{CANNOT_BE_LISTED}: {error.strerror}; none of its videos is used"
        bad.append(_Unusable(Path(os.fsdecode(error.filename)), reason, is_fault=True))

    for folder, folders, names in os.walk(root, onerror=note_closed):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if not name.startswith(".") and suffix.lower() in VIDEO_SUFFIXES:
                yield Path(folder, name), stem


def _listed_files(root: Path, video_list: Path, bad: list[_Unusable]) -> Iterator[tuple[Path, str]]:
    for video in read_video_list(video_list):
        place = os.path.normpath(video.path)
        if os.path.isabs(place) or place.split(os.sep)[0] in (os.pardir, os.curdir):
            reason = f"{video_list} names it, but it lies outside {root}"
            bad.append(_Unusable(Path(video.path), reason, is_fault=True))
        elif not (root / place).is_file():
            reason = f"{video_list} names it, but there is no such file"
            bad.append(_Unusable(root / place, reason, is_fault=True))
        else:
            yield root / place, video.video_id


class _FolderTranscripts:
    """Transcripts in files of their own, in the folders where they may lie, each of which is listed once."""

    num_unused = 0

    def __init__(self, root: Path, captions_dir: Path | None) -> None:
        self._root = root
        self._captions_dir = captions_dir
        self._listed: dict[Path, TranscriptFolder] = {}

    def read(self, candidate: _Candidate) -> Transcript | str:
        """The captions of a video, or why it has none.

        Raises:
            AnnotationError: If they are faulty or empty.
        """
        folders = list(self._folders(candidate.path))
        names = dict.fromkeys((candidate.path.stem, candidate.caption_id))
        found = (folder.find(name) for folder in folders for name in names)
        path = next((path for path in found if path is not None), None)
        if path is None:
            return _why_none(candidate.path.stem, folders)
        transcript = load_transcript(path)
        if len(transcript.track) == 0:
            raise AnnotationError(path, "holds no captions")
        return transcript

    def _folders(self, video_path: Path) -> Iterator[TranscriptFolder]:
        folders = [video_path.parent]
        if self._captions_dir is not None:
            folders = [self._captions_dir / video_path.relative_to(self._root).parent, self._captions_dir]
        for folder in folders:
            if folder not in self._listed:
                try:
                    self._listed[folder] = TranscriptFolder(folder, video_suffixes=VIDEO_SUFFIXES)
                except OSError as error:
                    raise AnnotationError(folder, f"{CANNOT_BE_LISTED}: {error.strerror}") from error
            yield self._listed[folder]


def _why_none(stem: str, folders: Collection[TranscriptFolder]) -> str:
    languages = dict.fromkeys(language for folder in folders for language in folder.languages(stem))
    if languages:
        return f"transcripts in several languages ({', '.join(languages)}); name one of them {stem}.vtt"
    return f"no transcript of the same name ({', '.join(TRANSCRIPT_SUFFIXES)})"


class _CorpusTranscripts:
    """Transcripts of many videos in one file, of which those of the candidates are kept."""

    def __init__(self, path: Path, candidates: Collection[_Candidate]) -> None:
        self._path = path
        self._owners: dict[str, _Candidate] = {}
        for candidate in candidates:
            self._owners.setdefault(candidate.caption_id, candidate)
        self._found: dict[str, Transcript | AnnotationError] = {}
        self.num_unused = 0
        for video in read_caption_corpus(path):
            if video.video_id not in self._owners or video.video_id in self._found:
                self.num_unused += 1
                continue
            try:
                self._found[video.video_id] = video.read()
            except AnnotationError as error:
                self._found[video.video_id] = error

    def read(self, candidate: _Candidate) -> Transcript | str:
        """The captions of a video, or why it has none.

        Raises:
            AnnotationError: If they are faulty or empty.
        """
        owner = self._owners[candidate.caption_id]
        if owner is not candidate:
            return f"{owner.path} has the same name, and takes the captions of {candidate.caption_id!r}"
        found = self._found.get(candidate.caption_id)
        if found is None:
            return f"{self._path} has no video {candidate.caption_id!r}"
        if isinstance(found, AnnotationError):
            raise found
        if len(found.track) == 0:
            raise AnnotationError(self._path, f"holds no captions of {candidate.caption_id!r}")
        return found
