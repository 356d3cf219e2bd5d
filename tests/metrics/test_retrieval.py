"""Retrieval metrics of a matrix: a naive ranking of every tie-breaking, doctests, ties, refusals, tiles."""

import doctest
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

import narravid.metrics.ranking as ranking
import narravid.metrics.retrieval as retrieval
from narravid.metrics import (
    bidirectional_rank_counts,
    bidirectional_retrieval_metrics,
    chance_metrics,
    rank_counts,
    retrieval_metrics,
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
    assert results.attempted >= 6
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


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_the_first_score_that_is_not_finite_is_named(value):
    similarity = torch.zeros(6, 5)
    similarity[4, 3] = similarity[5, 0] = value
    with pytest.raises(ValueError, match=rf"^similarity\[4, 3\] must be finite, got {value}$"):
        retrieval_metrics(similarity, torch.arange(6) % 5)


def test_the_place_is_named_in_later_tiles_too(monkeypatch):
    monkeypatch.setattr(ranking, "CACHED_SCORES", 3)
    similarity = torch.zeros(9, 5)
    similarity[7, 4] = float("nan")
    with pytest.raises(ValueError, match=r"^similarity\[7, 4\] must be finite, got nan$"):
        retrieval_metrics(similarity, torch.arange(9) % 5)


def test_the_largest_finite_scores_are_ranked_though_their_sum_is_infinite():
    largest = torch.finfo(torch.float32).max
    similarity = torch.full((3, 3), -largest).fill_diagonal_(largest)
    assert retrieval_metrics(similarity)["R@1"] == 1
    assert retrieval_metrics(torch.full((3, 3), largest)) == chance_metrics(3)


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


@given(
    seed=st.integers(0, 10_000),
    num_texts=st.integers(1, 12),
    num_videos=st.integers(1, 12),
    cached_scores=st.sampled_from([1, 5, 30, 1000]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
@settings(max_examples=60, deadline=None)
def test_both_directions_in_one_pass_are_each_direction_by_itself(
    seed, num_texts, num_videos, cached_scores, dtype
):
    similarity = quantised(seed, num_texts, num_videos).to(dtype)
    video_of_text = torch.arange(num_texts) % num_videos
    text_of_video = (3 * torch.arange(num_videos) + 1) % num_texts
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ranking, "CACHED_SCORES", cached_scores)
        both = bidirectional_rank_counts(similarity, video_of_text=video_of_text, text_of_video=text_of_video)
    single = rank_counts(similarity, video_of_text), rank_counts(similarity.T, text_of_video)
    for counts, expected in zip(both, single, strict=True):
        assert torch.equal(counts.num_better, expected.num_better)
        assert torch.equal(counts.num_tied, expected.num_tied)


def test_the_directions_are_not_mixed_up():
    # Every text finds its video first; all videos but the last prefer the last text.
    similarity = torch.eye(4)
    similarity[3] = torch.tensor([2.0, 2.0, 2.0, 3.0])
    metrics = bidirectional_retrieval_metrics(similarity)
    assert metrics == {
        "text_to_video": retrieval_metrics(similarity),
        "video_to_text": retrieval_metrics(similarity.T),
    }
    assert (metrics["text_to_video"]["R@1"], metrics["video_to_text"]["R@1"]) == (1, 0.25)


def test_both_directions_need_their_own_targets():
    with pytest.raises(ValueError, match=r"^2 queries and 3 gallery entries: give targets"):
        bidirectional_retrieval_metrics(torch.zeros(2, 3))
    with pytest.raises(ValueError, match=r"^3 queries and 2 gallery entries: give targets"):
        bidirectional_retrieval_metrics(torch.zeros(2, 3), video_of_text=[0, 1])
    with pytest.raises(ValueError, match=r"^targets\[1\] is 2, outside \[0, 2\)"):
        bidirectional_retrieval_metrics(torch.zeros(2, 3), video_of_text=[0, 1], text_of_video=[0, 2, 0])
    with pytest.raises(
        ValueError, match=r"^similarity must be \(N texts, V videos\) and not empty, got \(3,\)$"
    ):
        bidirectional_retrieval_metrics(torch.zeros(3))
    with pytest.raises(ValueError, match=r"^similarity\[1, 0\] must be finite, got inf$"):
        bidirectional_retrieval_metrics(torch.tensor([[0.0, 0.0], [torch.inf, 0.0]]))


@pytest.mark.parametrize("axis", [0, 1])
def test_right_scores_are_written_where_a_tile_holds_them(axis):
    targets = torch.tensor([2, 5, 4, 0, 3])
    tally = ranking.RankTally(torch.arange(10.0, 15.0), axis=axis, targets=targets)
    whole = torch.zeros(5, 6)
    for queries in (slice(0, 2), slice(2, 5)):
        for gallery in (slice(0, 3), slice(3, 5), slice(5, 6)):
            tile = whole[queries, gallery]
            if axis:
                tally.write_right_scores(tile.T, gallery, queries)
            else:
                tally.write_right_scores(tile, queries, gallery)
    expected = torch.zeros(5, 6)
    expected[torch.arange(5), targets] = torch.arange(10.0, 15.0)
    assert torch.equal(whole, expected)
