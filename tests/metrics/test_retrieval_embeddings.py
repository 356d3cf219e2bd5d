"""Retrieval metrics from embeddings: equal to those of the whole matrix, however the work is cut."""

import doctest

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import narravid.metrics.embedding_pairs as embedding_pairs
import narravid.metrics.embedding_sides as embedding_sides
import narravid.metrics.retrieval_embeddings as retrieval_embeddings
from narravid.metrics import (
    bidirectional_rank_counts_from_embeddings,
    bidirectional_retrieval_metrics_from_embeddings,
    rank_counts,
    rank_counts_from_embeddings,
    retrieval_metrics_from_embeddings,
)


def test_doctests_hold():
    results = doctest.testmod(retrieval_embeddings)
    assert results.attempted >= 4
    assert results.failed == 0


def draw_embeddings(seed, num_queries, num_gallery, dim=7):
    generator = torch.Generator().manual_seed(seed)
    return (
        torch.randn(num_queries, dim, generator=generator),
        torch.randn(num_gallery, dim, generator=generator),
    )


def scores_by_definition(queries, gallery, similarity):
    """The whole matrix in float64, in whole steps of each query's grid."""
    left, right = queries.double().numpy(), gallery.double().numpy()
    if similarity == "cosine":
        left = left / np.linalg.norm(left, axis=1, keepdims=True).clip(min=1e-300)
        right = right / np.linalg.norm(right, axis=1, keepdims=True).clip(min=1e-300)
    reach = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1).max()
    if similarity == "cosine":
        reach = np.ones(len(left))
    steps = np.where(reach > 0, 2.0 ** (np.floor(np.log2(np.where(reach > 0, reach, 1))) + 1 - 30), 1)
    return torch.from_numpy(np.round(left @ right.T / steps[:, None]))


def same(counts, expected):
    return torch.equal(counts.num_better, expected.num_better) and torch.equal(
        counts.num_tied, expected.num_tied
    )


@pytest.mark.slow
@given(
    seed=st.integers(0, 10_000),
    num_queries=st.integers(1, 30),
    num_gallery=st.integers(1, 30),
    sizes=st.sampled_from([(1, 1, 1), (40, 7, 2), (40, 100, 30), (10_000, 5, 10_000)]),
    max_undecided=st.sampled_from([0.0, 1 / 64, 1.0]),
    similarity=st.sampled_from(["dot", "cosine"]),
    kind=st.sampled_from(["continuous", "integers", "nearly equal", "one vector"]),
)
@settings(max_examples=100, deadline=None)
def test_blocks_from_embeddings_equal_the_whole_matrix(
    seed, num_queries, num_gallery, sizes, max_undecided, similarity, kind
):
    queries, gallery = draw_embeddings(seed, num_queries, num_gallery)
    if kind == "integers":  # many exact ties
        queries, gallery = queries.round(), gallery.round()
    elif kind == "nearly equal":  # scores closer than a float32 product can tell
        gallery = gallery[:1] * (1 + 2e-7 * gallery)
    elif kind == "one vector":
        queries, gallery = queries[:1].repeat(num_queries, 1), gallery[:1].repeat(num_gallery, 1)
    of_query = torch.arange(num_queries) % num_gallery
    of_gallery = torch.arange(num_gallery) % num_queries
    whole = scores_by_definition(queries, gallery, similarity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_pairs, "BLOCK_SCORES", sizes[0])
        patch.setattr(embedding_pairs, "BLOCK_COLUMNS", sizes[1])
        patch.setattr(embedding_pairs, "CACHED_SCORES", sizes[2])
        patch.setattr(embedding_pairs, "STRIP_SCORES", sizes[2])
        patch.setattr(embedding_sides, "CACHED_SCORES", sizes[2])
        patch.setattr(embedding_sides, "CHECKED_PAIRS", sizes[2])
        patch.setattr(embedding_pairs, "MAX_UNDECIDED", max_undecided)
        counts = rank_counts_from_embeddings(queries, gallery, similarity=similarity, targets=of_query)
        both = bidirectional_rank_counts_from_embeddings(
            queries, gallery, similarity=similarity, video_of_text=of_query, text_of_video=of_gallery
        )
    assert same(counts, rank_counts(whole, of_query))
    assert same(both[0], counts)
    assert same(both[1], rank_counts(scores_by_definition(gallery, queries, similarity), of_gallery))


