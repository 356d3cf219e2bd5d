"""A small deterministic dual encoder and a decoder of made-up files, for tests of what stands on them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import nn

from narravid.errors import DecodeError
from narravid.types import Clip, ClipSpec, Similarity, Span, VideoInfo

EMBED_DIM = 6


class LinearDualEncoder(nn.Module):
    """Projects mean colours over time; sentences become vectors drawn from their hash."""

    def __init__(
        self,
        *,
        seed: int = 0,
        similarity: Similarity = "dot",
        embed_dim: int = EMBED_DIM,
        clip_spec: ClipSpec | None = None,
    ) -> None:
        super().__init__()
        self.clip_spec = clip_spec or ClipSpec(num_frames=4, fps=4.0, size_pixels=8)
        self.similarity: Similarity = similarity
        self.embed_dim = embed_dim
        generator = torch.Generator().manual_seed(seed)
        weight = torch.randn(3 * self.clip_spec.num_frames, embed_dim, generator=generator)
        self.weight = nn.Parameter(weight, requires_grad=False)

    @property
    def weights_hash(self) -> str:
        return hashlib.sha256(self.weight.numpy().tobytes()).hexdigest()

    @property
    def device(self) -> torch.device:
        return self.weight.device

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips) @ self.weight

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return (clips.float() / 255).mean(dim=(3, 4)).flatten(1)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        seeds = [int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") for text in sentences]
        rows = [np.random.default_rng(seed).standard_normal(self.embed_dim) for seed in seeds]
        return torch.tensor(np.stack(rows), dtype=torch.float32)


def write_fake_video(path: Path, *, seconds: float, seed: int = 0, bad_windows: Sequence[float] = ()) -> Path:
    """A text file that `FakeDecoder` takes for a video; windows starting at `bad_windows` cannot be read."""
    content = {"seconds": seconds, "seed": seed, "bad_windows": list(bad_windows)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


class FakeDecoder:
    """Decodes the files of `write_fake_video`; any other content is a broken video."""

    def __init__(self) -> None:
        self.decoded: list[str] = []

    def probe(self, path: str) -> VideoInfo:
        content = _content(path)
        return VideoInfo(path, content["seconds"], 25.0, 8, 8, None, "fake")

    def clips(self, path: str, starts: Sequence[float], spec: ClipSpec) -> Iterator[Clip]:
        content = _content(path)
        self.decoded.append(path)
        for start in starts:
            if start in content["bad_windows"]:
                raise DecodeError(path, "a torn window")
            rng = np.random.default_rng([content["seed"], round(start * 1000)])
            shape = (spec.num_frames, spec.size_pixels, spec.size_pixels, 3)
            frames = torch.from_numpy(rng.integers(0, 256, shape, dtype=np.uint8))
            yield Clip(frames, torch.ones(spec.num_frames, dtype=torch.bool), Span(start, start + 1))


def _content(path: str) -> dict:
    try:
        return json.loads(Path(path).read_text())
    except ValueError as error:
        raise DecodeError(path, "not a video") from error
