"""A small archive of narrated videos with something of everything, and what a pack made of it holds."""

from __future__ import annotations

from pathlib import Path

from tiny_corpus import write_colour_video

MAX_SEGMENT_SECONDS = 8.0
VIDEOS_PER_SHARD = 2
NUM_VIDEOS, NUM_SHARDS = 7, 4

CAPTIONS: dict[str, tuple[float, tuple[tuple[float, float, str], ...]]] = {
    "long": (14.0, ((0.0, 12.0, "a caption that is longer than a segment"), (12.0, 13.0, "and the next"))),
    "pause": (14.0, ((0.5, 1.5, "before the pause"), (12.0, 13.0, "behind the pause"))),
    "plain": (3.0, ((0.0, 1.0, "a square"), (1.0, 2.0, "it moves"), (2.0, 3.0, "it leaves"))),
    "short": (0.5, ((0.0, 0.5, "shorter than a clip"),)),
    "sub/late": (2.0, ((0.0, 1.0, "said in time"), (30.0, 31.0, "said behind the end"))),
    "sub/plain": (2.0, ((0.0, 2.0, "naïve words"),)),
}
"""Length of each good video, and what is said in it."""

NOT_PACKED = {
    "broken": "cannot be opened as a video: Invalid data found when processing input",
    "silent": "no transcript of the same name",
    "torn": "a WebVTT file starts with WEBVTT, got 'nonsense'",
}
"""Words of the reasons for the rest; the first of them is bad by its video."""

MAX_BAD_SHARE = 0.5


def write_archive(folder: Path) -> Path:
    """Six good videos, a broken one, one without a transcript and one with a faulty transcript."""
    for number, (name, (seconds, captions)) in enumerate(CAPTIONS.items()):
        path = write_colour_video(folder / f"{name}.mp4", (40 * number, 90, 200), seconds=seconds)
        write_transcript(path, captions)
    (folder / "broken.mp4").write_text("no video")
    write_transcript(folder / "broken.mp4", ((0.0, 1.0, "nobody sees it"),))
    for name in ("silent", "torn"):
        write_colour_video(folder / f"{name}.mp4", (90, 90, 90), seconds=0.5)
    (folder / "torn.vtt").write_text("nonsense")
    return folder


def write_transcript(video: Path, captions: tuple[tuple[float, float, str], ...]) -> None:
    """The captions beside a video, as WebVTT."""
    cues = [f"00:{start:06.3f} --> 00:{end:06.3f}\n{text}\n" for start, end, text in captions]
    video.with_suffix(".vtt").write_text("\n".join(["WEBVTT\n", *cues]), encoding="utf-8")


def write_tiny_archive(folder: Path, *, good: bool = False) -> Path:
    """Three videos that cannot be opened; or one such, and a good one of half a second."""
    folder.mkdir()
    for name in ("a",) if good else ("a", "b", "c"):
        (folder / f"{name}.mp4").write_text("no video")
        write_transcript(folder / f"{name}.mp4", ((0.0, 1.0, name),))
    if good:
        write_colour_video(folder / "b.mp4", (90, 90, 90), seconds=0.5)
        write_transcript(folder / "b.mp4", ((0.0, 1.0, "b"),))
    return folder


def content_of(pack: Path, *, num_shards: int = NUM_SHARDS) -> dict[str, bytes]:
    """Every file of a complete pack but its log, by name; there must be nothing else."""
    files = {path.name: path.read_bytes() for path in pack.iterdir() if path.suffix != ".log"}
    assert files.pop(".lock") == b""
    shards = [f"shard-{number:06d}.tar" for number in range(num_shards)]
    assert sorted(files) == ["bad_items.csv", "pack.json", *shards, "videos.arrow"]
    return files
