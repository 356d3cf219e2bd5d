"""Screening by bfloat16 products: the counts are those of the exact scores, whatever it decides."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import narravid.metrics.embedding_pairs as embedding_pairs
import narravid.metrics.screening as screening
from narravid.metrics import bidirectional_rank_counts_from_embeddings, rank_counts_from_embeddings
from narravid.metrics.embedding_pairs import EmbeddingPairs


def draw(kind, seed, num_queries, num_gallery, dim):
    generator = torch.Generator().manual_seed(seed)
    queries = torch.randn(num_queries, dim, generator=generator)
    gallery = torch.randn(num_gallery, dim, generator=generator)
    lengths = torch.rand(num_gallery, 1, generator=generator)
    match kind:
        case "integers":  # many exact ties
            return queries.round(), gallery.round()
        case "duplicates":
            return queries, gallery[torch.arange(num_gallery) // 3]
        case "parallel":
            return queries, gallery[:1].double() * (lengths + 0.1)
        case "nearly equal":
            return queries, gallery[:1] * (1 + 2e-7 * gallery)
        case "uneven":  # some vectors that keep nothing of themselves when scaled like the longest
            return queries * 10.0 ** (-45 * torch.rand(num_queries, 1, generator=generator)), gallery * (
                10.0 ** (-45 * lengths)
            )
        case "tiny":
            return queries.double() * 1e-150, gallery.double() * 1e-140
        case "huge":
            return queries.double() * 1e150, gallery.double() * 1e140
        case "lost by rounding":  # all equal in bfloat16
            return queries.sign() + 1e-4 * queries, gallery.sign().abs() + 1e-4 * gallery
        case "good model":
            gallery[: min(num_queries, num_gallery)] += 2 * queries[:num_gallery]
            return queries, gallery
    return queries, gallery


KINDS = [
    "continuous",
    "integers",
    "duplicates",
    "parallel",
    "nearly equal",
    "uneven",
    "tiny",
    "huge",
    "lost by rounding",
    "good model",
]


def count_both(queries, gallery, similarity, *, is_screened):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingPairs, "_is_screened", is_screened)
        return bidirectional_rank_counts_from_embeddings(
            queries,
            gallery,
            similarity=similarity,
            video_of_text=torch.arange(len(queries)) % len(gallery),
            text_of_video=torch.arange(len(gallery)) % len(queries),
        )


def count_exactly(queries, gallery, similarity):
    """Every pair in float64, no product screened or rounded."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EmbeddingPairs, "_filters", lambda self, directions: [])
        return count_both(queries, gallery, similarity, is_screened=False)


def assert_same(counts, expected):
    for one, other in zip(counts, expected, strict=True):
        assert torch.equal(one.num_better, other.num_better)
        assert torch.equal(one.num_tied, other.num_tied)


@pytest.mark.slow
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 10_000),
    shape=st.tuples(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 7, 64])),
    sizes=st.sampled_from([(2**24, 2**12, 2**22, 2**17), (200, 13, 60, 20), (40, 8, 16, 1), (1, 1, 1, 1)]),
    max_undecided=st.sampled_from([0.0, 1 / 16, 0.5, 1.0]),
    similarity=st.sampled_from(["dot", "cosine"]),
)
@settings(max_examples=100, deadline=None)
def test_the_counts_are_those_of_the_exact_scores(kind, seed, shape, sizes, max_undecided, similarity):
    queries, gallery = draw(kind, seed, *shape)
    expected = count_exactly(queries, gallery, similarity)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedding_pairs, "BLOCK_SCORES", sizes[0])
        patch.setattr(embedding_pairs, "BLOCK_COLUMNS", sizes[1])
        patch.setattr(screening, "PART_SCORES", sizes[2])
        patch.setattr(screening, "STRIP_SCORES", sizes[3])
        patch.setattr(screening, "MAX_UNDECIDED", max_undecided)
        assert_same(count_both(queries, gallery, similarity, is_screened=True), expected)
    assert_same(count_both(queries, gallery, similarity, is_screened=False), expected)


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_counted_right_when_nothing_is_left_to_other_products(kind, similarity, monkeypatch):
    monkeypatch.setattr(screening, "MAX_UNDECIDED", 1.0)
    monkeypatch.setattr(embedding_pairs._RoundedProduct, "count", refuse)
    queries, gallery = draw(kind, 3, 120, 150, 96)
    expected = count_exactly(queries, gallery, similarity)
    monkeypatch.setattr(EmbeddingPairs, "_count_exactly", refuse)
    assert_same(count_both(queries, gallery, similarity, is_screened=True), expected)


