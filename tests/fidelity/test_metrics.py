"""Metrics against the published programs, and against the right numbers where those are defective."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from fidelity.fill import filled_input, golden_arrays
from narravid.metrics import (
    AlignedVideo,
    StitchedSimilarity,
    alignment_windows,
    average_clip_scores,
    crosstask_segment_accuracy,
    hit_at_k,
    htm_align_metrics,
    rank_counts,
    retrieval_metrics,
    retrieval_ranks,
    stitch_scores,
    stitch_similarity,
    top_k_accuracy,
)
from narravid.types import Span


def load(case):
    """The golden numbers of a case, and `sim`, its scores rebuilt as the case says."""
    arrays = golden_arrays("metrics", case)
    num = len(arrays["strict_rank"])
    sim = filled_input(f"metrics/{case}/sim", (num, num), "normal").astype(np.float64)
    if case.startswith("random"):
        sim += 1.5 * np.eye(num)
    elif case == "ties_quantised":
        sim = np.floor(2 * sim) / 2
    elif case == "ties_duplicate_columns":
        sim += np.eye(num)
        sim[:, 1::2] = sim[:, ::2]
    else:
        sim = np.ones_like(sim)
    return {**arrays, "sim": sim}


@pytest.mark.parametrize("case", ["random_n20", "random_n50"])
def test_without_ties_the_metrics_are_the_published_ones(case):
    arrays = load(case)
    metrics = retrieval_metrics(arrays["sim"])
    for name, published in [("R@1", "R1"), ("R@5", "R5"), ("R@10", "R10"), ("MedR", "MR")]:
        assert metrics[name] == pytest.approx(float(arrays[published]), rel=1e-6), name
    assert metrics["R@1"] * 100 == pytest.approx(float(arrays["retrieval_R1"]), rel=1e-6)
    np.testing.assert_array_equal(retrieval_ranks(arrays["sim"]).numpy(), arrays["strict_rank"] + 1)
    accuracy = crosstask_segment_accuracy({"task": arrays["sim"]}).average_accuracy
    assert accuracy * 100 == pytest.approx(float(arrays["ctr"]), rel=1e-6)


@pytest.mark.parametrize("case", ["ties_quantised", "ties_duplicate_columns", "ties_constant"])
def test_ties_are_counted_and_shared_out(case):
    arrays = load(case)
    counts = rank_counts(arrays["sim"])
    np.testing.assert_array_equal(counts.num_better.numpy(), arrays["strict_rank"])
    np.testing.assert_array_equal(counts.num_tied.numpy(), arrays["tied_with_diagonal"] + 1)
    # The pooled ranks of the published program are as many as all tied entries together.
    assert int(counts.num_tied.sum()) == int(arrays["ref_num_ranks"])
    expected = arrays["strict_rank"] + arrays["tied_with_diagonal"] / 2 + 1
    np.testing.assert_array_equal(counts.ranks().numpy(), expected)


def test_a_constant_model_is_at_chance():
    metrics = retrieval_metrics(load("ties_constant")["sim"])
    assert metrics == pytest.approx(
        {"R@1": 1 / 24, "R@5": 5 / 24, "R@10": 10 / 24, "MedR": 12.5, "MeanR": 12.5}
    )


@pytest.mark.parametrize("case", ["ties_quantised", "ties_duplicate_columns", "ties_constant"])
def test_segment_accuracy_shares_ties_out_instead_of_calling_them_hits(case):
    arrays = load(case)
    is_best = arrays["strict_rank"] == 0
    assert is_best.mean() * 100 == pytest.approx(float(arrays["ref_ctr"]), rel=1e-6)
    expected = np.mean(is_best / (arrays["tied_with_diagonal"] + 1))
    assert crosstask_segment_accuracy({"task": arrays["sim"]}).average_accuracy == pytest.approx(expected)


def test_top_k_accuracy():
    arrays = golden_arrays("metrics", "accuracy")
    scores = filled_input("metrics/accuracy/score", (12, 10), "normal")
    labels = filled_input("metrics/accuracy/label", (12,), "uint8").astype(np.int64) % 10
    order = np.argsort(-scores, axis=1)
    labels[:6] = order[:6, 0]
    labels[6:8] = order[6:8, 2]
    np.testing.assert_array_equal(labels, arrays["labels"])
    shares = top_k_accuracy(scores, labels, ks=(1, 3, 5))
    for name, share in shares.items():
        # The published percentages were computed in float32.
        assert share * 100 == pytest.approx(float(arrays[name]), rel=1e-6), name
    assert shares["top1"] == pytest.approx(float(arrays["fraction"]), rel=1e-6)


def test_hit_at_k_with_a_video_that_has_no_prediction():
    arrays = golden_arrays("metrics", "hit_at_k")
    scores = filled_input("metrics/hit_at_k/score", (8, 6), "normal")
    labels = filled_input("metrics/hit_at_k/label", (8,), "uint8").astype(np.int64) % 6
    order = np.argsort(-scores, axis=1)
    labels[:2] = order[0, 0], order[1, 1]
    np.testing.assert_array_equal(labels, arrays["labels"])
    result = hit_at_k(dict(enumerate(scores[:7])), dict(enumerate(labels.tolist())), ks=(1, 2, 3))
    assert result.missing == (7,)
    for k in (1, 2, 3):
        assert result.hits[f"hit@{k}"] == pytest.approx(float(arrays[f"hit{k}"]), rel=1e-6)


def test_clip_average():
    arrays = golden_arrays("metrics", "clip_average")
    clips = filled_input("metrics/clip_average/score", (5, 6), "normal")
    video = average_clip_scores(clips, ["video"] * 5)
    np.testing.assert_allclose(video.scores[0], arrays["mean"], rtol=1e-6)
    place, score = video.best()
    assert int(place) == int(arrays["top1"])
    assert float(score) == pytest.approx(float(arrays["top1_score"]), rel=1e-6)


@dataclass(frozen=True)
class StitchVideo:
    """One video of a stitching case, its truth as recorded and its pseudo-model rebuilt as the case says."""

    start: np.ndarray
    end: np.ndarray
    aligned: np.ndarray
    text: np.ndarray
    video: np.ndarray

    @property
    def spans(self) -> list[Span]:
        return [Span(float(start), float(end)) for start, end in zip(self.start, self.end, strict=True)]


FLOAT32_SUM = 1e-6
"""Absolute tolerance beside the stated relative one: the published sums over windows, of terms up to 10, were
rounded to float32, ours are not, and some means lie close to 0."""
SIZES = {
    "stitch": [(300, 24), (150, 12)],
    "stitch_align_head": [(300, 24), (150, 12)],
    "stitch_short": [(50, 6)],
}


def stitch_videos(case):
    arrays = golden_arrays("metrics", case)
    videos = []
    for number, (num_seconds, num_texts) in enumerate(SIZES[case]):
        name = f"metrics/{case}/{{}}{number}"
        video = filled_input(name.format("video"), (num_seconds, 16), "normal")
        text = filled_input(name.format("text"), (num_texts, 16), "normal")
        start = np.sort(filled_input(name.format("start"), (num_texts,), "uniform")) * (num_seconds - 10)
        end = start + 2 + 6 * filled_input(name.format("length"), (num_texts,), "uniform")
        aligned = (filled_input(name.format("aligned"), (num_texts,), "uniform") > 0.5).astype(np.int64)
        aligned[0], aligned[1], aligned[-1] = 1, 0, 1
        np.testing.assert_allclose(start, arrays[f"start{number}"], rtol=1e-6)
        np.testing.assert_allclose(end, arrays[f"end{number}"], rtol=1e-6)
        np.testing.assert_array_equal(aligned, arrays[f"aligned{number}"])
        for place in np.flatnonzero(aligned):
            if place % 3:
                video[int(np.floor(start[place])) : int(np.ceil(end[place])) + 1] += (
                    np.float32(0.7) * text[place]
                )
        videos.append(StitchVideo(start, end, aligned, text, video))
    return arrays, videos


def stitch(video, end_rule):
    """The case's pseudo-model on each window, in float32, and what its windows add up to."""
    num_texts, num_seconds = len(video.text), len(video.video)
    windows = alignment_windows(num_seconds, video.spans, video.aligned.astype(bool), end_rule=end_rule)
    products = [
        torch.einsum(
            "nd,td->nt",
            torch.from_numpy(video.text[window.texts.start : window.texts.stop]),
            torch.from_numpy(video.video[window.seconds.start : window.seconds.stop]),
        )
        for window in windows
    ]
    joint, dual = (
        stitch_similarity(
            windows,
            [part + slope * torch.arange(part.shape[1]) for part in products],
            num_texts=num_texts,
            num_seconds=num_seconds,
        )
        for slope in (0.01, -0.02)
    )
    both = StitchedSimilarity((joint.similarity + dual.similarity) / 2, joint.num_windows)
    heads = stitch_scores(windows, [part.mean(dim=1) + 0.3 for part in products], num_texts=num_texts)
    return both, heads


