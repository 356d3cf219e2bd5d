"""Temporal augmentation: all bounded permutations, their probabilities, and draws from them."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from narravid.losses import (
    TemporalAugmentation,
    bounded_permutations,
    permutation_probabilities,
)
from narravid.losses.temporal_augmentation import draw_permutations


@pytest.mark.parametrize("num_clips", range(1, 8))
@pytest.mark.parametrize("max_shift", [0, 1, 2, 3, 9])
def test_permutations_are_those_of_walking_all(num_clips, max_shift):
    expected = [
        list(order)
        for order in itertools.permutations(range(num_clips))
        if all(abs(clip - position) <= max_shift for position, clip in enumerate(order))
    ]
    assert bounded_permutations(num_clips, max_shift).tolist() == expected


def test_eight_clips_have_four_hundred():
    assert bounded_permutations(8).shape == (400, 8)


@pytest.mark.parametrize(("num_clips", "max_shift"), [(0, 2), (-1, 2), (4, -1)])
def test_senseless_numbers_are_named(num_clips, max_shift):
    with pytest.raises(ValueError, match=f"got {num_clips} and {max_shift}"):
        bounded_permutations(num_clips, max_shift)


def test_too_many_permutations_are_refused_before_memory_is_full():
    assert len(bounded_permutations(40, 0)) == 1
    with pytest.raises(
        ValueError, match="40 clips have more than 100,000 permutations with a shift of at most 2"
    ):
        bounded_permutations(40)


def near(num_sequences, num_clips, *, spread=0.05, dtype=torch.float64):
    """Sequences whose clips are so alike that every permutation has a chance."""
    noise = torch.randn(num_sequences, num_clips, 6, generator=torch.Generator().manual_seed(0), dtype=dtype)
    return F.normalize(1 + spread * noise, dim=-1)


def test_probabilities_are_those_of_the_formula():
    embeddings = near(3, 4)
    permutations = bounded_permutations(4)
    probabilities = permutation_probabilities(embeddings, permutations, scale=20.0)
    for b, clips in enumerate(embeddings.tolist()):
        similarity = [[sum(x * y for x, y in zip(p, q, strict=True)) for q in clips] for p in clips]
        weights = []
        for order in permutations.tolist():
            square = sum(
                (similarity[i][j] - similarity[order[i]][order[j]]) ** 2 for i in range(4) for j in range(4)
            )
            weights.append(math.exp(-20.0 * math.sqrt(square)))
        expected = [weight / sum(weights) for weight in weights]
        assert probabilities[b].tolist() == pytest.approx(expected, rel=1e-9)


def test_leaving_the_order_is_likeliest_and_the_rows_sum_to_one():
    probabilities = permutation_probabilities(near(5, 6), bounded_permutations(6))
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(5, dtype=torch.float64))
    assert torch.all(probabilities[:, 0] == probabilities.max(dim=1).values)
    assert torch.all(probabilities[:, 0] > probabilities[:, 1:].max(dim=1).values)


def test_equal_clips_make_every_permutation_equally_likely():
    permutations = bounded_permutations(5)
    probabilities = permutation_probabilities(torch.ones(2, 5, 3), permutations)
    torch.testing.assert_close(probabilities, torch.full((2, len(permutations)), 1 / len(permutations)))


def test_a_common_rotation_or_order_of_the_batch_does_not_matter():
    embeddings = near(4, 5)
    permutations = bounded_permutations(5)
    expected = permutation_probabilities(embeddings, permutations)
    rotation, _ = torch.linalg.qr(near(1, 6)[0])
    torch.testing.assert_close(permutation_probabilities(embeddings @ rotation, permutations), expected)
    torch.testing.assert_close(permutation_probabilities(embeddings.flip(0), permutations), expected.flip(0))


def test_many_permutations_are_taken_in_parts():
    permutations = bounded_permutations(11)
    assert len(permutations) > 2 * 1024
    embeddings = near(2, 11)
    probabilities = permutation_probabilities(embeddings, permutations)
    some = torch.tensor([0, 17, 1023, 1024, len(permutations) - 1])
    similarity = embeddings @ embeddings.mT
    distances = torch.stack(
        [(similarity - similarity[:, order][:, :, order]).norm(dim=(1, 2)) for order in permutations[some]],
        dim=1,
    )
    expected = torch.exp(-50 * distances)
    torch.testing.assert_close(probabilities[:, some] / probabilities[:, :1], expected)


def test_draws_follow_the_probabilities(generator):
    permutations = bounded_permutations(3)
    embeddings = near(1, 3).expand(20_000, 3, 6)
    probabilities = permutation_probabilities(embeddings[:1], permutations, scale=20.0)[0]
    drawn = draw_permutations(embeddings, permutations, generator=generator, scale=20.0)
    counts = (drawn[:, None] == permutations).all(dim=2).sum(dim=0)
    assert int(counts.sum()) == 20_000
    # Five standard deviations of a share of 20,000 draws.
    deviation = (probabilities * (1 - probabilities) / 20_000).sqrt()
    assert torch.all((counts / 20_000 - probabilities).abs() < 5 * deviation + 1e-9)


def test_the_same_generator_gives_the_same_order():
    embeddings = near(4, 6)
    orders = [
        TemporalAugmentation()(embeddings, generator=torch.Generator().manual_seed(seed))
        for seed in (1, 1, 2)
    ]
    assert torch.equal(orders[0], orders[1])
    assert not torch.equal(orders[0], orders[2])


def test_gradients_go_back_to_the_clips_they_came_from(generator):
    embeddings = near(3, 6).requires_grad_()
    state = generator.get_state()
    permuted = TemporalAugmentation(max_shift=2, scale=50.0)(embeddings, generator=generator)
    generator.set_state(state)
    order = draw_permutations(embeddings, bounded_permutations(6), generator=generator)
    assert torch.equal(permuted, torch.stack([embeddings[b, order[b]] for b in range(3)]))
    weights = torch.arange(6, dtype=torch.float64)
    (permuted * weights[None, :, None]).sum().backward()
    for b in range(3):
        assert torch.equal(embeddings.grad[b, order[b], 0], weights)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_half_precision_is_computed_in_single_also_under_autocast(dtype):
    embeddings = near(2, 4).to(dtype)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        probabilities = permutation_probabilities(embeddings, bounded_permutations(4))
    assert probabilities.dtype == torch.float32
    assert torch.equal(probabilities, permutation_probabilities(embeddings.float(), bounded_permutations(4)))


def test_the_wrong_shape_or_range_is_named():
    permutations = bounded_permutations(4)
    with pytest.raises(ValueError, match=r"embeddings must be \(B, N, D\) .* got \(2, 5, 3\) and \(14, 4\)"):
        permutation_probabilities(torch.ones(2, 5, 3), permutations)
    with pytest.raises(ValueError, match=r"got \(4, 3\) and \(14, 4\)"):
        permutation_probabilities(torch.ones(4, 3), permutations)
    with pytest.raises(ValueError, match="scaled distances of permuted sequences must lie within ±10000"):
        permutation_probabilities(torch.tensor([[[0.0], [math.nan], [1.0], [2.0]]]), permutations)
