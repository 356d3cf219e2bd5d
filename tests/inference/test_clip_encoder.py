"""One network's vectors of clips, in every form it can take."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from inference_doubles import LinearDualEncoder
from models.forms import FORMS, clips_for
from models.small_models import small_model
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


OUTPUTS = {"embedding": "encode_video", "feature": "video_features", "logits": "class_logits"}


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_every_output_of_every_kind(name: str, dtype: str):
    model = FORMS[name][0]()
    batch = clips_for(name, 2)
    tolerance = 1e-5 if dtype == "float32" else 0.1
    for output, method in OUTPUTS.items():
        if not hasattr(model, method):
            continue
        encoder = ClipEncoder(model, output=output, dtype=dtype)
        with torch.inference_mode():
            expected = getattr(model, method)(batch)
        given = encoder.encode(batch)
        assert given.dtype == torch.float32
        assert given.shape == (2, encoder.dim)
        assert (given - expected).abs().max() <= tolerance * expected.abs().max()
        assert encoder.weights_hash == model.weights_hash


def test_training_that_goes_on_does_not_change_the_encoder():
    model = small_model()
    encoder = ClipEncoder(model)
    batch = clips_for("S3D, space to depth", 2)
    before, name = encoder.encode(batch), encoder.weights_hash
    model.train()
    with torch.no_grad():
        model.video.fc.weight.mul_(2)
    assert torch.equal(encoder.encode(batch), before)
    assert encoder.weights_hash == name != model.weights_hash


def test_several_threads_share_one():
    model = small_model()
    encoder = ClipEncoder(model)
    batches = [clips_for("S3D, space to depth", 2, seed=seed) for seed in range(8)]
    expected = [ClipEncoder(model).encode(batch) for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        for given, wanted in zip(pool.map(encoder.encode, batches), expected, strict=True):
            assert torch.equal(given, wanted)


@pytest.mark.parametrize("name", ["S3D, space to depth", "CPD classifier"])
def test_pixels_may_be_floats_in_0_to_1(name: str):
    model = FORMS[name][0]()
    batch = clips_for(name, 2).float() / 255
    batch[0] *= 0.2
    encoder = ClipEncoder(model, output="feature")
    with torch.inference_mode():
        expected = model.video_features(batch)
    assert (encoder.encode(batch) - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (expected[0] - expected[1]).abs().max() > 1e-3 * expected.abs().max()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path))
    return tmp_path


def test_other_backends_give_the_same_numbers_and_convert_once(home: Path):
    pytest.importorskip("onnxscript")
    model = FORMS["CPD classifier"][0]()
    batch = clips_for("CPD classifier", 3)
    written = []
    for backend in ("onnxruntime", "openvino"):
        pytest.importorskip(backend)
        for output in ("feature", "logits"):
            expected = ClipEncoder(model, output=output).encode(batch)
            encoder = ClipEncoder(model, output=output, backend=backend)
            for some in (batch, batch[:1]):
                given = encoder.encode(some)
                assert (given - expected[: len(some)]).abs().max() <= 1e-4 * expected.abs().max()
            written.append([path.stat().st_mtime_ns for path in home.glob("towers/*/video.onnx")])
    half = ClipEncoder(model, output="feature", backend="openvino", dtype="bfloat16").encode(batch)
    full = ClipEncoder(model, output="feature").encode(batch)
    assert (half - full).abs().max() <= 0.1 * full.abs().max()
    assert len(written[0]) == 1
    assert all(times == written[0] for times in written)


def test_a_kind_that_cannot_be_converted_says_so(home: Path):
    pytest.importorskip("onnxscript")
    pytest.importorskip("openvino")
    model = LinearDualEncoder()
    with pytest.raises(NarravidError, match="a LinearDualEncoder cannot be exported; S3D, CPD"):
        ClipEncoder(model, backend="openvino").encode(clips(1, model))


def test_backends_have_their_limits():
    model = small_model()
    with pytest.raises(ValueError, match="onnxruntime computes in float32, got bfloat16"):
        ClipEncoder(model, backend="onnxruntime", dtype="bfloat16")
    with pytest.raises(ValueError, match="compiled is for the backend torch, got openvino"):
        ClipEncoder(model, backend="openvino", compiled=True)
    with pytest.raises(ValueError, match="the backend openvino computes on the CPU; use torch for cuda"):
        ClipEncoder(model, backend="openvino", device="cuda")
