"""A data set whose clips say in their pixels which video and second they are of, without any file."""

from __future__ import annotations

from pathlib import Path

import torch

from narravid.data.corpus import NarratedVideo
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.errors import DecodeError
from narravid.text.captions import Caption, CaptionTrack
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import Clip, ClipSpec, Span

SPEC = ClipSpec(num_frames=4, fps=2.0, size_pixels=8)
WORDS = [f"word{n}" for n in range(30)]
TOKENIZER = WordTokenizer(Vocabulary(WORDS), max_words=3, lower_case=True)


class WrittenClips:
    """A source whose pixels say which video and second they are of, without any file."""

    def __init__(self, seconds: float = 60.0, bad: tuple[str, ...] = ()) -> None:
        self.seconds = seconds
        self.bad = bad
        self.starts: list[float] = []

    def read(self, path, start_seconds, spec, *, generator=None) -> Clip:
        self.starts.append(start_seconds)
        if path.stem in self.bad:
            raise DecodeError(path, "made to fail")
        frames = torch.zeros((spec.num_frames, spec.size_pixels, spec.size_pixels, 3), dtype=torch.uint8)
        frames[..., 0] = int(path.stem.removeprefix("v"))
        frames[..., 1] = int(start_seconds * 4)
        frames[..., 2] = torch.arange(spec.size_pixels)  # columns differ, so that a flip shows
        mask = start_seconds + torch.arange(spec.num_frames) / spec.fps < self.seconds
        return Clip(frames, mask, Span(start_seconds, start_seconds + spec.duration_seconds))

    def duration_seconds(self, path) -> float:
        return self.seconds

    def close(self) -> None:
        pass


def make_videos(num_videos: int = 4, num_captions: int = 7) -> list[NarratedVideo]:
    captions = tuple(Caption(WORDS[n], Span(8.0 * n, 8.0 * n + 4.5)) for n in range(num_captions))
    return [NarratedVideo(Path(f"v{n}.mp4"), CaptionTrack(captions), f"v{n}") for n in range(num_videos)]


def make_dataset(source=None, *, videos=None, augmentation=None, **sampling) -> NarratedDataset:
    return NarratedDataset(
        make_videos() if videos is None else videos,
        source or WrittenClips(),
        spec=SPEC,
        tokenizer=TOKENIZER,
        sampling=ClipSampling(**sampling),
        augmentation=augmentation,
    )