def test_most_pairs_are_decided_without_a_product_in_double_precision(monkeypatch):
    checked = []
    products = embedding_sides.products

    def spy(queries, gallery, *, query_places, gallery_places):
        checked.append(len(query_places))
        return products(queries, gallery, query_places=query_places, gallery_places=gallery_places)

    def refuse(*arguments):
        raise AssertionError("no block needs this")

    monkeypatch.setattr(embedding_sides, "products", spy)
    monkeypatch.setattr(embedding_pairs.EmbeddingPairs, "_count_exactly", refuse)
    queries, gallery = draw_embeddings(0, 300, 400, dim=64)
    counts = rank_counts_from_embeddings(queries, gallery, targets=torch.arange(300))
    assert same(counts, rank_counts(scores_by_definition(queries, gallery, "dot"), torch.arange(300)))
    assert checked[0] == 300  # the right pairs
    assert 0 < sum(checked[1:]) <= 0.005 * 300 * 400


def test_under_cosine_the_grid_is_the_same_for_all_queries():
    # Scores 0.5 and 0.5 + x: the grid has 2^30 steps up to 2, the power of two above the greatest cosine.
    query = torch.tensor([[3.0, 0.0]], dtype=torch.float64)
    for difference, num_tied in [(0.4, 2), (0.6, 1)]:
        cosines = torch.tensor([0.5, 0.5 + difference * 2.0**-29], dtype=torch.float64)
        gallery = torch.stack([cosines, (1 - cosines**2).sqrt()], dim=1) * 7
        counts = rank_counts_from_embeddings(query, gallery, similarity="cosine", targets=[0])
        assert counts.num_tied.tolist() == [num_tied]


@pytest.mark.parametrize("scale", [1e-30, 1e-22, 1e-18, 1e17])
def test_the_bound_holds_where_float32_runs_out(scale):
    queries, gallery = draw_embeddings(4, 60, 70)
    queries, gallery = queries * scale, gallery * scale
    counts = rank_counts_from_embeddings(queries, gallery, targets=torch.arange(60))
    assert same(counts, rank_counts(scores_by_definition(queries, gallery, "dot"), torch.arange(60)))
    cosine = rank_counts_from_embeddings(queries, gallery, targets=torch.arange(60), similarity="cosine")
    assert same(cosine, rank_counts(scores_by_definition(queries, gallery, "cosine"), torch.arange(60)))


def test_more_rows_than_a_byte_can_count_are_counted():
    # Every query scores above the right one of the only gallery entry.
    queries = torch.arange(1.0, 1001.0)[:, None]
    _, of_gallery = bidirectional_rank_counts_from_embeddings(
        queries, torch.ones(1, 1), video_of_text=torch.zeros(1000, dtype=torch.int64), text_of_video=[0]
    )
    assert of_gallery.num_better.tolist() == [999]


def test_the_bound_holds_for_queries_of_which_float32_keeps_nothing():
    queries, gallery = draw_embeddings(6, 40, 50)
    queries[1::2] *= 1e-40
    queries[::2] *= 1e10
    counts = rank_counts_from_embeddings(queries, gallery, targets=torch.arange(40))
    assert same(counts, rank_counts(scores_by_definition(queries, gallery, "dot"), torch.arange(40)))


def test_scores_beyond_float32_are_ranked():
    queries = torch.tensor([[3e38, 3e38], [1.0, 0.0]])
    gallery = torch.tensor([[9.0, -9.0], [1.0, -1.0]])
    counts = rank_counts_from_embeddings(queries, gallery)
    assert counts.num_better.tolist() == [0, 1]
    assert counts.num_tied.tolist() == [2, 1]


@pytest.mark.parametrize("max_undecided", [-1.0, 1.0])
def test_the_grid_decides_what_differs(monkeypatch, max_undecided):
    # The query reaches 3.9, which is less than 4: the grid has 2^30 steps up to there.
    monkeypatch.setattr(embedding_pairs, "MAX_UNDECIDED", max_undecided)
    query = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    for difference, is_better in [(0.0, False), (0.4, False), (0.6, True), (1.0, True)]:
        gallery = torch.tensor(
            [[1.0, 0.0], [1 + difference * 2.0**-28, 0.0], [0.0, 3.9]], dtype=torch.float64
        )
        counts = rank_counts_from_embeddings(query, gallery, targets=[0])
        assert (int(counts.num_better), int(counts.num_tied)) == ((1, 1) if is_better else (0, 2))


