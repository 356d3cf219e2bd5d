"""What all benchmarks share in one run: the model, where and how it computes, who decodes, what is kept."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from narravid.bad_items import MAX_BAD_SHARE
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.embedding_cache import EmbeddingCache
from narravid.inference.clip_encoder import Backend, ClipEncoder, ClipOutput, EmbeddingDtype
from narravid.models.kinds import (
    as_aligner,
    as_feature_dual_encoder,
    as_feature_extractor,
    as_pixel_dual_encoder,
)
from narravid.protocols import Aligner, FeatureDualEncoder, FeatureExtractor, Model, PixelDualEncoder
from narravid.video.watched import WatchedDecoder

__all__ = ["EvaluationSession"]


@dataclass(frozen=True)
class EvaluationSession:
    """A model that is being judged, with everything that no benchmark decides by itself.

    Attributes:
        model: The model, of any kind, in evaluation mode on `device`.
        decoder: Reads videos, ahead of the network.
        model_name: What the user called the model; for errors and the protocol card.
        device: Where to compute.
        dtype: Arithmetic of the network.
        backend: What runs the network on clips.
        batch_size: Windows per forward pass.
        cache: Keeps what the network gave for clips; None keeps nothing.
        max_bad_share: Share in [0, 1] of the videos that may be unreadable; 1 never stops.
        seed: Of the resampling for intervals.

    Raises:
        ValueError: If a number is out of range.
    """

    model: Model
    decoder: WatchedDecoder
    model_name: str = "the model"
    device: torch.device | str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 8
    cache: EmbeddingCache | None = None
    max_bad_share: float = MAX_BAD_SHARE
    seed: int = 0
    _encoders: dict[ClipOutput, ClipEncoder] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def __post_init__(self) -> None:
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be from 0 to 1, got {self.max_bad_share}")

    def pixel_dual_encoder(self) -> PixelDualEncoder:
        """The model as one that compares clips with sentences.

        Raises:
            CheckpointError: If it is of another kind; says which is needed.
        """
        return as_pixel_dual_encoder(self.model, self.model_name)

    def feature_dual_encoder(self) -> FeatureDualEncoder:
        """The model as one that compares extracted features with sentences; as `pixel_dual_encoder`."""
        return as_feature_dual_encoder(self.model, self.model_name)

    def feature_extractor(self) -> FeatureExtractor:
        """The model as one that turns clips into features; as `pixel_dual_encoder`."""
        return as_feature_extractor(self.model, self.model_name)

    def aligner(self) -> Aligner:
        """The model as one that aligns long videos with sentences; as `pixel_dual_encoder`."""
        return as_aligner(self.model, self.model_name)

    def check_plain_arithmetic(self, part: str) -> None:
        """Refuse choices that would change nothing, since a part of the work knows float32 and torch only.

        Args:
            part: What computes, such as "an aligner on features".

        Raises:
            ConfigError: If another dtype or backend is chosen.
        """
        for key, chosen, only in (("dtype", self.dtype, "float32"), ("backend", self.backend, "torch")):
            if chosen != only:
                raise ConfigError(
                    f"{part} computes in {only} only, and no video is encoded: leave out --{key} {chosen}",
                    key=key,
                )

    def clip_encoder(self, output: ClipOutput = "embedding") -> ClipEncoder:
        """The network that turns clips into vectors, made once for each kind of vector.

        Args:
            output: "embedding" in the space of the sentences, "feature" of the trunk, "logits" of classes.

        Raises:
            CheckpointError: If the model gives no such vectors; says which kind of model does.
        """
        if output not in self._encoders:
            model = self._model_for(output)
            self._encoders[output] = ClipEncoder(
                model, output=output, device=self.device, dtype=self.dtype, backend=self.backend
            )
        return self._encoders[output]

    def _model_for(self, output: ClipOutput) -> PixelDualEncoder | FeatureExtractor:
        if output == "embedding":
            return self.pixel_dual_encoder()
        if output == "logits" and not hasattr(self.model, "class_logits"):
            raise CheckpointError(
                self.model_name,
                f"a {type(self.model).__name__} does not do here; this needs a classifier (it scores the "
                "classes of clips), such as one fine-tuned by `narravid train cpd-finetune`",
            )
        if isinstance(self.model, PixelDualEncoder):
            return self.model
        return self.feature_extractor()
