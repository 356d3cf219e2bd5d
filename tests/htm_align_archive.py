"""HTM-Align made small: two videos, their features, one that is broken, one that is absent."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from narravid.evaluation.session import EvaluationSession
from narravid.types import FeatureSpec, Span, VideoAlignment
from planned_videos import write_planned_video
from watched_doubles import DirectDecoder

SECONDS = {"cooking": 24, "drilling": 20}
SENTENCES = {  # [alignable, start, end, text]
    "cooking": [
        [0, 0.5, 2.0, "hello now stir"],
        [1, 3.0, 6.0, "add oil"],
        [1, 9.0, 11.0, "cut tomato"],
        [0, 12.0, 15.0, "so did my mother cut"],
        [1, 18.0, 22.0, "stir the pan"],
    ],
    "drilling": [[1, 2.0, 5.0, "drill a pan"], [0, 8.0, 11.0, "thanks for the oil"]],
    "broken": [[1, 0.0, 3.0, "add oil"]],
    "absent": [[1, 0.0, 3.0, "add oil"]],
    "silent": [],
}
TRUTH = {
    number: [(text, Span(start, end)) for shown, start, end, text in SENTENCES[name] if shown]
    for number, name in enumerate(SECONDS)
}
SHORT = {"window_seconds": 16, "step_seconds": 4}


def write_archive(root: Path) -> Path:
    """The videos with their annotations."""
    for number, (name, seconds) in enumerate(SECONDS.items()):
        write_planned_video(root / f"{name}.mp4", number, seconds=seconds)
    (root / "broken.mp4").write_bytes(b"no video at all")
    (root / "htm_align.json").write_text(json.dumps(SENTENCES))
    return root


def session_of(model, **options) -> EvaluationSession:
    options = {"decoder": DirectDecoder(), "max_bad_share": 1.0} | options
    return EvaluationSession(model, **options)


def values_of(result) -> dict[str, float]:
    return {measure.name: measure.value for measure in result.measures}


class PointingAligner:
    """Sentence number n of a video fits the second that `places` says, counted by the features."""

    embed_dim = 1
    max_positions = 100
    alignability_layer = 0
    feature_spec = FeatureSpec(("seconds",), (1,))
    weights_hash = "pointing"
    device = torch.device("cpu")

    def __init__(self, places: dict[str, float]) -> None:
        self._places = places

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.tensor([[self._places.get(sentence, -50.0)] for sentence in sentences])

    def align(
        self, features: torch.Tensor, text: torch.Tensor, *, interpolate_from: int | None = None
    ) -> VideoAlignment:
        layer = -(features[0] - text[0].T).abs()[None, None]
        return VideoAlignment(dual=layer, joint=layer)


def write_feature_files(root: Path) -> Path:
    """One feature per second, its number, with the annotations."""
    for name, seconds in SECONDS.items():
        np.save(root / f"{name}.mp4.npy", np.arange(float(seconds), dtype=np.float16)[:, None])
    (root / "broken.mp4.npy").write_bytes(b"no array at all")
    (root / "htm_align.json").write_text(json.dumps(SENTENCES))
    return root
