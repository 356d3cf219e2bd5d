"""The temporal aligner: what it compares, and what padding, positions and precision do to it."""

from __future__ import annotations

import copy
import dataclasses

import pytest
import torch
import torch.nn.functional as F

from models.small_aligners import TEXT_DIM, WORDS, small_aligner, small_inputs
from narravid.models.aligner import TemporalAligner
from narravid.models.positions import sine_positions


@pytest.fixture
def aligner() -> TemporalAligner:
    return small_aligner()


# ---------------------------------------------------------------- what is compared


def test_shapes(aligner, generator):
    output = aligner(*small_inputs(generator))
    assert output.dual.shape == (2, 2, 9, 2, 4)
    assert output.joint.shape == (2, 3, 9, 2, 4)
    assert output.dual_video.shape == (2, 2, 9, 16)
    assert output.dual_text.shape == (2, 4, 16)
    assert output.alignability_dual.shape == (2, 4)
    assert output.alignability_joint.shape == (2, 3, 4)


def test_similarities_are_cosines_of_every_second_with_every_sentence(aligner, generator):
    output = aligner(*small_inputs(generator))
    for video, layer, second, other, sentence in [(0, 0, 0, 1, 3), (1, 1, 8, 0, 2)]:
        expected = output.dual_video[video, layer, second] @ output.dual_text[other, sentence]
        torch.testing.assert_close(output.dual[video, layer, second, other, sentence], expected)
    torch.testing.assert_close(output.dual_video.norm(dim=-1), torch.ones(2, 2, 9))
    assert output.joint.abs().max() <= 1 + 1e-5


def test_align_is_the_forward_of_each_video_by_itself(aligner, generator):
    features, text = small_inputs(generator)
    output, aligned = aligner(features, text), aligner.align(features, text)
    for video in range(2):
        torch.testing.assert_close(aligned.dual[video], output.dual[video, :, :, video])
        torch.testing.assert_close(aligned.joint[video], output.joint[video, :, :, video])
    torch.testing.assert_close(aligned.alignability_dual, output.alignability_dual)
    torch.testing.assert_close(aligned.alignability_joint, output.alignability_joint)


def test_one_encoder_alone_gives_its_half(aligner, generator):
    features, text = small_inputs(generator)
    aligned = aligner.align(features, text, interpolate_from=5)
    assert torch.equal(aligner.similarity_dual(features, text, interpolate_from=5), aligned.dual)
    assert torch.equal(aligner.similarity_joint(features, text, interpolate_from=5), aligned.joint)


def test_the_joint_encoder_lets_sentences_see_the_video_and_the_dual_does_not(aligner, generator):
    features, text = small_inputs(generator)
    changed = text.clone()
    changed[:, 0] += 1
    first, second = aligner.align(features, text), aligner.align(features, changed)
    assert torch.equal(first.dual[..., 1:], second.dual[..., 1:])
    assert not torch.allclose(first.joint[..., 1:], second.joint[..., 1:], atol=1e-3)


def test_no_head_no_alignability(generator):
    aligner = small_aligner(alignability_head=False)
    assert aligner(*small_inputs(generator)).alignability_joint is None
    assert aligner.align(*small_inputs(generator)).alignability_dual is None


def test_without_encoder_layers_there_is_one_layer(generator):
    aligner = small_aligner(num_encoder_layers=0)
    features, text = small_inputs(generator)
    output = aligner(features, text)
    assert output.dual.shape == (2, 1, 9, 2, 4)
    seconds, _, _ = aligner.encoders.tokens(features, text)
    torch.testing.assert_close(output.dual_video[:, 0], F.normalize(seconds, dim=-1))


def test_a_video_may_have_no_sentences(aligner, generator):
    features, text = small_inputs(generator, num_sentences=0)
    aligned = aligner.align(features, text)
    assert aligned.dual.shape == (2, 2, 9, 0)
    assert aligned.joint.shape == (2, 3, 9, 0)


