"""The reward of a text in many environments: one call for all that are due, every way of resetting."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, SyncVectorEnv

from narravid.inference.reward_wrappers import FrameInInfo, TextRewardWrapper
from narravid.inference.text_reward import TextReward
from narravid.inference.vector_reward_wrapper import VectorTextRewardWrapper
from narravid.synthetic.toy_environment import ToyWorldEnv
from narravid.video.frame_sampling import video_frames
from reward_doubles import NUM_FRAMES, BrighteningEnv, BrightnessModel, cosine

PROMPT = "ends bright"
LENGTHS = ((2, 3), (3, 2))
"""Steps of the first two episodes of two environments; they end at different steps, then at the same one."""

NEXT_STEP, SAME_STEP, DISABLED = AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED

# Since Python 3.12 a fork beside threads warns; the environments use no library that has threads.
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")


def vector_env(kind=SyncVectorEnv, mode=NEXT_STEP, *, frames_in_info=False, lengths=LENGTHS):
    def make(own):
        env = BrighteningEnv(own)
        return FrameInInfo(env) if frames_in_info else env

    return kind([lambda own=own: make(own) for own in lengths], autoreset_mode=mode)


def wrapped(envs, model=None, **options) -> VectorTextRewardWrapper:
    return VectorTextRewardWrapper(envs, TextReward(model or BrightnessModel(), PROMPT), **options)


def score(levels) -> float:
    return cosine([levels[place] for place in video_frames(len(levels), NUM_FRAMES)], PROMPT)


def episode(number: int, num_steps: int) -> list[int]:
    """Levels of the frames of an episode."""
    return [50 * number + 10 + step for step in range(num_steps + 1)]


def play(envs, num_steps: int, *, action=0.0):
    """Rewards, whether episodes were over, and infos of some steps; resets by hand if nothing else does."""
    envs.reset()
    rewards, over, infos = [], [], []
    for _ in range(num_steps):
        _, reward, terminated, truncated, info = envs.step(np.full((envs.num_envs, 1), action, np.float32))
        rewards.append(reward)
        over.append(terminated | truncated)
        infos.append(info)
        if envs.metadata["autoreset_mode"] is DISABLED and over[-1].any():
            envs.reset(options={"reset_mask": over[-1]})
    return np.array(rewards), np.array(over), infos


FIRST = [score(episode(0, 2)), score(episode(0, 3))]
SECOND = [score(episode(1, 3)), score(episode(1, 2))]

EXPECTED = {
    # A step of its own resets; the second episodes end together, in the sixth step.
    NEXT_STEP: [[0, 0], [FIRST[0], 0], [0, FIRST[1]], [0, 0], [0, 0], SECOND],
    # Nothing is lost on resets; the second episodes end together, in the fifth step.
    SAME_STEP: [[0, 0], [FIRST[0], 0], [0, FIRST[1]], [0, 0], SECOND, [0, 0]],
    DISABLED: [[0, 0], [FIRST[0], 0], [0, FIRST[1]], [0, 0], SECOND, [0, 0]],
}


@pytest.mark.parametrize("kind", [SyncVectorEnv, AsyncVectorEnv])
@pytest.mark.parametrize(
    ("mode", "frames_in_info"),
    [(NEXT_STEP, False), (NEXT_STEP, True), (SAME_STEP, True), (DISABLED, False), (DISABLED, True)],
)
def test_each_episode_is_scored_by_its_own_frames_whatever_resets_it(kind, mode, frames_in_info):
    envs = wrapped(vector_env(kind, mode, frames_in_info=frames_in_info))
    rewards, over, infos = play(envs, 6)
    envs.close()
    np.testing.assert_allclose(rewards, EXPECTED[mode], atol=1e-6)
    np.testing.assert_array_equal(over, np.array(EXPECTED[mode]) > 0)
    for reward, ended, info in zip(rewards, over, infos, strict=True):
        assert not any("rendered_frame" in key for key in [*info, *info.get("final_info", {})])
        assert ("text_return" in info) == ended.any()
        if ended.any():
            np.testing.assert_array_equal(info["_text_return"], ended)
            np.testing.assert_array_equal(info["text_return"], reward)


def test_what_is_due_together_is_scored_by_one_call():
    model = BrightnessModel()
    envs = wrapped(vector_env(lengths=((4,), (4,), (2,))), model, mode="dense")
    play(envs, 4)
    assert model.batch_sizes == [3, 3, 2, 3]  # in the third step the last environment is reset
    assert envs.text_reward.latency.calls == 4


@pytest.mark.parametrize("mode", ["sparse", "dense", "differences"])
def test_rewards_are_those_of_environments_one_at_a_time(mode):
    options = {"mode": mode, "window_frames": 3, "reward_scale": 2.0, "environment_weight": 0.5}
    if mode != "sparse":
        options["every_steps"] = 2
    rewards, _, infos = play(wrapped(vector_env(), **options), 6, action=0.25)
    alone = [
        TextRewardWrapper(BrighteningEnv(own), TextReward(BrightnessModel(), PROMPT), **options)
        for own in LENGTHS
    ]
    for number, env in enumerate(alone):
        over = True
        for step in range(7):
            if over:
                env.reset()
                over, expected, single = False, 0.0, None
            else:
                _, expected, terminated, truncated, single = env.step(np.array([0.25], np.float32))
                over = terminated or truncated
            if step == 0:
                continue
            info = infos[step - 1]
            assert rewards[step - 1, number] == pytest.approx(expected, abs=1e-6)
            names = ("environment_reward", "text_reward", "environment_return", "text_return")
            present = {name for name in names if name in info and info[f"_{name}"][number]}
            assert present == {name for name in names if single and name in single}
            for name in present:
                assert info[name][number] == pytest.approx(single[name], abs=1e-6)


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_processes_give_what_one_process_gives(mode):
    def run(kind):
        makers = [lambda: FrameInInfo(ToyWorldEnv(render_mode="rgb_array"))] * 2
        envs = wrapped(kind(makers, autoreset_mode=mode), mode="differences", every_steps=7)
        envs.reset(seed=3)
        rewards = []
        for actions in np.random.default_rng(0).uniform(-1, 1, (30, 2, 2)).astype(np.float32):
            _, reward, terminated, truncated, _ = envs.step(actions)
            rewards.append(reward)
            if mode is DISABLED and (terminated | truncated).any():
                envs.reset(options={"reset_mask": terminated | truncated})
        envs.close()
        return np.array(rewards)

    in_one, in_several = run(SyncVectorEnv), run(AsyncVectorEnv)
    np.testing.assert_allclose(in_several, in_one, atol=1e-6)
    assert (in_one != 0).any(axis=1).sum() == 4  # steps 7, 14 and 20, the last, and 7 of the next episode


def test_a_long_sparse_episode_is_drawn_where_needed_only():
    envs = vector_env(lengths=((100,), (100,)))
    rewards, _, _ = play(wrapped(envs), 100)
    assert envs.envs[0].num_renders < 50
    levels = [10 + number for number in (0, 32, 64, 100)]
    np.testing.assert_allclose(rewards[-1], cosine(levels, PROMPT), atol=1e-6)


def test_in_disabled_mode_an_episode_that_is_over_waits_for_its_reset():
    envs = vector_env(mode=DISABLED)
    rewarding = wrapped(envs)
    rewarding.reset()
    actions = np.zeros((2, 1), np.float32)
    rewarding.step(actions)
    rewarding.step(actions)
    rewarding.reset(options={"reset_mask": np.array([True, False])})
    _, rewards, *_ = rewarding.step(actions)
    np.testing.assert_allclose(rewards, [0, FIRST[1]], atol=1e-6)


def test_gymnasiums_own_wrappers_go_around_it():
    envs = gymnasium.wrappers.vector.RecordEpisodeStatistics(wrapped(vector_env()))
    _, _, infos = play(envs, 2)
    assert infos[-1]["episode"]["r"][0] == pytest.approx(FIRST[0], abs=1e-6)


# ---------------------------------------------------------------- what is refused


def test_without_frames_in_the_infos_the_same_step_cannot_be_scored():
    with pytest.raises(ValueError, match="wrap the environments inside in FrameInInfo"):
        wrapped(vector_env(mode=SAME_STEP)).reset()


def test_frames_of_some_environments_only_are_refused():
    makers = [lambda: FrameInInfo(BrighteningEnv()), lambda: BrighteningEnv()]
    with pytest.raises(ValueError, match="all environments inside must be wrapped in FrameInInfo, or none"):
        wrapped(SyncVectorEnv(makers)).reset()


def test_an_environment_that_does_not_say_how_it_resets_is_refused():
    envs = vector_env()
    envs.metadata = {}
    with pytest.raises(ValueError, match="must say how it resets its environments.*got None"):
        wrapped(envs)


def test_environments_that_render_nothing_are_refused():
    envs = SyncVectorEnv([lambda: BrighteningEnv(render_mode=None)])
    with pytest.raises(ValueError, match="render_mode='rgb_array'"):
        wrapped(envs)
    envs = vector_env()
    envs.render = lambda: None
    with pytest.raises(ValueError, match="must render 2 frames, got none"):
        wrapped(envs).reset()
