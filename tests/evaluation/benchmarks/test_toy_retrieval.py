"""A toy world in the layouts of MSR-VTT, YouCook2 and LSMDC, and models that see some of what happens."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.evaluation.benchmarks.lsmdc import Lsmdc
from narravid.evaluation.benchmarks.msrvtt import Msrvtt
from narravid.evaluation.benchmarks.youcook2 import Youcook2
from narravid.evaluation.session import EvaluationSession
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.steps import Step, StepSpace
from narravid.synthetic.world import ToyWorld, WorldConfig
from narravid.types import ClipSpec
from narravid.video.encode import write_video
from watched_doubles import DirectDecoder

FPS = 4.0


@pytest.fixture(scope="module")
def world() -> ToyWorld:
    """Eight steps, all that two colours, shapes and motions make, in two videos."""
    config = WorldConfig(
        num_train_videos=0,
        num_test_repetitions=1,
        steps_per_video=4,
        space=StepSpace(colours=("red", "green"), shapes=("circle", "square"), motions=("left", "grow")),
        scene=SceneConfig(width=64, height=48, fps=FPS, min_step_seconds=2.0, max_step_seconds=3.0),
    )
    return ToyWorld(config, seed=3)


class AttributeSeer:
    """Knows every frame of a world, and of the step that is shown some attributes only."""

    similarity = "dot"
    device = torch.device("cpu")
    clip_spec = ClipSpec(num_frames=3, fps=FPS, size_pixels=48, frame_rule="shown_at")
    config = None

    def __init__(self, world: ToyWorld, *attributes: str) -> None:
        self._attributes = attributes
        self.weights_hash = "sees " + " ".join(attributes)
        self._frames, self._steps = [], []
        for video in world.videos:
            for index, frame in enumerate(world.frames(video)):
                shown = [
                    t.step for t in video.steps if t.span.start_seconds <= index / FPS < t.span.end_seconds
                ]
                self._frames.append(frame[:, 8:56].reshape(-1)[::7].astype(np.float32))
                self._steps.append(shown[0] if shown else None)
        self._by_sentence = {step.sentence: step for step in self._steps if step is not None}
        self._kinds = sorted({self._kind(step) for step in self._by_sentence.values()})
        self.embed_dim = self.feature_dim = len(self._kinds)

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return torch.stack([self._encode(clip[:, 1].permute(1, 2, 0).numpy()) for clip in clips])

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return self.encode_video(clips)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        return torch.stack([self._vector(self._by_sentence[text]) for text in sentences])

    def _encode(self, frame: np.ndarray) -> torch.Tensor:
        given = frame.reshape(-1)[::7].astype(np.float32)
        return self._vector(
            self._steps[int(np.argmin([np.abs(known - given).mean() for known in self._frames]))]
        )

    def _vector(self, step: Step | None) -> torch.Tensor:
        vector = torch.zeros(len(self._kinds))
        if step is not None:
            vector[self._kinds.index(self._kind(step))] = 1
        return vector

    def _kind(self, step: Step) -> tuple[str, ...]:
        return tuple(str(getattr(step, attribute)) for attribute in self._attributes)


def write_steps(world: ToyWorld, folder: Path, name: str) -> list[tuple[str, str]]:
    """Each step as a file of its own; returns the file's stem and the sentence."""
    written = []
    for video in world.videos:
        frames = list(world.frames(video))
        for timed in video.steps:
            first, last = (math.ceil(FPS * t) for t in (timed.span.start_seconds, timed.span.end_seconds))
            stem = name.format(len(written))
            write_video(folder / f"{stem}.mp4", frames[first:last], fps=FPS, crf=10)
            written.append((stem, timed.step.sentence))
    return written


def as_msrvtt(world: ToyWorld, folder: Path) -> Msrvtt:
    steps = write_steps(world, folder / "all", "video{}")
    rows = [f"ret{n},msr{n},{stem},{text}" for n, (stem, text) in enumerate(steps)]
    (folder / "msrvtt_test.csv").write_text("\n".join(["key,vid_key,video_id,sentence", *rows, ""]))
    return Msrvtt(videos=folder)


def as_youcook2(world: ToyWorld, folder: Path) -> Youcook2:
    rows = ["end,start,task,text,video_id"]
    for video in world.videos:
        path = folder / "validation" / "101" / f"{video.video_id}.mp4"
        write_video(path, world.frames(video), fps=FPS, crf=10)
        rows += [
            f"{timed.span.end_seconds},{timed.span.start_seconds},101,{timed.step.sentence},{video.video_id}"
            for timed in video.steps
        ]
    (folder / "validation_youcook.csv").write_text("\n".join([*rows, ""]))
    return Youcook2(videos=folder)


def as_lsmdc(world: ToyWorld, folder: Path) -> Lsmdc:
    steps = write_steps(world, folder / "1_Film", "1_Film_00.00.0{0}.000-00.00.0{0}.900")
    times = "00.00.00.000\t00.00.03.000"
    rows = [f"{stem}\t{times}\t{times}\t{text}" for stem, text in steps]
    (folder / "LSMDC16_challenge_1000_publictect.csv").write_text("\n".join([*rows, ""]))
    return Lsmdc(videos=folder)


@pytest.mark.parametrize("layout", [as_msrvtt, as_youcook2, as_lsmdc], ids=lambda layout: layout.__name__)
def test_a_model_scores_by_what_it_sees(world, layout, tmp_path):
    benchmark = layout(world, tmp_path)
    # Of eight steps, all are told apart, two look the same, four look the same.
    for attributes, alike in ((("colour", "shape", "motion"), 1), (("colour", "motion"), 2), (("shape",), 4)):
        session = EvaluationSession(AttributeSeer(world, *attributes), decoder=DirectDecoder())
        result = benchmark.run(session)
        found = {measure.name: measure.value for measure in result.measures}
        assert found["R@1"] == pytest.approx(1 / alike)
        assert found["MedR"] == found["MeanR"] == pytest.approx((1 + alike) / 2)
        assert result.further["video to text"][0].value == pytest.approx(1 / alike)
        assert result.coverage.share == 1
        assert result.card["gallery_size"] == 8
