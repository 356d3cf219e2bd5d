"""HTM-Align measures: scikit-learn, naive loops, ties, what no window saw, refusals."""

import doctest
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

import narravid.metrics.alignment as alignment
from narravid.metrics import AlignedVideo, htm_align_metrics, roc_auc, text_outcomes
from narravid.types import Span


def test_doctests_hold():
    results = doctest.testmod(alignment, extraglobs={"torch": torch})
    assert results.attempted >= 6
    assert results.failed == 0


@given(seed=st.integers(0, 10_000), size=st.integers(2, 40), levels=st.sampled_from([0, 1, 4, 1000]))
def test_area_agrees_with_scikit_learn_and_with_all_pairs(seed, size, levels):
    rng = np.random.default_rng(seed)
    scores = np.round(levels * rng.standard_normal(size))
    labels = rng.integers(0, 2, size)
    labels[:2] = 0, 1
    result = roc_auc(scores, labels)
    assert result.reason is None
    assert result.value == pytest.approx(roc_auc_score(labels, scores))
    pairs = [(p > n) + (p == n) / 2 for p in scores[labels == 1] for n in scores[labels == 0]]
    assert result.value == pytest.approx(np.mean(pairs))


@given(seed=st.integers(0, 10_000))
def test_area_is_of_the_ranks_only(seed):
    rng = np.random.default_rng(seed)
    scores, labels = rng.integers(-3, 4, 20).astype(np.float64), np.arange(20) % 3 == 0
    value = roc_auc(scores, labels).value
    assert roc_auc(np.exp(scores), labels).value == value
    assert roc_auc(-scores, labels).value == pytest.approx(1 - value)
    assert roc_auc(scores, ~labels).value == pytest.approx(1 - value)
    order = rng.permutation(20)
    assert roc_auc(torch.from_numpy(scores[order]), torch.from_numpy(labels[order])).value == value


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        ([1, 1, 1], "all 3 labels are positive"),
        ([0, 0, 0], "all 3 labels are negative"),
        ([], "there are no labels"),
    ],
)
def test_area_of_one_label_is_nan_with_the_reason(labels, reason):
    result = roc_auc(torch.rand(len(labels)), torch.tensor(labels))
    assert math.isnan(result.value)
    assert result.reason == reason


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        (torch.zeros(2, 2), torch.zeros(2, 2), r"^scores must be \(n,\) floating point, got \(2, 2\)"),
        (torch.zeros(2).long(), torch.zeros(2), r"^scores must be \(n,\) floating point, .* torch.int64$"),
        (torch.zeros(2), torch.zeros(3), r"^labels must be \(2,\) of 0 and 1, got \(3,\)$"),
        (torch.zeros(2), torch.tensor([0, 2]), r"^labels must be \(2,\) of 0 and 1"),
        (torch.tensor([0.0, torch.nan]), torch.tensor([0, 1]), r"^scores\[1\] must be finite, got nan$"),
        (torch.tensor([-torch.inf, 0.0]), torch.tensor([0, 1]), r"^scores\[0\] must be finite, got -inf$"),
    ],
)
def test_mistakes_in_scores_are_named(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        roc_auc(scores, labels)


def video(similarity, spans, is_alignable, **more):
    return AlignedVideo("v", torch.as_tensor(similarity), spans, is_alignable, **more)


@pytest.mark.parametrize(
    ("second", "span", "hit"),
    [
        (2, Span(2.9, 4.1), 1),  # floor of the start
        (1, Span(2.0, 4.1), 0),
        (5, Span(2.9, 4.1), 1),  # ceil of the end, included
        (6, Span(2.9, 4.1), 0),
        (4, Span(2.0, 4.0), 1),
        (5, Span(2.0, 4.0), 0),
        (3, Span(3.2, 3.4), 1),
    ],
)
def test_a_hit_is_a_second_from_floor_of_start_to_ceil_of_end(second, span, hit):
    similarity = torch.zeros(1, 9)
    similarity[0, second] = 1
    assert htm_align_metrics([video(similarity, [span], [True])]).recall == hit


def test_equal_seconds_count_with_the_share_that_hits():
    similarity = torch.tensor([[0.0, 1.0, 1.0, 1.0, 0.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    spans = [Span(3.0, 4.0), Span(0.0, 1.0)]
    metrics = htm_align_metrics([video(similarity, spans, [True, True])])
    assert metrics.recall == pytest.approx((1 / 3 + 2 / 5) / 2)
    assert math.isnan(metrics.roc_auc.value)
    assert metrics.roc_auc.reason == "all 2 labels are positive"


def by_hand(videos):
    """R@1 and the inputs of the area, text by text and second by second."""
    hits, scores, labels = [], [], []
    for item in videos:
        covered = np.ones(item.similarity.shape, bool) if item.is_covered is None else item.is_covered.numpy()
        for text, row in enumerate(item.similarity.tolist()):
            seen = [(value, second) for second, value in enumerate(row) if covered[text, second]]
            labels.append(item.is_alignable[text])
            own = max(seen)[0] if item.alignability is None and seen else None
            scores.append(-1e9 if not seen else own if own is not None else float(item.alignability[text]))
            if item.is_alignable[text]:
                span = item.spans[text]
                best = [second for value, second in seen if value == max(seen)[0]]
                inside = [math.floor(span.start_seconds) <= s <= math.ceil(span.end_seconds) for s in best]
                hits.append(np.mean(inside) if inside else 0.0)
    return np.mean(hits), scores, labels


@given(seed=st.integers(0, 10_000), has_coverage=st.booleans(), has_head=st.booleans())
def test_metrics_are_those_of_counting_by_hand(seed, has_coverage, has_head):
    rng = np.random.default_rng(seed)
    videos = []
    for num_texts, num_seconds in [(4, 9), (7, 5)]:
        starts = rng.uniform(0, num_seconds, num_texts)
        is_covered = torch.from_numpy(rng.random((num_texts, num_seconds)) < 0.6)
        is_covered[0] = False
        similarity = torch.from_numpy(rng.integers(0, 4, (num_texts, num_seconds)).astype(np.float32))
        videos.append(
            video(
                similarity,
                [Span(start, start + 1.5) for start in starts],
                [True, False, *(rng.random(num_texts - 2) < 0.5).tolist()],
                is_covered=is_covered if has_coverage else None,
                alignability=torch.from_numpy(rng.standard_normal(num_texts)) if has_head else None,
            )
        )
    metrics = htm_align_metrics(iter(videos))
    recall, scores, labels = by_hand(videos)
    assert metrics.recall == pytest.approx(recall)
    assert metrics.roc_auc.value == pytest.approx(roc_auc_score(labels, scores))
    assert (metrics.num_videos, metrics.num_texts, metrics.num_alignable) == (2, 11, sum(labels))
    if not has_coverage:
        assert (metrics.num_uncovered, metrics.text_coverage) == (0, 1)
    else:
        num_uncovered = sum(int((~item.is_covered.any(dim=1)).sum()) for item in videos)
        assert metrics.num_uncovered == num_uncovered
        assert metrics.text_coverage == pytest.approx(1 - num_uncovered / 11)
    texts = torch.randperm(7, generator=torch.Generator().manual_seed(seed)).tolist()
    last = videos[1]
    shuffled = AlignedVideo(
        "v",
        last.similarity[texts],
        [last.spans[text] for text in texts],
        [last.is_alignable[text] for text in texts],
        is_covered=None if last.is_covered is None else last.is_covered[texts],
        alignability=None if last.alignability is None else last.alignability[texts],
    )
    again = htm_align_metrics([shuffled, videos[0]])
    assert again.recall == pytest.approx(metrics.recall)
    assert again.roc_auc.value == pytest.approx(metrics.roc_auc.value)


def test_what_no_window_saw_is_a_miss_with_the_lowest_score_whatever_stands_there():
    similarity = torch.tensor([[torch.nan, 99.0], [-5.0, -4.0], [-6.0, torch.inf]])
    is_covered = torch.tensor([[False, False], [True, True], [True, False]])
    spans = [Span(0.0, 2.0), Span(1.2, 2.0), Span(0.0, 0.5)]
    metrics = htm_align_metrics(
        [
            video(
                similarity,
                spans,
                [True, True, False],
                is_covered=is_covered,
                alignability=torch.tensor([9.0, 1, 0]),
            )
        ]
    )
    assert metrics.recall == 0.5
    assert metrics.roc_auc.value == 0.5  # above -inf of the first text, below that of the second
    assert (metrics.num_uncovered, metrics.text_coverage) == (1, pytest.approx(2 / 3))


def test_a_video_that_nobody_saw_counts_in_full():
    seen = video(torch.eye(2), [Span(0.0, 0.0), Span(1.0, 1.0)], [True, False])
    unseen = video(torch.eye(2), seen.spans, [True, False], is_covered=torch.zeros(2, 2, dtype=torch.bool))
    metrics = htm_align_metrics([seen, unseen])
    assert (metrics.recall, metrics.num_uncovered, metrics.text_coverage) == (0.5, 2, 0.5)
    assert metrics.roc_auc.value == 0.5


def test_without_alignable_texts_recall_is_nan():
    metrics = htm_align_metrics([video(torch.eye(2), [Span(0.0, 1.0)] * 2, [False, False])])
    assert math.isnan(metrics.recall)
    assert metrics.roc_auc.reason == "all 2 labels are negative"


SPANS = [Span(0.0, 1.0)] * 2


@pytest.mark.parametrize(
    ("videos", "message"),
    [
        ([], r"^there are no texts to align$"),
        (
            [video(torch.zeros(2), SPANS, [True, True])],
            r"^video 'v': similarity must be \(N, T\) .* got \(2,\)",
        ),
        ([video(torch.zeros(2, 0), SPANS, [True, True])], r"similarity must be \(N, T\) .* got \(2, 0\)"),
        ([video(torch.zeros(2, 2).long(), SPANS, [True, True])], r"similarity must be .* torch.int64$"),
        (
            [video(torch.zeros(2, 2), SPANS[:1], [True, True])],
            r"^video 'v': similarity of 2 texts, 1 spans, 2 entr",
        ),
        (
            [video(torch.zeros(2, 2), SPANS, [True])],
            r"similarity of 2 texts, 2 spans, 1 entries of is_alignable$",
        ),
        (
            [video(torch.zeros(2, 2), SPANS, [True, True], is_covered=torch.ones(2, 3, dtype=torch.bool))],
            r"^video 'v': is_covered must be \(2, 2\) bool, got \(2, 3\) torch.bool$",
        ),
        (
            [video(torch.zeros(2, 2), SPANS, [True, True], is_covered=torch.ones(2, 2))],
            r"is_covered must be \(2, 2\) bool, got \(2, 2\) torch.float32$",
        ),
        (
            [video(torch.tensor([[0.0, 0.0], [0.0, torch.nan]]), SPANS, [True, True])],
            r"^video 'v': similarity\[1, 1\] must be finite, got nan$",
        ),
        (
            [video(torch.zeros(2, 2), SPANS, [True, True], alignability=torch.zeros(3))],
            r"^video 'v': alignability must be \(2,\) and finite, got \(3,\)$",
        ),
        (
            [video(torch.zeros(2, 2), SPANS, [True, True], alignability=torch.tensor([0.0, torch.inf]))],
            r"^video 'v': alignability must be \(2,\) and finite",
        ),
    ],
)
def test_mistakes_in_videos_are_named(videos, message):
    with pytest.raises(ValueError, match=message):
        htm_align_metrics(videos)


def test_what_became_of_each_text_of_a_video():
    similarity = torch.tensor([[0.1, 0.7, 0.7], [0.3, 0.2, 0.1], [0.0, 0.0, 9.0]])
    covered = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])
    spans = [Span(2.0, 2.5), Span(0.0, 1.0), Span(2.0, 3.0)]
    video = AlignedVideo("v", similarity, spans, [True, False, True], is_covered=covered)
    outcomes = text_outcomes(video)
    assert outcomes.hits[[0, 2]].tolist() == [0.5, 0.0]
    assert math.isnan(outcomes.hits[1])
    assert outcomes.scores.tolist() == pytest.approx([0.7, 0.3, -math.inf])
    assert outcomes.is_covered.tolist() == [True, True, False]
    given = AlignedVideo(
        "v",
        similarity,
        spans,
        [True, False, True],
        is_covered=covered,
        alignability=torch.tensor([5.0, 6.0, 7.0]),
    )
    assert text_outcomes(given).scores.tolist() == [5.0, 6.0, -math.inf]
