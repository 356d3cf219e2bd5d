"""The temporal alignment network: which seconds of a long video show what a sentence says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from narravid.models.aligner_config import TemporalAlignerConfig
from narravid.models.aligner_encoders import AlignerEncoders, Masks
from narravid.models.aligner_outputs import AlignerEmbeddings, AlignerOutput, cosines, own_cosines, unit
from narravid.models.masked_sentence_tower import MaskedSentenceTower
from narravid.models.weights_hash import WeightsHash
from narravid.text.unknown_sentences import UnknownSentences
from narravid.text.words import VOCABULARY_FILE, Vocabulary, WordTokenizer
from narravid.types import VideoAlignment

__all__ = ["TemporalAligner"]


class TemporalAligner(nn.Module):
    """Dual and joint transformer over a video's seconds and its sentences; an `Aligner`.

    Han et al., Temporal Alignment Networks for Long-term Video, CVPR 2022, arXiv 2204.02968, section 3. The
    dual encoder sees the video alone and compares it with projected sentences; the joint encoder sees both.
    All layers' outputs are compared, because all of them are trained.

    Masks are True for what is real and False for padding.

    Args:
        config: Shapes and settings.
        vocabulary: The words; must fill the word table exactly.

    Attributes:
        config: As given.
        vocabulary: As given.
        tokenizer: Sentences to (N, max_words) ids, lower-cased, unknown words kept in place as padding.
        embed_dim: D.
        feature_spec: Whose features the video comes as.
        max_positions: Seconds that have a position of their own.
        alignability_layer: Which joint layer's alignability logits are to be read.

    Raises:
        ValueError: If vocabulary and word table differ in size.
    """

    def __init__(self, config: TemporalAlignerConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        if vocabulary.num_embeddings != config.text.num_embeddings:
            raise ValueError(
                f"the vocabulary has {len(vocabulary)} words and needs num_embeddings = "
                f"{vocabulary.num_embeddings}, the configuration says {config.text.num_embeddings}"
            )
        self.config = config
        self.vocabulary = vocabulary
        self.tokenizer = WordTokenizer(
            vocabulary, max_words=config.max_words, lower_case=True, unknown="keep"
        )
        self.embed_dim = config.embed_dim
        self.feature_spec = config.feature_spec
        self.max_positions = config.max_positions
        self.alignability_layer = config.alignability_layer
        self.text = MaskedSentenceTower(config.text)
        self.encoders = AlignerEncoders(config)
        self._unknown_sentences = UnknownSentences()
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.encoders.video_projection.weight.device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration, vocabulary and all tensors, in hexadecimal."""
        return self._hash.of(self.config, self.vocabulary.words, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Write the vocabulary into a model folder."""
        self.vocabulary.save(folder / VOCABULARY_FILE)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Sentence embeddings; warns once of each sentence in which no word is known.

        Args:
            sentences: N sentences.

        Returns:
            (N, E) float32, E = `config.text.embed_dim`, not L2-normalised.
        """
        tokens = self.tokenizer(sentences)
        self._unknown_sentences.warn_once(sentences, tokens)
        return self.encode_tokens(tokens)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """(..., L) int64 word ids, 0 = padding, to (..., E) float32 sentence embeddings."""
        rows = tokens.reshape(math.prod(tokens.shape[:-1]), tokens.shape[-1])
        embeddings: torch.Tensor = self.text(rows.to(self.device))
        embeddings = embeddings.to(torch.promote_types(embeddings.dtype, torch.float32))
        return embeddings.reshape(*tokens.shape[:-1], self.config.text.embed_dim)

    def forward(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        feature_mask: torch.Tensor | None = None,
        text_mask: torch.Tensor | None = None,
        interpolate_from: int | tuple[int, int] | None = None,
        position_generator: torch.Generator | None = None,
    ) -> AlignerOutput:
        """Compare all seconds with all sentences of a batch, for training.

        Args:
            features: (B, T, F) floating point, one vector per second, F = `feature_spec.feature_dim`.
            text: (B, N, E) floating point, sentence embeddings from `encode_text` or `encode_tokens`.
            feature_mask: (B, T) bool, False for padded seconds; None when all are real.
            text_mask: (B, N) bool, False for padded sentences; None when all are real.
            interpolate_from: Stretch so many positions over the whole length: of the video, or of the video
                and of the sentences; None gives every second a position of its own.
            position_generator: Draws at which position the video, and at which the sentences, begin: the same
                in both encoders. None begins at 0, as for evaluation and the second stage of training.

        Returns:
            Similarities, embeddings and alignability.

        Raises:
            ValueError: If a shape or dtype does not fit, a video has no real second, or it is longer than the
                positions.
        """
        starts = (0, 0)
        if position_generator is not None:
            starts = self.encoders.draw_starts(features.shape[1], text.shape[1], generator=position_generator)
        embedded = self.encode(
            features,
            text,
            masks=(feature_mask, text_mask),
            interpolate_from=interpolate_from,
            position_starts=starts,
        )
        return self.compare(embedded)

    def encode(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        masks: Masks = (None, None),
        interpolate_from: int | tuple[int, int] | None = None,
        position_starts: tuple[int, int] = (0, 0),
    ) -> AlignerEmbeddings:
        """What the encoders make of each video and its sentences, which no other video of the batch changes.

        Args:
            features: As for `forward`.
            text: As for `forward`.
            masks: `feature_mask` and `text_mask` of `forward`.
            interpolate_from: As for `forward`.
            position_starts: At which position the video begins, and at which the sentences.

        Returns:
            Unit vectors of seconds and sentences, by layer.

        Raises:
            ValueError: As `forward`.
        """
        seconds, sentences, placed = self.encoders.tokens(
            features, text, stretch=interpolate_from, starts=position_starts
        )
        masks = _checked_masks(seconds, sentences, masks)
        dual_video = self.encoders.dual(seconds, mask=masks[0])
        joint_video, joint_text = self.encoders.joint(seconds, placed, masks=masks)
        dual_logits, joint_logits = self.encoders.alignability(sentences, joint_text)
        return AlignerEmbeddings(
            unit(dual_video), unit(sentences), unit(joint_video), unit(joint_text), dual_logits, joint_logits
        )

    @staticmethod
    def compare(embedded: AlignerEmbeddings) -> AlignerOutput:
        """Every second of every video against every sentence of every video, as `forward` gives it."""
        return AlignerOutput(
            dual=cosines(embedded.dual_video, embedded.dual_text),
            joint=cosines(embedded.joint_video, embedded.joint_text),
            dual_video=embedded.dual_video,
            dual_text=embedded.dual_text,
            alignability_dual=embedded.alignability_dual,
            alignability_joint=embedded.alignability_joint,
        )

    def align(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        interpolate_from: int | tuple[int, int] | None = None,
    ) -> VideoAlignment:
        """Compare the seconds of each video with its own sentences, nothing padded.

        Args:
            features: (B, T, F) floating point, one vector per second.
            text: (B, N, E) floating point, sentence embeddings.
            interpolate_from: As for `forward`; needed for videos longer than `max_positions` seconds.

        Returns:
            Similarities (B, layers, T, N) of both encoders and, with the head, alignability.

        Raises:
            ValueError: As `forward`.
        """
        embedded = self.encode(features, text, interpolate_from=interpolate_from)
        return VideoAlignment(
            dual=own_cosines(embedded.dual_video, embedded.dual_text),
            joint=own_cosines(embedded.joint_video, embedded.joint_text),
            alignability_dual=embedded.alignability_dual,
            alignability_joint=embedded.alignability_joint,
        )

    def similarity_dual(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        interpolate_from: int | tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """The `dual` of `align`, (B, layers, T, N), without the cost of the joint encoder."""
        seconds, sentences, _ = self.encoders.tokens(features, text, stretch=interpolate_from)
        return own_cosines(unit(self.encoders.dual(seconds)), unit(sentences))

    def similarity_joint(
        self,
        features: torch.Tensor,
        text: torch.Tensor,
        *,
        interpolate_from: int | tuple[int, int] | None = None,
    ) -> torch.Tensor:
        """The `joint` of `align`, (B, layers, T, N), without the cost of the dual encoder."""
        seconds, _, placed = self.encoders.tokens(features, text, stretch=interpolate_from)
        joint_video, joint_text = self.encoders.joint(seconds, placed)
        return own_cosines(unit(joint_video), unit(joint_text))


def _checked_masks(seconds: torch.Tensor, sentences: torch.Tensor, masks: Masks) -> Masks:
    for name, tokens, mask in zip(("feature_mask", "text_mask"), (seconds, sentences), masks, strict=True):
        if mask is not None and (mask.shape != tokens.shape[:2] or mask.dtype != torch.bool):
            raise ValueError(
                f"{name} must be {tuple(tokens.shape[:2])} bool, got {tuple(mask.shape)} {mask.dtype}"
            )
    if masks[0] is not None:
        without = (~masks[0].any(dim=1)).nonzero()
        if len(without):
            raise ValueError(f"video {int(without[0])} of the batch has no real second in feature_mask")
    return masks
