"""Clips out of a pack, which is made of the video to decode: what training from shards costs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from decoding_ways import Frames, Way
from narravid.data.corpus import FoundVideos, NarratedVideo
from narravid.data.pack_format import PackSettings
from narravid.data.packed_clips import PackedClips
from narravid.data.packing import pack_archive
from narravid.data.packs import Pack, open_pack
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import ClipSpec, Span
from narravid.video.decode import probe
from narravid.video.watched import WatchedDecoder

__all__ = ["packed_ways"]

CAPTION_SECONDS = 10.0


class PackOfOne:
    """A pack of each video that is asked for, made when first needed.

    Args:
        folder: Where packs are made.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._packs: dict[Path, Pack] = {}

    def of(self, path: Path) -> Pack:
        """The pack, with captions that reach over each other, so that it holds a clip at any time."""
        if path not in self._packs:
            print(f"packing {path.name} ...", flush=True)
            duration = probe(path).duration_seconds
            starts = range(0, int(duration), int(CAPTION_SECONDS / 2))
            captions = [
                Caption("what is said", Span(start, min(start + CAPTION_SECONDS, duration)))
                for start in starts
            ]
            video = NarratedVideo(path, CaptionTrack(tuple(captions)), path.stem)
            folder = self._folder / path.stem
            pack_archive(FoundVideos([video], []), path.parent, folder, settings=PackSettings())
            self._packs[path] = open_pack(folder)
            self._say_size(path)
        return self._packs[path]

    def _say_size(self, path: Path) -> None:
        info = self._packs[path].info
        rate = sum(info.shard_bytes) / info.segment_seconds
        print(f"  {rate / 1e3:.0f} kB for a second of video; the file has ", end="")
        print(f"{path.stat().st_size / info.video_seconds / 1e3:.0f} kB")


def clips_of_pack(
    packs: PackOfOne, decoder: WatchedDecoder | None, path: Path, starts: Sequence[float], spec: ClipSpec
) -> Iterable[Frames]:
    """Each clip by itself, as in training: the table, the read, the check and the decoding."""
    clips = PackedClips(packs.of(path), decoder)
    for start in starts:
        yield clips.read(Path(path.name), start, spec).frames.numpy()


def packed_ways(stack: ExitStack) -> list[Way]:
    """The rows of packed shards; frames differ from the program's as they are scaled and encoded anew."""
    packs = PackOfOne(Path(stack.enter_context(tempfile.TemporaryDirectory())))
    watched = stack.enter_context(WatchedDecoder())
    return [
        Way("packed shard", partial(clips_of_pack, packs, None), is_ours=False),
        Way("packed shard, watched process", partial(clips_of_pack, packs, watched), is_ours=False),
    ]
