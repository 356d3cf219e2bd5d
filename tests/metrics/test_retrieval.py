"""Retrieval metrics: a naive ranking of every tie-breaking, doctests, ties, refusals, blocks."""

import doctest
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

import narravid.metrics.retrieval as retrieval
from narravid.metrics import (
    chance_metrics,
    rank_counts,
    rank_counts_from_embeddings,
    retrieval_metrics,
    retrieval_metrics_from_embeddings,
    retrieval_ranks,
)


def ranks_of_all_tie_breakings(row, target):
    """Sorts the row once for each order of the gallery, as a luckless or lucky ranking would."""
    ranks = []
    for order in itertools.permutations(range(len(row))):
        ranking = sorted(order, key=lambda place: -row[place])  # stable: equal scores stay in `order`
        ranks.append(ranking.index(target) + 1)
    return np.array(ranks)


def quantised(seed, num_queries, num_gallery):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-2, 3, (num_queries, num_gallery), generator=generator).float()


@given(seed=st.integers(0, 10_000), num_queries=st.integers(1, 4), num_gallery=st.integers(1, 6))
@settings(max_examples=30, deadline=None)
def test_rank_and_recall_are_means_over_all_ways_to_break_ties(seed, num_queries, num_gallery):
    similarity = quantised(seed, num_queries, num_gallery)
    targets = torch.arange(num_queries) % num_gallery
    lists = [
        ranks_of_all_tie_breakings(row, target)
        for row, target in zip(similarity.tolist(), targets.tolist(), strict=True)
    ]
    means = [ranks.mean() for ranks in lists]
    np.testing.assert_allclose(retrieval_ranks(similarity, targets), means, rtol=1e-12)
    metrics = retrieval_metrics(similarity, targets)
    for depth in (1, 5, 10):
        expected = np.mean([(ranks <= depth).mean() for ranks in lists])
        assert metrics[f"R@{depth}"] == pytest.approx(expected)
    assert metrics["MedR"] == pytest.approx(np.median(means))
    assert metrics["MeanR"] == pytest.approx(np.mean(means))


def test_recall_agrees_with_scikit_learn_where_nothing_ties():
    similarity = torch.randn(40, 40, generator=torch.Generator().manual_seed(3)).numpy()
    metrics = retrieval_metrics(similarity)
    for depth in (1, 5, 10):
        assert metrics[f"R@{depth}"] == pytest.approx(
            top_k_accuracy_score(np.arange(40), similarity, k=depth)
        )


def test_doctests_hold():
    results = doctest.testmod(retrieval)
    assert results.attempted >= 4
    assert results.failed == 0


def test_a_perfect_and_a_worst_model():
    assert retrieval_metrics(torch.eye(20)) == {"R@1": 1, "R@5": 1, "R@10": 1, "MedR": 1, "MeanR": 1}
    worst = retrieval_metrics(-torch.eye(20))
    assert worst == {"R@1": 0, "R@5": 0, "R@10": 0, "MedR": 20, "MeanR": 20}


def test_known_ranks_give_known_metrics():
    # Query i has its right entry at rank i + 1 of 12.
    similarity = -torch.arange(12.0).repeat(12, 1)
    expected = {"R@1": 1 / 12, "R@5": 5 / 12, "R@10": 10 / 12, "MedR": 6.5, "MeanR": 6.5}
    assert retrieval_metrics(similarity) == pytest.approx(expected)
    assert retrieval_ranks(similarity).tolist() == list(range(1, 13))


def test_a_constant_row_does_not_help():
    similarity = torch.eye(1000)
    similarity[7] = 0.5
    metrics = retrieval_metrics(similarity)
    assert metrics["R@1"] == pytest.approx((999 + 1 / 1000) / 1000)
    assert metrics["MeanR"] == pytest.approx((999 + 500.5) / 1000)


@given(seed=st.integers(0, 10_000))
@settings(max_examples=25, deadline=None)
def test_neither_order_nor_scale_of_the_gallery_matters(seed):
    similarity = quantised(seed, 6, 9)
    targets = torch.tensor([0, 8, 3, 3, 1, 5])
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed))
    places = torch.argsort(order)[targets]
    ranks = retrieval_ranks(similarity, targets)
    assert torch.equal(retrieval_ranks(similarity[:, order], places), ranks)
    assert torch.equal(retrieval_ranks(3 * similarity - 1, targets), ranks)
    assert torch.equal(retrieval_ranks(similarity.double(), targets.int()), ranks)


@pytest.mark.parametrize("gallery_size", [1, 2, 7, 30])
def test_chance_is_what_a_constant_matrix_gives(gallery_size):
    constant = torch.full((gallery_size, gallery_size), 0.25)
    assert chance_metrics(gallery_size) == pytest.approx(retrieval_metrics(constant))


