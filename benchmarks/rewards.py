"""How many frames a text reward scores per second: environments together, against one at a time.

    python benchmarks/rewards.py [--model MODEL] [--environments 1 8 32] [--rounds 5] [--write]

Environments of the toy world are stepped with drawn actions, and every step of each is scored by its last
frames (mode "dense"). One at a time each environment has a `TextRewardWrapper` of its own; together they are
one `SyncVectorEnv` with a `VectorTextRewardWrapper`, which scores all of them by one call. The two ways take
turns, each the first in every second round; figures are medians over the rounds, ratios those of each round.
Frames per second are frames that the network saw per second of scoring; steps per second count drawing the
environments and scaling their frames too. Without MODEL two networks with drawn weights are measured: that of
the demo (8 frames of 48 pixels) and the published S3D (32 of 224). `--write` puts the table into
docs/rewards.md.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from rich.console import Console

from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.latency_meter import LatencyMeter
from narravid.inference.reward_wrappers import TextRewardWrapper
from narravid.inference.text_reward import TextReward
from narravid.inference.vector_reward_wrapper import VectorTextRewardWrapper
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.protocols import PixelDualEncoder
from narravid.synthetic.toy_environment import ToyEnvironmentConfig, ToyWorldEnv
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec
from tables import fill_in

PAGE = Path(__file__).resolve().parent.parent / "docs" / "rewards.md"
PROMPT = "the red square moves to the left"
MAX_STEPS = ToyEnvironmentConfig().num_steps
HEADER = (
    "network",
    "environments",
    "frames/s, one at a time",
    "frames/s, together",
    "ratio",
    "steps/s, one at a time",
    "steps/s, together",
    "ratio",
)


@dataclass(frozen=True)
class Subject:
    """A network and how long it is measured.

    Attributes:
        title: Its name in the table.
        model: The network.
        batch_size: Clips in one forward pass, at most.
        num_steps: Steps of each environment in a round.
    """

    title: str
    model: PixelDualEncoder
    batch_size: int
    num_steps: int


@dataclass(frozen=True)
class Rates:
    """What one way reached in one round.

    Attributes:
        frames: Frames that the network saw, per second of scoring.
        steps: Steps of environments, per second of everything.
    """

    frames: float
    steps: float


def main() -> None:
    """Measure, print the table, and put it into the page if that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", help="a model folder, checkpoint or catalogue name")
    parser.add_argument("--environments", type=int, nargs="+", default=[1, 8, 32], help="how many")
    parser.add_argument("--rounds", type=int, default=5, help="times that each way is measured")
    parser.add_argument("--steps", type=steps, help=f"steps of each environment in a round, 1 to {MAX_STEPS}")
    parser.add_argument("--networks", nargs="+", choices=["demo", "s3d"], default=["demo", "s3d"])
    parser.add_argument("--device", default="cpu", help="where the network computes")
    parser.add_argument("--write", action="store_true", help="put the table into docs/rewards.md")
    options = parser.parse_args()
    console = Console()
    rows = []
    for subject in subjects(options.model, options.networks, options.steps, device=options.device):
        for num_environments in options.environments:
            rounds, latency = measure(subject, num_environments, num_rounds=options.rounds)
            rows.append(row(subject.title, num_environments, rounds))
            console.print(f"{subject.title}, {num_environments} together: {latency}")
    lines = ["| " + " | ".join(HEADER) + " |", "| --- |" + " ---: |" * (len(HEADER) - 1), *rows]
    console.print("\n".join(lines), soft_wrap=True)
    if options.write:
        fill_in(PAGE, "\n".join(lines), script=Path(__file__).name)


def steps(text: str) -> int:
    """A number of steps that one episode has: where environments are reset the two ways do different work."""
    number = int(text)
    if not 1 <= number <= MAX_STEPS:
        raise argparse.ArgumentTypeError(f"must be 1 to {MAX_STEPS}, the steps of an episode, got {number}")
    return number


