"""Scores of whole videos against prompts."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from inference_doubles import LinearDualEncoder
from models.small_models import small_model
from models.small_viclip import small_viclip
from narravid.errors import ConfigError, NarravidError
from narravid.files import write_json
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.rewards import baseline_directions, goal_baseline_rewards, projected_rewards
from narravid.inference.trajectory_lists import ListedPrompt, ListedTrajectory
from narravid.inference.trajectory_scores import Baseline, TrajectorySampling, score_trajectories
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder

Colour = tuple[int, int, int]
FADES: dict[str, list[Colour]] = {
    "red": [(250 - 3 * number, 10, 20 + number) for number in range(31)],
    "green": [(10, 90 + 5 * number, 60) for number in range(12)],
    "blue": [(5 * number, 20, 200) for number in range(3)],
}
PROMPTS = [ListedPrompt("it turns red"), ListedPrompt("it turns green"), ListedPrompt("nothing happens")]


def write_colours(path: Path, colours: Sequence[Colour], *, size: tuple[int, int] = (24, 32)) -> Path:
    """Frames of one colour each, without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=Fraction(25))
        stream.height, stream.width = size
        stream.pix_fmt = "bgr0"
        for colour in colours:
            picture = np.broadcast_to(np.uint8(colour), (*size, 3))
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[ListedTrajectory]:
    folder = tmp_path_factory.mktemp("fades")
    paths = [write_colours(folder / f"{name}.mkv", colours) for name, colours in FADES.items()]
    return [ListedTrajectory(str(path), path.stem) for path in paths]


@pytest.fixture(scope="module")
def decoder() -> Iterator[WatchedDecoder]:
    with WatchedDecoder(2) as decoder:
        yield decoder


def mean_colours(name: str, numbers: Sequence[int]) -> np.ndarray:
    """What `LinearDualEncoder` sees of a fade: (3 · T,) in [0, 1], channel by channel."""
    return np.array(FADES[name], dtype=float)[list(numbers)].T.flatten() / 255


def cosines(model: LinearDualEncoder, rows: list[np.ndarray]) -> np.ndarray:
    vectors = np.stack(rows) @ model.weight.detach().numpy().astype(float)
    goals = model.encode_text([prompt.text for prompt in PROMPTS]).numpy().astype(float)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)) @ (
        goals / np.linalg.norm(goals, axis=1, keepdims=True)
    ).T


@pytest.mark.parametrize("similarity", ["dot", "cosine"])
def test_scores_are_cosines_of_what_the_model_makes_of_the_frames(similarity, videos, decoder):
    model = LinearDualEncoder(similarity=similarity)
    scores = score_trajectories(videos, PROMPTS, ClipEncoder(model), decoder=decoder)
    taken = {"red": (0, 10, 20, 30), "green": (0, 4, 7, 11), "blue": (0, 1, 1, 2)}
    expected = cosines(model, [mean_colours(name, numbers) for name, numbers in taken.items()])
    assert scores.similarity.dtype == scores.scores.dtype == np.float32
    assert scores.similarity == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(scores.scores, scores.similarity)
    assert [item.listed for item in scores.trajectories] == videos
    assert [item.frame_numbers for item in scores.trajectories] == list(taken.values())
    assert [item.num_video_frames for item in scores.trajectories] == [31, 12, 3]
    assert [item.num_repeated for item in scores.trajectories] == [0, 0, 1]
    assert scores.trajectories[1].times_seconds == pytest.approx([0.0, 0.16, 0.28, 0.44])
    assert scores.prompts == tuple(PROMPTS)
    assert len(scores.bad) == 0
    assert not scores.has_groups


