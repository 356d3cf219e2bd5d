"""The trainer on a CUDA device: speed, waiting, memory, and how large a batch can be."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from narravid.batches import NarratedBatch
from narravid.losses.mil_nce import MILNCELoss
from narravid.models.dual_encoder import S3DDualEncoder
from narravid.tasks.contrastive import ContrastiveTask
from narravid.training import read_log
from narravid.training.config import TrainerConfig, TrainingData
from narravid.training.optim_config import OptimConfig
from narravid.training.trainer import Trainer

SIZE, BATCH_SIZE, MICRO_BATCH_SIZE = 224, 64, 32
GIB = 2**30
MakeBatch = Callable[[int, int, int], NarratedBatch]


def repeated(batch: NarratedBatch, size: int) -> NarratedBatch:
    """So many items from a few, without memory for their clips."""
    first = batch.clips[:1].expand(size, -1, -1, -1, -1)
    tokens = batch.tokens[torch.arange(size) % len(batch)]
    return NarratedBatch(
        first, tokens, tuple(f"video{i}" for i in range(size)), torch.zeros(size, dtype=torch.float64)
    )


def train(
    model: S3DDualEncoder, batches: Callable[[], NarratedBatch], config: TrainerConfig, device: str
) -> list[dict[str, float]]:
    """Run the trainer and give the lines of its log, without the first."""

    def stream(epoch: int, start: int) -> Iterator[NarratedBatch]:
        while True:
            yield batches()

    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    with tempfile.TemporaryDirectory() as folder:
        Trainer(
            ContrastiveTask(model.to(device), MILNCELoss()),
            OptimConfig(name="adam", lr=1e-5, schedule="constant", warmup_steps=0),
            config=config,
            data=TrainingData(stream, steps_per_epoch=config.num_steps or 1),
            run=Path(folder) / "run",
        ).fit(dtype="bfloat16")
        entries = [entry for entry in read_log(Path(folder) / "run") if entry["event"] == "train"]
    return entries[1:]


def speed_row(
    model: S3DDualEncoder, make_batch: MakeBatch, *, rounds: int, checkpointed: bool, device: str = "cuda"
) -> list[str]:
    """One setting: clips/s, share of time spent waiting, memory."""
    pool = make_batch(SIZE, 0, BATCH_SIZE)
    order = torch.Generator().manual_seed(0)

    def cut() -> NarratedBatch:
        # Gathered anew for each step, as a loader does.
        chosen = torch.randperm(BATCH_SIZE, generator=order)
        return NarratedBatch(
            pool.clips[chosen], pool.tokens[chosen], pool.video_ids, pool.start_seconds[chosen]
        )

    config = TrainerConfig(
        num_steps=rounds + 1, log_every_steps=1, trackers=(), activation_checkpointing=checkpointed
    )
    log = train(model, cut, config, device)
    return [
        f"batch {BATCH_SIZE}{', activation checkpointing' if checkpointed else ''}",
        f"{statistics.median(entry['clips_per_second'] for entry in log):.0f}",
        f"{statistics.median(entry['data_wait_share'] for entry in log):.3f}",
        f"{max(entry['memory_gib'] for entry in log):.1f}",
    ]


def largest_batch(
    model_of: Callable[[int], S3DDualEncoder],
    make_batch: MakeBatch,
    *,
    largest: int,
    start: int = MICRO_BATCH_SIZE,
    size: int = SIZE,
    device: str = "cuda",
) -> tuple[int, float]:
    """The largest power of two times `start` that fits with cached gradients, and its memory in GiB."""
    few = make_batch(size, 0, 8)
    best, memory = 0, 0.0
    batch_size = start
    while batch_size <= largest:
        batch = repeated(few, batch_size)
        config = TrainerConfig(
            num_steps=2, log_every_steps=1, trackers=(), micro_batch_size=start, micro_batches="cached"
        )
        try:
            log = train(model_of(size), lambda batch=batch: batch, config, device)  # type: ignore[misc]
        except torch.cuda.OutOfMemoryError:
            break
        best, memory = batch_size, log[-1].get("memory_gib", 0.0)
        batch_size *= 2
    return best, memory


def print_cuda(
    model_of: Callable[[int], S3DDualEncoder], make_batch: MakeBatch, *, rounds: int, largest: int
) -> None:
    """Measure and print the table."""
    torch.backends.cudnn.benchmark = True
    name = torch.cuda.get_device_name()
    table = Table(title=f"S3D, 16 x {SIZE}², bfloat16, {name}")
    for column in ("", "clips/s", "share of time waiting for data", "memory GiB"):
        table.add_column(column, justify="right" if column else "left")
    for checkpointed in (False, True):
        row = speed_row(model_of(SIZE), make_batch, rounds=rounds, checkpointed=checkpointed)
        table.add_row(*row)
        torch.cuda.empty_cache()
    best, memory = largest_batch(model_of, make_batch, largest=largest)
    tried = " (the largest tried)" if best * 2 > largest else ""
    table.add_row(f"largest batch, cached gradients: {best}{tried}", "", "", f"{memory:.1f}")
    Console(width=120).print(table)
    print(f"{torch.cuda.get_device_properties(0).total_memory / GIB:.0f} GiB in all")
