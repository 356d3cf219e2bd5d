"""Turning sentences and clips into the vectors that an index keeps and a search compares."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from narravid.errors import NarravidError
from narravid.inference.clip_encoder import Backend, ClipEncoder, EmbeddingDtype
from narravid.protocols import PixelDualEncoder
from narravid.types import Clip, ClipSpec, Similarity
from narravid.video.transforms import to_channels_first

__all__ = ["Embedder", "EmbeddingDtype"]

FloatArray = npt.NDArray[np.float32]


class Embedder:
    """Embeds sentences and clips with one model.

    May be used from several threads, whose clips take turns. Vectors that are compared by cosine come out
    L2-normalised, so that a dot product is the similarity for every model. Clips are embedded with the
    weights as they are now; make another embedder when training has gone on.

    Args:
        model: The dual encoder; moved to `device` and set to eval mode.
        device: Where to compute, such as "cpu" or "cuda".
        dtype: Arithmetic of the network.
        batch_size: Clips per forward pass. Numbers may differ in the last bit between batch sizes, never
            between runs with the same one.
        similarity: How the vectors are to be compared; None as the model says.
        backend: What computes the vectors of clips; those of sentences always PyTorch.

    Raises:
        ValueError: If a value is not allowed.
        MissingExtraError: If the backend is not installed.
    """

    def __init__(
        self,
        model: PixelDualEncoder,
        *,
        device: torch.device | str = "cpu",
        dtype: EmbeddingDtype = "float32",
        batch_size: int = 8,
        similarity: Similarity | None = None,
        backend: Backend = "torch",
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self._clip_encoder = ClipEncoder(model, device=device, dtype=dtype, backend=backend)
        self._model = model
        self._similarity: Similarity = similarity or model.similarity
        self._dtype = dtype
        self._batch_size = batch_size

    @property
    def model(self) -> PixelDualEncoder:
        """The dual encoder in use."""
        return self._model

    @property
    def similarity(self) -> Similarity:
        """How the vectors are to be compared."""
        return self._similarity

    @property
    def dtype(self) -> EmbeddingDtype:
        """Arithmetic of the network."""
        return self._dtype

    @property
    def clip_spec(self) -> ClipSpec:
        """What the model wants to see of a clip."""
        return self._model.clip_spec

    @property
    def clip_encoder(self) -> ClipEncoder:
        """The network that makes the vectors of clips, raw."""
        return self._clip_encoder

    @property
    def batch_size(self) -> int:
        """Clips per forward pass."""
        return self._batch_size

    def embed_text(self, sentences: Sequence[str]) -> FloatArray:
        """Embed sentences.

        Args:
            sentences: N sentences.

        Returns:
            (N, D) float32.

        Raises:
            NarravidError: If the model gives NaN or infinity.
        """
        if not sentences:
            return np.zeros((0, self._model.embed_dim), dtype=np.float32)
        with torch.inference_mode(), self._autocast():
            vectors = self._model.encode_text(list(sentences))
        vectors = vectors.detach().float()
        if not bool(torch.isfinite(vectors).all()):
            raise NarravidError("the model gives NaN or infinity for a sentence; its weights are not usable")
        return self._compared(vectors)

    def embed_clips(self, clips: Iterable[Clip]) -> FloatArray:
        """Embed clips, `batch_size` at a time; no more than one batch is held.

        Args:
            clips: N clips with frames (T, H, W, 3) as the clip specification of the model wants them.

        Returns:
            (N, D) float32.

        Raises:
            NarravidError: If the model gives NaN or infinity.
        """
        batches = [self._embed_batch(batch) for batch in _batched(clips, self._batch_size)]
        if not batches:
            return np.zeros((0, self._model.embed_dim), dtype=np.float32)
        return np.concatenate(batches)

    def _embed_batch(self, clips: Sequence[Clip]) -> FloatArray:
        frames = torch.stack([to_channels_first(clip.frames) for clip in clips])
        return self._compared(self._clip_encoder.encode(frames))

    def _compared(self, vectors: torch.Tensor) -> FloatArray:
        if self._similarity == "cosine":
            vectors = F.normalize(vectors, dim=-1)
        return vectors.cpu().numpy()

    def _autocast(self) -> AbstractContextManager[object]:
        if self._dtype == "float32":
            return nullcontext()
        return torch.autocast(self._model.device.type, dtype=torch.bfloat16)


def _batched(clips: Iterable[Clip], size: int) -> Iterator[list[Clip]]:
    iterator = iter(clips)
    while batch := list(itertools.islice(iterator, size)):
        yield batch
