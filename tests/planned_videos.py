"""Videos whose frames say which video and second they are of, and models that know what is shown when."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from narravid.types import ClipSpec, Similarity, Span
from narravid.video.encode import write_video
from numbered_video import number_of, numbered_frame

FPS = 4
NUMBERS_PER_VIDEO = 256
SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=48, frame_rule="shown_at")

Belief = Sequence[tuple[str, Span]]


def write_planned_video(
    path: Path, number: int, *, seconds: int, fps: int = FPS, numbers_per_video: int = NUMBERS_PER_VIDEO
) -> Path:
    """Video `number` of up to 16, up to 64 s, unless rate and frames of a video are others."""
    first = number * numbers_per_video
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = (numbered_frame(first + frame, 48, 48) for frame in range(fps * seconds))
    write_video(path, frames, fps=float(fps), crf=10, preset="ultrafast")
    return path


class PlannedEncoder:
    """Reads video and time off the pixels, and believes that some texts are shown in some spans.

    Args:
        beliefs: (text, span) for each number of a video.
        numbers_per_video: Frames before the number of the next video.
        fps: Of the videos.
    """

    similarity: Similarity = "dot"
    device = torch.device("cpu")
    clip_spec = SPEC
    config = None

    def __init__(
        self,
        beliefs: Mapping[int, Belief],
        *,
        numbers_per_video: int = NUMBERS_PER_VIDEO,
        fps: int = FPS,
        weights_hash: str = "planned",
    ) -> None:
        self._beliefs = beliefs
        self._numbers_per_video = numbers_per_video
        self._fps = fps
        self._texts = sorted({text for belief in beliefs.values() for text, _ in belief})
        self.embed_dim = self.feature_dim = max(1, len(self._texts))
        self.weights_hash = weights_hash

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._encode(clip) for clip in clips])

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return self.encode_video(clips)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.tensor(
            [[float(text == sentence) for text in self._texts] or [0.0] for sentence in sentences]
        )

    def place_of(self, frame: np.ndarray) -> tuple[int, float]:
        """Number of the video and seconds that a frame (H, W, 3) says it is of."""
        video, number = divmod(number_of(frame), self._numbers_per_video)
        return video, number / self._fps

    def _encode(self, clip: torch.Tensor) -> torch.Tensor:
        video, time = self.place_of(clip[:, clip.shape[1] // 2].permute(1, 2, 0).numpy())
        vector = torch.zeros(self.embed_dim)
        for text, span in self._beliefs.get(video, ()):
            if span.start_seconds <= time < span.end_seconds:
                vector[self._texts.index(text)] = 1.0
        return vector
