"""How seconds and sentences are compared: dot products and cosines by hand, the last layers of an aligner."""

from __future__ import annotations

import pytest
import torch

from models.small_aligners import FEATURE_DIM, small_aligner
from narravid.evaluation.comparisons import AlignerComparison, DualEncoderComparison


class Axes:
    """Sentence "x 2" is (2, 0), "y 3" is (0, 3)."""

    embed_dim = 2
    similarity = "dot"
    device = torch.device("cpu")
    config = None

    def encode_text(self, sentences):
        parts = [sentence.split() for sentence in sentences]
        return torch.tensor([[float(n) * (axis == "x"), float(n) * (axis == "y")] for axis, n in parts])


SECONDS = torch.tensor([[3.0, 4.0], [0.0, 1.0], [0.0, 0.0]])


@pytest.mark.parametrize(
    ("similarity", "expected"),
    [(None, [[6.0, 0.0, 0.0], [12.0, 3.0, 0.0]]), ("cosine", [[0.6, 0.0, 0.0], [0.8, 1.0, 0.0]])],
)
def test_embeddings_are_compared_as_the_model_or_the_protocol_says(similarity, expected):
    comparison = DualEncoderComparison(Axes(), similarity=similarity)
    assert comparison.similarity == (similarity or "dot")
    compared = comparison.compare(SECONDS, comparison.encode_text(["x 2", "y 3"]))
    torch.testing.assert_close(compared.similarity, torch.tensor(expected).double())
    assert compared.alignability is None


def test_an_aligner_gives_the_mean_of_its_last_layers_and_its_head(generator):
    aligner = small_aligner()
    seconds = torch.randn(7, FEATURE_DIM, generator=generator)
    comparison = AlignerComparison(aligner)
    with torch.no_grad():
        text = comparison.encode_text(["add oil", "cut tomato"])
        compared = comparison.compare(seconds.half(), text)
        aligned = aligner.align(seconds.half().float()[None], text[None])
    mean = (aligned.dual[0, -1] + aligned.joint[0, -1]).T / 2
    torch.testing.assert_close(compared.similarity, mean)
    torch.testing.assert_close(compared.alignability, aligned.alignability_joint[0, 2])
