"""How fast features of whole videos are extracted, against the naive way, and what the network takes of it.

    python benchmarks/extraction.py [--model MODEL] [--folder FOLDER] [--rounds 5] [--write] [VIDEO ...]

S3D sees 32 frames of 224 pixels at 10 per second, ResNeXt-101 its published 16 of 112 at 24, windows end to
end. Without VIDEO four files of 64 s are written, 640x360; FOLDER keeps them for the next run. Without MODEL
the S3D has weights drawn at random; what bfloat16 costs can only be judged on a trained one.

- The naive way: one file at a time, an ffmpeg program decodes all of it, then the network, written down in
  3-D convolutions, runs in eager float32 over batches of four.
- Narravid's way: `narravid extract` without the command line, each time into a fresh folder.

The network alone is timed on the same clips, all ways taking turns, medians of the rounds. Ways whose library
is not installed are left out. The last columns compare the vectors of the videos, scaled to length one, with
those of the naive way. `--write` puts the table of whole videos into docs/extraction.md.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from rich.console import Console
from rich.table import Table
from torch import nn

from decoding_content import write_moving_textures
from narravid.errors import MissingExtraError
from narravid.inference.clip_encoder import Backend, ClipEncoder, EmbeddingDtype
from narravid.inference.extract import extract_videos
from narravid.inference.extract_job import ExtractionJob, load_extractor, open_worker
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_plan import ExtractionPlan, as_published, windows_of
from narravid.inference.extract_report import ExtractionReport
from narravid.models.dual_encoder import S3DDualEncoder, S3DDualEncoderConfig
from narravid.models.hub import save_model
from narravid.models.s3d import S3DConfig
from narravid.models.text_encoders import SentenceTowerConfig
from narravid.models.video_classifier import ResNeXtExtractor, ResNeXtExtractorConfig
from narravid.protocols import FeatureExtractor
from narravid.text.words import Vocabulary
from narravid.types import ClipSpec
from narravid.video.decode import probe
from narravid.video.resize import short_side_size
from narravid.video.transforms import normalise, to_channels_first, to_unit_float
from narravid.video.watched import WatchedDecoder
from tables import fill_in
from training_plain import PlainS3D

ROOT = Path(__file__).resolve().parent.parent
EXTRACTION_PAGE = ROOT / "docs" / "extraction.md"
INFERENCE_PAGE = ROOT / "docs" / "inference.md"
COLUMNS = ("hours per hour", "ratio", "network busy", "difference", "cosine")
NAIVE_BATCH = 4
WIDTH, HEIGHT = 640, 360
WORDS = ("add", "oil", "pan")
WAYS: tuple[tuple[Backend, EmbeddingDtype], ...] = (
    ("torch", "float32"),
    ("torch", "bfloat16"),
    ("openvino", "float32"),
    ("openvino", "bfloat16"),
    ("onnxruntime", "float32"),
)


@dataclass
class Subject:
    """A model, what it is shown, and the same network as one would write it down."""

    name: str
    model: FeatureExtractor
    model_path: str
    plan: ExtractionPlan
    plain: Callable[[torch.Tensor], torch.Tensor]


@dataclass
class Measured:
    """One way over all videos."""

    hours_per_hour: float
    vectors: np.ndarray
    busy_share: float | None = None


@dataclass
class Options:
    """The words of the command line."""

    videos: Sequence[Path]
    model: str | None = None
    extractors: Sequence[Literal["s3d", "resnext-101"]] = ("s3d", "resnext-101")
    num_videos: int = 4
    seconds: float = 64.0
    rounds: int = 5
    batch_sizes: Sequence[int] = (1, 4)
    workers: int = 2
    size: int | None = None
    folder: Path | None = None
    write: bool = False
    ways: Sequence[tuple[Backend, EmbeddingDtype]] = field(default_factory=lambda: WAYS)


# ---------------------------------------------------------------- what is measured


def s3d_subject(options: Options, folder: Path) -> Subject:
    """S3D with the weights that were named, or drawn, and its plain twin."""
    if options.model is None:
        torch.manual_seed(0)
        text = SentenceTowerConfig(num_embeddings=len(WORDS) + 1)
        config = S3DDualEncoderConfig(video=S3DConfig(), text=text, clip_spec=ClipSpec(32, 10.0, 224))
        drawn = S3DDualEncoder(config, Vocabulary(WORDS)).eval()
        _settle(drawn)
        save_model(drawn, folder / "s3d")
    path = options.model or str(folder / "s3d")
    model = load_extractor(path)
    assert isinstance(model, S3DDualEncoder), "MODEL must be an S3D that compares clips with sentences"
    plain = PlainS3D()
    plain.load_state_dict(model.video.state_dict())
    plain.eval()
    spec = model.clip_spec

    def run(clips: torch.Tensor) -> torch.Tensor:
        return plain(normalise(to_unit_float(clips), spec.mean, spec.std).contiguous())

    plan = ExtractionPlan(32, 10.0, 32, options.size or 224, layer="embedding")
    return Subject("S3D", model, path, plan, run)


def resnext_subject(options: Options, folder: Path) -> Subject:
    """ResNeXt-101, drawn; Narravid's own module is nn.Conv3d and nn.BatchNorm3d, layer by layer."""
    torch.manual_seed(0)
    drawn = ResNeXtExtractor(ResNeXtExtractorConfig()).eval()
    _settle(drawn)
    save_model(drawn, folder / "resnext")
    model = load_extractor(str(folder / "resnext"))
    assert isinstance(model, ResNeXtExtractor)
    plan = as_published(model)
    plan = replace(plan, size_pixels=options.size or plan.size_pixels)
    return Subject("ResNeXt-101", model, str(folder / "resnext"), plan, drawn.video_features)