def refuse(*arguments):
    raise AssertionError("no block needs this")


@pytest.mark.parametrize("precision", ["highest", "medium"])
@pytest.mark.parametrize("num_threads", [1, 2])
def test_neither_threads_nor_the_precision_of_products_change_the_counts(precision, num_threads):
    queries, gallery = draw("good model", 5, 90, 80, 64)
    expected = count_exactly(queries, gallery, "cosine")
    before = torch.get_float32_matmul_precision(), torch.get_num_threads()
    try:
        torch.set_float32_matmul_precision(precision)
        torch.set_num_threads(num_threads)
        assert_same(count_both(queries, gallery, "cosine", is_screened=True), expected)
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.set_num_threads(before[1])


def spy_on_products(monkeypatch):
    """A list that gets the shape of each bfloat16 product."""
    shapes = []
    multiply = screening.ScreenedProduct._multiply

    def spy(self, rows, columns):
        shapes.append((rows.stop - rows.start, columns.stop - columns.start))
        return multiply(self, rows, columns)

    monkeypatch.setattr(screening.ScreenedProduct, "_multiply", spy)
    return shapes


def test_a_good_model_needs_few_other_products(monkeypatch):
    queries, gallery = draw("good model", 0, 300, 400, 128)
    shapes, undecided = spy_on_products(monkeypatch), []
    sampled = screening._sampled_products

    def spy(queries, gallery, lines, entries):
        undecided.append(len(lines))
        return sampled(queries, gallery, lines, entries)

    monkeypatch.setattr(screening, "_sampled_products", spy)
    monkeypatch.setattr(embedding_pairs._RoundedProduct, "count", refuse)
    monkeypatch.setattr(EmbeddingPairs, "_is_screened", True)
    rank_counts_from_embeddings(queries, gallery, targets=torch.arange(300))
    assert shapes == [(300, 400)]
    assert 300 <= sum(undecided) <= 0.02 * 300 * 400


def test_after_two_blocks_that_it_cannot_decide_it_stops_trying(monkeypatch):
    monkeypatch.setattr(embedding_pairs, "BLOCK_SCORES", 100)
    shapes = spy_on_products(monkeypatch)
    queries, gallery = draw("nearly equal", 0, 50, 50, 16)
    expected = count_exactly(queries, gallery, "dot")
    assert_same(count_both(queries, gallery, "dot", is_screened=True), expected)
    assert len(shapes) == screening.MAX_FAILURES


@pytest.mark.parametrize("is_fast", [False, True])
def test_large_problems_are_screened_if_the_processor_is_fast_at_it(monkeypatch, is_fast):
    shapes, dims = spy_on_products(monkeypatch), []
    monkeypatch.setattr(embedding_pairs, "is_screening_fast", lambda dim: dims.append(dim) or is_fast)
    queries, gallery = draw("good model", 0, 60, 50, 8)
    rank_counts_from_embeddings(queries[:50], gallery)
    assert (dims, shapes) == ([], [])
    monkeypatch.setattr(embedding_pairs, "LEAST_SCREENED", 2500)
    rank_counts_from_embeddings(queries[:50], gallery)
    assert dims == [8]
    assert bool(shapes) == is_fast


@pytest.mark.parametrize("dim", [1, 5, 64])
def test_the_race_is_decided_by_the_times(monkeypatch, dim):
    times = iter([0.1, 0.3, 0.1, 0.1])
    monkeypatch.setattr(screening, "_fastest", lambda function: function() is None or next(times))
    assert screening.is_screening_fast(dim)
    assert not screening.is_screening_fast(dim)


def test_a_processor_that_sums_in_bfloat16_is_not_used(monkeypatch):
    def multiply_badly(left, right, *, out):
        out.copy_(np.float32(0.75) * (left.float() @ right.float()))

    monkeypatch.setattr(torch, "mm", multiply_badly)
    monkeypatch.setattr(screening, "_fastest", lambda function: function() or 0.0)
    assert not screening.is_screening_fast(64)


def test_a_build_without_sparse_products_is_not_screened(monkeypatch):
    def refuse(*arguments, **options):
        raise RuntimeError("not compiled with it")

    monkeypatch.setattr(screening, "_fastest", lambda function: function() is None or 0.0)
    monkeypatch.setattr(torch.sparse, "sampled_addmm", refuse)
    assert not screening.is_screening_fast(64)
