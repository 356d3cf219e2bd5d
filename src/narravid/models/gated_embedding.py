"""The feature dual encoder of HowTo100M: gated embedding units over extracted features and word vectors.

Miech et al., ICCV 2019, arXiv 1906.03327, section 4.1; the unit is that of Miech et al., "Learning a
Text-Video Embedding from Incomplete and Heterogeneous Data", arXiv 1804.02516, section 3.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from narravid.errors import NarravidError
from narravid.models.similarity import compare
from narravid.models.weights_hash import WeightsHash
from narravid.text.unknown_sentences import UnknownSentences
from narravid.text.word_vectors import WordVectors
from narravid.text.words import VOCABULARY_FILE, Vocabulary, WordTokenizer
from narravid.types import FeatureSpec, Similarity

__all__ = ["GatedDualEncoder", "GatedDualEncoderConfig", "GatedEmbeddingUnit", "GatedTextTower"]

SENTENCES_AT_ONCE = 256
"""Sentences of one pass: the hidden layer holds `sentence_dim` numbers for each of their words."""

HOWTO100M_FEATURES = FeatureSpec(extractors=("resnet152-imagenet", "resnext101-kinetics"), dims=(2048, 2048))


@dataclass(frozen=True)
class GatedDualEncoderConfig:
    """Everything but the weights and the words; the defaults are the published network.

    Attributes:
        feature_spec: Whose features it takes.
        word_dim: Size of a word vector.
        sentence_dim: Size of the layer whose maximum over words is taken.
        embed_dim: Size of the joint embedding.
        max_words: Words of a sentence that are read.
        lower_case: Whether sentences are lower-cased first; word2vec's GoogleNews words are not.

    Raises:
        ValueError: If a size is below 1.
    """

    feature_spec: FeatureSpec = HOWTO100M_FEATURES
    word_dim: int = 300
    sentence_dim: int = 6144
    embed_dim: int = 6144
    max_words: int = 20
    lower_case: bool = False

    def __post_init__(self) -> None:
        for name in ("word_dim", "sentence_dim", "embed_dim", "max_words"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")


class UnusedBatchNorm(nn.Module):
    """The tensors of a batch normalisation that the published network creates and never applies.

    They are in its files, so they are kept here and written back; as buffers, because nothing trains them.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__()
        self.register_buffer("weight", torch.ones(num_features))
        self.register_buffer("bias", torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))


class ContextGating(nn.Module):
    """x · sigmoid(linear(x)), per channel."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(dim, dim)
        self.batch_norm = UnusedBatchNorm(dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, D) to (B, D)."""
        return x * torch.sigmoid(self.fc(x))


class GatedEmbeddingUnit(nn.Module):
    """Linear layer, context gating, L2 normalisation (arXiv 1804.02516, equations 1 to 3).

    Args:
        input_dim: Size of the input.
        embed_dim: Size of the embedding, D.
    """

    def __init__(self, input_dim: int, embed_dim: int) -> None:
        super().__init__()
        self.fc = nn.Linear(input_dim, embed_dim)
        self.gating = ContextGating(embed_dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, input_dim) to (B, D) of length 1: float32, or float64 for float64 weights."""
        gated = self.gating(self.fc(x))
        return F.normalize(gated.to(torch.promote_types(gated.dtype, torch.float32)), dim=-1)


class GatedTextTower(nn.Module):
    """Linear layer with ReLU on each word vector, the maximum over words, a gated embedding unit.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: GatedDualEncoderConfig) -> None:
        super().__init__()
        self.fc = nn.Linear(config.word_dim, config.sentence_dim)
        self.unit = GatedEmbeddingUnit(config.sentence_dim, config.embed_dim)

    def forward(self, word_vectors: torch.Tensor) -> torch.Tensor:
        """Embeddings of sentences.

        Args:
            word_vectors: (N, L, word_dim) float; the zero vectors that fill short sentences take part in the
                maximum (with the bias of the linear layer), as in the published network.

        Returns:
            (N, D) float32 of length 1.
        """
        # The maximum may come before the ReLU, which keeps the order; the large tensor is then made once.
        embeddings: torch.Tensor = self.unit(F.relu(self.fc(word_vectors).amax(dim=1)))
        return embeddings