def test_other_frames_and_another_number_of_them(videos, decoder):
    model = LinearDualEncoder(clip_spec=ClipSpec(num_frames=6, fps=4.0, size_pixels=8))
    sampling = TrajectorySampling(num_frames=6, frames="published")
    scores = score_trajectories(videos[:2], PROMPTS, ClipEncoder(model), decoder=decoder, sampling=sampling)
    taken = {"red": (0, 5, 10, 15, 20, 25), "green": (0, 2, 4, 6, 8, 10)}
    assert [item.frame_numbers for item in scores.trajectories] == list(taken.values())
    expected = cosines(model, [mean_colours(name, numbers) for name, numbers in taken.items()])
    assert scores.similarity == pytest.approx(expected, abs=1e-5)


def test_batches_and_workers_do_not_matter(videos, decoder):
    encoder = ClipEncoder(small_model())
    prompts = [ListedPrompt("add oil"), ListedPrompt("stir pan")]
    many = [*videos, *videos, *videos]
    together = score_trajectories(many, prompts, encoder, decoder=decoder, batch_size=4).similarity
    with WatchedDecoder(1) as alone:
        one_by_one = score_trajectories(many, prompts, encoder, decoder=alone, batch_size=1).similarity
    assert together == pytest.approx(one_by_one, abs=1e-5)
    assert together[:3] == pytest.approx(together[3:6], abs=1e-5)


@pytest.mark.parametrize("form", ["projected", "original"])
def test_a_baseline_regularises_the_scores_and_leaves_the_cosines(form, videos, decoder):
    model = LinearDualEncoder()
    encoder = ClipEncoder(model)
    plain = score_trajectories(videos, PROMPTS, encoder, decoder=decoder)
    baseline = Baseline("a plain picture", alpha=0.3, form=form)
    scores = score_trajectories(videos, PROMPTS, encoder, decoder=decoder, baseline=baseline)
    assert np.array_equal(scores.similarity, plain.similarity)
    taken = {"red": (0, 10, 20, 30), "green": (0, 4, 7, 11), "blue": (0, 1, 1, 2)}
    rows = torch.from_numpy(
        np.stack([mean_colours(name, numbers) for name, numbers in taken.items()])
    ).float()
    goals = model.encode_text([prompt.text for prompt in PROMPTS])
    directions = baseline_directions(goals, model.encode_text(["a plain picture"]))
    reward = projected_rewards if form == "projected" else goal_baseline_rewards
    expected = reward(rows @ model.weight, goals, directions, alpha=0.3)
    assert scores.scores == pytest.approx(expected.numpy(), abs=1e-5)
    assert scores.card["baseline"] == {"prompt": "a plain picture", "alpha": 0.3, "form": form}
    unmoved = score_trajectories(
        videos, PROMPTS, encoder, decoder=decoder, baseline=Baseline("a plain picture", alpha=0.0, form=form)
    )
    assert unmoved.scores == pytest.approx(plain.similarity, abs=1e-5)


def test_groups_of_the_scores(videos, decoder):
    grouped = [
        replace(video, group=group) for video, group in zip(videos, ("warm", None, "warm"), strict=True)
    ]
    prompts = [
        ListedPrompt(prompt.text, "changes" if "turns" in prompt.text else "rests") for prompt in PROMPTS
    ]
    scores = score_trajectories(grouped, prompts, ClipEncoder(LinearDualEncoder()), decoder=decoder)
    assert scores.has_groups
    table = scores.groups()
    assert table.trajectory_groups == ("warm", "green")
    assert table.prompt_groups == ("changes", "rests")
    assert table.num_pairs.tolist() == [[4, 2], [2, 1]]
    assert table.mean[0, 0] == pytest.approx(scores.scores[[0, 2]][:, :2].mean(), abs=1e-6)
    assert table.std[0, 1] == pytest.approx(scores.scores[[0, 2], 2].std(), abs=1e-6)
    assert scores.groups(deviation="sample").std[1, 1] == 0
    assert scores.groups(normalise=True).mean.sum() != pytest.approx(table.mean.sum())


