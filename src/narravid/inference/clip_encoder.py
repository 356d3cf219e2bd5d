"""Clips to vectors by one network in its fastest form."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, get_args

import numpy as np
import torch
from torch import nn

from narravid.errors import NarravidError
from narravid.inference.runtimes import TowerRuntime, check_backend_installed, open_tower
from narravid.inference.tower_cache import converted_video_tower
from narravid.models.inference_form import HasInferenceForm, InferenceDtype
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.types import ClipSpec

__all__ = ["Backend", "ClipEncoder", "ClipOutput", "EmbeddingDtype"]

EmbeddingDtype = InferenceDtype
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


MAX_SIZES = 4
"""Sizes of clips for which a converted network is held ready at once: whole frames come in several shapes."""


class ClipEncoder:
    """Clips to vectors by one network in its fastest form.

    May be used from several threads, whose forward passes take turns. The weights are taken as they are at
    the first clip: training that goes on later changes the model, not this. Only a network that has no form
    for inference, one of your own perhaps, is used as it is at each clip; keep it in eval mode.

    Args:
        model: The network; moved to `device` and set to eval mode.
        output: What is wanted of it.
        device: Where to compute, such as "cpu" or "cuda"; only "cpu" for backends other than "torch".
        dtype: Arithmetic of the network. "bfloat16" is for backends "torch" and "openvino", and gains where
            the processor has instructions for it.
        backend: What computes it. Others than "torch" convert the network once for each size of clips, and
            keep the result in Narravid's cache folder.
        compiled: Whether torch.compile makes the kernels; backend "torch" only.

    Attributes:
        model: As given.
        output: As given.
        dtype: As given.
        backend: As given.

    Raises:
        ValueError: If a value is not allowed, values do not go together, or the model has no such output;
            says which it has.
        MissingExtraError: If the backend is not installed.
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
        _check_choices(output, dtype, backend)
        _check_output(model, output)
        if backend != "torch":
            _check_backend(backend, torch.device(device), dtype=dtype, compiled=compiled)
        if isinstance(model, nn.Module):
            model.to(device).eval()
        self.model = model
        self.output: ClipOutput = output
        self.dtype: EmbeddingDtype = dtype
        self.backend: Backend = backend
        self._compiled = compiled
        self._form: PixelDualEncoder | FeatureExtractor | None = None
        self._towers: dict[tuple[int, int, int], TowerRuntime] = {}
        self._hash: str | None = None
        self._turn = threading.Lock()

    @property
    def clip_spec(self) -> ClipSpec:
        """What the network wants to see of a clip."""
        return self.model.clip_spec

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        return self.model.device

    @property
    def weights_hash(self) -> str:
        """That of the given model, whatever form it takes here."""
        return self.model.weights_hash if self._hash is None else self._hash

    @property
    def dim(self) -> int:
        """Size of a vector."""
        holder = self.model.config if self.output == "logits" else self.model  # type: ignore[union-attr]
        return int(getattr(holder, SIZES[self.output]))

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        """Vectors of clips, as the network gives them, not normalised.

        Args:
            clips: (B, 3, T, H, W) uint8, as the clip specification wants them; with backend "torch" also
                float32 in [0, 1], for pixels that must not be rounded.

        Returns:
            (B, dim) float32 on the CPU.

        Raises:
            NarravidError: If the network gives NaN or infinity, or cannot be converted for the backend.
            ValueError: If the shape or dtype does not fit.
        """
        with self._turn, torch.inference_mode():
            vectors = self._by_torch(clips) if self.backend == "torch" else self._by_runtime(clips)
        if not bool(torch.isfinite(vectors).all()):
            raise NarravidError("the model gives NaN or infinity for a clip; its weights are not usable")
        return vectors

    def _by_torch(self, clips: torch.Tensor) -> torch.Tensor:
        if self._form is None:
            with torch.inference_mode(mode=False):  # its tensors shall be tensors like others
                self._form = self._fastest_form()
        with self._autocast():
            vectors: torch.Tensor = getattr(self._form, METHODS[self.output])(clips.to(self.model.device))
        return vectors.detach().float().cpu()

    def _fastest_form(self) -> PixelDualEncoder | FeatureExtractor:
        self._hash = self.model.weights_hash
        if not isinstance(self.model, HasInferenceForm) or self.model.is_inference_form:
            return self.model
        return self.model.for_inference(dtype=self.dtype, compiled=self._compiled)

    def _autocast(self) -> AbstractContextManager[object]:
        if self.dtype == "float32" or isinstance(self.model, HasInferenceForm):
            return nullcontext()
        return torch.autocast(self.model.device.type, dtype=torch.bfloat16)

    def _by_runtime(self, clips: torch.Tensor) -> torch.Tensor:
        if clips.is_floating_point():
            raise ValueError(
                f"the backend {self.backend} takes uint8 clips, got {clips.dtype}; use torch for such pixels"
            )
        if clips.ndim != 5 or clips.shape[1] != 3 or clips.dtype != torch.uint8:
            raise ValueError(f"clips must be (B, 3, T, H, W) uint8, got {tuple(clips.shape)} {clips.dtype}")
        frames, height, width = clips.shape[2:]
        tower = self._towers.pop((frames, height, width), None)
        if tower is None:
            while len(self._towers) >= MAX_SIZES:
                del self._towers[next(iter(self._towers))]  # the one whose last use is longest ago
            with torch.inference_mode(mode=False):
                tower = self._tower((frames, height, width))
        self._towers[frames, height, width] = tower
        pixels = np.ascontiguousarray(clips.cpu().numpy())
        return torch.from_numpy(tower.run({"clips": pixels})[self.output])

    def _tower(self, size: tuple[int, int, int]) -> TowerRuntime:
        assert self.backend != "torch"
        if self._hash is None:
            self._hash = self.model.weights_hash
        elif self._hash != self.model.weights_hash:
            raise NarravidError("the model was trained on since its first clip; make another encoder of it")
        path = converted_video_tower(self.model, self._hash, size=size)
        return open_tower(path, (self.output,), runtime=self.backend, dtype=self.dtype)


def _check_choices(output: str, dtype: str, backend: str) -> None:
    for name, value, allowed in (
        ("output", output, ClipOutput),
        ("dtype", dtype, EmbeddingDtype),
        ("backend", backend, Backend),
    ):
        if value not in get_args(allowed):
            known = " or ".join(repr(choice) for choice in get_args(allowed))
            raise ValueError(f"{name} must be {known}, got {value!r}")


def _check_output(model: object, output: ClipOutput) -> None:
    if hasattr(model, METHODS[output]):
        return
    has = [name for name, method in METHODS.items() if hasattr(model, method)]
    raise ValueError(f"a {type(model).__name__} has no {output}, it has: {', '.join(has)}")


def _check_backend(
    backend: Literal["openvino", "onnxruntime"], device: torch.device, *, dtype: str, compiled: bool
) -> None:
    if device.type != "cpu":
        raise ValueError(f"the backend {backend} computes on the CPU; use torch for {device}")
    if compiled:
        raise ValueError(f"compiled is for the backend torch, got {backend}")
    if backend == "onnxruntime" and dtype != "float32":
        raise ValueError(f"the backend onnxruntime computes in float32, got {dtype}; openvino and torch can")
    check_backend_installed(backend)
