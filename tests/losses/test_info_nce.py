"""InfoNCE: a naive loop, exact gradients, invariances, zero vectors and ties."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from losses.awkward_inputs import assert_finite, awkward_set
from narravid.losses import InfoNCELoss


def draw(num_clips, dim=5, *, seed=0, dtype=torch.float64):
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(num_clips, dim, generator=generator, dtype=dtype) for _ in range(2)]


def naive(video, text, *, temperature, cosine):
    """(video to text, text to video): sums of exponentials, one entry after the other."""
    size = len(video)

    def exponential(i, j):
        score = math.fsum(float(a) * float(b) for a, b in zip(video[i], text[j], strict=True))
        if cosine:
            score /= math.hypot(*video[i].tolist()) * math.hypot(*text[j].tolist())
        return math.exp(score / temperature)

    to_text = to_video = 0.0
    for i in range(size):
        to_text -= math.log(exponential(i, i) / sum(exponential(i, j) for j in range(size)))
        to_video -= math.log(exponential(i, i) / sum(exponential(j, i) for j in range(size)))
    return to_text / size, to_video / size


@given(
    num_clips=st.integers(1, 6),
    dim=st.integers(1, 5),
    temperature=st.sampled_from([0.07, 0.5, 1.0, 3.0]),
    cosine=st.booleans(),
    seed=st.integers(0, 10_000),
)
@settings(max_examples=60)
def test_equals_the_naive_loop(num_clips, dim, temperature, cosine, seed):
    video, text = draw(num_clips, dim, seed=seed)
    criterion = InfoNCELoss(temperature=temperature, cosine=cosine)
    to_text, to_video = naive(video, text, temperature=temperature, cosine=cosine)
    parts = criterion.parts(video, text)
    # Absolute, since a loss may be as good as nothing.
    assert float(parts.video_to_text) == pytest.approx(to_text, rel=1e-9, abs=1e-12)
    assert float(parts.text_to_video) == pytest.approx(to_video, rel=1e-9, abs=1e-12)
    assert float(parts.loss) == pytest.approx(to_text + to_video, rel=1e-9, abs=1e-12)
    assert torch.equal(criterion(video, text), parts.loss)


@pytest.mark.parametrize("cosine", [True, False])
def test_gradients_are_exact(cosine):
    video, text = draw(4)
    criterion = InfoNCELoss(temperature=0.3, cosine=cosine)
    assert torch.autograd.gradcheck(criterion, (video.requires_grad_(), text.requires_grad_()))


def test_the_published_temperatures_are_the_defaults():
    video, text = draw(5)
    assert torch.equal(InfoNCELoss()(video, text), InfoNCELoss(temperature=0.07)(video, text))
    plain = InfoNCELoss(cosine=False)
    assert torch.equal(plain(video, text), InfoNCELoss(temperature=1.0, cosine=False)(video, text))
    assert float(plain(video, text)) == pytest.approx(sum(naive(video, text, temperature=1.0, cosine=False)))


def test_order_and_direction_do_not_matter():
    video, text = draw(6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    criterion = InfoNCELoss()
    torch.testing.assert_close(criterion(video[order], text[order]), criterion(video, text))
    torch.testing.assert_close(criterion(text, video), criterion(video, text))
    here, there = criterion.parts(video, text), criterion.parts(text, video)
    torch.testing.assert_close(here.video_to_text, there.text_to_video)
    assert float(here.top1_video_to_text) == float(there.top1_text_to_video)


def test_lengths_matter_for_dot_products_only():
    video, text = draw(5)
    lengths = torch.tensor([0.1, 1, 2, 30, 5.0])[:, None]
    torch.testing.assert_close(InfoNCELoss()(video * lengths, text), InfoNCELoss()(video, text))
    dot = InfoNCELoss(cosine=False)
    assert float(dot(video * lengths, text)) != pytest.approx(float(dot(video, text)), rel=0.1)
    torch.testing.assert_close(InfoNCELoss(temperature=2.0, cosine=False)(2 * video, text), dot(video, text))


def test_accuracy_counts_who_finds_its_partner():
    # Video 0 and 1 find their text; video 2 prefers text 0. Text 0 prefers video 2, texts 1 and 2 are right.
    video = torch.eye(3)
    text = torch.tensor([[1.0, 0.0, 2.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])
    parts = InfoNCELoss(cosine=False).parts(video, text)
    assert float(parts.top1_video_to_text) == pytest.approx(2 / 3)
    assert float(parts.top1_text_to_video) == pytest.approx(2 / 3)
    assert not parts.top1_video_to_text.requires_grad


def test_vectors_without_direction_are_at_chance_and_take_no_gradient():
    video = torch.zeros(4, 3, requires_grad=True)
    text = torch.zeros(4, 3, requires_grad=True)
    parts = InfoNCELoss().parts(video, text)
    parts.loss.backward()
    assert float(parts.loss.detach()) == pytest.approx(2 * math.log(4))
    assert float(parts.top1_video_to_text) == pytest.approx(1 / 4)
    assert float(parts.top1_text_to_video) == pytest.approx(1 / 4)
    assert video.grad.abs().sum() == text.grad.abs().sum() == 0


@pytest.mark.parametrize("cosine", [True, False])
def test_a_thousand_awkward_batches_give_finite_losses_and_gradients(cosine):
    criterion = InfoNCELoss(cosine=cosine)
    for seed in range(1000):
        video, text = awkward_set(seed, *[(1 + seed // 8 % 4, 1 + seed % 3)] * 2)
        assert_finite(criterion(video, text), video, text)


def test_cosines_up_to_the_limit_of_logits_stay_finite():
    criterion = InfoNCELoss(temperature=1.0001e-4)
    for seed in range(200):
        video, text = awkward_set(seed, (3, 4), (3, 4))
        assert_finite(criterion(video, text), video, text)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
@pytest.mark.parametrize("cosine", [True, False])
def test_half_precision_is_computed_in_float32(dtype, cosine):
    video, text = (tensor.to(dtype) for tensor in draw(6))
    criterion = InfoNCELoss(cosine=cosine)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = criterion(video, text)
    assert result.dtype == torch.float32
    assert torch.equal(result, criterion(video.float(), text.float()))
    assert criterion(video.double(), text).dtype == torch.float64


@pytest.mark.parametrize(
    ("video_shape", "text_shape"), [((4, 5), (4, 6)), ((4, 5), (3, 5)), ((5,), (5,)), ((0, 5), (0, 5))]
)
def test_wrong_shapes_are_named(video_shape, text_shape):
    with pytest.raises(ValueError, match=r"video and text must both be \(B, D\) with B >= 1, got"):
        InfoNCELoss()(torch.zeros(video_shape), torch.zeros(text_shape))


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan, math.inf])
def test_a_temperature_that_is_no_divisor_is_named(temperature):
    with pytest.raises(ValueError, match=f"temperature must be positive, got {temperature}"):
        InfoNCELoss(temperature=temperature)


@pytest.mark.parametrize("value", [math.nan, math.inf, 2e4])
def test_logits_out_of_range_are_refused(value):
    video = torch.tensor([[value], [1.0]])
    with pytest.raises(ValueError, match="similarities of clips and texts over the temperature must lie"):
        InfoNCELoss(cosine=False)(video, torch.ones(2, 1))


def test_nan_embeddings_are_refused_with_cosine_too():
    with pytest.raises(ValueError, match="must lie within ±10000, got nan"):
        InfoNCELoss()(torch.full((2, 3), math.nan), torch.ones(2, 3))
