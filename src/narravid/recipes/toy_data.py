"""Toy worlds as training data: `toy:tiny` where a recipe takes a path.

A world is drawn once into the cache folder, where every recipe finds it: videos with their narration, and the
truth about them as the tables that the recipes read.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import joblib

from narravid.config import to_dict
from narravid.errors import ConfigError
from narravid.files import write_text
from narravid.locks import hold_lock
from narravid.models.cache import default_cache
from narravid.synthetic.files import refuse_another_world, video_path, write_world
from narravid.synthetic.narration import TimedStep
from narravid.synthetic.world import PRESETS, Split, ToyVideo, ToyWorld, WorldConfig
from narravid.types import Span

__all__ = ["ToyFiles", "is_toy", "toy_files", "write_toy_files"]

PREFIX = "toy:"
ADDRESS = re.compile(r"toy:(?P<name>[^:]+)(:(?P<seed>\d+))?")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ToyFiles:
    """Where the files of a toy world lie; all paths are absolute.

    Attributes:
        folder: The world: `train`, `test`, `plan.json`, `truth.json`.
        train: Folder of the training videos, each with its narration (.vtt).
        true_captions: Folder of their transcripts in which every sentence lies on the step it tells.
        aligned_captions: The same sentences in HTM-AA's form, CSV vid,timestamp,text: the timestamp is the
            whole second at the middle of the step.
        train_pairs: The steps of the training videos, CSV video_path,text,start_seconds,end_seconds.
        test_pairs: Those of the held-out videos.
        labels: The motion of each step, CSV video_path,label,split,start_seconds,end_seconds; split is train
            or test.
    """

    folder: Path
    train: Path
    true_captions: Path
    aligned_captions: Path
    train_pairs: Path
    test_pairs: Path
    labels: Path


def is_toy(path: str | Path) -> bool:
    """Whether a path means a toy world.

    >>> is_toy("toy:tiny"), is_toy("/data/toy")
    (True, False)
    """
    return str(path).startswith(PREFIX)


def toy_files(address: str | Path) -> ToyFiles:
    """The files of a toy world, drawn into the cache folder when they are not there yet.

    Processes that want the same world wait for the one that draws it. Drawing that was interrupted goes on.

    Args:
        address: `toy:NAME` or `toy:NAME:SEED`, with a name of `narravid.synthetic.world.PRESETS`; the seed is
            0 unless given.

    Returns:
        Where they lie.

    Raises:
        ConfigError: If the address has another form, or there is no such world.
    """
    name, seed = _parse(str(address))
    config = PRESETS[name]
    fingerprint = sha256(repr(to_dict(config)).encode()).hexdigest()[:8]  # of another version, another world
    return write_toy_files(config, default_cache() / "toy" / f"{name}-{seed}-{fingerprint}", seed=seed)


def write_toy_files(config: WorldConfig, folder: Path, *, seed: int) -> ToyFiles:
    """The files of a toy world of one's own, drawn into a folder when they are not there yet.

    Args:
        config: The world.
        folder: Where; made when missing.
        seed: Source of everything in it.

    Returns:
        Where they lie.

    Raises:
        ValueError: If the folder holds another world.
    """
    folder = folder.absolute()
    files = ToyFiles(
        folder,
        train=folder / "train",
        true_captions=folder / "true_transcripts" / "train",
        aligned_captions=folder / "aligned_captions.csv",
        train_pairs=folder / "train_pairs.csv",
        test_pairs=folder / "test_pairs.csv",
        labels=folder / "labels.csv",
    )
    refuse_another_world(folder, config, seed=seed)
    if not files.labels.exists():  # which is written last
        folder.mkdir(parents=True, exist_ok=True)
        with hold_lock(folder, busy=f"{folder} is being written", on_wait=_say_waiting(folder)):
            if not files.labels.exists():
                _write(config, seed, files)
    return files


def _parse(address: str) -> tuple[str, int]:
    match = ADDRESS.fullmatch(address)
    if match is None:
        raise ConfigError(f"{address!r} is no toy world: write toy:NAME or toy:NAME:SEED, such as toy:tiny")
    name, seed = match["name"], match["seed"]
    if name not in PRESETS:
        there_are = ", ".join(PREFIX + known for known in sorted(PRESETS))
        raise ConfigError(f"there is no toy world {name!r}; there are {there_are}", key=name, valid=PRESETS)
    return name, int(seed or 0)


def _say_waiting(folder: Path) -> Callable[[], None]:
    return lambda: _log.info("another process draws %s; waiting for it", folder)


def _write(config: WorldConfig, seed: int, files: ToyFiles) -> None:
    world = ToyWorld(config, seed=seed)
    write_world(world, files.folder, num_workers=joblib.cpu_count())
    _write_table(files.aligned_captions, ("vid", "timestamp", "text"), _aligned(world))
    pair_columns = ("video_path", "text", "start_seconds", "end_seconds")
    splits: tuple[tuple[Split, Path], ...] = (("train", files.train_pairs), ("test", files.test_pairs))
    for split, path in splits:
        rows = (
            (_place(video), timed.step.sentence, *_seconds(timed.span))
            for video, timed in _steps(world, split)
        )
        _write_table(path, pair_columns, rows)
    labelled = (
        (_place(video), timed.step.motion, split, *_seconds(timed.span))
        for split, _ in splits
        for video, timed in _steps(world, split)
    )
    _write_table(files.labels, ("video_path", "label", "split", "start_seconds", "end_seconds"), labelled)


def _aligned(world: ToyWorld) -> Iterable[tuple[str, int, str]]:
    for video in world.split("train"):
        for caption in video.captions:
            if caption.step_index is not None:
                middle = video.steps[caption.step_index].span.center_seconds
                yield video.video_id, int(middle), caption.text


def _steps(world: ToyWorld, split: Split) -> Iterable[tuple[ToyVideo, TimedStep]]:
    return ((video, timed) for video in world.split(split) for timed in video.steps)


def _place(video: ToyVideo) -> str:
    """Relative to the tables, so that the cache may be moved."""
    return video_path(Path(), video).as_posix()


def _seconds(span: Span) -> tuple[float, float]:
    return span.start_seconds, span.end_seconds


def _write_table(path: Path, columns: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    write_text(path, text.getvalue())
