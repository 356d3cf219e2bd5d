"""Classification metrics: scikit-learn, every tie-breaking, any memory layout, missing videos, clip means."""

import doctest
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import top_k_accuracy_score

import narravid.metrics.classification as classification
from narravid.metrics import average_clip_scores, hit_at_k, top_k_accuracy


def test_doctests_hold():
    results = doctest.testmod(classification, extraglobs={"torch": torch})
    assert results.attempted >= 7
    assert results.failed == 0


def draw(seed, num_samples, num_classes, *, quantised=False):
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(num_samples, num_classes, generator=generator)
    labels = torch.randint(num_classes, (num_samples,), generator=generator)
    return (scores.round() if quantised else scores), labels


def test_top_k_agrees_with_scikit_learn_where_nothing_ties():
    scores, labels = draw(0, 60, 7)
    shares = top_k_accuracy(scores, labels, ks=(1, 2, 6, 7, 9))
    for depth in (1, 2, 6):
        expected = top_k_accuracy_score(labels, scores.numpy(), k=depth, labels=range(7))
        assert shares[f"top{depth}"] == pytest.approx(expected)
    assert (shares["top7"], shares["top9"]) == (1, 1)


@given(seed=st.integers(0, 1000), num_classes=st.integers(1, 5), depth=st.integers(1, 5))
def test_ties_count_with_the_share_of_orders_that_hit(seed, num_classes, depth):
    scores, labels = draw(seed, 3, num_classes, quantised=True)
    hits = []
    for row, label in zip(scores.tolist(), labels.tolist(), strict=True):
        for order in itertools.permutations(range(num_classes)):
            ranking = sorted(order, key=lambda place: -row[place])
            hits.append(label in ranking[:depth])
    assert top_k_accuracy(scores, labels, ks=[depth])[f"top{depth}"] == pytest.approx(np.mean(hits))


@given(seed=st.integers(0, 1000))
def test_neither_order_of_classes_nor_of_samples_nor_scale_matters(seed):
    scores, labels = draw(seed, 9, 6, quantised=True)
    expected = top_k_accuracy(scores, labels, ks=(1, 3))
    classes = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    samples = torch.randperm(9, generator=torch.Generator().manual_seed(seed + 1))
    assert top_k_accuracy(scores[:, classes], torch.argsort(classes)[labels], ks=(1, 3)) == expected
    assert top_k_accuracy(scores[samples], labels[samples], ks=(1, 3)) == pytest.approx(expected)
    assert top_k_accuracy(torch.exp(scores), labels, ks=(1, 3)) == expected


def test_any_memory_layout_and_numpy_are_welcome():
    scores, labels = draw(1, 8, 10)
    expected = top_k_accuracy(scores, labels)
    assert set(expected) == {"top1", "top5"}
    strided = torch.empty(16, 30)[::2, ::3].copy_(scores)
    assert not strided.is_contiguous()
    assert top_k_accuracy(strided, labels) == expected
    assert top_k_accuracy(scores.T.contiguous().T, labels) == expected
    assert top_k_accuracy(np.asfortranarray(scores.numpy()), labels.numpy().astype(np.uint8)) == expected
    assert top_k_accuracy(scores.double().requires_grad_(), labels) == expected


def test_a_constant_classifier_is_at_chance():
    assert top_k_accuracy(torch.zeros(50, 4), torch.zeros(50).long(), ks=(1, 3)) == {
        "top1": 0.25,
        "top3": 0.75,
    }


def test_mistakes_in_scores_and_labels_are_named():
    scores, labels = torch.zeros(3, 4), torch.tensor([0, 3, 1])
    bad = scores.clone()
    bad[2, 1] = float("nan")
    for arguments, message in [
        ((bad, labels), r"^scores\[2, 1\] must be finite, got nan$"),
        ((scores[0], labels), r"^scores must be \(B, C\) and not empty, got \(4,\)$"),
        ((scores.half(), labels), r"^scores must be float32 or float64, got torch.float16$"),
        ((scores, labels[:2]), r"^labels must be \(3,\) integers, got \(2,\)"),
        ((scores, labels + 1), r"^labels\[1\] is 4, outside \[0, 4\)$"),
    ]:
        with pytest.raises(ValueError, match=message):
            top_k_accuracy(*arguments)
    for ks in ([], [0], [2, -1]):
        with pytest.raises(ValueError, match=r"^ks must be at least one depth of at least 1, got \["):
            top_k_accuracy(scores, labels, ks=ks)
        with pytest.raises(ValueError, match=r"^ks must be"):
            hit_at_k({}, {"a": 0}, ks=ks)


def test_hit_at_k_is_the_accuracy_with_missing_videos_as_misses():
    scores, labels = draw(5, 6, 8)
    names = [f"video{number}" for number in range(6)]
    truth = dict(zip(names, labels.tolist(), strict=True))
    whole = hit_at_k(dict(zip(names, scores, strict=True)), truth, ks=(1, 3))
    accuracy = top_k_accuracy(scores, labels, ks=(1, 3))
    assert whole.hits == pytest.approx({"hit@1": accuracy["top1"], "hit@3": accuracy["top3"]})
    assert (whole.num_videos, whole.missing) == (6, ())
    part = hit_at_k({name: scores[int(name[-1])] for name in ("video4", "video1", "video2")}, truth, ks=(3,))
    found = top_k_accuracy(scores[[1, 2, 4]], labels[[1, 2, 4]], ks=(3,))["top3"]
    assert part.hits == pytest.approx({"hit@3": found * 3 / 6})
    assert part.missing == ("video0", "video3", "video5")


