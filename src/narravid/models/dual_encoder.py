"""The pixel dual encoder of MIL-NCE: S3D for clips, word vectors for sentences, one space for both."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from narravid.config import check_choices
from narravid.models.inference_form import HasInferenceForm
from narravid.models.s3d import S3D, S3DConfig
from narravid.models.similarity import compare
from narravid.models.text_encoders import SentenceTower, SentenceTowerConfig
from narravid.models.weights_hash import WeightsHash
from narravid.text.unknown_sentences import UnknownSentences
from narravid.text.words import VOCABULARY_FILE, UnknownWords, Vocabulary, WordTokenizer
from narravid.types import ClipSpec, Similarity
from narravid.video.transforms import normalise, to_unit_float

__all__ = ["S3DDualEncoder", "S3DDualEncoderConfig"]


@dataclass(frozen=True)
class S3DDualEncoderConfig:
    """Everything but the weights and the words.

    Attributes:
        video: Shape of the video tower.
        text: Shape of the text tower.
        clip_spec: What a clip must look like.
        max_words: Words of a sentence that are read.
        lower_case: Whether sentences are lower-cased first.
        unknown_words: Whether words outside the vocabulary are dropped or kept in place as padding.
        similarity: How embeddings are compared, `dot` (published) or `cosine`.
        temperature: Starting point of a learned temperature that divides similarities in training; None for
            none (published).

    Raises:
        ValueError: If the towers do not fit each other or a value is out of range.
    """

    video: S3DConfig
    text: SentenceTowerConfig
    clip_spec: ClipSpec
    max_words: int = 20
    lower_case: bool = True
    unknown_words: UnknownWords = "drop"
    similarity: Similarity = "dot"
    temperature: float | None = None

    def __post_init__(self) -> None:
        if self.video.embed_dim != self.text.embed_dim:
            raise ValueError(
                "both towers need the same embed_dim, "
                f"got {self.video.embed_dim} (video) and {self.text.embed_dim} (text)"
            )
        if self.max_words < 1:
            raise ValueError(f"max_words must be at least 1, got {self.max_words}")
        check_choices(self)
        if self.temperature is not None and not 0 < self.temperature < math.inf:
            raise ValueError(f"temperature must be positive, got {self.temperature}")


class S3DDualEncoder(HasInferenceForm):
    """S3D and sentence tower with their vocabulary and clip specification; a `PixelDualEncoder`.

    Embeddings come as the towers give them; `similarity` says how to compare them, `similarity_matrix` does.

    Args:
        config: Shapes and settings.
        vocabulary: The words; must fill the word table exactly.

    Attributes:
        config: As given.
        vocabulary: As given.
        tokenizer: Sentences to (N, max_words) ids.
        embed_dim: D.
        feature_dim: F, size of `video_features`.
        similarity: "dot" or "cosine".
        clip_spec: What a clip must look like.

    Raises:
        ValueError: If vocabulary and word table differ in size.
    """

    def __init__(self, config: S3DDualEncoderConfig, vocabulary: Vocabulary) -> None:
        super().__init__()
        if vocabulary.num_embeddings != config.text.num_embeddings:
            raise ValueError(
                f"the vocabulary has {len(vocabulary)} words and needs num_embeddings = "
                f"{vocabulary.num_embeddings}, the configuration says {config.text.num_embeddings}"
            )
        self.config = config
        self.vocabulary = vocabulary
        self.tokenizer = WordTokenizer(
            vocabulary,
            max_words=config.max_words,
            lower_case=config.lower_case,
            unknown=config.unknown_words,
        )
        self.embed_dim = config.video.embed_dim
        self.similarity: Similarity = config.similarity
        self.clip_spec = config.clip_spec
        self.video = S3D(config.video)
        self.text = SentenceTower(config.text)
        self.feature_dim = self.video.feature_dim
        self.log_scale = (
            None if config.temperature is None else nn.Parameter(torch.tensor(-math.log(config.temperature)))
        )
        self._unknown_sentences = UnknownSentences()
        self._hash = WeightsHash()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.video.fc.weight.device

    @property
    def logit_scale(self) -> torch.Tensor | None:
        """Learned scalar that similarities are multiplied by in training, 1 / temperature, or None."""
        return None if self.log_scale is None else self.log_scale.exp()

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration, vocabulary and all tensors, in hexadecimal.

        Recomputed only when a tensor was replaced or written to since the last call.
        """
        return self._hash.of(self.config, self.vocabulary.words, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Write the vocabulary into a model folder."""
        self.vocabulary.save(folder / VOCABULARY_FILE)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        """Embeddings of clips.

        Args:
            clips: (B, 3, T, H, W), uint8 in [0, 255] or float32 in [0, 1]; the model's own mean and
                standard deviation are applied here.

        Returns:
            (B, D) float32.

        Raises:
            ValueError: If the shape, dtype or (space-to-depth stem) an odd size does not fit.
        """
        return self.embed_features(self.video_features(clips))

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        """Trunk features of clips, (B, 3, T, H, W) as for `encode_video` to (B, F) float32."""
        return self.video.features(self._normalised(clips)).float()

    def embed_features(self, features: torch.Tensor) -> torch.Tensor:
        """(B, F) trunk features to (B, D) float32 embeddings, the second half of `encode_video`."""
        embeddings: torch.Tensor = self.video.fc(features.to(self.video.fc.weight.dtype))
        return embeddings.float()

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Embeddings of sentences; warns once of each sentence in which no word is known.

        Args:
            sentences: N sentences.

        Returns:
            (N, D) float32.
        """
        tokens: torch.Tensor = self.tokenizer(sentences)
        self._unknown_sentences.warn_once(sentences, tokens)
        return self.encode_tokens(tokens)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of word ids.

        Args:
            tokens: (..., L) int64, 0 = padding.

        Returns:
            (..., D) float32.
        """
        rows = tokens.reshape(math.prod(tokens.shape[:-1]), tokens.shape[-1])
        embeddings: torch.Tensor = self.text(rows.to(self.device))
        return embeddings.float().reshape(*tokens.shape[:-1], self.embed_dim)

    def similarity_matrix(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Similarity of every clip with every sentence, as the model compares them.

        Args:
            video: (V, D) embeddings.
            text: (N, D) embeddings.

        Returns:
            (V, N) float32: dot products, of L2-normalised vectors when `similarity` is "cosine".
        """
        return compare(video, text, self.similarity)

    def _normalised(self, clips: torch.Tensor) -> torch.Tensor:
        spec = self.clip_spec
        unit: torch.Tensor = to_unit_float(clips.to(self.device, non_blocking=True))
        return normalise(unit, spec.mean, spec.std).to(self.video.fc.weight.dtype)
