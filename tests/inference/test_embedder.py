"""Sentences and clips to vectors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch

from inference_doubles import EMBED_DIM, LinearDualEncoder
from narravid.errors import NarravidError
from narravid.inference.embedder import Embedder
from narravid.types import Clip, Span


def clips(count: int) -> list[Clip]:
    generator = torch.Generator().manual_seed(3)
    frames = torch.randint(0, 256, (count, 4, 8, 8, 3), dtype=torch.uint8, generator=generator)
    return [Clip(frames[i], torch.ones(4, dtype=torch.bool), Span(i, i + 1)) for i in range(count)]


@pytest.mark.parametrize("batch_size", [1, 3, 5, 8])
def test_clips_are_embedded_in_order_whatever_the_batch_size(batch_size: int):
    model = LinearDualEncoder()
    expected = model.encode_video(torch.stack([clip.frames for clip in clips(5)]).permute(0, 4, 1, 2, 3))
    vectors = Embedder(model, batch_size=batch_size).embed_clips(clips(5))
    assert vectors.dtype == np.float32
    assert vectors == pytest.approx(expected.numpy(), rel=1e-5)  # sums in another order


def test_at_most_one_batch_of_clips_is_held():
    taken: list[int] = []
    sizes: list[int] = []

    class Watching(LinearDualEncoder):
        def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
            sizes.append(clips.shape[0])
            assert len(taken) == sum(sizes)
            return super().encode_video(clips)

    def source() -> Iterator[Clip]:
        for number, clip in enumerate(clips(7)):
            taken.append(number)
            yield clip

    Embedder(Watching(), batch_size=3).embed_clips(source())
    assert sizes == [3, 3, 1]


def test_vectors_of_a_cosine_model_have_length_one_and_of_a_dot_model_do_not():
    for similarity, check in (("cosine", True), ("dot", False)):
        embedder = Embedder(LinearDualEncoder(similarity=similarity))
        for vectors in (embedder.embed_clips(clips(3)), embedder.embed_text(["a", "b c"])):
            assert bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)) is check


def test_another_similarity_than_the_models_own_can_be_asked_for():
    for own, asked, length_one in (("dot", "cosine", True), ("cosine", "dot", False)):
        embedder = Embedder(LinearDualEncoder(similarity=own), similarity=asked)
        assert embedder.similarity == asked
        for vectors in (embedder.embed_clips(clips(3)), embedder.embed_text(["a", "b c"])):
            assert bool(np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)) is length_one
    assert Embedder(LinearDualEncoder(similarity="dot")).similarity == "dot"


def test_nothing_gives_an_empty_matrix():
    embedder = Embedder(LinearDualEncoder())
    assert embedder.embed_clips([]).shape == (0, EMBED_DIM)
    assert embedder.embed_text([]).shape == (0, EMBED_DIM)


def test_many_sentences_are_embedded_one_by_one_alike():
    embedder = Embedder(LinearDualEncoder())
    sentences = [f"sentence {number}" for number in range(600)]
    together = embedder.embed_text(sentences)
    assert together[599].tolist() == embedder.embed_text(sentences[599:])[0].tolist()


def test_bfloat16_changes_the_arithmetic_but_not_the_result_type():
    full = Embedder(LinearDualEncoder()).embed_clips(clips(4))
    short = Embedder(LinearDualEncoder(), dtype="bfloat16").embed_clips(clips(4))
    assert short.dtype == np.float32
    assert 0 < np.abs(full - short).max() < 0.05


def test_a_model_that_gives_nan_is_refused():
    model = LinearDualEncoder()
    model.weight.data[0] = float("nan")
    with pytest.raises(NarravidError, match="NaN or infinity for a clip"):
        Embedder(model).embed_clips(clips(1))


def test_the_model_is_put_in_eval_mode():
    model = LinearDualEncoder().train()
    Embedder(model)
    assert not model.training


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        Embedder(LinearDualEncoder(), batch_size=0)
    with pytest.raises(ValueError, match="dtype must be 'float32' or 'bfloat16', got 'float16'"):
        Embedder(LinearDualEncoder(), dtype="float16")