def test_a_video_named_like_a_group_is_not_counted_in_it(videos, decoder):
    grouped = [
        ListedTrajectory(videos[0].path, "1", "door"),
        ListedTrajectory(videos[1].path, "2", "door"),
        ListedTrajectory(videos[2].path, "door"),
    ]
    scores = score_trajectories(grouped, PROMPTS[:1], ClipEncoder(LinearDualEncoder()), decoder=decoder)
    table = scores.groups()
    assert table.trajectory_groups == ("door", "door (alone)")
    assert table.num_pairs.tolist() == [[2], [1]]
    assert table.mean[1, 0] == pytest.approx(scores.scores[2, 0], abs=1e-6)


def test_videos_of_two_sizes_in_turn_fill_the_batches(decoder, tmp_path, monkeypatch):
    listed = []
    for number in range(4):
        size = ((24, 32), (32, 24))[number % 2]
        path = write_colours(tmp_path / f"{number}.mkv", [(40 * number + 20, 90, 200)] * 4, size=size)
        listed.append(ListedTrajectory(str(path), str(number)))
    encoder = ClipEncoder(LinearDualEncoder())
    sizes: list[int] = []
    encode = encoder.encode
    monkeypatch.setattr(encoder, "encode", lambda clips: sizes.append(len(clips)) or encode(clips))
    sampling = TrajectorySampling(resize="published_half")
    scores = score_trajectories(listed, PROMPTS, encoder, decoder=decoder, sampling=sampling, batch_size=2)
    assert sizes == [2, 2]
    assert [item.listed for item in scores.trajectories] == listed
    for row, video in enumerate(listed):
        alone = score_trajectories([video], PROMPTS, encoder, decoder=decoder, sampling=sampling)
        assert scores.similarity[row] == pytest.approx(alone.similarity[0], abs=1e-5)


def test_the_card_says_what_scores_depend_on(videos, decoder, tmp_path):
    model = small_model()
    prompts = [ListedPrompt("add oil now")]
    sampling = TrajectorySampling(num_frames=2, resize="published_half")
    scores = score_trajectories(videos, prompts, ClipEncoder(model), decoder=decoder, sampling=sampling)
    assert scores.card == {
        "model_class": "S3DDualEncoder",
        "weights_hash": model.weights_hash,
        "num_frames": 2,
        "frames": "even",
        "resize": "published_half",
        "size_pixels": None,
        "similarity": "cosine",
        "baseline": None,
        "dtype": "float32",
        "backend": "torch",
        "unknown_words": {"add oil now": ["now"]},
    }
    write_json(tmp_path / "card.json", scores.card)


def test_strips_show_each_frame_once(videos, decoder):
    scores = score_trajectories(videos, PROMPTS, ClipEncoder(LinearDualEncoder()), decoder=decoder)
    strips = [Image.open(io.BytesIO(item.strip)) for item in scores.trajectories]
    assert [strip.size for strip in strips] == [(4 * 128 + 6, 96), (4 * 128 + 6, 96), (3 * 128 + 4, 96)]
    assert np.abs(np.array(strips[2])[48, 64].astype(int) - FADES["blue"][0]).max() < 10
    assert np.abs(np.array(strips[2])[48, -64].astype(int) - FADES["blue"][2]).max() < 10


# ---------------------------------------------------------------- what cannot be used


def test_videos_that_cannot_be_read_are_left_out_and_named(videos, decoder, tmp_path):
    (tmp_path / "torn.mp4").write_text("not a video")
    torn = ListedTrajectory(str(tmp_path / "torn.mp4"), "torn")
    many = [videos[0], torn, videos[1]]
    scores = score_trajectories(many, PROMPTS, ClipEncoder(LinearDualEncoder()), decoder=decoder)
    assert [item.listed.name for item in scores.trajectories] == ["red", "green"]
    assert scores.similarity.shape == (2, 3)
    assert list(scores.bad.reasons) == [torn.path]
    assert "cannot be opened as a video" in scores.bad.reasons[torn.path]


