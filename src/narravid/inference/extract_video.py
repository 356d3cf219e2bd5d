"""One video into the vectors of its windows: decoded in one pass, in batches of its own.

The vectors of a video depend on nothing else that is extracted: a batch holds windows of one video, and
always as many, except the last. Kernels may differ in the last bit between batches of different size.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from narravid.errors import DecodeError, NarravidError
from narravid.inference.extract_plan import ExtractionPlan, windows_of
from narravid.video.decode_chunks import ChunkShape
from narravid.video.transforms import to_channels_first

__all__ = ["ChunkDecoder", "EncodeClips", "VideoExtractor", "as_stored"]

BATCHES_AHEAD = 2
"""Batches of a video that wait for the network while the next one is gathered."""

FloatArray = npt.NDArray[np.float32]


class EncodeClips(Protocol):
    """The network; `inference.clip_encoder.ClipEncoder` is one."""

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """(B, 3, T, H, W) uint8 to (B, F) float32 on the CPU."""


class ChunkDecoder(Protocol):
    """What extraction needs of a decoder; `video.watched.WatchedDecoder` is one for files of strangers."""

    def chunks(self, path: str | Path, shape: ChunkShape) -> Iterator[torch.Tensor]:
        """A whole video in consecutive chunks of frames."""


class VideoExtractor:
    """Turns videos into vectors. Use as a context manager; several threads may extract a video each.

    All forward passes run on one thread, so that there is always a next batch for it while others decode.

    Args:
        encoder: The network.
        decoder: Reads the videos.
        plan: The windows.
        batch_size: Windows per forward pass.
    """

    def __init__(
        self, encoder: EncodeClips, decoder: ChunkDecoder, plan: ExtractionPlan, *, batch_size: int
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {batch_size}")
        self.plan = plan
        self._encoder = encoder
        self._decoder = decoder
        self._batch_size = batch_size
        self._busy_seconds = 0.0
        self._network = ThreadPoolExecutor(1, thread_name_prefix="network")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._network.shutdown(cancel_futures=True)

    @property
    def busy_seconds(self) -> float:
        """How long the network has worked."""
        return self._busy_seconds

    def extract(
        self, path: str | Path, *, on_batch: Callable[[int], None] = lambda num_windows: None
    ) -> FloatArray:
        """The vectors of a video.

        Args:
            path: The file.
            on_batch: Called with the number of windows of each batch that was read; an exception from it
                stops the work.

        Returns:
            (n, F) float32, one for each window in order of time, L2-normalised if the plan says so.

        Raises:
            DecodeError: If the file does not decode.
            NarravidError: If the network gives NaN or infinity.
        """
        waiting: deque[Future[torch.Tensor]] = deque()
        vectors: list[torch.Tensor] = []
        try:
            for batch in self._batches(path):
                on_batch(len(batch))
                waiting.append(self._network.submit(self._encode, batch))
                if len(waiting) > BATCHES_AHEAD:
                    vectors.append(waiting.popleft().result())
            while waiting:
                vectors.append(waiting.popleft().result())
        finally:
            for future in waiting:
                future.cancel()
        if not vectors:
            raise DecodeError(path, "no frame could be decoded")
        features = torch.cat(vectors)
        if self.plan.is_normalised:
            features = F.normalize(features, dim=1)
        return features.numpy()

    def _batches(self, path: str | Path) -> Iterator[torch.Tensor]:
        windows = windows_of(self._decoder.chunks(path, self.plan.chunk_shape), self.plan)
        while batch := list(islice(windows, self._batch_size)):
            yield to_channels_first(torch.stack(batch))

    def _encode(self, batch: torch.Tensor) -> torch.Tensor:
        began = time.perf_counter()
        vectors = self._encoder.encode(batch)
        self._busy_seconds += time.perf_counter() - began  # on the one thread of the network
        return vectors


def as_stored(features: FloatArray, dtype: str) -> npt.NDArray[np.floating]:
    """Features in the type in which they are kept.

    Args:
        features: (n, F) float32.
        dtype: "float16" or "float32".

    Raises:
        NarravidError: If a number is too large for the type.
    """
    with np.errstate(over="ignore"):
        stored: npt.NDArray[np.floating] = features.astype(dtype)
    if not np.isfinite(stored).all():
        largest = float(np.abs(features).max())
        raise NarravidError(f"a feature of {largest:.3g} does not fit into {dtype}; keep them as float32")
    return stored
