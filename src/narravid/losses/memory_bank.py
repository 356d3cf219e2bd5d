"""The memory of CPD: an embedding of every video and every text of the data set, refreshed as they pass."""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import nn

from narravid.distributed import gather_objects, gather_with_gradient
from narravid.losses.unit_vectors import unit_vectors

__all__ = ["MemoryBank", "Modality"]

Modality = Literal["video", "text"]
UNSET = -1.0
"""Value of a normaliser before the first batch, as in published checkpoints."""


class MemoryBank(nn.Module):
    """Embeddings of all samples of a data set, with the two normalisers of the scores against them.

    Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691;
    after Wu et al., 2018, arXiv 1805.01978. Its state are four buffers, one for one those of published
    checkpoints: `video_memory` and `text_memory`, both (N, D) float32, and `video_normaliser` and
    `text_normaliser`, both (1,) float32 and -1 until they are set.

    Every process holds the whole bank. Updates gather the batch of all processes, so the banks stay equal
    if they start equal: from a generator with the same seed, or from one checkpoint.

    Args:
        num_samples: N, samples of the training set.
        embed_dim: D.
        generator: Source of the first content, uniform within ±1 / sqrt(D / 3), so of length near 1.
        momentum: Share in [0, 1) of the old embedding in an updated one.

    Raises:
        ValueError: If an argument is out of range.
    """

    video_memory: torch.Tensor
    text_memory: torch.Tensor
    video_normaliser: torch.Tensor
    text_normaliser: torch.Tensor

    def __init__(
        self, num_samples: int, embed_dim: int, *, generator: torch.Generator, momentum: float = 0.5
    ) -> None:
        super().__init__()
        if num_samples < 1 or embed_dim < 1:
            raise ValueError(
                f"num_samples and embed_dim must be at least 1, got {num_samples} and {embed_dim}"
            )
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must lie in [0, 1), got {momentum}")
        self.momentum = momentum
        bound = 1 / math.sqrt(embed_dim / 3)
        for modality in ("video", "text"):
            start = torch.rand(num_samples, embed_dim, generator=generator, device=generator.device)
            self.register_buffer(f"{modality}_memory", start * (2 * bound) - bound)
        for modality in ("video", "text"):
            self.register_buffer(f"{modality}_normaliser", torch.full((1,), UNSET, device=generator.device))

    @property
    def num_samples(self) -> int:
        """N, the samples remembered."""
        return len(self.video_memory)

    def memory(self, modality: Modality) -> torch.Tensor:
        """(N, D) float32, the embeddings of one side."""
        return self.video_memory if modality == "video" else self.text_memory

    def normaliser(self, modality: Modality) -> torch.Tensor:
        """(1,) float32, what the exponential scores of this side's embeddings are divided by; -1 if unset."""
        return self.video_normaliser if modality == "video" else self.text_normaliser

    @torch.no_grad()
    def log_normaliser(self, modality: Modality, scores: torch.Tensor) -> torch.Tensor:
        """The logarithm of the normaliser, estimated from a batch as long as none is set.

        The estimate is N times the mean exponential score, over the batches of all processes.

        Args:
            modality: Whose embeddings were scored against the memory of the other side.
            scores: (B, 1 + K) floating point, logarithms of the exponential scores, within ±1e4.

        Returns:
            () float32, or float64 for such scores.

        Raises:
            ValueError: If the normaliser is too large or too small for float32, in which it is kept.
        """
        normaliser = self.normaliser(modality)
        if float(normaliser) > 0:
            return normaliser[0].to(scores.dtype).log()
        log_sums = gather_with_gradient(scores.logsumexp(dim=(0, 1))[None])
        log_mean = log_sums.logsumexp(dim=0) - math.log(sum(gather_objects(scores.numel())))
        estimate = log_mean + math.log(self.num_samples)
        limits = torch.finfo(torch.float32)
        if not math.log(limits.tiny) <= float(estimate) < math.log(limits.max):
            raise ValueError(
                f"the normaliser of {modality} scores would be e^{float(estimate):.1f}, beyond float32: "
                "raise the temperature"
            )
        return estimate

    @torch.no_grad()
    def keep_normaliser(self, modality: Modality, log_normaliser: torch.Tensor) -> None:
        """Set a normaliser unless it is set: the first training batch decides for good.

        It is never estimated again: a bank that is loaded brings its own, and training goes on with it.
        """
        normaliser = self.normaliser(modality)
        if float(normaliser) <= 0:
            normaliser.copy_(log_normaliser.exp())

    @torch.no_grad()
    def update(self, video: torch.Tensor, text: torch.Tensor, indices: torch.Tensor) -> None:
        """Move the embeddings of a batch towards its new ones: m * old + (1 - m) * new, then length 1.

        The batches of all processes are gathered. Where an index comes more than once, the last one in the
        order of ranks and rows wins, on every device and every run.

        Args:
            video: (B, D) floating point of length 1, the new embeddings of this process.
            text: (B, D) likewise.
            indices: (B,) int64 in [0, N), the samples they belong to.
        """
        indices = gather_with_gradient(indices)
        rows, row_of = torch.unique(indices, return_inverse=True)
        places = torch.arange(len(indices), device=indices.device)
        last = torch.zeros_like(rows).scatter_reduce_(0, row_of, places, "amax", include_self=False)
        for memory, new in ((self.video_memory, video), (self.text_memory, text)):
            kept = gather_with_gradient(new.detach())[last].to(memory.dtype)
            memory[rows] = unit_vectors(self.momentum * memory[rows] + (1 - self.momentum) * kept)
