"""Comparing embeddings."""

from __future__ import annotations

import math

import pytest
import torch

from narravid.models.similarity import compare

VIDEO = torch.tensor([[3.0, 4.0], [0.0, 2.0]])
TEXT = torch.tensor([[1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])


def test_dot_products_and_cosines_by_hand():
    half = math.sqrt(0.5)
    assert compare(VIDEO, TEXT, "dot").tolist() == [[3, 7, 0], [0, 2, 0]]
    expected = torch.tensor([[0.6, 1.4 * half, 0], [0, half, 0]])
    torch.testing.assert_close(compare(VIDEO, TEXT, "cosine"), expected, rtol=0, atol=1e-6)  # float32


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_left_before_anything_is_computed(similarity, dtype, generator):
    video, text = (torch.randn(5, 300, generator=generator).to(dtype) for _ in range(2))
    expected = compare(video.float(), text.float(), similarity)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = compare(video, text, similarity)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
