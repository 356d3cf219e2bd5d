"""The contrastive task with each objective, against the losses that the published programs compute."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from fidelity.fill import filled_input, golden_arrays
from narravid.batches import NarratedBatch
from narravid.tasks.contrastive import ContrastiveTask
from narravid.tasks.objectives import MaxMarginConfig, ObjectiveConfig, build_objective


class Given(nn.Module):
    """A dual encoder whose embeddings are given."""

    similarity = "dot"

    def __init__(self, video: torch.Tensor, text: torch.Tensor) -> None:
        super().__init__()
        self.video, self.text = video, text

    def encode_video(self, clips):
        return self.video

    def encode_tokens(self, tokens):
        return self.text


def loss_of(
    config: ObjectiveConfig, video: np.ndarray, text: np.ndarray, *, clips_per_video: int = 1
) -> float:
    """Clips (B, D) and captions (B, P, D) through the task, which is told of similarity and temperature."""
    num_clips, num_candidates = text.shape[:2]
    batch = NarratedBatch(
        torch.zeros(num_clips, 3, 1, 1, 1, dtype=torch.uint8),
        torch.zeros(num_clips, num_candidates, 1, dtype=torch.int64),
        tuple(str(number) for number in range(num_clips)),
        torch.zeros(num_clips, dtype=torch.float64),
    )
    task = ContrastiveTask(
        Given(torch.from_numpy(video), torch.from_numpy(text)),
        build_objective(config, clips_per_video=clips_per_video),
        similarity=None if config.similarity == "model" else config.similarity,
        temperature=config.temperature,
    )
    return float(task.training_step(batch)["loss"])


@pytest.mark.parametrize(("case", "atol"), [("milnce_b4_c4", 5e-6), ("milnce_b8_c1", 1e-5)])
def test_mil_nce(case, atol):
    arrays = golden_arrays("losses", case)
    video, text = (
        filled_input(f"losses/{case}/{side}", arrays[f"grad_{side}"].shape, "normal")
        for side in ("video", "text")
    )
    num_clips, dim = video.shape
    found = loss_of(ObjectiveConfig(), video, text.reshape(num_clips, -1, dim))
    np.testing.assert_allclose(found, arrays["loss"], rtol=1e-4, atol=atol)


@pytest.mark.parametrize(("case", "atol"), [("s2dtw_b2_n8", 7e-7), ("s2dtw_b4_n8", 4e-6)])
def test_s2dtw_of_vt_twins(case, atol):
    arrays = golden_arrays("losses", case)
    num_videos, num_clips, dim = arrays["grad_video"].shape
    video, text = (
        filled_input(f"losses/{case}/{side}", (num_videos, num_clips, dim), "normal").reshape(-1, dim)
        for side in ("video", "text")
    )
    config = ObjectiveConfig(loss="s2dtw", similarity="cosine", temperature=1.0)
    found = loss_of(config, video, text[:, None], clips_per_video=num_clips)
    np.testing.assert_allclose(found, arrays["loss"], rtol=1e-4, atol=atol)


@pytest.mark.parametrize(
    ("case", "similarity", "temperature", "atol"),
    [("loss_cos", "cosine", 0.07, 8e-6), ("loss_dot", "dot", None, 2e-5)],
)
def test_info_nce_of_htm_aa(case, similarity, temperature, atol):
    arrays = golden_arrays("tan_e2e", case)
    video, text = (
        filled_input(f"tan_e2e/{case}/{side}", arrays["grad_video"].shape, "normal")
        for side in ("video", "text")
    )
    config = ObjectiveConfig(loss="info-nce", similarity=similarity, temperature=temperature)
    np.testing.assert_allclose(loss_of(config, video, text[:, None]), arrays["loss"], rtol=1e-4, atol=atol)


def test_max_margin_of_howto100m():
    case = "maxmargin_b3_p4_w_h0.3_m0.1"
    arrays = golden_arrays("losses", case)
    similarity = filled_input(f"losses/{case}/sim", arrays["grad"].shape, "normal")
    config = ObjectiveConfig(
        loss="max-margin", max_margin=MaxMarginConfig(margin=0.1, hard_negative_rate=0.3)
    )
    # with the unit vectors for clips, the captions are the rows of the matrix turned on its side
    found = loss_of(config, np.eye(12, dtype=np.float32), similarity.T.copy()[:, None], clips_per_video=4)
    np.testing.assert_allclose(found, arrays["loss"], rtol=1e-4, atol=2e-6)