def as_aligned(video, stitched, alignability=None):
    return AlignedVideo(
        "video",
        stitched.similarity,
        video.spans,
        video.aligned.astype(bool),
        is_covered=stitched.num_windows > 0,
        alignability=alignability,
    )


@pytest.mark.parametrize("end_rule", ["both", "published"])
@pytest.mark.parametrize("case", ["stitch", "stitch_align_head"])
def test_overlapping_windows_give_the_published_alignment(case, end_rule):
    arrays, videos = stitch_videos(case)
    aligned_videos = []
    for number, video in enumerate(videos):
        stitched, heads = stitch(video, end_rule)
        assert_published_similarity(arrays, number, stitched)
        has_head = case == "stitch_align_head"
        if has_head:
            np.testing.assert_array_equal(heads.num_windows, arrays[f"text_overlap{number}"])
            np.testing.assert_allclose(heads.scores, arrays[f"align_score{number}"], rtol=1e-6)
        aligned_videos.append(as_aligned(video, stitched, heads.scores if has_head else None))
    metrics = htm_align_metrics(aligned_videos)
    assert metrics.recall == pytest.approx(float(arrays["recall"]), rel=1e-6)
    assert metrics.roc_auc.value == pytest.approx(float(arrays["auc"]), rel=1e-6)
    assert (metrics.num_texts, metrics.num_uncovered, metrics.text_coverage) == (36, 0, 1.0)


