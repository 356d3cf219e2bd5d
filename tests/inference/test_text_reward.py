"""Text as a reward: scores computed by hand, batches of any make, prompts kept, what is refused."""

from __future__ import annotations

import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
import torch

from models.small_models import small_model
from narravid.errors import ConfigError, NarravidError
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.text_reward import TextReward, TextRewardModel
from narravid.inference.trajectory_clips import TrajectorySampling
from reward_doubles import PROMPTS, BrightnessModel, cosine, frames_of

LEVELS = [10, 40, 90, 20]


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


# ---------------------------------------------------------------- the numbers


@pytest.mark.parametrize("prompt", PROMPTS)
def test_a_score_is_the_cosine_of_clip_and_prompt(prompt):
    score = TextReward(BrightnessModel(), prompt)(frames_of(LEVELS))
    assert isinstance(score, float)
    assert score == pytest.approx(cosine(LEVELS, prompt), abs=1e-6)


def test_a_longer_episode_is_seen_evenly_and_a_shorter_one_several_times():
    reward = TextReward(BrightnessModel(), "gets brighter")
    longer = [5, 200, 15, 200, 25, 200, 60]
    assert reward(frames_of(longer)) == pytest.approx(cosine([5, 15, 25, 60], "gets brighter"), abs=1e-6)
    assert reward(frames_of([30, 50])) == pytest.approx(cosine([30, 30, 50, 50], "gets brighter"), abs=1e-6)
    assert reward(frames_of([30])) == pytest.approx(0, abs=1e-6)


def unit(row):
    return np.array(row, dtype=float) / np.linalg.norm(row)


def test_a_baseline_enters_in_both_forms_as_the_formulas_say():
    video, goal, start = unit(LEVELS), unit(PROMPTS["ends bright"]), unit(PROMPTS["all bright"])
    way = unit(goal - start)
    projected = 0.7 * (video @ goal) + 0.3 * (video @ way)
    mixed = [0.7 * x + 0.3 * (x @ way) * way for x in (video, goal)]
    original = 1 - np.square(mixed[0] - mixed[1]).sum() / 2
    for form, expected in (("projected", projected), ("original", original)):
        reward = TextReward(BrightnessModel(), "ends bright", "all bright", alpha=0.3, form=form)
        assert reward(frames_of(LEVELS)) == pytest.approx(expected, abs=1e-6)


def test_without_strength_a_baseline_changes_nothing():
    with_baseline = TextReward(BrightnessModel(), "ends bright", "all bright", alpha=0.0)
    assert with_baseline(frames_of(LEVELS)) == pytest.approx(cosine(LEVELS, "ends bright"), abs=1e-6)


def test_other_numbers_of_frames_and_the_published_rule():
    sampling = TrajectorySampling(frames="published")
    reward = TextReward(BrightnessModel(), "gets brighter", sampling=sampling)
    levels = [10, 99, 20, 99, 30, 99, 70, 99, 99]
    assert reward(frames_of(levels)) == pytest.approx(cosine([10, 20, 30, 70], "gets brighter"), abs=1e-6)
    with pytest.raises(ValueError, match=r"episode 1: the published rule cannot take 4 frames .* of 3"):
        reward([frames_of(levels), frames_of([1, 2, 3])])
    assert (
        TextReward(BrightnessModel(), "ends bright", sampling=TrajectorySampling(num_frames=9)).num_frames
        == 9
    )


# ---------------------------------------------------------------- what is given


def test_episodes_may_come_as_arrays_tensors_or_lists_of_any_lengths_and_sizes():
    reward = TextReward(BrightnessModel(), "gets brighter")
    first, second = frames_of(LEVELS), frames_of([80, 70, 10, 5])
    expected = [cosine(LEVELS, "gets brighter"), cosine([80, 70, 10, 5], "gets brighter")]
    both = np.stack([first, second])
    for given in (both, torch.from_numpy(both), [first, torch.from_numpy(second)], (first, second)):
        scores = reward(given)
        assert scores.dtype == np.float32
        np.testing.assert_allclose(scores, expected, atol=1e-6)
    np.testing.assert_allclose(
        reward([frames_of([9, 9, 50], 5, 7), first]),
        [cosine([9, 9, 9, 50], "gets brighter"), expected[0]],
        atol=1e-6,
    )
    assert reward(torch.from_numpy(first)) == pytest.approx(expected[0], abs=1e-6)


def test_memory_that_is_turned_round_or_locked_is_read_all_the_same():
    reward = TextReward(BrightnessModel(), "gets brighter")
    locked = frames_of(LEVELS)[::-1, ::-1]
    locked.flags.writeable = False
    assert reward(locked) == pytest.approx(cosine(LEVELS[::-1], "gets brighter"), abs=1e-6)


