"""Noise-contrastive estimation of CPD: recognise a sample among many drawn from memory."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn.functional import softplus

from narravid.distributed import gather_objects, gather_with_gradient, rank
from narravid.losses.logits import check_logits
from narravid.losses.memory_bank import MemoryBank, Modality
from narravid.losses.negative_sampling import AliasSampler
from narravid.losses.unit_vectors import unit_vectors

__all__ = ["MemoryBankNCELoss", "MemoryBankNCEParts", "noise_contrastive_terms"]

NOISE_EPSILON = 1e-7
"""What the published program adds to the noise's share of a denominator."""


def noise_contrastive_terms(
    scores: torch.Tensor, *, noise_probability: float | torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two halves of noise-contrastive estimation, in log space.

    Gutmann & Hyvärinen, AISTATS 2010, with K draws of noise per sample. For the model probability
    p = exp(score) and c = K * noise_probability,

        positive = mean over rows of -log( p / (p + c + 1e-7) )         for the first column
        negative = mean over rows of -sum_k log( c / (p_k + c + 1e-7) )  for the K others

    Args:
        scores: (B, 1 + K) floating point within ±1e4: the sample itself, then what was drawn as noise.
        noise_probability: How likely the noise brings an entry, in (0, 1]: one number, or a tensor that
            broadcasts with `scores`.

    Returns:
        positive () and negative (), float32, or float64 for such scores. Their sum is the loss.

    Raises:
        ValueError: If the shape is wrong or a score is NaN or beyond ±1e4.
    """
    if scores.ndim != 2 or scores.shape[0] == 0 or scores.shape[1] < 2:
        raise ValueError(f"scores must be (B, 1 + K) with B, K >= 1, got {tuple(scores.shape)}")
    check_logits("scores of samples and noise", scores)
    with torch.autocast(scores.device.type, enabled=False):
        scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
        probability = torch.as_tensor(noise_probability, dtype=torch.float64, device=scores.device)
        noise = (scores.shape[1] - 1) * probability
        log_noise = noise.log().to(scores.dtype).expand_as(scores)
        log_rest = (noise + NOISE_EPSILON).log().to(scores.dtype).expand_as(scores)
        positive = softplus(log_rest[:, 0] - scores[:, 0]).mean()
        margin = softplus(scores[:, 1:] - log_rest[:, 1:]) + (log_rest - log_noise)[:, 1:]
        return positive, margin.sum(dim=1).mean()


MODALITIES: tuple[Modality, Modality] = ("video", "text")


@dataclass(frozen=True, slots=True)
class _Scored:
    """What a call of the loss leaves for the bank: embeddings of this process, the rows of all of them."""

    video: torch.Tensor
    text: torch.Tensor
    indices: torch.Tensor
    log_normalisers: tuple[torch.Tensor, torch.Tensor]
    num_rows: int


@dataclass(frozen=True, slots=True)
class MemoryBankNCEParts:
    """The loss and the four terms it is the sum of; equal on every process.

    Attributes:
        loss: () the objective.
        video_positive: () recognising the text of each video in the memory of texts.
        video_negative: () not taking drawn texts for it.
        text_positive: () recognising the video of each text in the memory of videos.
        text_negative: () not taking drawn videos for it.
    """

    loss: torch.Tensor
    video_positive: torch.Tensor
    video_negative: torch.Tensor
    text_positive: torch.Tensor
    text_negative: torch.Tensor


class MemoryBankNCELoss(nn.Module):
    """Video and text pair discrimination against memory banks of the whole data set.

    Li & Wang, Learning Spatiotemporal Features via Video and Text Pair Discrimination, arXiv 2001.05691.
    Each video is scored against the remembered texts of its own sample and of K drawn ones, each
    text against remembered videos: p = exp(cosine / temperature) / Z, with Z as in `MemoryBank`. The
    noise may bring the sample itself, as published.

    In training mode every call changes the state, as batch normalisation does: the first one sets Z, each one
    writes the batch into the bank after it was scored. In evaluation mode nothing changes. On several
    processes the loss is that of the global batch, and so are Z and the bank; their batches may differ in
    size.

    Args:
        bank: The memory; part of this module's state.
        temperature: Divides the cosines, > 0.
        noise_weights: (N,) floating point > 0, how often each sample is drawn as noise; None for all alike,
            as published.
        deferred: Change the state in `remember` only, so that the pieces of a batch that is scored piece by
            piece all see the same bank.

    Raises:
        ValueError: If the temperature or the weights are not such numbers.
    """

    def __init__(
        self,
        bank: MemoryBank,
        *,
        temperature: float = 0.07,
        noise_weights: torch.Tensor | None = None,
        deferred: bool = False,
    ) -> None:
        super().__init__()
        if not (math.isfinite(temperature) and temperature > 0):
            raise ValueError(f"temperature must be positive, got {temperature}")
        if noise_weights is not None and (
            noise_weights.shape != (bank.num_samples,) or not bool((noise_weights > 0).all())
        ):
            raise ValueError(
                f"noise_weights must be ({bank.num_samples},) and above 0, one for each sample of the bank"
            )
        self.bank = bank
        self.temperature = temperature
        self._sampler = None if noise_weights is None else AliasSampler(noise_weights)
        self._deferred = deferred
        self._scored: list[_Scored] = []

    def draw_negatives(
        self, num_clips: int, *, num_negatives: int, generator: torch.Generator
    ) -> torch.Tensor:
        """Draw the noise for one batch.

        Each process draws for the global batch and takes its own rows: with generators of one seed, several
        processes draw what one would.

        Args:
            num_clips: B, the batch of this process; those of others may be larger or smaller.
            num_negatives: K; 16,392 in the published pre-training on 300,000 samples.
            generator: Source of the randomness.

        Returns:
            (B, K) int64 in [0, N), on the device of the bank.
        """
        sizes = gather_objects(num_clips)
        shape = (sum(sizes), num_negatives)
        if self._sampler is not None:
            drawn = self._sampler.draw(shape, generator=generator)
        else:
            drawn = torch.randint(self.bank.num_samples, shape, generator=generator, device=generator.device)
        start = sum(sizes[: rank()])
        return drawn[start : start + num_clips].to(self.bank.video_memory.device)

    def forward(
        self, video: torch.Tensor, text: torch.Tensor, indices: torch.Tensor, *, negatives: torch.Tensor
    ) -> torch.Tensor:
        """The loss of one batch; in training mode also its step of the bank.

        Args:
            video: (B, D) floating point, embeddings of this process; normalised here.
            text: (B, D) floating point; text i belongs to video i.
            indices: (B,) int64 in [0, N), which sample of the data set each one is.
            negatives: (B, K) int64 in [0, N), from `draw_negatives`.

        Returns:
            () float32, also for half-precision inputs and under autocast; float64 for float64 inputs.

        Raises:
            ValueError: If the shapes or indices do not fit the bank, or a cosine over the temperature is NaN
                or beyond ±1e4. The bank is then as it was.
        """
        return self.parts(video, text, indices, negatives=negatives).loss

    def parts(
        self, video: torch.Tensor, text: torch.Tensor, indices: torch.Tensor, *, negatives: torch.Tensor
    ) -> MemoryBankNCEParts:
        """What `forward` does, with the terms for logging; call one of the two in a step, not both.

        Args:
            video: As in `forward`.
            text: As in `forward`.
            indices: As in `forward`.
            negatives: As in `forward`.

        Returns:
            All terms; `.loss` is what `forward` returns.

        Raises:
            ValueError: As in `forward`.
        """
        self._check(video, text, indices, negatives)
        dtype = torch.promote_types(torch.promote_types(video.dtype, text.dtype), torch.float32)
        selected = torch.cat([indices[:, None], negatives], dim=1)
        with torch.autocast(video.device.type, enabled=False):
            video, text = unit_vectors(video.to(dtype)), unit_vectors(text.to(dtype))
            logits = self._logits(video, "text", selected), self._logits(text, "video", selected)
            log_normalisers = (
                self.bank.log_normaliser("video", logits[0].detach()),
                self.bank.log_normaliser("text", logits[1].detach()),
            )
            noise = self._noise_probability(selected)
            terms = [
                term
                for scores, log_normaliser in zip(logits, log_normalisers, strict=True)
                for term in noise_contrastive_terms(scores - log_normaliser, noise_probability=noise)
            ]
            # Every process has the means of its own rows; weighted, they give those of the global batch.
            sums = gather_with_gradient((torch.stack(terms) * len(video))[None]).sum(dim=0)
            num_rows = sum(gather_objects(len(video)))
            means = sums / num_rows
            if self.training:
                self._scored.append(
                    _Scored(video.detach(), text.detach(), indices, log_normalisers, num_rows)
                )
                if not self._deferred:
                    self.remember()
        return MemoryBankNCEParts(means.sum(), *means.unbind())

    def remember(self) -> None:
        """Change the state by all that was scored since the last time; of `deferred` losses, once in a step.

        Every process must have scored as many pieces. Z is set as if all had been one batch, and a sample
        that came several times keeps its last embedding.
        """
        scored, self._scored = self._scored, []
        if not scored:
            return
        shares = torch.tensor([piece.num_rows for piece in scored], dtype=torch.float64)
        shares /= shares.sum()
        for number, modality in enumerate(MODALITIES):
            logarithms = torch.stack([piece.log_normalisers[number] for piece in scored])
            mean = torch.logsumexp(logarithms + shares.log().to(logarithms), dim=0)
            self.bank.keep_normaliser(modality, mean)
        self.bank.update(
            torch.cat([piece.video for piece in scored]),
            torch.cat([piece.text for piece in scored]),
            torch.cat([piece.indices for piece in scored]),
        )

    def forget(self) -> None:
        """Drop what was scored and not remembered, as of a step that failed."""
        self._scored.clear()

    def _logits(self, embeddings: torch.Tensor, other: Modality, selected: torch.Tensor) -> torch.Tensor:
        """(B, 1 + K) cosines over the temperature with the selected embeddings of the other side."""
        remembered = self.bank.memory(other)[selected].to(embeddings.dtype)
        logits = torch.einsum("bkd,bd->bk", remembered, embeddings) / self.temperature
        check_logits(f"cosines with the memory of {other}s over the temperature", logits)
        return logits

    def _noise_probability(self, selected: torch.Tensor) -> float | torch.Tensor:
        if self._sampler is None:
            return 1 / self.bank.num_samples
        return self._sampler.probabilities.to(selected.device)[selected]

    def _check(
        self, video: torch.Tensor, text: torch.Tensor, indices: torch.Tensor, negatives: torch.Tensor
    ) -> None:
        num_samples, embed_dim = self.bank.video_memory.shape
        if video.ndim != 2 or video.shape != text.shape or video.shape[1] != embed_dim or len(video) == 0:
            raise ValueError(
                f"video and text must both be (B, {embed_dim}) with B >= 1, "
                f"got {tuple(video.shape)} and {tuple(text.shape)}"
            )
        if indices.shape != video.shape[:1] or negatives.ndim != 2 or len(negatives) != len(video):
            raise ValueError(
                f"indices must be ({len(video)},) and negatives ({len(video)}, K), "
                f"got {tuple(indices.shape)} and {tuple(negatives.shape)}"
            )
        for name, values in (("indices", indices), ("negatives", negatives)):
            if values.dtype != torch.int64 or values.numel() == 0:
                raise ValueError(f"{name} must be int64 and not empty, got {values.dtype} {values.shape}")
            lowest, highest = torch.aminmax(values)
            if int(lowest) < 0 or int(highest) >= num_samples:
                raise ValueError(
                    f"{name} must lie in [0, {num_samples}), got {int(lowest)} to {int(highest)}"
                )
