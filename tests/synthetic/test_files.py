"""Toy worlds on disk."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from narravid.files import read_json
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.files import load_world, true_transcript, video_path, write_world
from narravid.synthetic.world import ToyWorld, preset
from narravid.text.transcripts import read_transcript

TINY = replace(
    preset("demo"),
    num_train_videos=2,
    num_test_repetitions=0,
    steps_per_video=3,
    scene=SceneConfig(width=64, height=48),
)


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    write_world(ToyWorld(TINY, seed=7), folder)
    return folder


def test_same_seed_writes_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    write_world(ToyWorld(TINY, seed=7), tmp_path)
    assert digests(tmp_path) == digests(folder)
    assert {Path(name).suffix for name in digests(folder)} == {".json", ".mp4", ".vtt"}


def test_transcripts_read_back_as_they_were_told(folder: Path) -> None:
    for video in ToyWorld(TINY, seed=7).videos:
        track = read_transcript(video_path(folder, video).with_suffix(".vtt"))
        assert [caption.text for caption in track.captions] == [c.text for c in video.captions]
        for read, told in zip(track.captions, video.captions, strict=True):
            assert read.span.start_seconds == pytest.approx(told.span.start_seconds, abs=1e-3)
            assert read.span.end_seconds == pytest.approx(told.span.end_seconds, abs=1e-3)


def test_true_transcripts_lie_on_their_steps(folder: Path) -> None:
    for video in ToyWorld(TINY, seed=7).videos:
        path = folder / "true_transcripts" / video.split / f"{video.video_id}.vtt"
        track = read_transcript(path)
        assert [caption.text for caption in track.captions] == [text for text, _ in true_transcript(video)]
        spans = {timed.span for timed in video.steps}
        assert all(caption.span in spans for caption in track.captions)


def test_truth_names_every_step_and_caption(folder: Path) -> None:
    truth = read_json(folder / "truth.json")
    world = load_world(folder)
    assert [video["video_id"] for video in truth["videos"]] == [video.video_id for video in world.videos]
    for written, video in zip(truth["videos"], world.videos, strict=True):
        assert (folder / written["path"]).exists()
        assert [step["sentence"] for step in written["steps"]] == [t.step.sentence for t in video.steps]
        assert len(written["captions"]) == len(video.captions)


def test_an_interrupted_world_is_completed_and_another_is_refused(folder: Path, tmp_path: Path) -> None:
    world = ToyWorld(TINY, seed=7)
    write_world(world, tmp_path)
    (tmp_path / "truth.json").unlink()
    video_path(tmp_path, world.videos[1]).unlink()
    kept = video_path(tmp_path, world.videos[0]).stat().st_mtime_ns
    write_world(world, tmp_path)
    assert video_path(tmp_path, world.videos[0]).stat().st_mtime_ns == kept
    assert digests(tmp_path) == digests(folder)
    with pytest.raises(ValueError, match="another toy world"):
        write_world(ToyWorld(TINY, seed=8), tmp_path)


def test_a_folder_without_a_world_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"truth\.json is missing"):
        load_world(tmp_path)