def test_videos_too_short_for_the_published_rule_are_left_out(videos, decoder):
    sampling = TrajectorySampling(frames="published")
    scores = score_trajectories(
        videos, PROMPTS, ClipEncoder(LinearDualEncoder()), decoder=decoder, sampling=sampling
    )
    assert [item.listed.name for item in scores.trajectories] == ["red", "green"]
    assert "has 3 frames" in scores.bad.reasons[videos[2].path]


def test_sizes_that_cannot_be_halved_are_left_out(videos, decoder, tmp_path):
    odd = write_colours(tmp_path / "odd.mkv", FADES["red"], size=(24, 30))
    sampling = TrajectorySampling(resize="published_half")
    scores = score_trajectories(
        [ListedTrajectory(str(odd), "odd"), videos[0]],
        PROMPTS,
        ClipEncoder(LinearDualEncoder()),
        decoder=decoder,
        sampling=sampling,
    )
    assert [item.listed.name for item in scores.trajectories] == ["red"]
    assert "multiples of 4" in scores.bad.reasons[str(odd)]


def test_nothing_but_bad_videos_is_an_error(decoder, tmp_path):
    (tmp_path / "torn.mp4").write_text("not a video")
    torn = [ListedTrajectory(str(tmp_path / "torn.mp4"), "torn")]
    with pytest.raises(NarravidError, match="the video could not be used: .*cannot be opened as a video"):
        score_trajectories(torn, PROMPTS, ClipEncoder(LinearDualEncoder()), decoder=decoder)


def test_sentences_are_looked_at_before_any_video(decoder):
    gone = [ListedTrajectory("gone.mp4", "gone")]
    encoder = ClipEncoder(small_model())
    with pytest.raises(ConfigError, match="none of the words of 'xylophone'"):
        score_trajectories(gone, [ListedPrompt("xylophone")], encoder, decoder=decoder)
    with pytest.raises(ConfigError, match="none of the words of 'xylophone'"):
        score_trajectories(
            gone, [ListedPrompt("add oil")], encoder, decoder=decoder, baseline=Baseline("xylophone")
        )
    with pytest.raises(ConfigError, match="the baseline says the same as the prompt 'add oil'; word them"):
        score_trajectories(
            gone, [ListedPrompt("add oil")], encoder, decoder=decoder, baseline=Baseline("add the oil")
        )


def test_clips_that_the_model_does_not_take_are_explained(videos, decoder):
    encoder = ClipEncoder(small_viclip())
    sampling = TrajectorySampling(num_frames=3)
    with pytest.raises(
        ConfigError, match=r"does not take clips of 3 x \d+ x \d+ .* another number of frames"
    ):
        score_trajectories(videos, [ListedPrompt("a cat")], encoder, decoder=decoder, sampling=sampling)


def test_wrong_arguments_are_refused(videos, decoder):
    encoder = ClipEncoder(LinearDualEncoder())
    with pytest.raises(ValueError, match="nothing to score: 0 trajectories, 3 prompts and batches of 4"):
        score_trajectories([], PROMPTS, encoder, decoder=decoder)
    with pytest.raises(ValueError, match="nothing to score: 3 trajectories, 3 prompts and batches of 0"):
        score_trajectories(videos, PROMPTS, encoder, decoder=decoder, batch_size=0)
    feature = ClipEncoder(LinearDualEncoder(), output="feature")
    with pytest.raises(ValueError, match="a LinearDualEncoder compares no clips with sentences"):
        score_trajectories(videos, PROMPTS, feature, decoder=decoder)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"prompt": " "}, "the baseline is empty"),
        ({"alpha": 1.5}, r"alpha must be in \[0, 1\], got 1.5"),
        ({"alpha": float("nan")}, r"alpha must be in \[0, 1\], got nan"),
        ({"form": "distance"}, "form must be 'projected' or 'original', got 'distance'"),
    ],
)
def test_baselines_that_cannot_be_are_refused(settings: dict[str, object], message: str):
    with pytest.raises(ConfigError, match=message):
        Baseline(**{"prompt": "a room"} | settings)
