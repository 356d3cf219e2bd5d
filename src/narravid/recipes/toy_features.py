"""Features and captions of a toy world, as the recipes that train on extracted features read them."""

from __future__ import annotations

import logging
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib

from narravid.files import write_json
from narravid.locks import hold_lock
from narravid.recipes.toy_data import toy_files
from narravid.synthetic.features import APPEARANCE_FOLDER, MOVEMENT_FOLDER, SECONDS_FOLDER, write_features
from narravid.synthetic.files import load_world, video_path
from narravid.synthetic.world import ToyVideo, ToyWorld

__all__ = ["ToyFeatures", "toy_features"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToyFeatures:
    """Where the features of a toy world and what goes with them lie; all paths are absolute.

    Attributes:
        features_2d: Folder of the 2D features of all videos, 1 per second.
        features_3d: Folder of the 3D features, 1.5 per second.
        features_seconds: Folder of the features for an aligner, 1 per second.
        captions: The narration of the training videos in the form of HowTo100M's caption.json.
        train_pairs: The steps of the training videos, CSV video_path,text,start_seconds,end_seconds.
        test_pairs: Those of the held-out videos.
        alignment: The sentences of the held-out videos in the form of HTM-Align, with the true times.
    """

    features_2d: Path
    features_3d: Path
    features_seconds: Path
    captions: Path
    train_pairs: Path
    test_pairs: Path
    alignment: Path


def toy_features(address: str | Path) -> ToyFeatures:
    """The features of a toy world, drawn and computed into the cache folder when they are not there yet.

    Args:
        address: As for `toy_files`.

    Returns:
        Where they lie.

    Raises:
        ConfigError: As `toy_files`.
    """
    files = toy_files(address)
    folder = files.folder / "features"
    features = ToyFeatures(
        features_2d=folder / APPEARANCE_FOLDER,
        features_3d=folder / MOVEMENT_FOLDER,
        features_seconds=folder / SECONDS_FOLDER,
        captions=folder / "caption.json",
        train_pairs=files.train_pairs,
        test_pairs=files.test_pairs,
        alignment=folder / "htm_align.json",
    )
    if not features.alignment.exists():  # which is written last
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(
            folder,
            busy=f"{folder} is being written",
            on_wait=lambda: _log.info("another process writes %s; waiting for it", folder),
        ):
            if not features.alignment.exists():
                _write(load_world(files.folder), files.folder, features)
    return features


def _write(world: ToyWorld, folder: Path, features: ToyFeatures) -> None:
    paths = [video_path(folder, video) for video in world.videos]
    write_features(paths, features.alignment.parent, num_workers=joblib.cpu_count())
    train, test = world.split("train"), world.split("test")
    write_json(features.captions, {video.video_id: _narration(video) for video in train})
    write_json(features.alignment, {video.video_id: _sentences(video) for video in test})


def _narration(video: ToyVideo) -> dict[str, list[Any]]:
    return {
        "start": [caption.span.start_seconds for caption in video.captions],
        "end": [caption.span.end_seconds for caption in video.captions],
        "text": [caption.text for caption in video.captions],
    }


def _sentences(video: ToyVideo) -> list[list[Any]]:
    """[alignable, start, end, text] of each whole sentence, in the order of speaking."""
    parts = defaultdict(list)
    for caption in video.captions:
        parts[caption.sentence_index].append(caption)
    sentences = []
    for captions in parts.values():
        text = " ".join(caption.text for caption in captions)
        step = captions[0].step_index
        if step is None:
            span_seconds = captions[0].span.start_seconds, captions[-1].span.end_seconds
        else:
            true = video.steps[step].span
            span_seconds = true.start_seconds, true.end_seconds
        sentences.append((captions[0].span.start_seconds, [int(step is not None), *span_seconds, text]))
    return [sentence for _, sentence in sorted(sentences, key=lambda spoken: spoken[0])]