def test_a_video_does_not_see_its_batch(aligner, generator):
    features, text = small_inputs(generator)
    together = aligner.align(features, text)
    alone = aligner.align(features[1:], text[1:])
    torch.testing.assert_close(together.joint[1:], alone.joint, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------- padding


def test_padding_has_no_say_in_what_is_real(aligner, generator):
    features, text = small_inputs(generator)
    feature_mask, text_mask = torch.ones(2, 9).bool(), torch.ones(2, 4).bool()
    feature_mask[1, 6:] = False
    text_mask[1, 3:] = False
    output = aligner(features, text, feature_mask=feature_mask, text_mask=text_mask)
    short = aligner.align(features[1:, :6], text[1:, :3])
    torch.testing.assert_close(output.dual[1, :, :6, 1, :3], short.dual[0], rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(output.joint[1, :, :6, 1, :3], short.joint[0], rtol=1e-5, atol=1e-6)
    whole = aligner.align(features[:1], text[:1])
    torch.testing.assert_close(output.joint[0, :, :, 0], whole.joint[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("given", ["feature_mask", "text_mask"])
def test_one_mask_is_enough(aligner, generator, given):
    features, text = small_inputs(generator)
    masks = {
        "feature_mask": torch.ones(2, 9, dtype=torch.bool),
        "text_mask": torch.ones(2, 4, dtype=torch.bool),
    }
    masks[given][0, -1] = False
    both = aligner(features, text, **masks)
    assert torch.equal(aligner(features, text, **{given: masks[given]}).joint, both.joint)


def test_a_video_may_have_padded_sentences_only(aligner, generator):
    features, text = small_inputs(generator)
    text_mask = torch.tensor([[True] * 4, [False] * 4])
    output = aligner(features, text, text_mask=text_mask)
    assert output.joint.isfinite().all()
    output.joint.sum().backward()
    assert all(p.grad.isfinite().all() for p in aligner.parameters() if p.grad is not None)


def test_masks_are_not_written_to(aligner, generator):
    feature_mask = torch.tensor([[True] * 5 + [False] * 4, [True] * 9])
    before = feature_mask.clone()
    aligner(*small_inputs(generator), feature_mask=feature_mask)
    assert torch.equal(feature_mask, before)


# ---------------------------------------------------------------- positions


def test_a_video_of_one_second(aligner, generator):
    features, text = small_inputs(generator, num_seconds=1)
    for drawn in (None, generator):
        output = aligner(features, text, position_generator=drawn)
        assert output.joint.shape == (2, 3, 1, 2, 4)
        assert output.joint.isfinite().all()


def test_a_video_longer_than_the_positions_is_refused_unless_stretched(aligner, generator):
    features, text = small_inputs(generator, num_seconds=21)
    with pytest.raises(ValueError, match="21 steps .* 20 positions .* interpolate_from"):
        aligner.align(features, text)
    assert aligner.align(features, text, interpolate_from=20).joint.shape == (2, 3, 21, 4)
    with pytest.raises(ValueError, match=r"interpolate_from must be in \[1, 20\], got 21"):
        aligner.align(features, text, interpolate_from=21)
    full, _ = small_inputs(generator, num_seconds=20)
    assert aligner(full, text, position_generator=generator).dual.isfinite().all()


def shifted(aligner: TemporalAligner, start: int) -> TemporalAligner:
    """The same aligner with its first positions gone."""
    other = copy.deepcopy(aligner)
    with torch.no_grad():
        other.encoders.video_positions.copy_(aligner.encoders.video_positions.roll(-start, dims=0))
    return other


def test_a_random_start_is_the_same_in_both_encoders(aligner, generator):
    features, text = small_inputs(generator)
    expected = [shifted(aligner, start)(features, text) for start in range(4)]
    seen = set()
    for _ in range(40):
        output = aligner(features, text, position_generator=generator)
        dual = [torch.equal(output.dual, other.dual) for other in expected]
        joint = [torch.equal(output.joint, other.joint) for other in expected]
        assert dual == joint
        assert sum(dual) == 1
        seen.add(dual.index(True))
    assert seen == {0, 1, 2, 3}  # below half of nine seconds


def test_random_starts_depend_on_the_generator_alone(aligner, generator):
    features, text = small_inputs(generator)

    def outputs(seed: int) -> list[torch.Tensor]:
        drawn = torch.Generator().manual_seed(seed)
        return [aligner(features, text, position_generator=drawn).joint for _ in range(6)]

    first, again, other = outputs(1), outputs(1), outputs(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(first, other, strict=True))


def test_positions_of_sentences_reach_the_joint_encoder_only(generator):
    features, text = small_inputs(generator)
    placed = small_aligner(text_positions=True)
    bare = small_aligner(text_positions=False)
    bare.load_state_dict(
        {key: value for key, value in placed.state_dict().items() if "text_positions" not in key}
    )
    first, second = placed.align(features, text), bare.align(features, text)
    assert torch.equal(first.dual, second.dual)
    assert torch.equal(first.alignability_dual, second.alignability_dual)
    assert not torch.allclose(first.joint, second.joint, atol=1e-3)
    assert not torch.allclose(
        placed.align(features, text, interpolate_from=(9, 2)).joint,
        placed.align(features, text, interpolate_from=9).joint,
        atol=1e-3,
    )


def test_sine_positions_are_fixed(generator):
    aligner = small_aligner(positions="sine")
    assert torch.equal(aligner.encoders.video_positions, sine_positions(20, 16))
    assert "encoders.video_positions" in aligner.state_dict()
    assert "encoders.video_positions" not in dict(aligner.named_parameters())
    assert aligner.align(*small_inputs(generator)).joint.isfinite().all()


# ---------------------------------------------------------------- precision, gradients, devices


def test_half_precision_under_autocast(aligner, generator):
    features, text = small_inputs(generator)
    expected = aligner(features, text)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = aligner(features, text)
        embeddings = aligner.encode_text(["add oil"])
    assert embeddings.dtype == torch.float32
    for field in dataclasses.fields(output):
        value = getattr(output, field.name)
        assert value.dtype == torch.float32
        assert value.isfinite().all()
    # Three layers at 8 bits of mantissa; cosines themselves are not rounded to them.
    torch.testing.assert_close(output.joint, expected.joint, rtol=0, atol=0.1)
    output.joint.sum().backward()
    assert aligner.encoders.video_projection.weight.grad.isfinite().all()


def test_features_stored_in_half_precision(aligner, generator):
    features, text = small_inputs(generator)
    half = features.half()
    assert torch.equal(aligner.align(half, text).joint, aligner.align(half.float(), text).joint)


def test_everything_that_is_used_is_trained(generator):
    aligner = small_aligner(text_positions=True).train()
    output = aligner(small_inputs(generator)[0], aligner.encode_text(list(WORDS[:4])).expand(2, 4, TEXT_DIM))
    (output.joint.sum() + output.dual.sum() + output.alignability_joint.sum()).backward()
    without = {name for name, p in aligner.named_parameters() if p.grad is None or not p.grad.any()}
    assert without == {"text.word_embedding.weight"}


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_numbers_of_the_cpu(aligner, generator):
    features, text = small_inputs(generator)
    mask = torch.tensor([[True] * 9, [True] * 6 + [False] * 3])
    expected = aligner(features, text, feature_mask=mask)
    moved = copy.deepcopy(aligner).to("cuda")
    output = moved(features.cuda(), text.cuda(), feature_mask=mask.cuda())
    assert moved.encode_text(["add oil"]).device.type == "cuda"
    torch.testing.assert_close(output.joint.cpu(), expected.joint, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(output.dual.cpu(), expected.dual, rtol=1e-3, atol=1e-4)


def test_sentences_without_a_token_are_refused(aligner):
    with pytest.raises(ValueError, match=r"tokens must be \(N, L\) int64.*got \(2, 0\)"):
        aligner.encode_tokens(torch.zeros(2, 0, dtype=torch.int64))
