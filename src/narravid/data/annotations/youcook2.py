"""YouCook2: the validation list of the retrieval benchmark, the official JSON, and the captioning JSON.

Zhou et al. 2018, arXiv 1703.09788. The repositories of MIL-NCE and VT-TWINS publish the benchmark's clips as
a table `end,start,task,text,video_id` (seconds; 3,350 rows). The official document is
`{"database": {VIDEO: {"duration", "subset", "recipe_type", "video_url", "annotations": [{"segment": [start,
end], "id", "sentence"}, ...]}}}`. The captioning document, a form that ActivityNet Captions and COOT (Ging et
al. 2020, arXiv 2011.00597) use too, is `{VIDEO: {"duration", "timestamps": [[start, end], ...], "sentences":
[...]}}`, and COOT's table beside it, without a header, `video,duration,number of frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from narravid.annotation_fields import Fields
from narravid.annotation_files import read_document, read_rows, read_table
from narravid.data.annotations.subsets import Subset, read_subset
from narravid.text.captions import Caption
from narravid.types import Span

__all__ = [
    "CaptionedVideo",
    "VideoDuration",
    "YouCook2Clip",
    "YouCook2Video",
    "read_captioned_videos",
    "read_video_durations",
    "read_youcook2",
    "read_youcook2_clips",
]


@dataclass(frozen=True, slots=True)
class YouCook2Clip:
    """A clip of the retrieval benchmark and the sentence that finds it.

    Attributes:
        video_id: YouTube's name of the video.
        recipe_type: Number of the recipe, the list's column `task`.
        span: The part of the video.
        text: The sentence.
    """

    video_id: str
    recipe_type: str
    span: Span
    text: str

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return _places("validation", self.recipe_type, self.video_id)


@dataclass(frozen=True, slots=True)
class YouCook2Video:
    """A video of the official document.

    Attributes:
        video_id: YouTube's name of the video.
        subset: The part it belongs to.
        recipe_type: Number of the recipe.
        duration_seconds: Length of the video.
        url: Where the video was.
        captions: Its steps, in the order of their `id`.
    """

    video_id: str
    subset: Subset
    recipe_type: str
    duration_seconds: float
    url: str
    captions: tuple[Caption, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        folder = {"train": "training", "validation": "validation", "test": "testing"}[self.subset]
        return _places(folder, self.recipe_type, self.video_id)


@dataclass(frozen=True, slots=True)
class CaptionedVideo:
    """A video of a captioning document.

    Attributes:
        video_id: Name of the video.
        duration_seconds: Length of the video.
        captions: Its captions, in the order of the file.
    """

    video_id: str
    duration_seconds: float
    captions: tuple[Caption, ...]

    @property
    def places(self) -> tuple[str, ...]:
        """Where the video may lie, without suffix."""
        return (self.video_id,)


@dataclass(frozen=True, slots=True)
class VideoDuration:
    """How long a video is.

    Attributes:
        video_id: Name of the video.
        duration_seconds: Its length.
        num_frames: How many frames it has.
    """

    video_id: str
    duration_seconds: float
    num_frames: int


def _places(folder: str, recipe_type: str, video_id: str) -> tuple[str, ...]:
    return f"{folder}/{recipe_type}/{video_id}", f"{recipe_type}/{video_id}", video_id


def read_youcook2_clips(path: Path) -> tuple[YouCook2Clip, ...]:
    """Read the list of the retrieval benchmark.

    Args:
        path: The CSV file (3,350 rows as published).

    Returns:
        The clips in order.

    Raises:
        AnnotationError: If the table has a fault or a clip is empty.
    """
    return tuple(
        YouCook2Clip(
            video_id=row.text("video_id"),
            recipe_type=row.text("task"),
            span=row.span("start", "end", may_be_empty=False),
            text=row.text("text"),
        )
        for row in read_table(path, ("end", "start", "task", "text", "video_id"))
    )


def read_youcook2(path: Path) -> tuple[YouCook2Video, ...]:
    """Read the official document, `youcookii_annotations_trainval.json`.

    Args:
        path: The JSON file (1,790 videos as published).

    Returns:
        The videos in the order of the file.

    Raises:
        AnnotationError: If the document has a fault or a step's `id` is there twice in a video.
    """
    return tuple(
        YouCook2Video(
            video_id=str(video_id),
            subset=read_subset(entry, "subset"),
            recipe_type=entry.text("recipe_type"),
            duration_seconds=entry.seconds("duration"),
            url=entry.text("video_url"),
            captions=_read_steps(entry.child("annotations", kind="array")),
        )
        for video_id, entry in read_document(path).child("database").children()
    )


def _read_steps(annotations: Fields) -> tuple[Caption, ...]:
    steps: dict[int, Caption] = {}
    for _, step in annotations.children():
        number = step.integer("id")
        if number in steps:
            raise step.fault(f"{number} is the id of another step too", "id")
        steps[number] = Caption(step.text("sentence"), _read_pair(step.child("segment", kind="array")))
    return tuple(steps[number] for number in sorted(steps))


def _read_pair(times: Fields) -> Span:
    if len(times) != 2:
        raise times.fault(f"must be [start, end], got {len(times)} values")
    return times.span(0, 1)


def read_captioned_videos(path: Path) -> tuple[CaptionedVideo, ...]:
    """Read a captioning document, such as COOT's `captioning_val.json`.

    Args:
        path: The JSON file.

    Returns:
        The videos in the order of the file.

    Raises:
        AnnotationError: If the document has a fault, or a video has not as many sentences as times.
    """
    videos = []
    for video_id, entry in read_document(path).children():
        timestamps = entry.child("timestamps", kind="array")
        sentences = entry.child("sentences", kind="array").texts()
        if len(sentences) != len(timestamps):
            raise entry.fault(f"{len(sentences)} sentences for {len(timestamps)} times", "sentences")
        spans = [_read_pair(times) for _, times in timestamps.children(kind="array")]
        captions = tuple(map(Caption, sentences, spans))
        videos.append(CaptionedVideo(str(video_id), entry.seconds("duration"), captions))
    return tuple(videos)


def read_video_durations(path: Path) -> tuple[VideoDuration, ...]:
    """Read COOT's table of durations, `captioning_video_feat_duration.csv`.

    Args:
        path: The CSV file without header (2,000 rows as published).

    Returns:
        The durations in order.

    Raises:
        AnnotationError: If the table has a fault.
    """
    return tuple(
        VideoDuration(row.text("video_id"), row.seconds("duration"), row.integer("num_frames"))
        for row in read_rows(path, ("video_id", "duration", "num_frames"))
    )
