"""Dual encoders small enough for a test to know every number of."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from narravid.types import ClipSpec, Similarity


class TinyDualEncoder(nn.Module):
    """Mean colour of a clip and mean word vector of a sentence, each through one linear layer."""

    def __init__(
        self,
        *,
        embed_dim: int = 4,
        num_words: int = 12,
        similarity: Similarity = "dot",
        temperature: float | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.color = nn.Linear(3, embed_dim)
            self.words = nn.Embedding(num_words, embed_dim)
            self.sentence = nn.Linear(embed_dim, embed_dim)
        self.embed_dim = embed_dim
        self.similarity: Similarity = similarity
        self.clip_spec = ClipSpec(num_frames=2, fps=2.0, size_pixels=8, frame_rule="shown_at")
        self.log_scale = None if temperature is None else nn.Parameter(-torch.tensor(temperature).log())

    @property
    def device(self) -> torch.device:
        return self.color.weight.device

    @property
    def logit_scale(self) -> torch.Tensor | None:
        return None if self.log_scale is None else self.log_scale.exp()

    @property
    def weights_hash(self) -> str:
        return "tiny"

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.to(self.color.weight.dtype).mean(dim=(2, 3, 4)) / 128 - 1

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.color(self.video_features(clips))

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        return self.sentence(self.words(tokens).mean(dim=-2))

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        rows = [[len(word) % len(self.words.weight) for word in sentence.split()] for sentence in sentences]
        return torch.cat([self.encode_tokens(torch.tensor([row])) for row in rows])
