"""Writing a toy world to disk: videos, transcripts as heard, true transcripts, and the truth itself.

WORLD/train/train0000.mp4 and .vtt     to learn from
WORLD/test/test0000.mp4 and .vtt       held out
WORLD/true_transcripts/train/*.vtt     only the sentences that tell a step, at the time it happens
WORLD/plan.json                        configuration and seed, written first
WORLD/truth.json                       every step and caption of every video, written last
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import joblib

from narravid.config import from_dict, to_dict
from narravid.files import read_json, write_json, write_text
from narravid.progress import progress_bar
from narravid.synthetic.world import ToyVideo, ToyWorld, WorldConfig
from narravid.types import Span
from narravid.video.encode import write_video

__all__ = [
    "TRUTH_FILE",
    "load_world",
    "refuse_another_world",
    "true_transcript",
    "video_path",
    "write_world",
]

TRUTH_FILE = "truth.json"
PLAN_FILE = "plan.json"
FORMAT_VERSION = 1


def video_path(folder: Path, video: ToyVideo) -> Path:
    """Where a video of a world lies."""
    return folder / video.split / f"{video.video_id}.mp4"


def true_transcript(video: ToyVideo) -> list[tuple[str, Span]]:
    """The sentences that tell a step of the video, each at the time of its step, by start."""
    told = [
        (caption.text, video.steps[caption.step_index].span)
        for caption in video.captions
        if caption.step_index is not None
    ]
    return sorted(told, key=lambda sentence: sentence[1].start_seconds)


def write_world(world: ToyWorld, folder: Path, *, num_workers: int = 1) -> None:
    """Write all files of a world; the same world gives the same bytes.

    A folder that already holds this very world is left as it is; videos of an interrupted run are kept.

    Args:
        world: What to write.
        folder: Where; made when missing.
        num_workers: Processes that draw and encode.

    Raises:
        ValueError: If the folder holds another world.
    """
    refuse_another_world(folder, world.config, seed=world.seed)
    plan = _plan(world.config, world.seed)
    truth_path = folder / TRUTH_FILE
    plan_path = folder / PLAN_FILE
    if truth_path.exists():
        return
    write_json(plan_path, plan)
    for video in world.videos:
        heard = [(caption.text, caption.span) for caption in video.captions]
        _write_webvtt(video_path(folder, video).with_suffix(".vtt"), heard)
        true_path = folder / "true_transcripts" / video.split / f"{video.video_id}.vtt"
        _write_webvtt(true_path, true_transcript(video))
    missing = [number for number, video in enumerate(world.videos) if not video_path(folder, video).exists()]
    jobs = (joblib.delayed(_write_one)(world.config, world.seed, number, str(folder)) for number in missing)
    parallel = joblib.Parallel(n_jobs=num_workers, return_as="generator_unordered", batch_size=4)
    with progress_bar("drawing the toy world", len(missing), unit="videos") as bar:
        for _ in parallel(jobs):
            bar.advance()
    write_json(truth_path, {**plan, "videos": [_truth(video) for video in world.videos]})


def refuse_another_world(folder: Path, config: WorldConfig, *, seed: int) -> None:
    """Make sure that a folder does not hold a world of another configuration or seed.

    Raises:
        ValueError: If it does.
    """
    plan_path = folder / PLAN_FILE
    if plan_path.exists() and read_json(plan_path) != _plan(config, seed):
        raise ValueError(f"{folder} holds another toy world (see {plan_path}); choose an empty folder")


def _plan(config: WorldConfig, seed: int) -> dict[str, Any]:
    return {"format_version": FORMAT_VERSION, "seed": seed, "config": to_dict(config)}


def load_world(folder: Path) -> ToyWorld:
    """The world whose files lie in a folder.

    Args:
        folder: As given to `write_world`.

    Returns:
        The same plans, made again from configuration and seed.

    Raises:
        FileNotFoundError: If there is no complete world.
        ConfigError: If the file was changed by hand and no longer describes a world.
    """
    path = folder / TRUTH_FILE
    if not path.exists():
        raise FileNotFoundError(f"{folder} holds no complete toy world: {path} is missing")
    truth = read_json(path)
    return ToyWorld(from_dict(WorldConfig, truth["config"], source=str(path)), seed=truth["seed"])


@lru_cache(maxsize=1)
def _planned_world(config: WorldConfig, seed: int) -> ToyWorld:
    """Planning a world costs more than drawing a short video, so a worker does it once."""
    return ToyWorld(config, seed=seed)


def _write_one(config: WorldConfig, seed: int, number: int, folder: str) -> None:
    world = _planned_world(config, seed)
    video = world.videos[number]
    path = video_path(Path(folder), video)
    write_video(path, world.frames(video), fps=config.scene.fps, crf=28, preset="ultrafast")


def _write_webvtt(path: Path, sentences: Sequence[tuple[str, Span]]) -> None:
    cues = [
        f"{_clock(span.start_seconds)} --> {_clock(span.end_seconds)}\n{text}\n" for text, span in sentences
    ]
    write_text(path, "\n".join(["WEBVTT\n", *cues]))


def _clock(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, milliseconds = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02d}:{minutes:02d}:{milliseconds // 1000:02d}.{milliseconds % 1000:03d}"


def _truth(video: ToyVideo) -> dict[str, Any]:
    return {
        "video_id": video.video_id,
        "path": f"{video.split}/{video.video_id}.mp4",
        "split": video.split,
        "duration_seconds": video.duration_seconds,
        "steps": [
            {
                "sentence": timed.step.sentence,
                "attributes": to_dict(timed.step),
                "start_seconds": timed.span.start_seconds,
                "end_seconds": timed.span.end_seconds,
            }
            for timed in video.steps
        ],
        "captions": [
            {
                "text": caption.text,
                "start_seconds": caption.span.start_seconds,
                "end_seconds": caption.span.end_seconds,
                "step_index": caption.step_index,
                "sentence_index": caption.sentence_index,
                "well_timed": caption.is_well_timed(video.steps),
            }
            for caption in video.captions
        ],
    }
