"""Clips to vectors by one network in its fastest form."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import torch
from torch import nn

from narravid.errors import NarravidError
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.types import ClipSpec

__all__ = ["Backend", "ClipEncoder", "ClipOutput", "EmbeddingDtype"]

EmbeddingDtype = Literal["float32", "bfloat16"]
"""Arithmetic of the network: full, or bfloat16 where that loses little. Vectors come out as float32."""

Backend = Literal["torch", "openvino", "onnxruntime"]
"""What computes the network."""

ClipOutput = Literal["embedding", "feature", "logits"]
"""What of a network is wanted: the vector that is compared with sentences, the trunk's feature, or the scores
of classes."""

METHODS: dict[ClipOutput, str] = {
    "embedding": "encode_video",
    "feature": "video_features",
    "logits": "class_logits",
}
"""The method of a model that gives each output."""

SIZES: dict[ClipOutput, str] = {
    "embedding": "embed_dim",
    "feature": "feature_dim",
    "logits": "num_classes",
}
"""Where a model, or the configuration of a classifier, says how large each output is."""


class ClipEncoder:
    """Clips to vectors by one network in its fastest form.

    May be used from several threads, whose forward passes take turns. The weights are taken as they are now:
    training that goes on changes the model, not this.

    Args:
        model: The network; moved to `device` and set to eval mode.
        output: What is wanted of it.
        device: Where to compute, such as "cpu" or "cuda".
        dtype: Arithmetic of the network.
        backend: What computes it.
        compiled: Whether torch.compile makes the kernels; backend "torch" only.

    Attributes:
        model: As given.
        output: As given.
        dtype: As given.
        backend: As given.

    Raises:
        ValueError: If a value is not allowed or the model has no such output; says which it has.
    """

    def __init__(
        self,
        model: PixelDualEncoder | FeatureExtractor,
        *,
        output: ClipOutput = "embedding",
        device: torch.device | str = "cpu",
        dtype: EmbeddingDtype = "float32",
        backend: Backend = "torch",
        compiled: bool = False,
    ) -> None:
        for name, value, allowed in (
            ("output", output, ClipOutput),
            ("dtype", dtype, EmbeddingDtype),
            ("backend", backend, Backend),
        ):
            if value not in get_args(allowed):
                known = " or ".join(repr(choice) for choice in get_args(allowed))
                raise ValueError(f"{name} must be {known}, got {value!r}")
        _check_output(model, output)
        if isinstance(model, nn.Module):
            model.to(device).eval()
        self.model = model
        self.output: ClipOutput = output
        self.dtype: EmbeddingDtype = dtype
        self.backend: Backend = backend
        self._hash = model.weights_hash
        self._turn = threading.Lock()

    @property
    def clip_spec(self) -> ClipSpec:
        """What the network wants to see of a clip."""
        return self.model.clip_spec

    @property
    def weights_hash(self) -> str:
        """That of the given model, whatever form it takes here."""
        return self._hash

    @property
    def dim(self) -> int:
        """Size of a vector."""
        holder = self.model.config if self.output == "logits" else self.model  # type: ignore[union-attr]
        return int(getattr(holder, SIZES[self.output]))

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Vectors of clips, as the network gives them, not normalised.

        Args:
            clips: (B, 3, T, H, W) uint8, as the clip specification wants them.

        Returns:
            (B, dim) float32 on the CPU.

        Raises:
            NarravidError: If the network gives NaN or infinity.
        """
        with self._turn, torch.inference_mode(), self._autocast():
            vectors: torch.Tensor = getattr(self.model, METHODS[self.output])(clips.to(self.model.device))
        vectors = vectors.detach().float().cpu()
        if not bool(torch.isfinite(vectors).all()):
            raise NarravidError("the model gives NaN or infinity for a clip; its weights are not usable")
        return vectors

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype == "float32":
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)


def _check_output(model: object, output: ClipOutput) -> None:
    if hasattr(model, METHODS[output]):
        return
    has = [name for name, method in METHODS.items() if hasattr(model, method)]
    raise ValueError(f"a {type(model).__name__} has no {output}, it has: {', '.join(has)}")
