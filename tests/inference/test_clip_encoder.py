"""One network's vectors of clips, in every form it can take."""

from __future__ import annotations

import pytest
import torch

from inference_doubles import LinearDualEncoder
from narravid.errors import NarravidError
from narravid.inference.clip_encoder import ClipEncoder


def clips(count: int, model: object) -> torch.Tensor:
    spec = model.clip_spec
    shape = (count, 3, spec.num_frames, spec.size_pixels, spec.size_pixels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(3))


def test_an_embedding_is_that_of_the_model():
    model = LinearDualEncoder()
    encoder = ClipEncoder(model)
    batch = clips(3, model)
    vectors = encoder.encode(batch)
    assert torch.equal(vectors, model.encode_video(batch))
    assert vectors.dtype == torch.float32
    assert encoder.dim == 6
    assert encoder.weights_hash == model.weights_hash
    assert encoder.clip_spec == model.clip_spec


def test_an_extractor_has_no_embedding_and_says_what_it_has():
    class Extractor(LinearDualEncoder):
        encode_video = property()

    with pytest.raises(ValueError, match="a Extractor has no embedding, it has: feature"):
        ClipEncoder(Extractor())
    with pytest.raises(ValueError, match="has no logits, it has: embedding, feature"):
        ClipEncoder(LinearDualEncoder(), output="logits")


def test_wrong_arguments_are_refused():
    for name, value in (("output", "words"), ("dtype", "float16"), ("backend", "caffe")):
        with pytest.raises(ValueError, match=f"{name} must be '.*', got '{value}'"):
            ClipEncoder(LinearDualEncoder(), **{name: value})


def test_nan_is_refused():
    model = LinearDualEncoder()
    model.weight.data[0] = float("nan")
    with pytest.raises(NarravidError, match="NaN or infinity for a clip"):
        ClipEncoder(model).encode(clips(1, model))