def test_one_episode_in_a_batch_gives_a_batch():
    assert TextReward(BrightnessModel(), "ends bright")(frames_of(LEVELS)[None]).shape == (1,)


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        (
            np.zeros((4, 6, 6, 3), np.float32),
            r"\(4, 6, 6, 3\) float32; bring the levels .* to uint8$",
        ),
        (torch.zeros(4, 6, 6, 3), r"\(4, 6, 6, 3\) torch.float32; bring the levels to 0..255"),
        (np.zeros((4, 6, 6, 3), np.int64), "int64; convert levels of 0..255 to uint8$"),
        (np.zeros((4, 3, 6, 6), np.float64), "float64; put the channels last; bring the levels"),
        (np.zeros((4, 6, 6, 1), np.uint8), "repeat the grey channel"),
        (np.zeros((6, 6, 3), np.uint8), "stack the single frames"),
        ([np.zeros((6, 6, 3), np.uint8)], "episode 0: .*stack the single frames"),
        (np.zeros((4, 3, 6, 6), np.uint8), "put the channels last"),
        (np.zeros((4, 6, 6, 4), np.uint8), "leave out the alpha channel"),
        (np.zeros((0, 6, 6, 3), np.uint8), "not empty.*; leave out episodes without frames$"),
        (np.zeros((0, 4, 6, 6, 3), np.uint8), "no episode"),
        ([], "no episode to score; give at least one"),
        ([[[1, 2], [3, 4]]], "episode 0: frames must be a uint8 array or tensor, got list; .* np.stack$"),
        (iter([np.zeros((4, 6, 6, 3), np.uint8)]), "a list of them .make one of .* got list_iterator"),
        (7, "got int"),
        ("abcd", "got str"),
    ],
)
def test_other_shapes_and_types_are_refused_with_what_to_do(frames, message):
    with pytest.raises(ValueError, match=message):
        TextReward(BrightnessModel(), "ends bright")(frames)


# ---------------------------------------------------------------- batches of a real network


def lively_model():
    """A small network whose statistics are those of noise, so that clips get vectors far apart."""
    model = small_model().train()
    for module in model.modules():
        if isinstance(module, torch.nn.modules.batchnorm._BatchNorm):
            module.momentum = 1.0
    with torch.no_grad():
        model.encode_video(torch.from_numpy(noise(8, 3, 4, 16, 16, seed=99)))
        model.video.fc.bias.zero_()
    return model.eval()


