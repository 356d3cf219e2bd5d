"""CrossTask measures: every placement by brute force, the benchmark's rules of counting, ties, refusals."""

import doctest
import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.metrics import (
    StepVideo,
    crosstask_average_recall,
    crosstask_segment_accuracy,
    find_steps,
    localization,
    place_steps,
    placement,
    retrieval_metrics,
)
from narravid.types import Span


def test_doctests_hold():
    for module, num_examples in ((localization, 5), (placement, 1)):
        results = doctest.testmod(module, extraglobs={"torch": torch})
        assert results.attempted >= num_examples
        assert results.failed == 0


def best_placements(scores):
    """All placements of greatest sum among all that are in order, found by trying each."""
    num_seconds, num_steps = scores.shape
    placements = list(itertools.combinations(range(num_seconds), num_steps))
    sums = [sum(scores[second, step].item() for step, second in enumerate(place)) for place in placements]
    return [place for place, value in zip(placements, sums, strict=True) if value == max(sums)]


def draw(seed, num_seconds, num_steps, *, levels=None):
    scores = torch.randn(num_seconds, num_steps, generator=torch.Generator().manual_seed(seed))
    return scores if levels is None else (scores * levels).round()


@given(
    seed=st.integers(0, 10_000),
    num_steps=st.integers(1, 4),
    more_seconds=st.integers(0, 5),
    levels=st.sampled_from([0, 1, 3, None]),
)
def test_placements_are_the_best_of_all(seed, num_steps, more_seconds, levels):
    scores = draw(seed, num_steps + more_seconds, num_steps, levels=levels)
    expected = torch.zeros(scores.shape, dtype=torch.float64)
    best = best_placements(scores)
    for place in best:
        for step, second in enumerate(place):
            expected[second, step] += 1 / len(best)
    shares = place_steps(scores)
    assert shares.dtype == torch.float64
    torch.testing.assert_close(shares, expected)
    torch.testing.assert_close(shares.sum(dim=0), torch.ones(num_steps).double())


@given(seed=st.integers(0, 10_000))
def test_scale_and_a_bonus_for_a_whole_step_change_no_placement(seed):
    scores = draw(seed, 12, 4, levels=2)
    shares = place_steps(scores)
    assert torch.equal(place_steps(4 * scores), shares)
    assert torch.equal(place_steps(scores + torch.tensor([7.0, -3.0, 0.0, 100.0])), shares)
    assert torch.equal(place_steps(scores.numpy()), shares)
    # Time reversed, the steps come in reversed order.
    torch.testing.assert_close(place_steps(scores.flip(0, 1)).flip(0, 1), shares)


def test_a_long_silent_video_is_at_the_chance_of_a_random_placement():
    num_seconds, num_steps = 200, 9
    shares = place_steps(torch.zeros(num_seconds, num_steps))
    ways = math.comb(num_seconds, num_steps)
    for step, second in [(0, 0), (4, 100), (8, 199), (8, 7), (0, 192)]:
        exact = math.comb(second, step) * math.comb(num_seconds - 1 - second, num_steps - 1 - step) / ways
        assert shares[second, step].item() == pytest.approx(exact, abs=1e-15)


def test_as_many_steps_as_seconds_leave_one_placement():
    assert torch.equal(place_steps(-torch.ones(3, 3)), torch.eye(3).double())


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(3), r"^scores must be \(T, K\) floating point and not empty, got \(3,\)"),
        (torch.zeros(3, 0), r"^scores must be \(T, K\) .* got \(3, 0\)"),
        (torch.zeros(3, 2).long(), r"^scores must be .* torch.int64$"),
        (torch.zeros(2, 3), r"^3 steps cannot have a second each of 2$"),
        (torch.tensor([[0.0], [torch.nan]]), r"^scores\[1, 0\] must be finite, got nan$"),
    ],
)
def test_mistakes_in_scores_are_named_with_their_video(scores, message):
    with pytest.raises(ValueError, match=message):
        place_steps(scores)
    with pytest.raises(ValueError, match=r"^video 'v7': " + message[1:]):
        crosstask_average_recall([StepVideo("v7", "tea", scores, [])])


