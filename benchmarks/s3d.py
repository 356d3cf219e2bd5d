"""How much faster S3D is on 2-D kernels over channels-last video than on 3-D convolutions.

    python benchmarks/s3d.py

One thread, processor time, medians; the three ways take turns, so that the ratios hold where absolute times
drift and other work runs beside. The 3-D network is the one of the tests, layer by layer with nn.Conv3d, on
contiguous and on channels-last memory.
"""

from __future__ import annotations

import copy
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
from models.conv3d_s3d import conv3d_s3d
from narravid.models.s3d import S3D, S3DConfig


@dataclass(frozen=True)
class Setting:
    """One row of the table: a network, a batch, and whether it is trained."""

    title: str
    config: S3DConfig
    shape: tuple[int, int, int, int, int]
    train: bool
    repeats: int


SMALL = {"width_multiplier": 0.25, "num_inception_blocks": 5, "embed_dim": 128}
BATCH = (64, 3, 8, 48, 48)
SETTINGS = (
    Setting("small, plain stem, 64 x 8x48², training", S3DConfig("plain", **SMALL), BATCH, True, 7),
    Setting("small, space-to-depth, 64 x 8x48², training", S3DConfig(**SMALL), BATCH, True, 7),
    Setting("full, 4 x 16x112², training", S3DConfig("plain"), (4, 3, 16, 112, 112), True, 2),
    Setting("full, 1 x 16x224², inference", S3DConfig(), (1, 3, 16, 224, 224), False, 3),
    Setting("full, 4 x 16x224², inference", S3DConfig(), (4, 3, 16, 224, 224), False, 2),
)


def training_step(model: S3D, forward: Callable[[torch.Tensor], torch.Tensor], clips: torch.Tensor) -> None:
    """Forward and backward with a loss whose gradients have the size of a contrastive one's."""
    model.zero_grad(set_to_none=True)
    embeddings = F.normalize(forward(clips), dim=1)
    similarities = embeddings @ embeddings.detach().roll(1, 0).T * 14
    F.cross_entropy(similarities, torch.arange(len(clips))).backward()


def ways(setting: Setting) -> dict[str, Callable[[], object]]:
    """The same work done in three ways."""
    torch.manual_seed(0)
    model = S3D(setting.config).train(setting.train)
    channels_last = copy.deepcopy(model)
    for module in channels_last.modules():
        if isinstance(module, torch.nn.Conv3d):
            module.weight.data = module.weight.data.contiguous(memory_format=torch.channels_last_3d)
    clips = torch.rand(setting.shape)
    clips_last = clips.contiguous(memory_format=torch.channels_last_3d)
    forwards: dict[str, tuple[S3D, Callable[[torch.Tensor], torch.Tensor], torch.Tensor]] = {
        "3-D": (model, lambda x: conv3d_s3d(model, x), clips),
        "3-D channels-last": (channels_last, lambda x: conv3d_s3d(channels_last, x), clips_last),
        "2-D": (model, model, clips),
    }

    def run(name: str) -> None:
        network, forward, batch = forwards[name]
        if setting.train:
            training_step(network, forward, batch)
        else:
            with torch.inference_mode():
                forward(batch)

    return {name: lambda name=name: run(name) for name in forwards}


def main() -> None:
    """Print the table."""
    torch.set_num_threads(1)
    table = Table("setting", "3-D", "3-D channels-last", "2-D (ours)", "ratio", "clips/s")
    for setting in SETTINGS:
        seconds: dict[str, list[float]] = {}
        runs = ways(setting)
        for repeat in range(setting.repeats + 1):  # the first is warming up
            for name, run in runs.items():
                start = time.process_time()
                run()
                if repeat:
                    seconds.setdefault(name, []).append(time.process_time() - start)
        medians = {name: statistics.median(values) for name, values in seconds.items()}
        times = [f"{medians[name] * 1000:.0f} ms" for name in runs]
        ratio = medians["3-D"] / medians["2-D"]
        table.add_row(setting.title, *times, f"{ratio:.2f}", f"{setting.shape[0] / medians['2-D']:.1f}")
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
