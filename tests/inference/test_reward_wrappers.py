"""The reward of a text in a single environment: when it comes, what it is, what the infos say."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import warnings
from pathlib import Path

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers import Autoreset

from narravid.errors import MissingExtraError
from narravid.inference import rewards
from narravid.inference.reward_wrappers import FRAME_KEY, FrameInInfo, TextRewardWrapper
from narravid.inference.text_reward import TextReward
from narravid.inference.trajectory_clips import TrajectorySampling
from narravid.synthetic.toy_environment import ToyWorldEnv
from narravid.types import ClipSpec
from narravid.video.frame_sampling import video_frames
from reward_doubles import NUM_FRAMES, BrighteningEnv, BrightnessModel, cosine

PROMPT = "gets brighter"


def wrapped(lengths=(3,), prompt=PROMPT, **options) -> TextRewardWrapper:
    return TextRewardWrapper(BrighteningEnv(lengths), TextReward(BrightnessModel(), prompt), **options)


def score(levels, prompt=PROMPT) -> float:
    """The score of frames of these levels, of which the model sees four."""
    return cosine([levels[place] for place in video_frames(len(levels), NUM_FRAMES)], prompt)


def play(env, actions):
    """Rewards and infos of the steps of one episode."""
    env.reset()
    steps = [env.step(np.array([action], dtype=np.float32)) for action in actions]
    assert [terminated or truncated for _, _, terminated, truncated, _ in steps] == [
        *[False] * (len(actions) - 1),
        True,
    ]
    return [reward for _, reward, *_ in steps], [info for *_, info in steps]


# ---------------------------------------------------------------- when and what


def test_sparse_gives_the_score_of_the_whole_episode_at_its_end():
    env = wrapped(lengths=(5, 2))
    rewards, infos = play(env, [0.5, 0.25, 0, 0, -1])
    expected = score([10, 11, 12, 13, 14, 15])
    assert rewards == pytest.approx([0, 0, 0, 0, expected], abs=1e-6)
    assert [info["environment_reward"] for info in infos] == [0.5, 0.25, 0, 0, -1]
    assert [key for info in infos[:-1] for key in info if key != "environment_reward"] == []
    assert infos[-1]["text_reward"] == infos[-1]["text_return"] == rewards[-1]
    assert infos[-1]["environment_return"] == pytest.approx(-0.25)
    # The next episode, which is truncated, knows nothing of the first.
    rewards, infos = play(env, [1, 1])
    assert rewards == pytest.approx([0, score([60, 61, 62])], abs=1e-6)
    assert infos[-1]["environment_return"] == 2


def test_sparse_with_a_window_scores_the_last_frames():
    rewards, _ = play(wrapped(lengths=(6,), window_frames=2, prompt="all bright"), [0] * 6)
    assert rewards == pytest.approx([0] * 5 + [score([15, 16], "all bright")], abs=1e-6)


def test_dense_scores_the_last_frames_at_each_step():
    rewards, infos = play(wrapped(lengths=(6,), mode="dense"), [0] * 6)
    levels = list(range(10, 17))
    expected = [score(levels[max(0, step - 3) : step + 1]) for step in range(1, 7)]
    assert rewards == pytest.approx(expected, abs=1e-6)
    assert infos[-1]["text_return"] == pytest.approx(sum(expected), abs=1e-5)
    assert [info["text_reward"] for info in infos] == rewards


def test_dense_every_few_steps_scores_the_end_too():
    rewards, infos = play(wrapped(lengths=(5,), mode="dense", every_steps=2, window_frames=3), [0] * 5)
    expected = [0, score([10, 11, 12]), 0, score([12, 13, 14]), score([13, 14, 15])]
    assert rewards == pytest.approx(expected, abs=1e-6)
    assert ["text_reward" in info for info in infos] == [False, True, False, True, True]


@pytest.mark.parametrize("every_steps", [1, 2])
def test_differences_sum_to_the_last_score_less_that_of_the_first_frame(every_steps):
    env = wrapped(lengths=(5,), mode="differences", every_steps=every_steps, prompt="ends bright")
    rewards, infos = play(env, [0] * 5)
    begin, end = score([10], "ends bright"), score([12, 13, 14, 15], "ends bright")
    assert sum(rewards) == pytest.approx(end - begin, abs=1e-6)
    assert infos[-1]["text_return"] == pytest.approx(end - begin, abs=1e-6)
    first_due = [score([10, 11], "ends bright"), score([10, 11, 12], "ends bright")][every_steps - 1]
    assert rewards[every_steps - 1] == pytest.approx(first_due - begin, abs=1e-6)


def test_rewards_are_scaled_and_added_to_the_own_ones():
    env = wrapped(lengths=(2,), reward_scale=10.0, environment_weight=0.5)
    rewards, infos = play(env, [1, -1])
    text = score([10, 11, 12])
    assert rewards == pytest.approx([0.5, 10 * text - 0.5], abs=1e-5)
    assert infos[-1]["text_reward"] == pytest.approx(text, abs=1e-6)


def test_frames_of_a_long_episode_are_drawn_where_they_can_be_needed_only():
    env = wrapped(lengths=(200,))
    rewards, _ = play(env, [0] * 200)
    assert env.unwrapped.num_renders < 60
    levels = [10 + number for number in (0, 64, 128, 200)]  # of every 16th frame those nearest to even ones
    assert rewards[-1] == pytest.approx(cosine(levels, PROMPT), abs=1e-6)


def test_a_model_of_one_frame_judges_how_the_episode_ends():
    class LastBrightness(BrightnessModel):
        """Says whether its one frame is bright: levels of red and of what is missing to 255."""

        def __init__(self):
            super().__init__()
            self.clip_spec = ClipSpec(num_frames=1, fps=4.0, size_pixels=6)

        def video_features(self, clips):
            level = clips[:, 0].float().mean(dim=(1, 2, 3))
            return torch.stack([255 - level, level * 0, level * 0, level], dim=1)

    env = TextRewardWrapper(BrighteningEnv((40,)), TextReward(LastBrightness(), "ends bright"))
    rewards, _ = play(env, [0] * 40)
    assert rewards[-1] == pytest.approx(50 / np.hypot(50, 205), abs=1e-6)


# ---------------------------------------------------------------- with Gymnasium


@pytest.mark.parametrize("mode", ["sparse", "dense", "differences"])
def test_a_wrapped_environment_passes_gymnasiums_checks(mode):
    with pytest.warns(UserWarning, match="different from the unwrapped version|alternative render modes"):
        check_env(wrapped(lengths=(20,), mode=mode))
    with pytest.warns(UserWarning, match="different from the unwrapped version|alternative render modes"):
        check_env(FrameInInfo(BrighteningEnv((20,))))


def test_wrapped_environments_work_inside_a_vector_environment():
    reward = TextReward(BrightnessModel(), PROMPT)
    envs = gymnasium.vector.SyncVectorEnv(
        [lambda length=length: TextRewardWrapper(BrighteningEnv((length,)), reward) for length in (2, 3)]
    )
    envs.reset(seed=1)
    rewards = [envs.step(np.zeros((2, 1), np.float32))[1].tolist() for _ in range(3)]
    expected = [[0, 0], [score([10, 11, 12]), 0], [0, score([10, 11, 12, 13])]]
    np.testing.assert_allclose(rewards, expected, atol=1e-6)


def test_an_episode_that_is_over_does_not_go_on():
    env = wrapped(lengths=(2,))
    play(env, [0, 0])
    with pytest.raises(ResetNeeded, match=r"the episode is over.*call reset\(\)"):
        env.step(np.zeros(1))
    rewards, infos = play(env, [0, 0])
    assert rewards[-1] == infos[-1]["text_return"] == pytest.approx(score([60, 61, 62]), abs=1e-6)


def test_what_resets_by_itself_stands_around_and_not_inside():
    def six_steps(env):
        env.reset()
        return [env.step(np.zeros(1, np.float32))[1] for _ in range(6)]

    reward = TextReward(BrightnessModel(), PROMPT)
    around = Autoreset(TextRewardWrapper(BrighteningEnv((2, 3)), reward))
    expected = [0, score([10, 11, 12]), 0, 0, 0, score([60, 61, 62, 63])]
    assert six_steps(around) == pytest.approx(expected, abs=1e-6)
    with pytest.raises(ResetNeeded, match="around TextRewardWrapper instead of inside"):
        six_steps(TextRewardWrapper(Autoreset(BrighteningEnv((2, 3))), reward))


def test_a_registered_environment_can_be_made_again_with_its_wrappers():
    reward = TextReward(BrightnessModel(), "all bright")
    made = gymnasium.make(ToyWorldEnv().spec, render_mode="rgb_array")
    env = TextRewardWrapper(FrameInInfo(made), reward, mode="dense", every_steps=7)
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".*different from the unwrapped version", category=UserWarning
        )
        check_env(env)
    outer = gymnasium.wrappers.RecordEpisodeStatistics(env)
    names = [wrapper.name for wrapper in outer.spec.additional_wrappers]
    assert names[-3:] == ["FrameInInfo", "TextRewardWrapper", "RecordEpisodeStatistics"]
    again = gymnasium.make(outer.spec)
    found = []
    for same in (outer, again):
        same.reset(seed=3)
        found.append([same.step(np.array([1, 0], np.float32))[1] for _ in range(20)])
    assert found[0] == found[1]
    assert np.flatnonzero(found[0]).tolist() == [6, 13, 19]
    assert again.get_wrapper_attr("text_reward") is reward  # the weights are shared and not copied


def test_a_frame_goes_into_the_info_as_a_copy():
    env = FrameInInfo(BrighteningEnv())
    _, first = env.reset()
    *_, second = env.step(np.zeros(1))
    assert (first[FRAME_KEY][0, 0, 0], second[FRAME_KEY][0, 0, 0]) == (10, 11)
    assert first[FRAME_KEY].shape == (8, 10, 3)


# ---------------------------------------------------------------- what is refused


@pytest.mark.parametrize("render_mode", [None, "human", "rgb_array_list"])
def test_environments_that_give_no_frames_are_refused(render_mode):
    env = BrighteningEnv(render_mode=render_mode)
    with pytest.raises(ValueError, match=f"must be made with render_mode='rgb_array'.*{render_mode}"):
        TextRewardWrapper(env, TextReward(BrightnessModel(), PROMPT))
    with pytest.raises(ValueError, match="must be made with render_mode='rgb_array'"):
        FrameInInfo(env)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mode": "rare"}, "mode must be 'sparse' or 'dense' or 'differences', got 'rare'"),
        ({"window_frames": 0}, "window_frames must be at least 1 or None, got 0"),
        ({"mode": "dense", "every_steps": 0}, "every_steps must be at least 1, got 0"),
        ({"every_steps": 2}, "every_steps is for modes other than 'sparse'"),
        ({"reward_scale": float("nan")}, "scale must be finite"),
        ({"environment_weight": float("inf")}, "environment_weight must be finite"),
    ],
)
def test_values_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        wrapped(**options)


def test_the_published_rule_is_refused_as_young_episodes_break_it():
    reward = TextReward(BrightnessModel(), PROMPT, sampling=TrajectorySampling(frames="published"))
    with pytest.raises(ValueError, match="needs frames='even' in its sampling, got 'published'"):
        TextRewardWrapper(BrighteningEnv(), reward)


def test_an_environment_that_renders_something_else_is_named():
    env = BrighteningEnv()
    env.render = lambda: np.zeros((4, 4))
    with pytest.raises(ValueError, match=r"a rendered frame must be .* got \(4, 4\) float64"):
        TextRewardWrapper(env, TextReward(BrightnessModel(), PROMPT)).reset()


def test_all_of_rewards_is_found_in_one_place():
    assert rewards.TextReward is TextReward
    assert rewards.TextRewardWrapper is TextRewardWrapper
    assert rewards.VectorTextRewardWrapper.__name__ == "VectorTextRewardWrapper"
    with pytest.raises(AttributeError, match="has no attribute 'TextRewarder'"):
        _ = rewards.TextRewarder
    wrappers = {"FrameInInfo", "TextRewardWrapper", "VectorTextRewardWrapper"}
    assert wrappers | set(rewards.__all__) <= set(dir(rewards))


@pytest.mark.slow
def test_the_samples_of_the_page_are_typed_for_their_reader(tmp_path):
    page = (Path(__file__).parents[2] / "docs" / "rewards.md").read_text()
    given = "import gymnasium, numpy as np, typing\n"
    given += "frames: np.ndarray[typing.Any, np.dtype[np.uint8]]\nepisodes: list[typing.Any]\n"
    given += "def make_env() -> gymnasium.Env[typing.Any, typing.Any]: ...\n"
    samples = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(samples) == 4
    (tmp_path / "samples.py").write_text(given + "\n".join(samples[:3]))
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "--allow-redefinition-new"]
    command += ["--local-partial-types", "--disable-error-code=empty-body", "samples.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("module", ["reward_wrappers", "vector_reward_wrapper"])
def test_without_gymnasium_the_extra_is_named(module, monkeypatch):
    name = f"narravid.inference.{module}"
    importlib.import_module(name)
    for loaded in [key for key in sys.modules if key == "gymnasium" or key.startswith("gymnasium.")]:
        monkeypatch.setitem(sys.modules, loaded, None)
    monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingExtraError, match=r"needs gymnasium.*pip install 'narravid\[rl\]'"):
        importlib.import_module(name)