def _settle(model: nn.Module) -> None:
    """Statistics away from where batch normalisation does nothing."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d | nn.BatchNorm3d):
            module.running_mean.normal_(0, 0.05)
            module.running_var.uniform_(0.7, 1.3)


# ---------------------------------------------------------------- whole videos


def naive_way(subject: Subject, videos: Sequence[Path]) -> Measured:
    """One file at a time: decode all, then the network, eager float32."""
    vectors: list[torch.Tensor] = []
    began = time.perf_counter()
    busy = seconds = 0.0
    for video in videos:
        frames = program_frames(video, subject.plan)
        windows = [to_channels_first(window) for window in windows_of([frames], subject.plan)]
        seconds += len(windows) * subject.plan.stride_seconds
        network_began = time.perf_counter()
        with torch.inference_mode():
            for first in range(0, len(windows), NAIVE_BATCH):
                vectors.append(subject.plain(torch.stack(windows[first : first + NAIVE_BATCH])))
        busy += time.perf_counter() - network_began
    wall = time.perf_counter() - began
    features = torch.cat(vectors).float()
    if subject.plan.is_normalised:
        features = F.normalize(features, dim=1)
    return Measured(seconds / wall, features.numpy(), busy / wall)


def program_frames(video: Path, plan: ExtractionPlan) -> torch.Tensor:
    """All frames of a file by the ffmpeg program, as the published extractors run it."""
    info, size = probe(video), plan.size_pixels
    filters = f"fps={plan.fps}"
    if plan.framing == "square":
        filters += f",crop='min(iw,ih)':'min(iw,ih)',scale={size}:{size}"
    else:
        height, width = short_side_size(info.height, info.width, size_pixels=size)
        filters += f",scale={width}:{height},crop={size}:{size}:{(width - size) // 2}:{(height - size) // 2}"
    command = ["ffmpeg", "-nostdin", "-loglevel", "error", "-i", str(video), "-vf", filters]
    output = subprocess.run(
        [*command, "-pix_fmt", "rgb24", "-f", "rawvideo", "pipe:"], capture_output=True, check=True
    ).stdout
    return torch.frombuffer(bytearray(output), dtype=torch.uint8).view(-1, size, size, 3)


def narravid_way(
    subject: Subject, videos: Sequence[Path], way: tuple[Backend, EmbeddingDtype], options: Options
) -> Measured:
    """The pipeline of `narravid extract`, after a first video that warms up the network."""
    backend, dtype = way
    job = ExtractionJob(
        subject.model_path, subject.plan, stored="float32", backend=backend, dtype=dtype, batch_size=4
    )
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        decoder = opened.enter_context(WatchedDecoder(num_workers=options.workers))
        warm = opened.enter_context(open_worker(job, decoder, model=subject.model))
        outcome = warm.do(ListedVideo(videos[0], folder / "warm.npy"))
        assert outcome.kind == "done", outcome.reason
        items = [ListedVideo(video, folder / f"{number}.npy") for number, video in enumerate(videos)]
        report = ExtractionReport()
        before = warm.busy_seconds
        extract_videos(items, warm, report=report, num_workers=options.workers)
        vectors = np.concatenate([np.load(item.output) for item in items])
        busy_share = (report.busy_seconds - before) / report.wall_seconds
        return Measured(report.hours_per_hour, vectors, busy_share)


# ---------------------------------------------------------------- the network alone


def network_seconds(
    subject: Subject, ways: Sequence[tuple[Backend, EmbeddingDtype]], *, batch_size: int, rounds: int
) -> dict[str, float]:
    """Seconds of one forward pass, medians; every way takes its turn in every round."""
    generator = torch.Generator().manual_seed(1)
    plan = subject.plan
    shape = (batch_size, plan.num_frames, plan.size_pixels, plan.size_pixels, 3)
    frames = torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8)
    clips = to_channels_first(frames)
    runs: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"eager": subject.plain}
    for backend, dtype in ways:
        encoder = ClipEncoder(subject.model, output=plan.layer, backend=backend, dtype=dtype)
        runs[label_of((backend, dtype))] = encoder.encode
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for turn in range(rounds + 1):  # the first is warming up
            for name, run in runs.items():
                began = time.perf_counter()
                run(clips)
                if turn:
                    seconds[name].append(time.perf_counter() - began)
    return {name: statistics.median(values) for name, values in seconds.items()}


def label_of(way: tuple[Backend, EmbeddingDtype]) -> str:
    """How a way is called in the tables."""
    return " ".join(way)


def available(
    ways: Sequence[tuple[Backend, EmbeddingDtype]], model: FeatureExtractor
) -> Iterator[tuple[Backend, EmbeddingDtype]]:
    """Those whose library is there."""
    for backend, dtype in ways:
        try:
            ClipEncoder(model, output="feature", backend=backend, dtype=dtype)
        except MissingExtraError as error:
            print(error)
        else:
            yield backend, dtype


# ---------------------------------------------------------------- tables


def difference(vectors: np.ndarray, expected: np.ndarray) -> tuple[str, str]:
    """Largest difference of a number in vectors of length one, and the smallest cosine of two vectors."""
    ours, theirs = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (vectors, expected))
    return f"{np.abs(ours - theirs).max():.1e}", f"{(ours * theirs).sum(axis=1).min():.6f}"


def bfloat16_instructions() -> list[str]:
    """Those of the processor; without any, bfloat16 is imitated and slow."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return [name for name in ("avx512_bf16", "amx_bf16") if name in flags]


