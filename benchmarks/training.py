"""How much faster a step of the trainer is than a plain loop over the same network, loss and data.

    python benchmarks/training.py [--rounds 15] [--sizes 112 224] [--dtypes float32 bfloat16] [--threads 2]

S3D and MIL-NCE on batches of 4 clips of 16 frames. The plain loop is what one would write: 3-D convolutions
on contiguous memory, float32, `torch.optim.Adam` as it comes. The trainer's step is `Trainer.fit` as recipes
call it, timed from one batch to the next, its log and its checks of loss and gradient included. Whenever the
trainer asks for a batch the plain loop takes one step on that batch, so that both share what else happens on
the machine; the table gives medians, the median of the ratios of neighbouring steps, and the ratio of the
fastest steps.

Before each step the plain network is given the trainer's weights, and the table gives the largest difference
of the two losses, which must stay below 1e-4 in float32. Without that, float32 runs part after a few steps,
whatever computes them: Adam's first steps have the sign of the gradient and hardly its size, which turns
rounding into steps of the whole rate. That whole runs agree is tested in float64. Similarities are cosines:
of dot products of random weights, rounding alone moves the loss by up to 8e-5, most of it from PyTorch's sums
for batch normalisation in channels-last memory.

A second table holds smaller choices: optimisers, and how bytes become numbers.

bfloat16 needs a processor that computes in it (AVX-512 BF16, AMX); others imitate it, several times slower
than float32, and are left out unless asked for by name.

Got on two cores with AVX2 and no bfloat16, float32, six rounds in one run: 1.36 x at 112² and 1.36 x at 224²;
most of it comes from `models/convolutions`, without which 224² gained nothing.

With `--device cuda`: steps of the trainer in bfloat16 with batches cut from main memory, the share of time it
waits for them, memory with and without activation checkpointing, and the largest batch with cached gradients.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

from narravid.batches import NarratedBatch
from narravid.losses.mil_nce import MILNCELoss
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTower, SentenceTowerConfig
from narravid.tasks.contrastive import ContrastiveTask
from narravid.text.words import Vocabulary
from narravid.training import read_log
from narravid.training.config import Precision, TrainerConfig, TrainingData
from narravid.training.optim_config import OptimConfig
from narravid.training.trainer import Trainer
from narravid.types import ClipSpec
from training_cuda import print_cuda
from training_details import print_details
from training_plain import PlainS3D

BATCH_SIZE, NUM_FRAMES, NUM_CANDIDATES, NUM_WORDS = 4, 16, 3, 20
LEARNING_RATE = 1e-5
MEAN, STD = (0.4, 0.4, 0.4), (0.25, 0.25, 0.25)
WORDS = tuple(f"word{i}" for i in range(1000))
TOLERANCE = 1e-4


def make_model(size: int) -> S3DDualEncoder:
    """The published dual encoder with a small vocabulary; the same weights each time."""
    torch.manual_seed(0)
    spec = ClipSpec(num_frames=NUM_FRAMES, fps=5.0, size_pixels=size, mean=MEAN, std=STD)
    config = S3DDualEncoderConfig(
        video=S3DConfig(),
        text=SentenceTowerConfig(num_embeddings=len(WORDS) + 1),
        clip_spec=spec,
        similarity="cosine",
    )
    return S3DDualEncoder(config, Vocabulary(WORDS))


def make_batch(size: int, seed: int, batch_size: int = BATCH_SIZE) -> NarratedBatch:
    """Clips of moving coloured patches, no two alike, and random words, as a loader would give them."""
    generator = torch.Generator().manual_seed(seed)
    patches = torch.rand((batch_size, 3, 4, 6, 6), generator=generator)
    clips = F.interpolate(patches, size=(NUM_FRAMES, size, size), mode="trilinear", align_corners=True)
    return NarratedBatch(
        (clips * 255).to(torch.uint8),
        torch.randint(1, len(WORDS) + 1, (batch_size, NUM_CANDIDATES, NUM_WORDS), generator=generator),
        tuple(f"video{i}" for i in range(batch_size)),
        torch.zeros(batch_size, dtype=torch.float64),
    )


class PlainLoop:
    """The loop to beat: network, text tower and Adam with nothing done for speed."""

    def __init__(self, model: S3DDualEncoder) -> None:
        self.video = PlainS3D()
        self.text = SentenceTower(model.config.text)
        self.follow(model)
        self.loss = MILNCELoss()
        parameters = [*self.video.parameters(), *self.text.parameters()]
        self.optimizer = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=LEARNING_RATE)

    def follow(self, model: S3DDualEncoder) -> None:
        """Take the weights of the trainer's network."""
        self.video.load_state_dict(model.video.state_dict())
        self.text.load_state_dict(model.text.state_dict())

    def step(self, batch: NarratedBatch) -> float:
        """One step; gives its loss."""
        shape = (1, 3, 1, 1, 1)
        clips = (batch.clips.float() / 255 - torch.tensor(MEAN).view(shape)) / torch.tensor(STD).view(shape)
        self.optimizer.zero_grad()
        text = self.text(batch.tokens.flatten(0, 1)).view(BATCH_SIZE, NUM_CANDIDATES, -1)
        loss = self.loss(F.normalize(self.video(clips), dim=-1), F.normalize(text, dim=-1))
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())