def test_a_batch_gives_what_its_episodes_give_alone_and_the_same_again():
    episodes = [noise(length, 24, 20, 3, seed=length) // length for length in (3, 4, 9, 12, 5)]
    model = lively_model()
    alone = TextReward(model, "add oil", batch_size=1)
    together = TextReward(model, "add oil", batch_size=8)
    scores = together(episodes)
    np.testing.assert_allclose(scores, [alone(episode) for episode in episodes], atol=1e-6)
    np.testing.assert_array_equal(scores, together(episodes))
    assert np.ptp(scores) > 0.01
    assert np.abs(scores).max() <= 1


def test_batches_are_as_large_as_asked_for():
    model = BrightnessModel()
    TextReward(model, "ends bright", batch_size=2)([frames_of(LEVELS)] * 5)
    assert model.batch_sizes == [2, 2, 1]


def test_full_frames_of_one_episode_at_a_time_are_copied():
    reward = TextReward(BrightnessModel(), "ends bright", batch_size=2)
    episodes = [frames_of([*LEVELS, 5], 200, 200)] * 12
    copied_bytes = 4 * 200 * 200 * 3
    reward(episodes[:1])
    tracemalloc.start()
    scores = reward(episodes)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert scores.shape == (12,)
    assert peak < 3 * copied_bytes


def test_an_encoder_of_clips_says_how_to_compute():
    model = lively_model()
    full = TextReward(model, "add oil")(noise(6, 16, 16, 3))
    coarse = TextReward(ClipEncoder(model, dtype="bfloat16"), "add oil")(noise(6, 16, 16, 3))
    assert coarse == pytest.approx(full, abs=0.05)
    assert coarse != full


def test_a_frame_reduced_before_gives_the_same_score():
    reward = TextReward(lively_model(), "add oil")
    frames = noise(4, 40, 56, 3)
    reduced = np.stack([reward.reduced(frame) for frame in frames])
    assert reduced.shape == (4, 16, 16, 3)
    assert reward(reduced) == reward(frames)
    published = TextReward(small_model(), "add oil", sampling=TrajectorySampling(resize="published_square"))
    frame = frames[0]
    assert published.reduced(frame) is frame


# ---------------------------------------------------------------- tasks


def test_a_model_scores_each_episode_against_its_own_task():
    model = TextRewardModel(BrightnessModel())
    episodes = [frames_of(LEVELS), frames_of(LEVELS[::-1]), frames_of(LEVELS)]
    tasks = ["ends bright", "gets brighter", "begins bright"]
    scores = model.compute_reward(episodes, tasks)
    expected = [cosine(LEVELS, tasks[0]), cosine(LEVELS[::-1], tasks[1]), cosine(LEVELS, tasks[2])]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert model.compute_reward(episodes[0], "ends bright") == pytest.approx(expected[0], abs=1e-6)
    with pytest.raises(ValueError, match="3 episodes need as many tasks or a single one, got 2"):
        model.compute_reward(episodes, tasks[:2])


def test_prompts_are_encoded_once(monkeypatch):
    encoder = BrightnessModel()
    seen: list[str] = []
    encode = encoder.encode_text
    monkeypatch.setattr(encoder, "encode_text", lambda texts: seen.extend(texts) or encode(texts))
    monkeypatch.setattr("narravid.inference.text_reward.MAX_PROMPTS", 2)
    model = TextRewardModel(encoder)
    for task in ("ends bright", "all bright", "ends bright", "begins bright", "ends bright", "all bright"):
        model.compute_reward(frames_of(LEVELS), task)
    assert seen == ["ends bright", "all bright", "begins bright", "all bright"]


def test_a_prompt_in_use_makes_no_room_for_those_of_other_threads(monkeypatch):
    encoder = BrightnessModel()
    monkeypatch.setattr("narravid.inference.text_reward.MAX_PROMPTS", 2)
    model = TextRewardModel(encoder)
    model.prepare(["ends bright"])
    others = threading.Thread(
        target=lambda: model.prepare(["begins bright", "gets brighter", "all bright", "begins bright"])
    )
    encode = encoder.encode_text

    def encode_while_others_ask(texts):
        monkeypatch.setattr(encoder, "encode_text", encode)
        others.start()
        others.join(timeout=0.3)  # they must wait for this thread, which gives them time to show it
        return encode(texts)

    monkeypatch.setattr(encoder, "encode_text", encode_while_others_ask)
    scores = model.compute_reward([frames_of(LEVELS)] * 2, ["ends bright", "all bright"])
    others.join()
    expected = [cosine(LEVELS, task) for task in ("ends bright", "all bright")]
    np.testing.assert_allclose(scores, expected, atol=1e-6)


def test_what_the_model_cannot_tell_is_refused_before_any_episode():
    with pytest.raises(ConfigError, match="none of the words of 'fly away'"):
        TextReward(small_model(), "fly away")
    with pytest.raises(ConfigError, match="none of the words of 'sky'"):
        TextReward(small_model(), "add oil", "sky")
    with pytest.raises(ConfigError, match="baseline says the same as the prompt 'add OIL'"):
        TextReward(small_model(), "add OIL", "Add oil!")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"alpha": 1.5}, "alpha must be in"),
        ({"form": "other"}, "form must be"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"baseline": None, "alpha": 0.5}, "alpha=0.5 has no meaning without a baseline; give baseline="),
        ({"baseline": None, "form": "projected"}, "form='projected' has no meaning without a baseline"),
    ],
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        TextReward(BrightnessModel(), "ends bright", **{"baseline": "all bright"} | options)


def test_strength_and_form_not_given_are_those_of_a_baseline():
    baseline = TextRewardModel(BrightnessModel(), "all bright").baseline
    assert (baseline.alpha, baseline.form) == (0.5, "projected")
    baseline = TextRewardModel(BrightnessModel(), "all bright", form="original").baseline
    assert (baseline.alpha, baseline.form) == (0.5, "original")
    assert TextRewardModel(BrightnessModel()).baseline is None


def test_a_model_without_text_is_refused():
    with pytest.raises(ValueError, match="needs the embedding of a dual encoder, got the feature of a S3D"):
        TextReward(ClipEncoder(small_model(), output="feature"), "add oil")
    for other in (torch.nn.Linear(2, 2), "s3d", None):
        name = type(other).__name__
        with pytest.raises(ValueError, match=f"needs a dual encoder on pixels.*, got a {name}$"):
            TextReward(other, "add oil")


def test_an_episode_without_direction_is_refused():
    reward = TextReward(BrightnessModel(), "ends bright", "all bright")
    with pytest.raises(NarravidError, match="zero vector for a clip"):
        reward(frames_of([0, 0, 0, 0]))


# ---------------------------------------------------------------- around it


def test_calls_are_counted_and_timed():
    reward = TextReward(BrightnessModel(), "ends bright")
    assert str(reward.latency) == "no calls yet"
    reward(frames_of(LEVELS))
    reward([frames_of(LEVELS), frames_of([1, 2])])
    assert (reward.latency.calls, reward.latency.episodes, reward.latency.frames) == (2, 3, 12)
    assert reward.latency.seconds > 0


@pytest.mark.slow
def test_rewards_need_no_gymnasium():
    code = "import sys; sys.modules['gymnasium'] = None; import narravid.inference.rewards"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