@pytest.mark.parametrize("gallery_size", [0, -3])
def test_there_is_no_chance_in_an_empty_gallery(gallery_size):
    with pytest.raises(ValueError, match=rf"gallery_size must be at least 1, got {gallery_size}"):
        chance_metrics(gallery_size)


def test_counts_are_integers_and_numpy_is_welcome():
    counts = rank_counts(np.array([[0.5, 0.5, 0.7], [0.1, 0.0, 0.0]]), np.array([0, 1]))
    assert counts.num_better.tolist() == [1, 1]
    assert counts.num_tied.tolist() == [2, 2]
    assert counts.num_better.dtype == counts.num_tied.dtype == torch.int64
    assert counts.ranks().tolist() == [2.5, 2.5]
    assert counts.ranks().dtype == torch.float64
    assert counts.recall(1) == 0
    assert counts.recall(2) == 0.5
    assert counts.recall(3) == 1


def test_scores_that_carry_a_gradient_are_ranked_like_others():
    similarity = torch.eye(3, requires_grad=True)
    assert retrieval_ranks(similarity).tolist() == [1, 1, 1]
    embeddings = torch.eye(3, requires_grad=True)
    assert retrieval_metrics_from_embeddings(embeddings, embeddings)["R@1"] == 1


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_score_that_is_not_finite_is_named(value):
    similarity = torch.zeros(6, 5)
    similarity[4, 3] = similarity[5, 0] = value
    with pytest.raises(ValueError, match=rf"^similarity\[4, 3\] must be finite, got {value}$"):
        retrieval_metrics(similarity, torch.arange(6) % 5)


def test_the_place_is_named_in_later_blocks_too(monkeypatch):
    monkeypatch.setattr(retrieval, "CACHED_SCORES", 10)
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", 15)
    similarity = torch.zeros(9, 5)
    similarity[7, 2] = float("nan")
    with pytest.raises(ValueError, match=r"^similarity\[7, 2\] must be finite, got nan$"):
        retrieval_metrics(similarity, torch.arange(9) % 5)
    queries = torch.ones(9, 1)
    queries[7] = 3e38
    with pytest.raises(ValueError, match=r"^similarity\[7, 0\] must be finite, got inf$"):
        retrieval_metrics_from_embeddings(queries, torch.full((5, 1), 3.0), targets=torch.arange(9) % 5)


def test_the_largest_finite_scores_are_ranked():
    largest = torch.finfo(torch.float32).max
    similarity = torch.full((3, 3), -largest).fill_diagonal_(largest)
    assert retrieval_metrics(similarity)["R@1"] == 1


@pytest.mark.parametrize(
    ("similarity", "targets", "message"),
    [
        (torch.zeros(3), None, r"similarity must be \(Nq, Ng\) and not empty, got \(3,\)"),
        (torch.zeros(0, 3), None, r"similarity must be \(Nq, Ng\) and not empty, got \(0, 3\)"),
        (torch.zeros(3, 0), None, r"similarity must be \(Nq, Ng\) and not empty, got \(3, 0\)"),
        (torch.zeros(2, 2).bfloat16(), None, r"must be float32 or float64, got torch.bfloat16"),
        (torch.zeros(2, 2).half(), None, r"must be float32 or float64, got torch.float16"),
        (torch.zeros(2, 2).long(), None, r"must be float32 or float64, got torch.int64"),
        (torch.zeros(2, 3), None, r"2 queries and 3 .*: give targets, the right entry of each query$"),
        (torch.zeros(3, 2), None, r"3 queries and 2 gallery entries: give targets"),
        (torch.zeros(2, 3), torch.tensor([0]), r"targets must be \(2,\) integers, got \(1,\) torch.int64"),
        (torch.zeros(2, 3), torch.tensor([0.0, 1.0]), r"targets must be \(2,\) integers, got \(2,\) torch.f"),
        (
            torch.zeros(2, 3),
            torch.tensor([True, False]),
            r"targets must be \(2,\) integers, got .* torch.bool",
        ),
        (torch.zeros(2, 3), torch.tensor([0, 3]), r"targets\[1\] is 3, outside \[0, 3\)"),
        (torch.zeros(2, 3), torch.tensor([-1, 4]), r"targets\[0\] is -1, outside \[0, 3\)"),
    ],
)
def test_mistakes_are_named(similarity, targets, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics(similarity, targets)


def draw_embeddings(seed, num_queries, num_gallery, dim=7):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(num_queries, dim, generator=generator),
        torch.randn(num_gallery, dim, generator=generator),
    )