def test_hit_at_k_without_any_prediction_is_zero():
    result = hit_at_k({}, {"a": 0, "b": 1})
    assert result.hits == {"hit@1": 0.0, "hit@5": 0.0}
    assert (result.num_videos, result.missing) == (2, ("a", "b"))


@pytest.mark.parametrize(
    ("scores", "labels", "message"),
    [
        ({}, {}, r"^labels must name at least one video$"),
        ({"a": torch.zeros(2)}, {"b": 0}, r"^video 'a' has scores but no label \(1 such videos\)$"),
        ({"a": torch.zeros(2)}, {"a": 2}, r"^label of video 'a' is 2, outside \[0, 2\)$"),
        ({"a": torch.zeros(2)}, {"a": -1}, r"^label of video 'a' is -1, outside"),
        (
            {"a": torch.zeros(1, 2)},
            {"a": 0},
            r"^scores of video 'a' must be \(C,\) float32 or float64, got \(1,",
        ),
        ({"a": torch.zeros(0)}, {"a": 0}, r"^scores of video 'a' must be \(C,\) .* got \(0,\)"),
        ({"a": torch.zeros(2).half()}, {"a": 0}, r"^scores of video 'a' must be .* torch.float16$"),
        (
            {"a": torch.tensor([0.0, torch.inf])},
            {"a": 0},
            r"^scores of video 'a'\[0, 1\] must be finite, got inf",
        ),
        (
            {"a": torch.zeros(2), "b": torch.zeros(3)},
            {"a": 0, "b": 0},
            r"^all videos must have scores of the same classes, got \[2, 3\] of them$",
        ),
    ],
)
def test_mistakes_in_hit_at_k_are_named(scores, labels, message):
    with pytest.raises(ValueError, match=message):
        hit_at_k(scores, labels)


@given(seed=st.integers(0, 1000))
def test_clip_means_do_not_depend_on_the_order_of_clips(seed):
    generator = torch.Generator().manual_seed(seed)
    clips = torch.randn(12, 3, generator=generator)
    videos = [f"v{number}" for number in torch.randint(4, (12,), generator=generator).tolist()]
    result = average_clip_scores(clips, videos)
    assert list(result.videos) == list(dict.fromkeys(videos))
    for video, row, count in zip(result.videos, result.scores, result.num_clips.tolist(), strict=True):
        own = clips[[number for number, name in enumerate(videos) if name == video]]
        assert count == len(own)
        torch.testing.assert_close(row, own.double().mean(dim=0))
    order = torch.randperm(12, generator=generator).tolist()
    again = average_clip_scores(clips[order].numpy(), [videos[number] for number in order])
    rows = dict(zip(again.videos, again.scores, strict=True))
    for video, row in zip(result.videos, result.scores, strict=True):
        torch.testing.assert_close(rows[video], row)


def test_the_mean_is_of_raw_scores_and_half_precision_is_summed_in_double():
    result = average_clip_scores(torch.tensor([[10.0, 0.0], [0.0, 6.0], [0.0, 6.0]]).half(), [7, 7, 7])
    # Of softmaxes the second class would have the greater mean.
    torch.testing.assert_close(result.scores, torch.tensor([[10 / 3, 4.0]]).double())
    places, values = result.best()
    assert (places.tolist(), values.tolist()) == ([1], [4.0])
    result = average_clip_scores(torch.tensor([[10.0, 0.0], [0.0, 9.0]]), [7, 7])
    assert result.best()[0].tolist() == [0]
    assert result.scores.dtype == torch.float64


def test_the_first_of_equally_scored_classes_is_the_best():
    scores = torch.zeros(1, 50)
    scores[0, [7, 31]] = 1
    assert average_clip_scores(scores, ["a"]).best()[0].tolist() == [7]


@pytest.mark.parametrize(
    ("scores", "videos", "message"),
    [
        (
            torch.zeros(2),
            ["a", "b"],
            r"^clip_scores must be \(n, C\) floating point and not empty, got \(2,\)",
        ),
        (torch.zeros(0, 2), [], r"^clip_scores must be \(n, C\) .* got \(0, 2\)"),
        (torch.zeros(1, 2).long(), ["a"], r"^clip_scores must be .* torch.int64$"),
        (torch.zeros(2, 2), ["a"], r"^videos must name the video of each of 2 clips, got 1$"),
        (torch.tensor([[0.0], [torch.nan]]), ["a", "a"], r"^clip_scores\[1, 0\] must be finite, got nan$"),
    ],
)
def test_mistakes_in_clip_scores_are_named(scores, videos, message):
    with pytest.raises(ValueError, match=message):
        average_clip_scores(scores, videos)