@dataclass
class Rounds:
    """Seconds of each step, the trainer's and the plain one before it, and their losses."""

    ours: list[float] = field(default_factory=list)
    plain: list[float] = field(default_factory=list)
    losses: list[float] = field(default_factory=list)
    plain_losses: list[float] = field(default_factory=list)

    def drop_warm_up(self) -> None:
        """Forget the first step of both."""
        self.ours, self.plain = self.ours[1:], self.plain[1:]

    @property
    def ratio(self) -> float:
        """Median of the ratios of neighbouring steps."""
        return statistics.median(p / o for p, o in zip(self.plain, self.ours, strict=True))

    @property
    def difference(self) -> float:
        """Largest difference of the losses of one step."""
        pairs = zip(self.losses, self.plain_losses, strict=True)
        return max(abs(ours - plain) for ours, plain in pairs)


def measure(size: int, dtype: Precision, num_rounds: int) -> Rounds:
    """Run the trainer, and the plain loop between its steps."""
    rounds = Rounds()
    model = make_model(size)
    plain = PlainLoop(model)
    pool = [make_batch(size, seed) for seed in range(4)]
    num_steps = num_rounds + 1

    def batches(epoch: int, start: int) -> Iterator[NarratedBatch]:
        for index in range(start, num_steps):
            batch = pool[index % len(pool)]
            plain.follow(model)
            started = time.perf_counter()
            rounds.plain_losses.append(plain.step(batch))
            rounds.plain.append(time.perf_counter() - started)
            given = time.perf_counter()
            yield batch
            rounds.ours.append(time.perf_counter() - given)
        # What the run writes at its end belongs to no step: one batch more is asked for than is counted.
        yield pool[0]

    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            ContrastiveTask(model, MILNCELoss()),
            OptimConfig(name="adam", lr=LEARNING_RATE, schedule="constant", warmup_steps=0),
            config=TrainerConfig(num_steps=num_steps + 1, log_every_steps=1, trackers=()),
            data=TrainingData(batches, steps_per_epoch=num_steps + 1),
            run=Path(folder) / "run",
        ).fit(dtype=dtype)
        log = [entry for entry in read_log(Path(folder) / "run") if entry["event"] == "train"]
    rounds.losses = [entry["loss"] for entry in log][:num_steps]
    rounds.drop_warm_up()
    return rounds


def print_ratios(options: argparse.Namespace) -> bool:
    """The first table; says whether all losses agree."""
    table = Table(title=f"Steps on {BATCH_SIZE} clips, {torch.get_num_threads()} threads, {processor()}")
    for column in ("", "plain clips/s", "trainer clips/s", "ratio", "(fastest)", "losses differ by"):
        table.add_column(column, justify="right" if column else "left")
    agree = True
    for size in options.sizes:
        for dtype in options.dtypes or default_dtypes():
            rounds = measure(size, dtype, options.rounds)
            difference = rounds.difference
            agree = agree and (dtype != "float32" or difference <= TOLERANCE)
            table.add_row(
                f"{NUM_FRAMES} x {size}² {dtype}",
                f"{BATCH_SIZE / statistics.median(rounds.plain):.2f}",
                f"{BATCH_SIZE / statistics.median(rounds.ours):.2f}",
                f"{rounds.ratio:.2f} x",
                f"{min(rounds.plain) / min(rounds.ours):.2f} x",
                f"{difference:.1e}",
            )
    Console(width=120).print(table)
    return agree


def default_dtypes() -> list[Precision]:
    """bfloat16 only where the processor computes in it."""
    return ["float32", "bfloat16"] if has_bfloat16() else ["float32"]


def has_bfloat16() -> bool:
    """Whether this processor computes in bfloat16."""
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def processor() -> str:
    """What the kernels are chosen by."""
    return f"{torch.backends.cpu.get_cpu_capability()}, {'with' if has_bfloat16() else 'no'} bfloat16"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--sizes", type=int, nargs="+", default=[112, 224])
    parser.add_argument("--dtypes", nargs="+", choices=["float32", "bfloat16"])
    parser.add_argument("--threads", type=int, default=None)
    parser.add_argument("--largest", type=int, default=8192, help="largest batch tried on CUDA")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.device == "cuda":
        print_cuda(make_model, make_batch, rounds=options.rounds, largest=options.largest)
        return
    agree = print_ratios(options)
    print_details(make_model(options.sizes[0]), make_batch(options.sizes[0], 0), rounds=options.rounds)
    if not agree:
        raise SystemExit(f"the losses in float32 differ by more than {TOLERANCE}")


if __name__ == "__main__":
    main()