@given(
    seed=st.integers(0, 10_000),
    num_queries=st.integers(1, 30),
    num_gallery=st.integers(1, 30),
    block_scores=st.sampled_from([1, 40, 10_000]),
    cached_scores=st.sampled_from([1, 25, 10_000]),
    similarity=st.sampled_from(["dot", "cosine"]),
)
@settings(max_examples=60, deadline=None)
def test_blocks_from_embeddings_equal_the_whole_matrix(
    seed, num_queries, num_gallery, block_scores, cached_scores, similarity
):
    queries, gallery = draw_embeddings(seed, num_queries, num_gallery)
    targets = torch.arange(num_queries) % num_gallery
    left, right = queries.double(), gallery.double()
    if similarity == "cosine":
        left = left / left.norm(dim=1, keepdim=True)
        right = right / right.norm(dim=1, keepdim=True)
    whole = rank_counts(left @ right.T, targets)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(retrieval, "BLOCK_SCORES", block_scores)
        patch.setattr(retrieval, "CACHED_SCORES", cached_scores)
        blocks = rank_counts_from_embeddings(queries, gallery, similarity=similarity, targets=targets)
    assert torch.equal(blocks.num_better, whole.num_better)
    assert torch.equal(blocks.num_tied, whole.num_tied)


def test_blocks_are_bounded(monkeypatch):
    shapes = []
    count = retrieval._count

    def spy(scores, targets, *, first_row):
        shapes.append((tuple(scores.shape), first_row))
        return count(scores, targets, first_row=first_row)

    monkeypatch.setattr(retrieval, "_count", spy)
    monkeypatch.setattr(retrieval, "BLOCK_SCORES", 100)
    queries, gallery = draw_embeddings(0, 12, 20)
    rank_counts_from_embeddings(queries, gallery, targets=torch.arange(12))
    assert shapes == [((5, 20), 0), ((5, 20), 5), ((2, 20), 10)]


def test_equal_gallery_vectors_tie_wherever_they_stand():
    queries, gallery = draw_embeddings(1, 203, 517, dim=96)
    gallery[1::2] = gallery[:-1:2]
    counts = rank_counts_from_embeddings(queries, gallery, targets=torch.arange(203))
    assert counts.num_tied.tolist() == [2] * 203


def test_the_similarity_of_the_protocol_decides():
    queries = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    gallery = torch.tensor([[0.1, 0.0], [3.0, 4.0]])
    assert retrieval_metrics_from_embeddings(queries, gallery)["R@1"] == 0.5
    assert retrieval_metrics_from_embeddings(queries, gallery, similarity="cosine")["R@1"] == 1
    with pytest.raises(ValueError, match=r"similarity must be 'dot' or 'cosine', got 'euclid'"):
        retrieval_metrics_from_embeddings(queries, gallery, similarity="euclid")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_embeddings_are_compared_in_full(dtype):
    queries, gallery = (tensor.to(dtype) for tensor in draw_embeddings(5, 50, 50))
    half = retrieval_metrics_from_embeddings(queries, gallery)
    assert half == retrieval_metrics_from_embeddings(queries.float(), gallery.float())


def test_a_silent_model_is_at_chance_under_cosine_too():
    silent = np.zeros((10, 4), dtype=np.float32)
    metrics = retrieval_metrics_from_embeddings(silent, silent, similarity="cosine")
    assert metrics == pytest.approx({"R@1": 0.1, "R@5": 0.5, "R@10": 1.0, "MedR": 5.5, "MeanR": 5.5})


@pytest.mark.parametrize(
    ("queries", "gallery", "message"),
    [
        (torch.zeros(3), torch.zeros(3, 2), r"queries must be \(N, D\) floating point and not empty"),
        (torch.zeros(3, 2), torch.zeros(0, 2), r"gallery must be \(N, D\) floating point and not empty"),
        (torch.zeros(3, 2).long(), torch.zeros(3, 2), r"queries must be .* got \(3, 2\) torch.int64"),
        (torch.zeros(3, 2), torch.zeros(3, 4), r"queries and gallery must have one width D, got 2 and 4"),
        (torch.zeros(3, 2), torch.full((3, 2), torch.nan), r"^gallery\[0, 0\] must be finite, got nan"),
        (torch.full((3, 2), torch.inf), torch.zeros(3, 2), r"^queries\[0, 0\] must be finite, got inf"),
        (torch.zeros(3, 2), torch.zeros(2, 2), r"3 queries and 2 gallery entries: give targets"),
    ],
)
def test_mistakes_in_embeddings_are_named(queries, gallery, message):
    with pytest.raises(ValueError, match=message):
        retrieval_metrics_from_embeddings(queries, gallery)
