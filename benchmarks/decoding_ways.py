"""What decoding is measured against: the ffmpeg program, torchcodec and decord."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import torch

from narravid.types import ClipSpec

__all__ = ["Frames", "Way", "ways_of_others"]

Frames = npt.NDArray[np.uint8]
SQUARE = "crop=w='min(iw,ih)':h='min(iw,ih)':x='(iw-min(iw,ih))/2':y='(ih-min(iw,ih))/2'"


@dataclass(frozen=True, slots=True)
class Way:
    """A way to decode clips.

    Attributes:
        name: As the table has it.
        clips: Gives the frames (T, H, W, 3) of the clips of a file at given starts.
        at_a_time: Processes at work.
        is_judge: The ffmpeg program, whose speed and frames the others are held against.
        is_ours: Must give the frames of the program.
    """

    name: str
    clips: Callable[[Path, Sequence[float], ClipSpec], Iterable[Frames]]
    at_a_time: int = 1
    is_judge: bool = False
    is_ours: bool = True


def program_clip(path: Path, spec: ClipSpec, start: float) -> Frames:
    """The published way: seek, fps filter, crop, scale and a raw pipe."""
    size = spec.size_pixels
    command = ["ffmpeg", "-v", "error", "-nostdin", "-ss", f"{start:.3f}"]
    command += ["-i", str(path), "-vf", f"fps={spec.fps:g},{SQUARE},scale={size}:{size}"]
    command += ["-frames:v", str(spec.num_frames), "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    output = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(output, np.uint8).reshape(-1, size, size, 3)


def by_program(path: Path, starts: Sequence[float], spec: ClipSpec) -> Iterable[Frames]:
    """One ffmpeg process for each clip."""
    return (program_clip(path, spec, start) for start in starts)


def by_two_programs(
    pool: ThreadPoolExecutor, path: Path, starts: Sequence[float], spec: ClipSpec
) -> Iterable[Frames]:
    """One ffmpeg process for each clip, two at a time."""
    return pool.map(partial(program_clip, path, spec), starts)


def times(start: float, spec: ClipSpec) -> list[float]:
    """Times of the samples."""
    return [start + number / spec.fps for number in range(spec.num_frames)]


def cropped(frames: torch.Tensor, size: int) -> Frames:
    """(T, 3, H, W) uint8 cropped to the square and scaled, as users of such decoders do."""
    side = min(frames.shape[-2:])
    top, left = (frames.shape[-2] - side) // 2, (frames.shape[-1] - side) // 2
    square = frames[..., top : top + side, left : left + side]
    scaled = torch.nn.functional.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
    return scaled.permute(0, 2, 3, 1).contiguous().numpy()


def by_torchcodec(
    decoders: ModuleType, path: Path, starts: Sequence[float], spec: ClipSpec
) -> Iterable[Frames]:
    """A decoder for each clip, seeking as it does where no scan of the file is asked for."""
    for start in starts:
        decoder = decoders.VideoDecoder(str(path), num_ffmpeg_threads=1, seek_mode="approximate")
        yield cropped(decoder.get_frames_played_at(times(start, spec)).data, spec.size_pixels)


def by_decord(decord: ModuleType, path: Path, starts: Sequence[float], spec: ClipSpec) -> Iterable[Frames]:
    """A reader for each clip."""
    for start in starts:
        reader = decord.VideoReader(str(path), num_threads=1)
        rate = reader.get_avg_fps()
        indices = [min(int(time * rate + 1e-6), len(reader) - 1) for time in times(start, spec)]
        frames = torch.from_numpy(reader.get_batch(indices).asnumpy()).permute(0, 3, 1, 2)
        yield cropped(frames, spec.size_pixels)


def ways_of_others(stack: ExitStack) -> list[Way]:
    """Those that are installed here; says what is left out."""
    ways = []
    if shutil.which("ffmpeg") is None:
        print("no ffmpeg program here: its rows are left out")
    else:
        pool = stack.enter_context(ThreadPoolExecutor(2))
        ways.append(Way("ffmpeg process per clip", by_program, is_judge=True, is_ours=False))
        two = partial(by_two_programs, pool)
        ways.append(Way("two of them at a time", two, at_a_time=2, is_judge=True, is_ours=False))
    for name, module, clips in (
        ("torchcodec", "torchcodec.decoders", by_torchcodec),
        ("decord", "decord", by_decord),
    ):
        try:
            library = importlib.import_module(module)
        except (ImportError, OSError, RuntimeError) as error:
            print(f"no {name} here: its row is left out ({str(error).splitlines()[0]})")
        else:
            ways.append(Way(name, partial(clips, library), is_ours=False))
    return ways