def recall_by_hand(videos):
    """Trying every placement, and every interval second by second."""
    found, total = {}, {}
    for video in videos:
        scores = torch.as_tensor(video.scores)
        seconds_of = {}
        for step, span in video.annotations:
            inside = {
                second
                for second in range(len(scores))
                if math.floor(span.start_seconds) <= second < math.ceil(span.end_seconds)
            }
            seconds_of[step] = seconds_of.get(step, set()) | inside
        best = best_placements(scores)
        hits = [place[step] in seconds for place in best for step, seconds in seconds_of.items()]
        found[video.task] = found.get(video.task, 0) + sum(hits) / len(best)
        total[video.task] = total.get(video.task, 0) + len(seconds_of)
    return {task: found[task] / total[task] for task in found}


@given(seed=st.integers(0, 10_000), levels=st.sampled_from([1, None]))
def test_recall_is_that_of_counting_by_hand(seed, levels):
    rng = np.random.default_rng(seed)
    videos = []
    for number in range(5):
        starts = rng.uniform(0, 6, size=4)
        spans = [
            Span(start, start + length) for start, length in zip(starts, rng.uniform(0, 3, 4), strict=True)
        ]
        steps = [0, *rng.integers(0, 3, size=3).tolist()]
        scores = draw(seed + number, 8, 3, levels=levels)
        videos.append(
            StepVideo(f"v{number}", f"task{number % 2}", scores, list(zip(steps, spans, strict=True)))
        )
    result = crosstask_average_recall(videos)
    expected = recall_by_hand(videos)
    assert result.task_recalls == pytest.approx(expected)
    assert result.average_recall == pytest.approx(np.mean(list(expected.values())))
    assert result.num_videos == 5
    assert crosstask_average_recall(iter(videos[::-1])).average_recall == pytest.approx(result.average_recall)


def one_hot(seconds, num_seconds=10):
    scores = torch.zeros(num_seconds, len(seconds))
    for step, second in enumerate(seconds):
        scores[second, step] = 5.0
    return scores


@pytest.mark.parametrize(
    ("span", "hits"),
    [
        (Span(3.0, 4.0), {3}),
        (Span(3.9, 4.0), {3}),
        (Span(3.0, 4.01), {3, 4}),
        (Span(2.99, 3.5), {2, 3}),
        (Span(8.2, 30.0), {8, 9}),
        (Span(-2.0, 0.5), {0}),
        (Span(9.0, 10.0), {9}),
    ],
)
def test_an_interval_covers_the_whole_seconds_that_it_touches(span, hits):
    for second in range(10):
        result = crosstask_average_recall([StepVideo("v", "tea", one_hot([second]), [(0, span)])])
        assert result.average_recall == (second in hits)


def test_a_step_of_several_intervals_counts_once_and_one_that_is_absent_does_not():
    annotations = [(0, Span(0.0, 1.0)), (0, Span(4.0, 6.0)), (2, Span(7.0, 8.0))]
    video = StepVideo("v", "tea", one_hot([5, 6, 8]), annotations)
    result = crosstask_average_recall([video])
    assert result.num_steps == {"tea": 2}
    assert result.task_recalls == {"tea": 0.5}


def test_a_step_behind_the_end_of_a_video_is_a_miss():
    annotations = [(0, Span(2.0, 3.0)), (1, Span(10.0, 12.0)), (1, Span(15.0, 16.0)), (2, Span(9.5, 11.0))]
    video = StepVideo("v", "tea", one_hot([2, 4, 9]), annotations)
    placed = find_steps(video)
    assert placed.found.tolist() == [1.0, 0.0, 1.0]
    assert placed.is_lost.tolist() == [False, True, False]
    result = crosstask_average_recall([video])
    assert result.num_steps == {"tea": 3}
    assert result.average_recall == pytest.approx(2 / 3)
    lost = StepVideo("w", "cake", one_hot([2]), [(0, Span(10.0, 12.0))])
    assert crosstask_average_recall([lost]).average_recall == 0.0


def test_steps_are_pooled_within_a_task_and_averaged_over_tasks():
    right, wrong = (0, Span(2.0, 3.0)), (0, Span(5.0, 6.0))
    videos = [
        StepVideo("a", "tea", one_hot([2, 4]), [right, (1, Span(4.0, 5.0))]),
        StepVideo("b", "tea", one_hot([2, 4]), [wrong]),
        StepVideo("c", "cake", one_hot([2]), [wrong]),
        StepVideo("d", "cake", one_hot([2]), []),
    ]
    result = crosstask_average_recall(videos)
    assert result.task_recalls == pytest.approx({"tea": 2 / 3, "cake": 0.0})
    assert result.average_recall == pytest.approx(1 / 3)
    assert result.num_steps == {"tea": 3, "cake": 1}
    assert result.num_videos == 4


