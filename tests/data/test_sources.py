"""Clips from files and from memory, on real video files."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.data.sources import FileClips, MemoryClips
from narravid.errors import DecodeError
from narravid.types import ClipSpec, Span, VideoInfo
from narravid.video.decode import probe
from narravid.video.encode import write_video
from narravid.video.watched import WatchedDecoder
from watched_doubles import CrashedBy, is_alive

FPS = 10
NUM_FRAMES = 40
SPEC = ClipSpec(num_frames=4, fps=5.0, size_pixels=32, frame_rule="shown_at")


def grey_of(frame: int) -> int:
    return 20 + 5 * frame


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    """Four seconds, 64 x 48: frame n has grey level 20 + 5 n, its left quarter is 15 darker."""
    frames = np.zeros((NUM_FRAMES, 48, 64, 3), np.uint8)
    for number, frame in enumerate(frames):
        frame[:] = grey_of(number)
        frame[:, :16] -= 15
    path = tmp_path_factory.mktemp("videos") / "ramp.mp4"
    write_video(path, iter(frames), fps=FPS, crf=10)
    return path


@pytest.fixture
def broken(tmp_path) -> Path:
    path = tmp_path / "broken.mp4"
    path.write_bytes(b"not a video")
    return path


def levels(frames: torch.Tensor) -> list[float]:
    return frames[:, 8:-8, 8:-8].float().mean(dim=(1, 2, 3)).tolist()


def test_both_sources_show_the_frames_of_the_span(video):
    memory = MemoryClips([video], SPEC)
    for source in (FileClips(), memory):
        clip = source.read(video, 1.2, SPEC)
        assert clip.frames.shape == (4, 32, 32, 3)
        assert clip.mask.all()
        assert clip.span == Span(1.2, 2.0)
        assert levels(clip.frames) == pytest.approx([grey_of(n) for n in (12, 14, 16, 18)], abs=3)
        assert source.duration_seconds(video) == pytest.approx(4.0, abs=0.11)
    assert memory.failures == {}
    assert memory.num_bytes == 20 * 32 * 43 * 3  # 64 x 48 scaled to a short side of 32


def test_memory_starts_at_the_nearest_kept_frame(video):
    memory = MemoryClips([video], SPEC)
    for start_seconds, first in ((0.0, 0), (0.09, 0), (0.11, 2), (0.29, 2), (0.31, 4)):
        assert levels(memory.read(video, start_seconds, SPEC).frames)[0] == pytest.approx(
            grey_of(first), abs=3
        )


@pytest.mark.parametrize("make", [lambda path: FileClips(), lambda path: MemoryClips([path], SPEC)])
def test_a_clip_past_the_end_is_padded_with_black_and_masked(video, make):
    clip = make(video).read(video, 3.6, SPEC)
    assert clip.mask.tolist() == [True, True, False, False]
    assert clip.frames[2:].max() == 0
    assert levels(clip.frames[:2]) == pytest.approx([grey_of(36), grey_of(38)], abs=3)


@pytest.mark.parametrize("make", [lambda path: FileClips(), lambda path: MemoryClips([path], SPEC)])
def test_starts_outside_the_video_are_refused(video, make):
    source = make(video)
    with pytest.raises(DecodeError, match=r"ramp\.mp4"):
        source.read(video, 4.1, SPEC)
    with pytest.raises(ValueError, match="-1"):
        source.read(video, -1.0, SPEC)


def test_a_random_crop_needs_a_generator_and_stays_inside(video, generator):
    spec = dataclasses.replace(SPEC, crop="random")
    memory = MemoryClips([video], SPEC)
    with pytest.raises(ValueError, match="generator"):
        memory.read(video, 0.0, spec)
    dark_columns = set()
    for _ in range(40):
        clip = memory.read(video, 2.0, spec, generator=generator)
        assert clip.frames.shape == (4, 32, 32, 3)
        dark_columns.add(int((clip.frames[0, 16, :, 0] < grey_of(20) - 7).sum()))
    assert min(dark_columns) == 0
    assert max(dark_columns) >= 10
    center = memory.read(video, 2.0, SPEC).frames[0, 16, :, 0]
    assert 4 <= int((center < grey_of(20) - 7).sum()) <= 7  # (43 - 32) // 2 columns are cut from the left


def test_memory_counts_videos_that_cannot_be_decoded(video, broken):
    memory = MemoryClips([broken, video, video], SPEC, num_threads=2)
    assert list(memory.failures) == [broken]
    assert len(memory.read(video, 0.0, SPEC).frames) == 4
    for read in (lambda: memory.read(broken, 0.0, SPEC), lambda: memory.duration_seconds(broken)):
        with pytest.raises(DecodeError, match=r"broken\.mp4") as caught:
            read()
        assert caught.value.reason == memory.failures[broken]


def test_files_that_cannot_be_decoded_raise_when_read(broken):
    with pytest.raises(DecodeError, match=r"broken\.mp4"):
        FileClips().read(broken, 0.0, SPEC)
    with pytest.raises(DecodeError, match=r"broken\.mp4"):
        FileClips().duration_seconds(broken)


def test_memory_refuses_more_than_its_limit(video, tmp_path):
    videos = [video, Path(shutil.copy(video, tmp_path / "again.mp4"))]
    with pytest.raises(ValueError, match=r"the first 2 of 2 videos need .* more than max_bytes"):
        MemoryClips(videos, SPEC, max_bytes=100_000)


def test_a_video_that_alone_passes_the_limit_is_a_failure_not_the_end(video, tmp_path):
    write_video(tmp_path / "short.mp4", np.zeros((4, 32, 32, 3), np.uint8), fps=4)
    memory = MemoryClips([video, tmp_path / "short.mp4"], SPEC, max_bytes=50_000)
    assert list(memory.failures) == [video]
    assert "need more than" in memory.failures[video]
    assert len(memory.read(tmp_path / "short.mp4", 0.0, SPEC).frames) == 4


@pytest.mark.parametrize("change", [{"fps": 4.0}, {"size_pixels": 16}, {"frame_rule": "ffmpeg_fps"}])
def test_memory_refuses_clips_it_does_not_hold(video, change):
    memory = MemoryClips([video], SPEC)
    with pytest.raises(ValueError, match=f"held with {next(iter(change))}="):
        memory.read(video, 0.0, dataclasses.replace(SPEC, **change))
    with pytest.raises(ValueError, match=r"other\.mp4 is not among the 1 videos"):
        memory.read(Path("other.mp4"), 0.0, SPEC)


def test_watched_processes_give_the_same_clips_and_end_with_the_source(video, generator):
    spec = dataclasses.replace(SPEC, crop="random")
    watched = FileClips(WatchedDecoder())
    ours = watched.read(video, 1.2, spec, generator=torch.Generator().manual_seed(3))
    theirs = FileClips().read(video, 1.2, spec, generator=torch.Generator().manual_seed(3))
    assert torch.equal(ours.frames, theirs.frames)
    assert watched.duration_seconds(video) == FileClips().duration_seconds(video)
    (pid,) = watched._decoder.worker_pids
    watched.close()
    assert not is_alive(pid)
    assert torch.equal(watched.read(video, 1.2, SPEC).frames, FileClips().read(video, 1.2, SPEC).frames)
    watched.close()


def test_a_source_may_be_closed_that_has_started_nothing(video):
    FileClips().close()
    MemoryClips([video], SPEC).close()


class CountingDecoder(WatchedDecoder):
    """Says how often a file was measured."""

    def __init__(self) -> None:
        super().__init__()
        self.num_probed = 0

    def probe(self, path) -> VideoInfo:
        self.num_probed += 1
        return probe(path)


def test_a_length_is_measured_once(video):
    decoder = CountingDecoder()
    source = FileClips(decoder)
    assert [source.duration_seconds(video) for _ in range(3)] == [probe(video).duration_seconds] * 3
    assert decoder.num_probed == 1


def test_a_length_that_cannot_be_measured_is_asked_again(video, broken):
    decoder = CountingDecoder()
    source = FileClips(decoder)
    for _ in range(2):
        with pytest.raises(DecodeError):
            source.duration_seconds(broken)
    assert decoder.num_probed == 2
    broken.write_bytes(video.read_bytes())
    assert source.duration_seconds(broken) == source.duration_seconds(video)


def test_memory_decodes_in_watched_processes_and_ends_them(video, broken):
    with WatchedDecoder(2) as decoder:
        memory = MemoryClips([video, broken], SPEC, num_threads=2, decoder=decoder)
        assert decoder.worker_pids == []
    assert torch.equal(
        memory.read(video, 1.0, SPEC).frames, MemoryClips([video], SPEC).read(video, 1.0, SPEC).frames
    )
    assert memory.failures == MemoryClips([broken], SPEC).failures


@pytest.mark.parametrize("num_threads", [1, 2])
def test_a_file_that_crashes_the_decoder_is_a_failure_of_its_own(video, broken, num_threads):
    with CrashedBy(broken) as decoder:
        memory = MemoryClips([broken, video], SPEC, num_threads=num_threads, decoder=decoder)
    assert memory.failures == {broken: "decoder crashed (signal 9)"}
    assert len(memory.read(video, 0.0, SPEC).frames) == 4