def test_a_vector_whose_square_is_beyond_float64_is_named():
    gallery = torch.ones(3, 2, dtype=torch.float64)
    gallery[1] = 1e160
    with pytest.raises(ValueError, match=r"^gallery\[1\] is too long a vector to be multiplied in float64$"):
        rank_counts_from_embeddings(torch.ones(3, 2), gallery)


def test_parallel_vectors_of_any_length_tie_under_cosine():
    queries, _ = draw_embeddings(2, 40, 1, dim=50)
    gallery = queries[:1].double() * torch.linspace(0.1, 9.7, 40)[:, None]
    counts = rank_counts_from_embeddings(queries, gallery, similarity="cosine")
    assert counts.num_better.tolist() == [0] * 40
    assert counts.num_tied.tolist() == [40] * 40


@pytest.mark.parametrize("exponent", [-1000, -60, -40, 40, 1000])
def test_the_lengths_do_not_matter_under_cosine(exponent):
    queries, gallery = draw_embeddings(2, 30, 30, dim=8)
    expected = rank_counts_from_embeddings(queries, gallery, similarity="cosine")
    lengths = torch.ldexp(torch.linspace(0.5, 2.0, 30, dtype=torch.float64), torch.tensor(exponent))
    scaled = gallery.double() * lengths[:, None]
    assert same(rank_counts_from_embeddings(queries, scaled, similarity="cosine"), expected)
    assert same(
        rank_counts_from_embeddings(queries.double() * lengths[:, None], scaled, similarity="cosine"),
        expected,
    )


def test_embeddings_that_carry_a_gradient_are_ranked_like_others():
    embeddings = torch.eye(3, requires_grad=True)
    assert retrieval_metrics_from_embeddings(embeddings, embeddings)["R@1"] == 1


@pytest.mark.parametrize("max_undecided", [-1.0, 1.0])
def test_equal_gallery_vectors_tie_wherever_they_stand(monkeypatch, max_undecided):
    monkeypatch.setattr(embedding_pairs, "MAX_UNDECIDED", max_undecided)
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


def test_metrics_are_those_of_the_counts():
    text, video = draw_embeddings(7, 30, 20)
    of_text, of_video = torch.arange(30) % 20, torch.arange(20) + 5
    for similarity in ("dot", "cosine"):
        both = bidirectional_rank_counts_from_embeddings(
            text, video, similarity=similarity, video_of_text=of_text, text_of_video=of_video
        )
        single = retrieval_metrics_from_embeddings(text, video, similarity=similarity, targets=of_text)
        assert single == both[0].metrics()
        assert bidirectional_retrieval_metrics_from_embeddings(
            text, video, similarity=similarity, video_of_text=of_text, text_of_video=of_video
        ) == {"text_to_video": both[0].metrics(), "video_to_text": both[1].metrics()}
    plain = bidirectional_rank_counts_from_embeddings(text[:20], video)
    assert same(plain[0], rank_counts_from_embeddings(text[:20], video))
    assert same(plain[1], rank_counts_from_embeddings(video, text[:20]))


def test_both_directions_of_embeddings_are_named():
    text, video = torch.eye(4), torch.eye(4)
    text[3] = 5.0
    metrics = bidirectional_retrieval_metrics_from_embeddings(text, video)
    assert metrics == {
        "text_to_video": retrieval_metrics_from_embeddings(text, video),
        "video_to_text": retrieval_metrics_from_embeddings(video, text),
    }
    assert metrics["text_to_video"]["R@1"] == pytest.approx((3 + 1 / 4) / 4)
    assert metrics["video_to_text"]["R@1"] == 0.25
    with pytest.raises(ValueError, match=r"^text\[1, 0\] must be finite"):
        bidirectional_retrieval_metrics_from_embeddings(torch.tensor([[0.0], [torch.nan]]), video[:2, :1])
    with pytest.raises(ValueError, match=r"^text and video must have one width D, got 4 and 3"):
        bidirectional_retrieval_metrics_from_embeddings(text, video[:, :3])
