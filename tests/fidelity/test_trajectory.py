"""Trajectory scoring equals the numbers of the published evaluation scripts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.inference.rewards import baseline_directions, goal_baseline_rewards, projected_rewards
from narravid.inference.trajectories import group_scores, prepare_trajectory
from narravid.video.resize import resize
from narravid.video.transforms import normalise, to_channels_first, to_unit_float

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def golden(case: str) -> dict[str, np.ndarray]:
    arrays = golden_arrays("trajectory", case)
    assert arrays, case
    return arrays


def unit_embeddings(name: str, number: int) -> torch.Tensor:
    rows = torch.from_numpy(filled_input(f"trajectory/reward/{name}", (number, 16), "normal"))
    return torch.nn.functional.normalize(rows, dim=1)


def published_video(case: str, shape: tuple[int, ...]) -> torch.Tensor:
    return torch.from_numpy(filled_input(f"trajectory/{case}/video", shape, "uint8"))


@pytest.mark.parametrize(("alpha", "atol"), [(0.0, 6e-7), (0.3, 5e-7), (1.0, 6e-7)])
def test_rewards(alpha, atol):
    prompts, videos = unit_embeddings("prompts", 5), unit_embeddings("videos", 6)
    directions = baseline_directions(prompts, unit_embeddings("baseline", 1))
    expected = golden(f"reward_a{alpha}")
    projected = projected_rewards(videos, prompts, directions, alpha=alpha)
    np.testing.assert_allclose(projected, expected["projection_similarity"], rtol=1e-4, atol=atol)
    original = goal_baseline_rewards(videos, prompts, directions, alpha=alpha)
    np.testing.assert_allclose(original, expected["orig_reward"], rtol=1e-4, atol=2e-6)


@pytest.mark.parametrize(("case", "deviation"), [("aggregate", "population"), ("aggregate_torch", "sample")])
def test_scores_of_groups(case, deviation):
    # The input is named after the first case in both; no group here is a single pair, which would be NaN in
    # the published sample deviation and is 0 in ours.
    similarity = torch.from_numpy(filled_input("trajectory/aggregate/sim", (10, 9), "normal")).double()
    expected = golden(case)
    for ending, normalised in (("raw", False), ("norm", True)):
        scores = group_scores(similarity, (3, 1, 6), (2, 3, 4), normalise=normalised, deviation=deviation)
        np.testing.assert_allclose(scores.mean, expected[f"mean_{ending}"], rtol=1e-6)
        np.testing.assert_allclose(scores.std, expected[f"std_{ending}"], rtol=1e-6)


@pytest.mark.parametrize("num_frames", [3, 8])
def test_half_size_frames(num_frames):
    frames = published_video("prepare", (10, 40, 48, 3))
    clip = prepare_trajectory(frames, num_frames, sampling="published", resize_to="published_half")
    np.testing.assert_allclose(clip, golden(f"prepare_n{num_frames}")["video"], rtol=1e-4, atol=1e-5)


def test_frames_stretched_to_a_square():
    clips = published_video("prepare224", (2, 2, 30, 36, 3))
    expected = golden("prepare224")
    prepared = torch.cat([prepare_trajectory(clip, 2, resize_to="published_square") for clip in clips])
    assert list(prepared.shape) == expected["shape"].tolist()
    np.testing.assert_allclose(prepared[..., ::16, ::16], expected["video_slice"], rtol=1e-6)


def test_frames_of_viclip():
    frames = published_video("prepare_viclip", (9, 30, 36, 3))
    expected = golden("prepare_viclip")
    # As published: normalised first, then stretched, time before channels.
    clip = normalise(to_unit_float(to_channels_first(frames[[0, 2, 4, 6]])), IMAGENET_MEAN, IMAGENET_STD)
    stretched = resize(clip, (224, 224), interpolation="bicubic").transpose(0, 1)[None]
    assert list(stretched.shape) == expected["shape"].tolist()
    np.testing.assert_allclose(stretched[..., ::16, ::16], expected["video_slice"], rtol=1e-6)
    # As Narravid's models want it: stretched first, normalised by the model.
    ours = prepare_trajectory(frames, 4, sampling="published", resize_to="published_square_unclamped")
    ours = normalise(ours, IMAGENET_MEAN, IMAGENET_STD).transpose(1, 2)
    # Another order of operations in float32, values up to 3.2: 2e-6 apart when measured.
    np.testing.assert_allclose(ours[..., ::16, ::16], expected["video_slice"], rtol=1e-5, atol=1e-5)