def processor() -> str:
    """What of the processor decides how fast bfloat16 is."""
    return f"bfloat16 in hardware: {', '.join(bfloat16_instructions()) or 'no'}"


def measure(
    subject: Subject, videos: Sequence[Path], options: Options, console: Console
) -> tuple[list[str], list[str]]:
    """Print the tables of one model; gives the rows of both for the pages."""
    ways = list(available(options.ways, subject.model))
    plan = subject.plan
    title = f"{subject.name}, {plan.num_frames} x {plan.size_pixels}² at {plan.fps:g} fps"

    alone = Table("network alone", *(f"batch {size}: ms, ratio to eager" for size in options.batch_sizes))
    columns = [
        network_seconds(subject, ways, batch_size=size, rounds=options.rounds) for size in options.batch_sizes
    ]
    of_network = []
    for name in columns[0]:
        ratios = [f"{column['eager'] / column[name]:.2f} x" for column in columns]
        cells = [f"{1000 * column[name]:.0f}, {ratio}" for column, ratio in zip(columns, ratios, strict=True)]
        alone.add_row(name, *cells)
        of_network.append(f"| {' | '.join([title, name, *ratios])} |")
    console.print(title, style="bold")
    console.print(alone)

    table = Table("whole videos", *COLUMNS)
    naive = naive_way(subject, videos)
    busy = f"{naive.busy_share:.0%}"
    rows = [["naive, eager float32", f"{naive.hours_per_hour:.2f}", "1.00 x", busy, "", ""]]
    for way in ways:
        ours = narravid_way(subject, videos, way, options)
        ratio = f"{ours.hours_per_hour / naive.hours_per_hour:.2f} x"
        cells = [f"{ours.hours_per_hour:.2f}", ratio, f"{ours.busy_share:.0%}"]
        rows.append([f"narravid, {label_of(way)}", *cells, *difference(ours.vectors, naive.vectors)])
    for row in rows:
        table.add_row(*row)
    console.print(table)
    return of_network, [f"| {' | '.join([title, *row])} |" for row in rows]