def test_the_last_texts_of_a_short_video_are_misses_in_the_published_way_and_seen_in_the_right_one():
    arrays, (video,) = stitch_videos("stitch_short")
    published, _ = stitch(video, "published")
    assert_published_similarity(arrays, 0, published)
    metrics = htm_align_metrics([as_aligned(video, published)])
    assert (metrics.num_texts, metrics.num_alignable, metrics.num_uncovered) == (6, 4, 2)
    assert metrics.text_coverage == pytest.approx(4 / 6)
    # Second 0, which the published program predicts for a text that nobody saw, would be a hit here.
    early = [Span(0.0, 1.0)] * 6
    is_covered = published.num_windows > 0
    unseen = AlignedVideo(
        "short", published.similarity, early, [False] * 4 + [True] * 2, is_covered=is_covered
    )
    assert htm_align_metrics([unseen]).recall == 0

    right, _ = stitch(video, "both")
    np.testing.assert_array_equal(right.num_windows > 0, np.ones((6, 50), dtype=bool))
    was_covered = is_covered.numpy()
    np.testing.assert_allclose(
        right.similarity[is_covered], arrays["sim0"][was_covered], rtol=1e-6, atol=FLOAT32_SUM
    )
    assert htm_align_metrics([as_aligned(video, right)]).num_uncovered == 0


def assert_published_similarity(arrays, number, stitched):
    np.testing.assert_array_equal(stitched.num_windows, arrays[f"overlap{number}"])
    is_covered = stitched.num_windows > 0
    published = arrays[f"sim{number}"]
    np.testing.assert_array_equal(published == -60000, ~is_covered)
    np.testing.assert_allclose(
        stitched.similarity[is_covered], published[is_covered.numpy()], rtol=1e-6, atol=FLOAT32_SUM
    )
    best = torch.where(is_covered, stitched.similarity, -60000).argmax(dim=1)
    np.testing.assert_array_equal(best, arrays[f"argmax{number}"])
