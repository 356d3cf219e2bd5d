"""Frames of a trajectory to what a model sees of it, and to its vector."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from inference_doubles import LinearDualEncoder
from models.forms import FORMS
from models.small_models import small_model
from narravid.errors import ConfigError, NarravidError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectories import prepare_trajectory
from narravid.inference.trajectory_clips import (
    TrajectorySampling,
    encode_trajectory_clips,
    encode_trajectory_frames,
    like_clips,
    trajectory_clip,
)
from narravid.types import ClipSpec

SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=16)
RESIZES = ("center_square", "published_half", "published_square", "published_square_unclamped")


def video(num_frames: int, height: int = 24, width: int = 32, seed: int = 0) -> torch.Tensor:
    """Noise, of another colour for each seed."""
    generator = torch.Generator().manual_seed(seed)
    brightest = torch.tensor([256, 60 + 40 * (seed % 5), 256 - 60 * (seed % 4)])
    return (
        torch.randint(0, 2**31, (num_frames, height, width, 3), generator=generator)
        .remainder(brightest)
        .byte()
    )


@pytest.mark.parametrize("resize", RESIZES)
@pytest.mark.parametrize("sampling", ["even", "published"])
def test_a_clip_is_the_prepared_trajectory(sampling: str, resize: str):
    frames = video(11)
    clip = trajectory_clip(frames, TrajectorySampling(3, sampling, resize), spec=SPEC)
    expected = prepare_trajectory(frames, 3, sampling=sampling, resize_to=resize, size_pixels=16)[0]
    if resize == "center_square":
        assert clip.dtype == torch.uint8
        assert clip.shape == (3, 3, 16, 16)
        assert (clip.float() - expected * 255).abs().max() <= 0.5 + 1e-3
    else:
        assert torch.equal(clip, expected)


def test_the_model_says_how_many_frames_if_nobody_else_does():
    assert trajectory_clip(video(11), TrajectorySampling(), spec=SPEC).shape == (3, 4, 16, 16)
    assert TrajectorySampling().num_frames_for(SPEC) == 4
    assert TrajectorySampling(7).num_frames_for(SPEC) == 7


@pytest.mark.parametrize("sampling", ["even", "published"])
def test_frames_taken_before_are_all_taken_again(sampling: str):
    frames = video(4)
    taken = trajectory_clip(frames, TrajectorySampling(4, sampling), spec=SPEC)
    every = [trajectory_clip(frames[[number]], TrajectorySampling(1), spec=SPEC) for number in range(4)]
    assert torch.equal(taken, torch.cat(every, dim=1))


def test_scaling_in_pieces_changes_nothing(monkeypatch: pytest.MonkeyPatch):
    frames = video(9, 40, 48)
    settings = [TrajectorySampling(9, resize=resize) for resize in RESIZES]
    expected = [trajectory_clip(frames, setting, spec=SPEC) for setting in settings]
    monkeypatch.setattr("narravid.inference.trajectory_clips.PIECE_BYTES", 2 * 4 * 40 * 48 * 3)
    for setting, clip in zip(settings, expected, strict=True):
        torch.testing.assert_close(trajectory_clip(frames, setting, spec=SPEC), clip, rtol=0, atol=1e-6)


def test_a_picture_of_the_size_of_the_model_is_left_as_it_is():
    frames = video(4, 16, 16)
    assert torch.equal(trajectory_clip(frames, TrajectorySampling(), spec=SPEC), frames.permute(3, 0, 1, 2))


@pytest.mark.parametrize(
    "frames",
    [torch.zeros(4, 8, 8), torch.zeros(4, 8, 8, 3), torch.zeros(0, 8, 8, 3, dtype=torch.uint8)],
)
def test_what_is_no_video_is_refused(frames: torch.Tensor):
    with pytest.raises(ValueError, match=r"frames must be \(L, H, W, 3\) uint8 and not empty"):
        trajectory_clip(frames, TrajectorySampling(), spec=SPEC)


def test_sizes_that_cannot_be_halved_and_short_videos_are_refused():
    with pytest.raises(ValueError, match="multiples of 4"):
        trajectory_clip(video(4, 24, 30), TrajectorySampling(resize="published_half"), spec=SPEC)
    with pytest.raises(ValueError, match="sampling='even' repeats frames"):
        trajectory_clip(video(3), TrajectorySampling(frames="published"), spec=SPEC)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"num_frames": 0}, "num_frames must be at least 1, got 0"),
        ({"frames": "odd"}, "frames must be 'even' or 'published', got 'odd'"),
        ({"resize": "half"}, "resize must be 'center_square' or 'published_half' or .*, got 'half'"),
    ],
)
def test_settings_that_cannot_be_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        TrajectorySampling(**settings)


# ---------------------------------------------------------------- vectors


def test_vectors_are_those_of_the_model_at_length_one():
    model = small_model()
    encoder = ClipEncoder(model)
    videos = [video(5, seed=1), video(9, 40, 20, seed=2), video(2, seed=3)]
    vectors = encode_trajectory_frames(encoder, videos)
    assert vectors.shape == (3, model.embed_dim)
    assert vectors.dtype == torch.float32
    for frames, vector in zip(videos, vectors, strict=True):
        clip = trajectory_clip(frames, TrajectorySampling(), spec=model.clip_spec)
        with torch.inference_mode():
            expected = model.encode_video(clip[None])[0]
        torch.testing.assert_close(vector, expected / expected.norm(), rtol=1e-4, atol=1e-5)


def test_clips_of_several_shapes_keep_their_order():
    encoder = ClipEncoder(LinearDualEncoder(clip_spec=SPEC))
    halved = TrajectorySampling(resize="published_half")
    sizes = [(32, 32), (64, 48), (32, 32), (48, 64), (64, 48), (32, 32)]
    videos = [video(3, *size, seed=seed) for seed, size in enumerate(sizes)]
    together = encode_trajectory_frames(encoder, videos, sampling=halved, batch_size=2)
    alone = [encode_trajectory_frames(encoder, [frames], sampling=halved)[0] for frames in videos]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert torch.pdist(together).min() > 1e-3


@pytest.mark.parametrize("batch_size", [1, 2, 3, 5])
def test_batches_hold_clips_of_one_shape_and_few_wait(batch_size: int):
    generator = torch.Generator().manual_seed(batch_size)
    kinds = torch.randint(0, 3, (40,), generator=generator).tolist()
    num_taken = num_given = 0

    def clips() -> Iterator[torch.Tensor]:
        nonlocal num_taken
        for number, kind in enumerate(kinds):
            assert num_taken - num_given < 2 * batch_size
            num_taken += 1
            yield torch.full((3, 1, 2, 2 + kind), number).to(torch.uint8)

    seen: list[int] = []
    for batch in like_clips(clips(), batch_size):
        assert 1 <= len(batch) <= batch_size
        assert len({clip.shape for clip in batch.values()}) == 1
        assert all(int(clip[0, 0, 0, 0]) == number for number, clip in batch.items())
        seen += batch
        num_given += len(batch)
    assert sorted(seen) == list(range(40))
    assert seen == list(range(40)) or batch_size > 1


def test_two_shapes_in_turn_fill_their_batches():
    clips = [torch.zeros(3, 1, 2, 2 + number % 2) for number in range(8)]
    assert [list(batch) for batch in like_clips(clips, 4)] == [[0, 2, 4, 6], [1, 3, 5, 7]]


def test_trajectories_are_taken_as_the_model_needs_them(monkeypatch: pytest.MonkeyPatch):
    encoder = ClipEncoder(LinearDualEncoder(clip_spec=SPEC))
    events: list[str] = []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda clips: events.append("encode") or encode(clips))

    def trajectories() -> Iterator[torch.Tensor]:
        for seed in range(5):
            events.append("take")
            yield video(4, seed=seed)

    encode_trajectory_frames(encoder, trajectories(), batch_size=2)
    assert events == ["take", "take", "encode", "take", "take", "encode", "take", "encode"]


def test_a_clip_without_direction_is_refused():
    encoder = ClipEncoder(LinearDualEncoder(clip_spec=SPEC))
    black = torch.zeros(4, 24, 24, 3, dtype=torch.uint8)
    with pytest.raises(NarravidError, match="a zero vector for a clip, .* look at its frames"):
        encode_trajectory_frames(encoder, [video(4), black])


def test_pixels_that_are_not_rounded_reach_every_form_of_a_model():
    model = small_model()
    videos = [video(4)]
    for resize in RESIZES[2:]:
        sampling = TrajectorySampling(resize=resize)
        clip = trajectory_clip(videos[0], sampling, spec=model.clip_spec)
        assert clip.dtype == torch.float32
        with torch.inference_mode():
            expected = torch.nn.functional.normalize(model.encode_video(clip[None]), dim=1)
        for dtype, tolerance in (("float32", 1e-5), ("bfloat16", 0.05)):
            encoder = ClipEncoder(model, dtype=dtype)
            given = encode_trajectory_frames(encoder, videos, sampling=sampling)
            torch.testing.assert_close(given, expected, rtol=0, atol=tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
def test_other_backends_take_whole_levels_only(backend: str):
    pytest.importorskip(backend)
    encoder = ClipEncoder(small_model(), backend=backend)
    with pytest.raises(
        ValueError, match=f"the backend {backend} takes uint8 clips, got torch.float32; use torch"
    ):
        encode_trajectory_frames(encoder, [video(4)], sampling=TrajectorySampling(resize="published_square"))


def test_no_trajectories_have_no_vectors():
    model = small_model()
    assert encode_trajectory_frames(ClipEncoder(model), []).shape == (0, model.embed_dim)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match="batch_size must be at least 1, got 0"):
        encode_trajectory_clips(ClipEncoder(small_model()), [], batch_size=0)
    classifier = ClipEncoder(FORMS["CPD classifier"][0](), output="feature")
    with pytest.raises(ValueError, match="must give embeddings, this one gives a feature"):
        encode_trajectory_frames(classifier, [video(4)])