def test_mistakes_in_videos_are_named():
    video = StepVideo("a", "tea", one_hot([2, 4]), [(0, Span(0.0, 1.0))])
    for videos, message in [
        ([], r"^there are no videos to average over$"),
        (
            [video, StepVideo("b", "tea", one_hot([2]), [])],
            r"^video 'b' has scores for 1 steps, others of task 'tea' for 2",
        ),
        (
            [StepVideo("b", "tea", one_hot([2]), [(1, Span(0.0, 1.0))])],
            r"^video 'b': annotated step 1 is outside \[0, 1\)$",
        ),
        (
            [StepVideo("b", "tea", one_hot([2]), [(-1, Span(0.0, 1.0))])],
            r"annotated step -1 is outside \[0, 1\)$",
        ),
        (
            [video, StepVideo("b", "cake", one_hot([2]), [])],
            r"^no video of task 'cake' has an annotated step; leave",
        ),
        (
            [StepVideo("b", "tea", one_hot([2]), [(0, Span(-3.0, -1.0))])],
            r"^no video of task 'tea' has an annotated",
        ),
    ]:
        with pytest.raises(ValueError, match=message):
            crosstask_average_recall(videos)


@given(seed=st.integers(0, 10_000))
def test_segment_accuracy_is_recall_at_one_within_each_task(seed):
    generator = torch.Generator().manual_seed(seed)
    sizes = {"tea": (4, 3), "cake": (7, 5)}
    scores = {task: torch.randint(3, size, generator=generator).float() for task, size in sizes.items()}
    targets = {task: torch.randint(size[1], (size[0],), generator=generator) for task, size in sizes.items()}
    result = crosstask_segment_accuracy(scores, targets)
    expected = {task: retrieval_metrics(scores[task], targets[task])["R@1"] for task in sizes}
    assert result.task_accuracies == pytest.approx(expected)
    assert result.average_accuracy == pytest.approx((expected["tea"] + expected["cake"]) / 2)
    assert result.pooled_accuracy == pytest.approx((4 * expected["tea"] + 7 * expected["cake"]) / 11)
    assert result.num_segments == {"tea": 4, "cake": 7}


def test_a_constant_model_is_at_chance():
    result = crosstask_segment_accuracy({"tea": torch.zeros(4, 4), "cake": np.ones((10, 10))})
    assert result.task_accuracies == pytest.approx({"tea": 0.25, "cake": 0.1})
    assert result.pooled_accuracy == pytest.approx(2 / 14)


@pytest.mark.parametrize(
    ("similarities", "targets", "message"),
    [
        ({}, None, r"^there are no tasks to average over$"),
        ({"tea": torch.eye(2)}, {"cake": [0]}, r"same tasks, 'cake' is in one only$"),
        (
            {"tea": torch.zeros(2)},
            None,
            r"^similarities\['tea'\] must be \(S, G\) and not empty, got \(2,\)$",
        ),
        ({"tea": torch.zeros(2, 3)}, None, r"^2 queries and 3 gallery entries: give targets"),
        ({"tea": torch.zeros(2, 3)}, {"tea": [0, 3]}, r"^targets\['tea'\]\[1\] is 3, outside \[0, 3\)$"),
        (
            {"tea": torch.full((2, 2), torch.nan)},
            None,
            r"^similarities\['tea'\]\[0, 0\] must be finite, got nan$",
        ),
    ],
)
def test_mistakes_in_segments_are_named(similarities, targets, message):
    with pytest.raises(ValueError, match=message):
        crosstask_segment_accuracy(similarities, targets)


def test_what_became_of_each_step_of_a_video():
    scores = torch.tensor([[0.9, 0.0, 0.0], [0.0, 0.5, 0.0], [0.0, 0.5, 0.0], [0.0, 0.0, 0.9]])
    video = StepVideo("v", "tea", scores, [(0, Span(2.0, 3.0)), (1, Span(1.2, 1.9)), (1, Span(0.0, 0.5))])
    placed = find_steps(video)
    assert placed.shares.T.tolist() == [[1, 0, 0, 0], [0, 0.5, 0.5, 0], [0, 0, 0, 1]]
    assert placed.is_annotated.T.int().tolist() == [[0, 0, 1, 0], [1, 1, 0, 0], [0, 0, 0, 0]]
    assert placed.found[:2].tolist() == [0.0, 0.5]
    assert math.isnan(placed.found[2])
    assert crosstask_average_recall([video]).average_recall == 0.25
