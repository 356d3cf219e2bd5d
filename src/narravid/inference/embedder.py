"""Turning sentences and clips into the vectors that an index keeps and a search compares."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn import functional as F

from narravid.errors import NarravidError
from narravid.protocols import PixelDualEncoder
from narravid.types import Clip, ClipSpec, Similarity
from narravid.video.transforms import to_channels_first

__all__ = ["Embedder", "EmbeddingDtype"]

EmbeddingDtype = Literal["float32", "bfloat16"]
"""Arithmetic of the network: full, or bfloat16 where autocast allows it. Vectors come out as float32."""

FloatArray = npt.NDArray[np.float32]


class Embedder:
    """Embeds sentences and clips with one model.

    May be used from several threads, whose forward passes take turns. Vectors that are compared
    by cosine come out L2-normalised, so that a dot product is the similarity for every model.

    Args:
        model: The dual encoder; moved to `device` and set to eval mode.
        device: Where to compute, such as "cpu" or "cuda".
        dtype: Arithmetic of the network.
        batch_size: Clips per forward pass. Numbers may differ in the last bit between batch sizes, never
            between runs with the same one.
        similarity: How the vectors are to be compared; None as the model says.

    Raises:
        ValueError: If a value is not allowed.
    """

    def __init__(
        self,
        model: PixelDualEncoder,
        *,
        device: torch.device | str = "cpu",
        dtype: EmbeddingDtype = "float32",
        batch_size: int = 8,
        similarity: Similarity | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        if dtype not in ("float32", "bfloat16"):
            raise ValueError(f"dtype must be 'float32' or 'bfloat16', got {dtype!r}")
        if isinstance(model, nn.Module):
            model.to(device).eval()
        self._model = model
        self._similarity: Similarity = similarity or model.similarity
        self._dtype = dtype
        self._batch_size = batch_size
        self._turn = threading.Lock()

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
        return self._finish(vectors, "a sentence")

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
        with self._turn, torch.inference_mode(), self._autocast():
            vectors = self._model.encode_video(frames.to(self._model.device))
        return self._finish(vectors, "a clip")

    def _finish(self, vectors: torch.Tensor, what: str) -> FloatArray:
        vectors = vectors.detach().float()
        if not bool(torch.isfinite(vectors).all()):
            raise NarravidError(f"the model gives NaN or infinity for {what}; its weights are not usable")
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
