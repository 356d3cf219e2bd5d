"""Three short videos of one colour each, and a small S3D, for tests of commands."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.hub import save_model
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec
from narravid.video.encode import write_video

COLOURS = {"red": (200, 30, 30), "green": (30, 200, 30), "blue": (30, 30, 200)}
WORDS = ("red", "green", "blue", "moves", "left")


def write_colour_video(path: Path, colour: tuple[int, int, int], *, seconds: float = 3.0) -> Path:
    """A bright square that moves over a plain ground, at 10 fps."""
    frames = np.empty((round(10 * seconds), 48, 64, 3), dtype=np.uint8)
    frames[:] = colour
    for number, frame in enumerate(frames):
        left = 2 * number % 48
        frame[16:32, left : left + 16] = 240
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, iter(frames), fps=10.0)
    return path


def write_colour_videos(folder: Path) -> Path:
    """One video per colour, named after it, of different lengths."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        write_colour_video(folder / f"{name}.mp4", colour, seconds=2.0 + number)
    return folder


def make_tiny_s3d(*, seed: int = 0) -> S3DDualEncoder:
    """An untrained S3D of a few thousand weights that takes 4 frames of 32 pixels at 4 fps."""
    vocabulary = Vocabulary(WORDS)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = S3DDualEncoderConfig(
            video=S3DConfig(width_multiplier=0.125, num_inception_blocks=1, embed_dim=16),
            text=SentenceTowerConfig(vocabulary.num_embeddings, word_dim=8, hidden_dim=16, embed_dim=16),
            clip_spec=ClipSpec(num_frames=4, fps=4.0, size_pixels=32),
            similarity="cosine",
        )
        return S3DDualEncoder(config, vocabulary).eval()


def save_tiny_s3d(folder: Path, *, seed: int = 0) -> Path:
    """The same as a model folder."""
    save_model(make_tiny_s3d(seed=seed), folder)
    return folder
