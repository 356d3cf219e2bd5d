"""Videos that are text files, a decoder of them that keeps a log, and a worker of a small network."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from inference_doubles import LinearDualEncoder
from narravid.errors import DecodeError
from narravid.inference.claims import Claims
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.extract_item import ItemExtractor, settings_of
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_plan import ExtractionPlan
from narravid.inference.extract_store import FileStore
from narravid.inference.extract_video import VideoExtractor
from narravid.types import ClipSpec
from narravid.video.decode_chunks import ChunkShape

SPEC = ClipSpec(num_frames=4, fps=4.0, size_pixels=8)
PLAN = ExtractionPlan(num_frames=4, fps=4.0, stride_frames=4, size_pixels=8, layer="embedding")


def write_text_video(path: Path, *, frames: int, seed: int = 0) -> Path:
    """A text file that `TextDecoder` takes for a video of so many frames at the rate that is asked for."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"frames": frames, "seed": seed}))
    return path


def frames_of(path: Path | str, size_pixels: int = 8) -> torch.Tensor:
    """(N, S, S, 3) uint8, the frames of a text video."""
    try:
        content = json.loads(Path(path).read_text())
    except ValueError as error:
        raise DecodeError(path, "not a video") from error
    shape = (content["frames"], size_pixels, size_pixels, 3)
    return torch.from_numpy(np.random.default_rng(content["seed"]).integers(0, 256, shape, dtype=np.uint8))


class TextDecoder:
    """Decodes text videos, chunk by chunk; a line in the log for each one begun.

    Args:
        log: Where the lines go, of all processes that share it.
        chunk_seconds: How long a chunk takes.
        on_chunk: Called before each chunk.
    """

    def __init__(
        self,
        log: Path | None = None,
        *,
        chunk_seconds: float = 0.0,
        on_chunk: Callable[[], None] | None = None,
    ) -> None:
        self._log = log
        self._chunk_seconds = chunk_seconds
        self._on_chunk = on_chunk

    def chunks(self, path: str | Path, shape: ChunkShape) -> Iterator[torch.Tensor]:
        if self._log is not None:
            with self._log.open("a") as file:  # short lines are appended whole
                file.write(f"{path}\n")
        for chunk in frames_of(path, shape.size_pixels).split(shape.num_frames):
            time.sleep(self._chunk_seconds)
            if self._on_chunk is not None:
                self._on_chunk()
            yield chunk


def small_encoder(*, seed: int = 0) -> ClipEncoder:
    """A network of some numbers."""
    return ClipEncoder(LinearDualEncoder(seed=seed, clip_spec=SPEC), output="embedding")


@contextmanager
def small_worker(
    decoder: TextDecoder | None = None,
    *,
    encoder: ClipEncoder | None = None,
    plan: ExtractionPlan = PLAN,
    overwrite: bool = False,
    claim_timeout: float = 600.0,
) -> Iterator[ItemExtractor]:
    """Extracts text videos into files."""
    encoder = encoder or small_encoder()
    with (
        Claims(claim_timeout) as claims,
        VideoExtractor(encoder, decoder or TextDecoder(), plan, batch_size=2) as extractor,
    ):
        yield ItemExtractor(
            extractor,
            FileStore(),
            claims,
            settings=settings_of(encoder, plan, "float32"),
            model_name="small",
            overwrite=overwrite,
        )


def expected_features(path: Path, encoder: ClipEncoder | None = None) -> np.ndarray:
    """The features of a text video by the shortest way: windows end to end, two at a time."""
    frames = frames_of(path)
    missing = -len(frames) % 4
    frames = torch.cat([frames, frames.new_zeros((missing, *frames.shape[1:]))])
    clips = frames.view(-1, 4, *frames.shape[1:]).permute(0, 4, 1, 2, 3)
    return torch.cat([(encoder or small_encoder()).encode(pair) for pair in clips.split(2)]).numpy()


def text_list(folder: Path, *, count: int = 12) -> list[ListedVideo]:
    """Text videos of 1 to 5 windows, listed with their outputs."""
    items = []
    for number in range(count):
        video = write_text_video(folder / "videos" / f"{number:03}.mp4", frames=3 + number % 17, seed=number)
        items.append(ListedVideo(video, folder / "features" / f"{number:03}.npy"))
    return items


def files_of(folder: Path) -> dict[str, bytes]:
    """Content of all files below a folder, by their place in it."""
    return {
        os.path.relpath(path, folder): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
