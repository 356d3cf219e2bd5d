"""What each kind of model makes of HTM-Align's videos: vectors of the seconds, and how it compares them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from narravid.data.annotations.htm_align import HtmAlignVideo
from narravid.errors import CheckpointError, ConfigError
from narravid.evaluation.benchmarks.feature_folders import open_features
from narravid.evaluation.benchmarks.htm_align_seconds import (
    SecondsOfVideo,
    seconds_from_features,
    seconds_from_pixels,
    seconds_in_features,
)
from narravid.evaluation.benchmarks.long_videos import window_spec
from narravid.evaluation.benchmarks.protocol_card import clip_card
from narravid.evaluation.comparisons import AlignerComparison, DualEncoderComparison, SecondsComparison
from narravid.evaluation.sentences import TextSettings, text_card
from narravid.evaluation.session import EvaluationSession
from narravid.inference.clip_encoder import ClipEncoder
from narravid.models.hub import load
from narravid.models.kinds import as_feature_extractor
from narravid.protocols import Aligner, FeatureDualEncoder, FeatureExtractor, PixelDualEncoder
from narravid.types import FeatureSpec, Similarity

__all__ = ["SecondsOptions", "SecondsSource", "open_source"]

FEATURE_FRAMES = 16
FEATURE_FPS = 16.0
"""What of a second the published features see: 16 frames at 16 per second (arXiv 2204.02968)."""


class SecondsOptions(Protocol):
    """What can be chosen about the seconds; see `HtmAlign`."""

    @property
    def videos(self) -> Path | None:
        """Folder of the videos."""

    @property
    def features(self) -> tuple[Path, ...]:
        """Folders of features."""

    @property
    def feature_rates(self) -> tuple[float, ...]:
        """Features per second of each."""

    @property
    def feature_model(self) -> str | None:
        """What extracts the features of an aligner."""

    @property
    def similarity(self) -> Similarity | None:
        """How a dual encoder compares."""

    @property
    def num_frames(self) -> int | None:
        """Frames that stand for a second."""

    @property
    def fps(self) -> float | None:
        """Their rate."""

    @property
    def text(self) -> TextSettings:
        """How a dual encoder reads sentences."""


@dataclass(frozen=True, slots=True)
class SecondsSource:
    """The videos as seconds, and how the model compares them with sentences.

    Attributes:
        seconds: Each video once, in any order.
        comparison: How the model compares.
        card: What both depend on, as JSON values.
    """

    seconds: Iterator[SecondsOfVideo]
    comparison: SecondsComparison
    card: dict[str, Any]


def open_source(
    session: EvaluationSession, options: SecondsOptions, videos: Sequence[HtmAlignVideo]
) -> SecondsSource:
    """Prepare the session's model, of whichever kind it is.

    Args:
        session: The run.
        options: Where videos or features lie, and what can be chosen about them.
        videos: The videos.

    Returns:
        Their seconds, which are computed as they are taken.

    Raises:
        CheckpointError: If the model is of no kind that compares seconds with sentences, or its features
            cannot be extracted.
        ConfigError: If neither the videos nor the features that it needs are named.
    """
    model = session.model
    if isinstance(model, Aligner):
        return _aligner(session, options, videos)
    if isinstance(model, FeatureDualEncoder):
        return _feature_dual_encoder(session, options, videos)
    if isinstance(model, PixelDualEncoder):
        return _pixel_dual_encoder(session, options, videos)
    raise CheckpointError(
        session.model_name,
        f"a {type(model).__name__} does not do here; this needs an aligner, such as TAN, or a dual encoder "
        "on pixels or features, such as S3D, CPD, ViCLIP or HowTo100M",
    )


def _aligner(
    session: EvaluationSession, options: SecondsOptions, videos: Sequence[HtmAlignVideo]
) -> SecondsSource:
    model = session.aligner()
    card: dict[str, Any] = {
        "similarity": "mean of the last layers of the dual and the joint encoder",
        "alignability": "the head's, or the greatest similarity for an aligner without one",
        "aligner_computes_in": "float32 by torch",
    }
    comparison = AlignerComparison(model)
    if options.features:
        session.check_plain_arithmetic("an aligner")
        tracks = open_features(model.feature_spec, options.features, rates=options.feature_rates)
        if len(tracks.folders) != 1 or tracks.folders[0].steps_per_second != 1.0:
            raise ConfigError("an aligner takes one folder of features, one per second", key="feature_rates")
        seconds = seconds_in_features(videos, tracks, max_bad_share=session.max_bad_share)
        return SecondsSource(seconds, comparison, card | _features_card(model.feature_spec, options))
    extractor, name = _extractor(session, model, options)
    spec = window_spec(
        extractor.clip_spec,
        num_frames=options.num_frames or FEATURE_FRAMES,
        fps=options.fps or FEATURE_FPS,
    )
    encoder = ClipEncoder(
        extractor,
        output="feature",
        device=session.device,
        dtype=session.dtype,
        backend=session.backend,
    )
    seconds = seconds_from_pixels(session, encoder, videos, folder=_folder(session, options), spec=spec)
    card["features"] = {"extracted_by": name, "weights_hash": extractor.weights_hash, "per_second": 1}
    return SecondsSource(seconds, comparison, card | {"clip": clip_card(spec)})


def _extractor(
    session: EvaluationSession, model: Aligner, options: SecondsOptions
) -> tuple[FeatureExtractor, str]:
    """What gives the features that an aligner takes, and its name."""
    _folder(session, options)
    names = model.feature_spec.extractors
    if options.feature_model is None and len(names) != 1:
        raise ConfigError(
            f"{session.model_name} takes features of {' and '.join(names)}, which are not extracted here: "
            "name their folders with --features",
            key="features",
        )
    name = options.feature_model or names[0]
    extractor = as_feature_extractor(load(name, device=session.device), name)
    if extractor.feature_dim != model.feature_spec.feature_dim:
        raise CheckpointError(
            name,
            f"gives features of {extractor.feature_dim} numbers, and {session.model_name} takes those of "
            f"{' and '.join(names)}, {model.feature_spec.feature_dim} numbers; name another --feature-model",
        )
    return extractor, name


def _feature_dual_encoder(
    session: EvaluationSession, options: SecondsOptions, videos: Sequence[HtmAlignVideo]
) -> SecondsSource:
    model = session.feature_dual_encoder()
    session.check_plain_arithmetic("a dual encoder on features")
    tracks = open_features(model.feature_spec, options.features, rates=options.feature_rates)
    seconds = seconds_from_features(model, videos, tracks, max_bad_share=session.max_bad_share)
    comparison, card = _dual_encoder(session, model, options)
    card["second"] = "the largest value of each feature within it, each extractor's L2-normalised"
    return SecondsSource(seconds, comparison, card | _features_card(model.feature_spec, options))


def _pixel_dual_encoder(
    session: EvaluationSession, options: SecondsOptions, videos: Sequence[HtmAlignVideo]
) -> SecondsSource:
    model = session.pixel_dual_encoder()
    if options.features:
        raise ConfigError(
            f"{session.model_name} works on pixels and takes no features: name the videos with --videos",
            key="features",
        )
    spec = window_spec(model.clip_spec, num_frames=options.num_frames, fps=options.fps)
    seconds = seconds_from_pixels(
        session, session.clip_encoder("embedding"), videos, folder=_folder(session, options), spec=spec
    )
    comparison, card = _dual_encoder(session, model, options)
    card["second"] = "one window around its middle, moved inside the video at its ends"
    return SecondsSource(seconds, comparison, card | {"clip": clip_card(spec)})


def _dual_encoder(
    session: EvaluationSession, model: PixelDualEncoder | FeatureDualEncoder, options: SecondsOptions
) -> tuple[SecondsComparison, dict[str, Any]]:
    comparison = DualEncoderComparison(
        model, similarity=options.similarity, text=options.text, dtype=session.dtype
    )
    return comparison, {
        "similarity": comparison.similarity,
        "alignability": "the greatest similarity",
        "text": text_card(model, options.text),
    }


def _features_card(spec: FeatureSpec, options: SecondsOptions) -> dict[str, Any]:
    return {
        "features": dict(zip(spec.extractors, spec.dims, strict=True)),
        "feature_files": [str(path) for path in options.features],
    }


def _folder(session: EvaluationSession, options: SecondsOptions) -> Path:
    if options.videos is None:
        raise ConfigError(
            f"name the folder of the videos for {session.model_name} with --videos", key="videos"
        )
    return options.videos
