"""Goal-baseline rewards: against loops written from the paper, bounds, one direction for all, refusals."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity

from narravid.inference.rewards import baseline_directions, goal_baseline_rewards, projected_rewards

REWARDS = (projected_rewards, goal_baseline_rewards)


def embeddings(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def unit(row: torch.Tensor) -> torch.Tensor:
    return row / row.norm()


def reward_by_loops(kind, videos, prompts, directions, alpha):
    result = torch.empty(len(videos), len(prompts), dtype=torch.float64)
    for i, video in enumerate(videos):
        for j, prompt in enumerate(prompts):
            way = unit(directions[j if len(directions) > 1 else 0])
            v, p = unit(video), unit(prompt)
            if kind is projected_rewards:
                result[i, j] = (1 - alpha) * (v @ p) + alpha * (v @ way)
            else:
                mixed = [(1 - alpha) * x + alpha * (x @ way) * way for x in (v, p)]
                result[i, j] = 1 - (mixed[0] - mixed[1]).square().sum() / 2
    return result


@pytest.mark.parametrize("kind", REWARDS)
@given(
    seed=st.integers(0, 1000),
    num_videos=st.integers(1, 5),
    num_prompts=st.integers(1, 5),
    dim=st.integers(2, 9),
    alpha=st.floats(0, 1),
    shared=st.booleans(),
)
def test_rewards_are_those_of_the_paper(kind, seed, num_videos, num_prompts, dim, alpha, shared):
    videos, prompts = embeddings(seed, num_videos, dim), embeddings(seed + 1, num_prompts, dim)
    directions = embeddings(seed + 2, 1 if shared else num_prompts, dim)
    found = kind(videos, prompts, directions, alpha=alpha)
    torch.testing.assert_close(found, reward_by_loops(kind, videos, prompts, directions, alpha))
    assert found.abs().max() <= 1 + 1e-12


@pytest.mark.parametrize("kind", REWARDS)
def test_one_direction_counts_for_every_prompt(kind):
    videos, prompts, direction = embeddings(1, 4, 8), embeddings(2, 3, 8), embeddings(3, 1, 8)
    shared = kind(videos, prompts, direction, alpha=0.7)
    torch.testing.assert_close(shared, kind(videos, prompts, direction.expand(3, 8), alpha=0.7))
    for column in range(3):
        alone = kind(videos, prompts[column : column + 1], direction, alpha=0.7)
        torch.testing.assert_close(shared[:, column : column + 1], alone)


@pytest.mark.parametrize("kind", REWARDS)
def test_without_regularisation_both_are_the_cosine(kind):
    videos, prompts, directions = embeddings(1, 4, 8), embeddings(2, 3, 8), embeddings(3, 3, 8)
    cosine = cosine_similarity(videos[:, None], prompts[None], dim=2)
    torch.testing.assert_close(kind(videos, prompts, directions, alpha=0.0), cosine)


@pytest.mark.parametrize("kind", REWARDS)
@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e3))
def test_lengths_do_not_count(kind, seed, scale):
    videos, prompts, directions = embeddings(seed, 4, 8), embeddings(seed + 1, 3, 8), embeddings(3, 3, 8)
    expected = kind(videos, prompts, directions, alpha=0.4)
    found = kind(videos * scale, prompts / scale, directions * scale, alpha=0.4)
    torch.testing.assert_close(found, expected)


def test_the_goal_itself_earns_the_full_reward():
    prompts = embeddings(2, 3, 8)
    directions = baseline_directions(prompts, embeddings(4, 1, 8))
    for alpha in (0.0, 0.5, 1.0):
        rewards = goal_baseline_rewards(prompts, prompts, directions, alpha=alpha)
        torch.testing.assert_close(rewards.diagonal(), torch.ones(3, dtype=torch.float64))


def test_a_fully_regularised_reward_sees_only_the_direction():
    prompts = torch.tensor([[1.0, 0.0, 0.0]])
    directions = baseline_directions(prompts, torch.tensor([[0.0, 1.0, 0.0]]))
    assert directions.tolist() == [pytest.approx([0.5**0.5, -(0.5**0.5), 0.0])]
    # Both lie at the height of the goal along (1, -1, 0), one of them far from it otherwise.
    videos = torch.tensor([[1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
    assert goal_baseline_rewards(videos, prompts, directions, alpha=1.0).flatten().tolist() == [
        pytest.approx(1.0),
        pytest.approx(1.0),
    ]


def test_each_prompt_may_have_its_own_baseline():
    prompts, baselines = embeddings(1, 3, 8), embeddings(2, 3, 8)
    together = baseline_directions(prompts, baselines)
    for row in range(3):
        alone = baseline_directions(prompts[row : row + 1], baselines[row : row + 1])
        torch.testing.assert_close(together[row : row + 1], alone)
        torch.testing.assert_close(together[row], unit(unit(prompts[row]) - unit(baselines[row])))


def test_half_precision_gives_float32():
    videos, prompts = embeddings(1, 2, 4).half(), embeddings(2, 2, 4).half()
    assert projected_rewards(videos, prompts, prompts, alpha=0.5).dtype == torch.float32
    assert goal_baseline_rewards(videos, prompts, prompts, alpha=0.5).dtype == torch.float32


# ---------------------------------------------------------------- refusals


@pytest.mark.parametrize("kind", REWARDS)
@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_the_strength_is_a_share(kind, alpha):
    rows = embeddings(1, 2, 4)
    with pytest.raises(ValueError, match=rf"^alpha must be in \[0, 1\], got {alpha}$"):
        kind(rows, rows, rows, alpha=alpha)


@pytest.mark.parametrize("kind", REWARDS)
def test_shapes_must_fit(kind):
    rows = embeddings(1, 3, 4)
    with pytest.raises(ValueError, match="^videos and prompts must have one width D, got 5 and 4$"):
        kind(embeddings(1, 2, 5), rows, rows, alpha=0.5)
    for directions in (embeddings(1, 2, 4), embeddings(1, 3, 5), embeddings(1, 1, 5)):
        with pytest.raises(ValueError, match=r"^directions must be \(1, 4\) or \(3, 4\) as the prompts, got"):
            kind(rows, rows, directions, alpha=0.5)
    with pytest.raises(ValueError, match=r"^videos must be \(N, D\) floating and not empty"):
        kind(rows[0], rows, rows, alpha=0.5)
    with pytest.raises(ValueError, match=r"^prompts must be \(N, D\) floating and not empty"):
        kind(rows, rows[:0], rows, alpha=0.5)
    with pytest.raises(
        ValueError, match=r"^baseline must be \(1, 4\) or \(3, 4\) as the prompts, got \(2, 4\)$"
    ):
        baseline_directions(rows, rows[:2])


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_embeddings_must_have_a_direction(value):
    rows, bad = embeddings(1, 3, 4), embeddings(2, 3, 4)
    bad[1] = value
    for arguments, name in (
        ((bad, rows, rows), "videos"),
        ((rows, bad, rows), "prompts"),
        ((rows, rows, bad), "directions"),
    ):
        with pytest.raises(ValueError, match=rf"^{name}\[1\] must be finite and not zero"):
            projected_rewards(*arguments, alpha=0.5)


def test_a_prompt_must_differ_from_its_baseline():
    prompts = embeddings(1, 3, 4)
    with pytest.raises(ValueError, match="^prompt 2 has the embedding of its baseline"):
        baseline_directions(prompts, prompts[2:] * 3)