class GatedDualEncoder(nn.Module):
    """Features of clips and sentences in one space; a `FeatureDualEncoder`.

    The published weights come without word vectors. A model without them encodes features only, until
    `attach_words` gives it some; they then travel with it, in its state dict and its model folder.

    Args:
        config: Sizes and settings.
        vocabulary: The words whose vectors the state dict will hold (all zeros until it is loaded); None for
            a model without words.

    Attributes:
        config: As given.
        vocabulary: The words, or None.
        tokenizer: Sentences to (N, max_words) ids, or None.
        word_table: (number of words + 1, word_dim), row 0 = padding = zeros, or None; never trained.
        embed_dim: D.
        similarity: "dot"; embeddings have length 1.
        feature_spec: Whose features it takes.
    """

    word_table: torch.Tensor | None

    def __init__(self, config: GatedDualEncoderConfig, vocabulary: Vocabulary | None = None) -> None:
        super().__init__()
        self.config = config
        self.embed_dim = config.embed_dim
        self.similarity: Similarity = "dot"
        self.feature_spec = config.feature_spec
        self.text = GatedTextTower(config)
        self.video = GatedEmbeddingUnit(config.feature_spec.feature_dim, config.embed_dim)
        self.register_buffer("word_table", None)
        self.vocabulary: Vocabulary | None = None
        self.tokenizer: WordTokenizer | None = None
        self._unknown_sentences = UnknownSentences()
        self._hash = WeightsHash()
        if vocabulary is not None:
            self._take_words(vocabulary, torch.zeros(vocabulary.num_embeddings, config.word_dim))

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.video.fc.weight.device

    @property
    def weights_hash(self) -> str:
        """SHA-256 of configuration, words and all tensors, in hexadecimal."""
        words = None if self.vocabulary is None else self.vocabulary.words
        return self._hash.of(self.config, words, self.state_dict(keep_vars=True))

    def write_assets(self, folder: Path) -> None:
        """Write the words, if there are any, into a model folder; their vectors are among its tensors."""
        if self.vocabulary is not None:
            self.vocabulary.save(folder / VOCABULARY_FILE)

    def attach_words(self, words: WordVectors) -> None:
        """Give the model its words, or others in place of those it has.

        Args:
            words: Words and vectors; must be those it was trained with (published: word2vec's GoogleNews).

        Raises:
            ValueError: If the vectors are of another size than the model reads.
        """
        if words.table.shape[1] != self.config.word_dim:
            raise ValueError(
                f"the model reads word vectors of size {self.config.word_dim}, got {words.table.shape[1]}"
            )
        table = words.table.to(self.device, self.video.fc.weight.dtype)
        if bool(table[0].any()):  # sentences are filled with zeros here, whatever the table has for padding
            table = torch.cat([torch.zeros_like(table[:1]), table[1:]])
        self._take_words(words.vocabulary, table)

    def encode_features(self, features: torch.Tensor) -> torch.Tensor:
        """Embeddings of clips.

        Args:
            features: (B, F) float, F = `feature_spec.feature_dim`: for each extractor the maximum over the
                clip's time, L2-normalised, side by side.

        Returns:
            (B, D) float32 of length 1.

        Raises:
            ValueError: If the shape or dtype does not fit.
        """
        dim = self.feature_spec.feature_dim
        if features.ndim != 2 or features.shape[1] != dim or not features.is_floating_point():
            raise ValueError(
                f"features must be float (B, {dim}), those of {' and '.join(self.feature_spec.extractors)} "
                f"side by side; got {tuple(features.shape)} {features.dtype}"
            )
        weight = self.video.fc.weight
        embeddings: torch.Tensor = self.video(features.to(weight.device, weight.dtype))
        return embeddings

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        """Embeddings of sentences; warns once of each sentence in which no word is known.

        Args:
            sentences: N sentences.

        Returns:
            (N, D) float32 of length 1.

        Raises:
            NarravidError: If the model has no word vectors; says which files to give.
        """
        if self.tokenizer is None:
            raise _words_are_missing()
        tokens = self.tokenizer(sentences)
        self._unknown_sentences.warn_once(sentences, tokens)
        return self.encode_tokens(tokens)

    def encode_tokens(self, tokens: torch.Tensor) -> torch.Tensor:
        """Embeddings of word ids.

        Args:
            tokens: (..., L) int64, 0 = padding.

        Returns:
            (..., D) float32 of length 1.

        Raises:
            NarravidError: As `encode_text`.
            ValueError: If the shape or dtype does not fit.
        """
        table = self.word_table
        if table is None:
            raise _words_are_missing()
        if tokens.ndim == 0 or tokens.shape[-1] == 0 or tokens.dtype != torch.int64:
            raise ValueError(
                f"tokens must be (..., L) int64 with L >= 1, got {tuple(tokens.shape)} {tokens.dtype}"
            )
        rows = tokens.to(self.device).reshape(-1, tokens.shape[-1])
        parts = [self.text(F.embedding(some, table)) for some in torch.split(rows, SENTENCES_AT_ONCE)]
        return torch.cat(parts).reshape(*tokens.shape[:-1], self.embed_dim)

    def similarity_matrix(self, video: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Dot product of every clip with every sentence: (V, D) and (N, D) embeddings to (V, N) float32."""
        return compare(video, text, self.similarity)

    def _take_words(self, vocabulary: Vocabulary, table: torch.Tensor) -> None:
        self.vocabulary = vocabulary
        self.tokenizer = WordTokenizer(
            vocabulary, max_words=self.config.max_words, lower_case=self.config.lower_case
        )
        self.word_table = table
        self._hash = WeightsHash()  # other words for the same vectors make another model


def _words_are_missing() -> NarravidError:
    return NarravidError(
        "this HowTo100M model has no word vectors, which are published apart from its weights: put "
        "GoogleNews-vectors-negative300.bin, or MIL-NCE's dict.npy and word2vec.pth, beside the checkpoint "
        "and open it again, or give them to attach_words"
    )
