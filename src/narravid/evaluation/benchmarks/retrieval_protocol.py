"""What can be chosen about a retrieval benchmark, whatever its clips are; the defaults are as published."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from narravid.data.feature_files import FolderTracks
from narravid.evaluation.benchmarks.feature_folders import open_features
from narravid.evaluation.cards import features_card, windows_card
from narravid.evaluation.sentences import TextSettings
from narravid.protocols import FeatureDualEncoder, PixelDualEncoder
from narravid.types import ClipSpec, FeatureSpec, Similarity

__all__ = ["RetrievalProtocol"]


@dataclass(frozen=True, kw_only=True)
class RetrievalProtocol:
    """How clips and sentences are embedded and compared.

    Attributes:
        num_windows: Windows per clip, equally spaced, over which its embedding is averaged.
        num_frames: Frames of a window; as the model says when absent.
        fps: Frames per second of a window; as the model says when absent.
        size_pixels: Height and width of a frame; as the model says when absent.
        similarity: How embeddings are compared; the model's own way when absent, as in the published
            evaluations.
        features: For a model that works on extracted features: a folder of feature files, one per video or
            clip, for each of its extractors in the order in which it takes them (2D, then 3D). No video is
            decoded then.
        feature_rates: Features per second of each folder whose files do not state theirs; those of the
            published extractors when empty (1 for 2D, 1.5 for 3D).
        max_words: Words of a sentence that are read; as the model's weights were published when absent.
        case: Whether sentences are lower-cased or keep their case; as the weights were published when absent.

    Raises:
        ValueError: If a number is out of range, or a choice is none of those that there are.
    """

    num_windows: int = 10
    num_frames: int | None = None
    fps: float | None = None
    size_pixels: int | None = None
    similarity: Similarity | None = None
    features: tuple[Path, ...] = ()
    feature_rates: tuple[float, ...] = ()
    max_words: int | None = None
    case: Literal["lower", "keep"] | None = None

    def __post_init__(self) -> None:
        if self.similarity not in (None, "dot", "cosine"):
            raise ValueError(f"similarity must be 'dot' or 'cosine', got {self.similarity!r}")
        if self.case not in (None, "lower", "keep"):
            raise ValueError(f"case must be 'lower' or 'keep', got {self.case!r}")
        for name in ("num_windows", "num_frames", "size_pixels", "max_words"):
            number = getattr(self, name)
            if number is not None and number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")
        if self.fps is not None and not self.fps > 0:
            raise ValueError(f"fps must be positive, got {self.fps}")
        if any(not rate > 0 for rate in self.feature_rates):
            raise ValueError(f"feature_rates must be positive, got {self.feature_rates}")
        if self.feature_rates and len(self.feature_rates) != len(self.features):
            raise ValueError(
                f"there must be a rate for each folder of features: {len(self.features)} folders, "
                f"{len(self.feature_rates)} rates"
            )

    @property
    def text(self) -> TextSettings:
        """How sentences are read."""
        return TextSettings(self.max_words, None if self.case is None else self.case == "lower")

    def clip_spec_of(self, model: PixelDualEncoder) -> ClipSpec:
        """What a window looks like, cropped at the centre whatever the model was trained on."""
        own = model.clip_spec
        return replace(
            own,
            num_frames=self.num_frames or own.num_frames,
            fps=self.fps or own.fps,
            size_pixels=self.size_pixels or own.size_pixels,
            crop="center",
        )

    def similarity_of(self, model: PixelDualEncoder | FeatureDualEncoder) -> Similarity:
        """How embeddings of this model are compared."""
        return self.similarity or model.similarity

    def tracks(self, spec: FeatureSpec) -> FolderTracks:
        """Reads the features.

        Args:
            spec: Whose features the model takes.

        Raises:
            ConfigError: If there are not as many folders as extractors, or one is not there.
        """
        return open_features(spec, self.features, rates=self.feature_rates)

    def pixel_card(self, model: PixelDualEncoder) -> dict[str, Any]:
        """What the numbers depend on when pixels are looked at, as JSON values."""
        return windows_card(
            model,
            clip_spec=self.clip_spec_of(model),
            num_windows=self.num_windows,
            similarity=self.similarity_of(model),
            text=self.text,
        )

    def feature_card(self, model: FeatureDualEncoder) -> dict[str, Any]:
        """What the numbers depend on when features are looked at, as JSON values."""
        return features_card(
            model,
            similarity=self.similarity_of(model),
            text=self.text,
            feature_files=[str(path) for path in self.features],
        )