def header(*names: str) -> list[str]:
    """The first two lines of a table; what is behind the second column are numbers."""
    return [f"| {' | '.join(names)} |", f"| --- | --- |{' ---: |' * (len(names) - 2)}"]


def parse() -> Options:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("videos", nargs="*", type=Path)
    parser.add_argument("--model", help="a trained S3D: folder, checkpoint or name")
    parser.add_argument("--extractors", nargs="+", default=("s3d", "resnext-101"))
    parser.add_argument("--num-videos", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=64.0)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--batch-sizes", nargs="+", type=int, default=(1, 4))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--size", type=int, help="pixels, to try the script itself with little")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--write", action="store_true", help="put the tables into the documentation")
    parser.add_argument("--ways", nargs="+", help="such as 'torch float32'; all when not given")
    words = vars(parser.parse_args())
    names = words.pop("ways")
    known = [way for way in WAYS if way[1] != "bfloat16" or bfloat16_instructions()]
    ways = [way for way in (WAYS if names else known) if names is None or label_of(way) in names]
    return Options(**words, ways=ways)


def main() -> None:
    """Print all tables."""
    options = parse()
    console = Console(width=120)
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.folder or Path(temporary)
        videos = list(options.videos)
        if not videos:
            for number in range(options.num_videos):
                video = folder / f"textures-{options.seconds:g}-{number}.mp4"
                if not video.exists():
                    write_moving_textures(video, WIDTH, HEIGHT, seconds=options.seconds)
                videos.append(video)
        conditions = f"{torch.get_num_threads()} threads, {len(videos)} videos; {processor()}"
        console.print(conditions)
        alone = header("network", "way", *(f"batch {size}" for size in options.batch_sizes))
        whole = header("network", "way", *COLUMNS)
        subjects = {"s3d": s3d_subject, "resnext-101": resnext_subject}
        for name in options.extractors:
            rows = measure(subjects[name](options, Path(temporary)), videos, options, console)
            alone += rows[0]
            whole += rows[1]
    if options.write:
        for page, lines in ((INFERENCE_PAGE, alone), (EXTRACTION_PAGE, whole)):
            fill_in(page, "\n".join([*lines, "", f"{conditions}."]), script="extraction.py")


if __name__ == "__main__":
    main()
