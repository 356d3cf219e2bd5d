"""Files in the published containers, for tests of whatever opens them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch

from models.small_models import WORDS
from narravid.models.checkpoints_s3d import published_state_dict
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec

S3D_FILE = "s3d_howto100m.pth"
WORDS_FILE = "s3d_dict.npy"


@cache
def _s3d_tensors() -> dict[str, torch.Tensor]:
    config = S3DDualEncoderConfig(
        video=S3DConfig(embed_dim=8),
        text=SentenceTowerConfig(num_embeddings=len(WORDS) + 1, word_dim=5, hidden_dim=6, embed_dim=8),
        clip_spec=ClipSpec(num_frames=4, fps=5.0, size_pixels=32),
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return published_state_dict(S3DDualEncoder(config, Vocabulary(WORDS)))


def s3d_tensors() -> dict[str, torch.Tensor]:
    """A full-depth S3D with a small sentence tower, under the published names."""
    return dict(_s3d_tensors())


def write_published_s3d(folder: Path) -> Path:
    """The same as the released file with its word list beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.save(s3d_tensors(), folder / S3D_FILE)
    np.save(folder / WORDS_FILE, np.array(WORDS))
    return folder / S3D_FILE
