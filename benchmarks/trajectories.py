"""Whether the scores of videos find the right sentence: `python benchmarks/trajectories.py --output FOLDER`.

A small S3D learns from the narration of a toy world in some minutes of one core, as examples/text_reward.py
does. Then a world of another seed, which has other videos and other backgrounds, is written as mp4 files of
one step each, which are scored as `narravid score` does: whole videos, frames spread evenly, cosines. Each
video has 20 prompts: the canonical sentence of its step and 19 of other steps, drawn by the seed. Counted is
how often its own comes first, and among the first three; a tie counts against it. Intervals are 95 %
bootstrap intervals over the videos, and minutes are those of the processor, the time of all cores together.
`--model` takes a trained model in place of training, `--write` fills in the table of docs/trajectories.md.
"""

from __future__ import annotations

import argparse
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from narravid.files import write_json
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.trajectory_lists import ListedPrompt, read_trajectories
from narravid.inference.trajectory_scores import score_trajectories
from narravid.metrics.bootstrap import Outcomes, bootstrap_interval
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.protocols import PixelDualEncoder
from narravid.recipes.toy_motions import motion_world, train_motion_model
from narravid.synthetic.files import write_world
from narravid.synthetic.steps import Step
from narravid.synthetic.world import ToyWorld, WorldConfig
from narravid.video.watched import WatchedDecoder
from tables import fill_in

PAGE = Path(__file__).resolve().parent.parent / "docs" / "trajectories.md"
NUM_PROMPTS = 20
NUM_STEPS = 600
TEST_SEED = 1000
"""Of the world whose clips are scored, and of the prompts drawn for them; training has seeds below it."""


@dataclass(frozen=True)
class Findings:
    """What was measured.

    Attributes:
        ranks: (V,) places of the right prompts, from 1.
        minutes: Minutes of processor time by part.
    """

    ranks: npt.NDArray[np.int64]
    minutes: Mapping[str, float]


def main() -> None:
    """Train, score, print a table."""
    options = parse()
    output: Path = options.output
    torch.set_num_threads(1)  # more do not help a network so small
    minutes: dict[str, float] = {}
    before = processor_minutes()
    folder = options.model or train_motion_model(output, num_steps=options.steps, seed=options.seed)
    if options.model is None:
        minutes["drawing the world and training"] = processor_minutes() - before
    before = processor_minutes()
    ranks = measure(load_pixel_dual_encoder(folder), output / "clips", repetitions=options.repetitions)
    minutes["writing, reading and scoring the clips"] = processor_minutes() - before
    findings = Findings(ranks, minutes)
    write_json(output / "trajectories.json", {"ranks": ranks.tolist(), "processor_minutes": minutes})
    lines = table(findings)
    print(lines)
    if options.write:
        fill_in(PAGE, lines, script="trajectories.py")


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--output", type=Path, required=True, help="folder for worlds, run and ranks; a new one"
    )
    parser.add_argument("--model", type=Path, help="a trained model; none is trained then")
    parser.add_argument("--steps", type=int, default=NUM_STEPS, help="training steps")
    parser.add_argument("--seed", type=int, default=0, help=f"of training and its world, below {TEST_SEED}")
    parser.add_argument("--repetitions", type=int, default=4, help="clips of each step")
    parser.add_argument("--write", action="store_true", help=f"fill in the table of {PAGE.name}")
    options = parser.parse_args()
    if not 0 <= options.seed < TEST_SEED:
        parser.error(f"--seed must be 0 to {TEST_SEED - 1}, so that the clips are of another world")
    return options


def measure(model: PixelDualEncoder, folder: Path, *, repetitions: int) -> npt.NDArray[np.int64]:
    """The places, from 1, of the right prompts among those drawn for each single-step clip."""
    world = ToyWorld(single_steps(repetitions), seed=TEST_SEED)
    write_world(world, folder)
    with WatchedDecoder() as decoder:
        scores = score_trajectories(
            read_trajectories([str(folder / "test")]),
            [ListedPrompt(step.sentence) for step in world.steps],
            encoder=ClipEncoder(model),
            decoder=decoder,
        )
    if scores.bad:
        raise SystemExit(f"clips of the toy world cannot be read: {scores.bad.summary()}")
    own = steps_shown(world, [scored.listed.path for scored in scores.trajectories])
    return ranks_among_drawn(scores.similarity, own, world.steps, seed=TEST_SEED)


def steps_shown(world: ToyWorld, paths: Sequence[str]) -> list[Step]:
    """The step that each file of a world of single steps shows."""
    happens = {video.video_id: video.steps[0].step for video in world.videos}
    return [happens[Path(path).stem] for path in paths]


def single_steps(repetitions: int) -> WorldConfig:
    """The world that the model learns from, with one step and no pause in each video."""
    motions = motion_world()
    return replace(
        motions,
        num_train_videos=0,
        num_test_repetitions=repetitions,
        steps_per_video=1,
        scene=replace(motions.scene, max_pause_seconds=0.0),
    )


def ranks_among_drawn(
    similarity: npt.NDArray[np.float32], own: list[Step], steps: tuple[Step, ...], *, seed: int
) -> npt.NDArray[np.int64]:
    """Where each row's own step stands among it and 19 others, drawn row by row."""
    generator = np.random.default_rng(seed)
    ranks = []
    for scores, step in zip(similarity, own, strict=True):
        right = steps.index(step)
        others = generator.choice(np.delete(np.arange(len(steps)), right), NUM_PROMPTS - 1, replace=False)
        ranks.append(1 + int((scores[others] >= scores[right]).sum()))
    return np.array(ranks)


def table(findings: Findings) -> str:
    """Shares with intervals and chance, and minutes, as Markdown."""
    units = tuple(f"clip {number}" for number in range(len(findings.ranks)))
    lines = [
        f"| the right one of {NUM_PROMPTS} prompts is | of {len(units)} clips | 95 % interval | chance |",
        "| --- | --- | --- | --- |",
    ]
    for last, name in ((1, "first"), (3, "among the first three")):
        hits = (findings.ranks <= last).astype(np.float64)
        low, high = bootstrap_interval(Outcomes("mean", hits, units))
        lines.append(
            f"| {name} | {100 * hits.mean():.1f} % | {100 * low:.1f} to {100 * high:.1f} % "
            f"| {100 * last / NUM_PROMPTS:.0f} % |"
        )
    spent = ", ".join(f"{part} {minutes:.1f}" for part, minutes in findings.minutes.items())
    return "\n".join([*lines, "", f"Minutes of processor time: {spent}."])


def processor_minutes() -> float:
    """Processor time of this process and of children that have ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (time.process_time() + children.ru_utime + children.ru_stime) / 60


if __name__ == "__main__":
    main()