def subjects(
    path: str | None, networks: Sequence[str], num_steps: int | None, *, device: str
) -> Iterator[Subject]:
    """The networks that are measured, one after the other."""
    if path is not None:
        yield Subject(
            path, on(load_pixel_dual_encoder(path), device), batch_size=32, num_steps=num_steps or 4
        )
        return
    if "demo" in networks:
        video = S3DConfig(stem="plain", width_multiplier=0.25, num_inception_blocks=5, embed_dim=128)
        spec = ClipSpec(num_frames=8, fps=4.0, size_pixels=48)
        yield Subject("demo, 8×48²", on(drawn(video, spec), device), batch_size=32, num_steps=num_steps or 20)
    if "s3d" in networks:
        spec = ClipSpec(num_frames=32, fps=10.0, size_pixels=224)
        yield Subject(
            "S3D, 32×224²", on(drawn(S3DConfig(), spec), device), batch_size=8, num_steps=num_steps or 1
        )


def on(model: PixelDualEncoder, device: str) -> PixelDualEncoder:
    """The model on a device."""
    assert isinstance(model, torch.nn.Module)
    return model.to(device).eval()


def drawn(video: S3DConfig, spec: ClipSpec) -> S3DDualEncoder:
    """A network with drawn weights, which takes as long as a trained one."""
    torch.manual_seed(0)
    words = tuple(dict.fromkeys(PROMPT.split()))
    text = SentenceTowerConfig(num_embeddings=len(words) + 1, embed_dim=video.embed_dim)
    config = S3DDualEncoderConfig(video=video, text=text, clip_spec=spec)
    return S3DDualEncoder(config, Vocabulary(words))


def measure(
    subject: Subject, num_environments: int, *, num_rounds: int
) -> tuple[list[tuple[Rates, Rates]], LatencyMeter]:
    """(one at a time, together) of each round, and the calls for all together of the last one."""
    encoder = ClipEncoder(subject.model, device=subject.model.device)
    one, all_of_them = (TextReward(encoder, PROMPT, batch_size=subject.batch_size) for _ in range(2))
    alone = [
        TextRewardWrapper(ToyWorldEnv(render_mode="rgb_array"), one, mode="dense")
        for _ in range(num_environments)
    ]
    vector = SyncVectorEnv([lambda: ToyWorldEnv(render_mode="rgb_array")] * num_environments)
    together = VectorTextRewardWrapper(vector, all_of_them, mode="dense")
    actions = np.random.default_rng(0).uniform(-1, 1, (subject.num_steps, num_environments, 2))
    actions = actions.astype(np.float32)

    def step_alone() -> Rates:
        begin = time.perf_counter()
        for own in actions:
            for env, action in zip(alone, own, strict=True):
                env.step(action)
        return rates(begin, actions, one.latency)

    def step_together() -> Rates:
        begin = time.perf_counter()
        for own in actions:
            together.step(own)
        return rates(begin, actions, all_of_them.latency)

    rounds = []
    for number in range(num_rounds + 1):
        for seed, env in enumerate(alone):
            env.reset(seed=seed)
        together.reset(seed=0)
        one.latency.clear()
        all_of_them.latency.clear()
        ways = (step_alone, step_together) if number % 2 else (step_together, step_alone)
        measured = {way: way() for way in ways}
        rounds.append((measured[step_alone], measured[step_together]))
    for env in (*alone, together):
        env.close()
    return rounds[1:], all_of_them.latency  # the first round prepares the network


def rates(begin: float, actions: np.ndarray, latency: LatencyMeter) -> Rates:
    """Rates of the steps that were made since a reading of the clock."""
    seconds = time.perf_counter() - begin
    return Rates(latency.frames_per_second, actions.shape[0] * actions.shape[1] / seconds)


def row(title: str, num_environments: int, rounds: Sequence[tuple[Rates, Rates]]) -> str:
    """A line of the table."""
    cells = [title, str(num_environments)]
    for name in ("frames", "steps"):
        alone, together = ([getattr(way, name) for way in ways] for ways in zip(*rounds, strict=True))
        ratios = [second / first for first, second in zip(alone, together, strict=True)]
        cells += [figure(statistics.median(alone)), figure(statistics.median(together))]
        cells.append(f"{statistics.median(ratios):.2f}")
    return "| " + " | ".join(cells) + " |"


def figure(value: float) -> str:
    """A rate with three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
