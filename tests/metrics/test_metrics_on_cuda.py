"""Metrics of tensors on a CUDA device are those of the same tensors on the CPU."""

import pytest
import torch

from narravid.metrics import (
    bidirectional_rank_counts,
    bidirectional_rank_counts_from_embeddings,
    crosstask_segment_accuracy,
    place_steps,
    retrieval_metrics,
    roc_auc,
    top_k_accuracy,
)

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def test_counts_are_the_same(generator):
    text, video = torch.randn(2, 300, 40, generator=generator)
    video[1::2] = video[::2]  # ties
    similarity = text @ video.T
    pairs = [
        (bidirectional_rank_counts(similarity), bidirectional_rank_counts(similarity.cuda())),
        (
            bidirectional_rank_counts_from_embeddings(text, video, similarity="cosine"),
            bidirectional_rank_counts_from_embeddings(text.cuda(), video.cuda(), similarity="cosine"),
        ),
    ]
    for expected, actual in pairs:
        for one, other in zip(expected, actual, strict=True):
            assert torch.equal(one.num_better, other.num_better)
            assert torch.equal(one.num_tied, other.num_tied)


def test_metrics_are_the_same(generator):
    scores = torch.randn(50, 50, generator=generator).round(decimals=1)
    labels = torch.randint(50, (50,), generator=generator)
    assert retrieval_metrics(scores.cuda()) == retrieval_metrics(scores)
    assert top_k_accuracy(scores.cuda(), labels.cuda()) == top_k_accuracy(scores, labels)
    assert torch.equal(place_steps(scores[:, :9].cuda()), place_steps(scores[:, :9]))
    assert roc_auc(scores[0].cuda(), labels.cuda() > 20) == roc_auc(scores[0], labels > 20)
    on_gpu = crosstask_segment_accuracy({"tea": scores.cuda()}, {"tea": labels.cuda()})
    assert on_gpu == crosstask_segment_accuracy({"tea": scores}, {"tea": labels})
