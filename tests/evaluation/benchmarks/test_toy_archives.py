"""A toy world in the layouts of CrossTask and HTM-Align, and a model that recognises its frames."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from narravid.evaluation.benchmarks.crosstask import CrossTask
from narravid.evaluation.benchmarks.htm_align import HtmAlign
from narravid.evaluation.session import EvaluationSession
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.narration import NarrationConfig
from narravid.synthetic.steps import StepSpace
from narravid.synthetic.world import ToyWorld, WorldConfig
from narravid.video.encode import write_video
from planned_videos import PlannedEncoder
from watched_doubles import DirectDecoder

TASKS = ("23521", "59684")


@pytest.fixture(scope="module")
def world() -> ToyWorld:
    config = WorldConfig(
        num_train_videos=0,
        num_test_repetitions=1,
        steps_per_video=4,
        space=StepSpace(colours=("red", "green"), shapes=("circle", "square"), motions=("left", "grow")),
        scene=SceneConfig(width=64, height=48, fps=4.0, min_step_seconds=2.0, max_step_seconds=3.0),
        narration=NarrationConfig(alignable_share=0.6, timing_std_seconds=1.0),
    )
    return ToyWorld(config, seed=3)


class FrameKnower(PlannedEncoder):
    """Knows every frame of a world, and so which video and second it is shown."""

    def __init__(self, world: ToyWorld, beliefs) -> None:
        super().__init__(beliefs)
        self._frames, self._places = [], []
        for number, video in enumerate(world.videos):
            for index, frame in enumerate(world.frames(video)):
                self._frames.append(frame[:, 8:56].reshape(-1)[::7].astype(np.float32))
                self._places.append((number, index / world.config.scene.fps))

    def place_of(self, frame: np.ndarray) -> tuple[int, float]:
        given = frame.reshape(-1)[::7].astype(np.float32)
        distances = [np.abs(known - given).mean() for known in self._frames]
        return self._places[int(np.argmin(distances))]


def write_videos(world: ToyWorld, paths: list[Path]) -> None:
    for video, path in zip(world.videos, paths, strict=True):
        write_video(path, world.frames(video), fps=world.config.scene.fps, crf=10)


def session_of(model) -> EvaluationSession:
    return EvaluationSession(model, decoder=DirectDecoder(), max_bad_share=1.0)


def test_steps_of_a_toy_world_as_crosstask(world, tmp_path):
    assert len(world.videos) == len(TASKS)
    places = [
        tmp_path / task / f"{video.video_id}.mp4" for task, video in zip(TASKS, world.videos, strict=True)
    ]
    write_videos(world, places)
    release = tmp_path / "crosstask_release"
    (release / "annotations").mkdir(parents=True)
    blocks, listed, truth = [], [], {}
    for number, (task, video) in enumerate(zip(TASKS, world.videos, strict=True)):
        texts = [timed.step.sentence for timed in video.steps]
        blocks.append(f"{task}\nShow {video.video_id}\nhttp://wiki\n{len(texts)}\n{','.join(texts)}\n\n")
        listed.append(f"{task},{video.video_id},http://tube\n")
        truth[number] = [(timed.step.sentence, timed.span) for timed in video.steps]
        lines = (
            f"{step},{timed.span.start_seconds},{timed.span.end_seconds}\n"
            for step, timed in enumerate(video.steps, 1)
        )
        (release / "annotations" / f"{task}_{video.video_id}.csv").write_text("".join(lines))
    (release / "tasks_primary.txt").write_text("".join(blocks))
    (release / "tasks_related.txt").write_text("1\nBoil Eggs\nhttp://wiki\n1\nboil\n\n")
    for name in ("videos.csv", "videos_val.csv"):
        (release / name).write_text("".join(listed))
    result = CrossTask(videos=tmp_path).run(session_of(FrameKnower(world, truth)))
    assert [measure.value for measure in result.measures] == [1.0, 1.0]
    assert result.coverage.share == 1.0


def test_narration_of_a_toy_world_as_htm_align(world, tmp_path):
    write_videos(world, [tmp_path / f"{video.video_id}.mp4" for video in world.videos])
    document, truth = {}, {}
    for number, video in enumerate(world.videos):
        document[video.video_id] = []
        truth[number] = []
        for caption in video.captions:
            shown = caption.step_index is not None
            span = video.steps[caption.step_index].span if shown else caption.span
            text = f"{caption.text} ({number})"
            document[video.video_id].append([int(shown), span.start_seconds, span.end_seconds, text])
            truth[number] += [(text, span)] * shown
    (tmp_path / "htm_align.json").write_text(json.dumps(document))
    assert {int(shown) for sentences in document.values() for shown, *_ in sentences} == {0, 1}
    benchmark = HtmAlign(videos=tmp_path, window_seconds=8, step_seconds=2)
    result = benchmark.run(session_of(FrameKnower(world, truth)))
    values = {measure.name: measure.value for measure in result.measures}
    assert values["R@1 global"] == values["ROC-AUC global"] == 1.0
    assert values["R@1 windows"] > 0.5  # a window of 8 s leaves sentences out that are said far from it
