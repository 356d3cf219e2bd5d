"""Two thousand damaged copies of real files: frames or a DecodeError, never a crash, a hang or a surprise."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from mutated_files import MUTATIONS, mutated_files, siblings
from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.encode_segments import SegmentEncoding
from narravid.video.watched import WatchedDecoder
from narravid.video.watched_child import MAX_MEMORY_BYTES

pytestmark = pytest.mark.shared

# Every container and codec there is, in files that decode in a moment.
SOURCES = (
    *("odd/video_rotation_90.mp4", "odd/unordered.mov", "odd/video_colr_nclx_hdr10.mp4", "odd/minimal.mp4"),
    *("odd/tiny_av1.mp4", "odd/carphone_distorted.mp4", "odd/short-cenc.mp4", "odd/video_90.mov"),
    *("odd/metadata_gnre.mp4", "odd/sample.3gp", "odd/transparent.webm", "odd/h264_10bits.mp4"),
    *("odd/h265_10bits.mp4", "odd/test_video_66x50.mov", "odd/corrupted.mp4", "odd/zero_empty_stsc.mp4"),
    *("odd/big_buck_bunny_432_433.webm", "odd/realshort.mp4", "odd/invalid_userdata.mp4"),
    *("actions/point/set1_57_10_3.avi", "actions/point/set1_22_4_3.avi"),
    *("trajectories/mountain_car.gif", "trajectories/cart_pole.gif", "trajectories/button-human.gif"),
    *("videos/hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi", "videos/ucf101_v_ApplyEyeMakeup_g01_c01.avi"),
    *("videos/msrvtt_video7500.mp4", "videos/flipping_a_pancake.mkv", "narrated/grid/lbax4n.mpg"),
)
SPEC = ClipSpec(8, 5.0, 112)
MAX_VIDEO_BYTES = 2**28
MAX_SECONDS = 1e9
STALL_SECONDS = 10.0
FILE_SECONDS = 90.0
"""For all requests about one file together, on a busy machine."""


@dataclass
class Outcomes:
    """What became of the files."""

    counts: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    slowest: tuple[float, str] = (0.0, "")
    peak_bytes: int = 0

    def ask(self, what: str, path: Path, request: Callable[[], None]) -> None:
        """Make a request; an error other than DecodeError ends the test."""
        try:
            request()
        except DecodeError as error:
            fault = error
        else:
            self.counts[f"{what}: frames"] += 1
            return
        assert fault.path == str(path)
        self.counts[f"{what}: DecodeError"] += 1
        self.reasons[fault.reason.split(":")[0].rstrip("0123456789. s")] += 1
        if fault.reason.startswith(("decoder ", "no progress")):
            self.lost.append(f"{path.name}, {what}: {fault.reason}")

    def __str__(self) -> str:
        lines = [f"{count:6} {what}" for what, count in sorted(self.counts.items())]
        lines += [f"{count:6} {reason}" for reason, count in self.reasons.most_common()]
        slowest, name = self.slowest
        lines += [f"slowest file: {slowest:.1f} s, {name}", f"peak memory: {self.peak_bytes / 2**20:.0f} MiB"]
        lines += [f"lost process: {text}" for text in self.lost]
        return "\n".join(lines)


def peak_bytes(decoder: WatchedDecoder) -> int:
    """Most memory that a process of the decoder has used, where the system tells."""
    used = [0]
    for pid in decoder.worker_pids:
        status = Path(f"/proc/{pid}/status")
        lines = status.read_text().splitlines() if status.exists() else []
        used += [1024 * int(line.split()[1]) for line in lines if line.startswith("VmHWM:")]
    return max(used)


def requests(decoder: WatchedDecoder, path: Path) -> Iterator[tuple[str, Callable[[], None]]]:
    """Everything that is ever asked of a file; what one finds out the next one uses."""
    known: dict[str, Any] = {"seconds": 1.0}

    def probe() -> None:
        info = decoder.probe(path)
        assert 0 < info.duration_seconds < MAX_SECONDS
        assert info.fps > 0
        assert info.width > 0
        assert info.height > 0
        known["seconds"] = info.duration_seconds

    def clips() -> None:
        starts = [0.0, known["seconds"] / 2, max(0.0, known["seconds"] - 0.5)]
        found = list(decoder.clips(path, starts, SPEC))
        assert [clip.frames.shape for clip in found] == 3 * [(8, 112, 112, 3)]
        assert all(0 <= clip.num_padded < 8 for clip in found)

    def clips_backwards() -> None:
        starts = [0.7 * known["seconds"], 0.2 * known["seconds"]]
        found = list(decoder.clips(path, starts, replace(SPEC, frame_rule="shown_at")))
        assert [clip.frames.shape for clip in found] == 2 * [(8, 112, 112, 3)]

    def video() -> None:
        frames = decoder.video(path, fps=2.0, short_side_pixels=48, max_bytes=MAX_VIDEO_BYTES).frames
        assert len(frames) > 0
        assert min(frames.shape[1:3]) == 48

    def check() -> None:
        found = decoder.check(path, whole=True)
        assert found.num_frames is not None
        assert 0 < found.duration_seconds < MAX_SECONDS

    def cut() -> None:
        spans = [(0.0, min(1.0, known["seconds"])), (known["seconds"] / 2, known["seconds"] / 2 + 1.0)]
        segments = list(decoder.cut(path, spans, SegmentEncoding(short_side_pixels=48)))
        assert len(segments) == 2
        assert all(segment.data for segment in segments)

    def spread() -> None:
        found = decoder.spread_frames(path, 6)
        assert len(found.frames) == 6
        assert 0 == found.frame_numbers[0] <= found.frame_numbers[-1] == found.num_video_frames - 1
        assert 0 <= found.times_seconds[0] <= found.times_seconds[-1]

    yield from (("probe", probe), ("clips", clips), ("clips backwards", clips_backwards))
    yield from (("whole video", video), ("spread", spread), ("check", check), ("cut", cut))


def try_files(shared_data: Path, folder: Path, *, num_files: int, seed: int) -> Outcomes:
    outcomes = Outcomes()
    sources = [shared_data / name for name in SOURCES]
    with closing(WatchedDecoder(stall_seconds=STALL_SECONDS)) as decoder:
        for mutated in mutated_files(sources, num_files=num_files, seed=seed):
            path = folder / mutated.name
            path.write_bytes(mutated.data)
            started = time.monotonic()
            for what, request in requests(decoder, path):
                outcomes.ask(what, path, request)
            outcomes.slowest = max(outcomes.slowest, (time.monotonic() - started, mutated.name))
            outcomes.peak_bytes = max(outcomes.peak_bytes, peak_bytes(decoder))
            path.unlink()
    sys.stdout.write(f"\n{num_files} damaged files, seed {seed}\n{outcomes}\n")
    return outcomes


def check_outcomes(outcomes: Outcomes, num_files: int) -> None:
    for what in ("probe", "clips", "clips backwards", "whole video", "spread", "check", "cut"):
        frames, errors = outcomes.counts[f"{what}: frames"], outcomes.counts[f"{what}: DecodeError"]
        assert frames + errors == num_files
        assert frames > num_files / 4, "most damage should be survived"
        assert errors > num_files / 10, "some damage should be beyond repair"
    ours = [text for text in outcomes.lost if "ended with status" in text or "sent " in text]
    assert not ours, "a fault of this library ended the process"
    assert len(outcomes.lost) <= num_files / 500, outcomes.lost
    assert outcomes.slowest[0] < FILE_SECONDS
    assert outcomes.peak_bytes < MAX_MEMORY_BYTES


def test_some_damaged_files(shared_data, tmp_path):
    check_outcomes(try_files(shared_data, tmp_path, num_files=39, seed=1), 39)


@pytest.mark.slow
def test_two_thousand_damaged_files(shared_data, tmp_path):
    check_outcomes(try_files(shared_data, tmp_path, num_files=2000, seed=2), 2000)


def test_the_damage_is_what_it_is_said_to_be(shared_data):
    sources = [shared_data / name for name in SOURCES]
    ours, again = (list(mutated_files(sources, num_files=130, seed=5)) for _ in range(2))
    assert ours == again
    assert list(mutated_files(sources, num_files=130, seed=6)) != ours
    for mutated in ours:
        (source,) = (path for path in sources if mutated.name.endswith(f"_{path.name}"))
        assert mutated.data != source.read_bytes()
    kinds = Counter(mutated.name.split("_")[1] for mutated in ours)
    assert kinds == {name.replace(" ", "-"): 10 for name in MUTATIONS}


def test_boxes_elements_and_chunks_are_found_at_every_depth(shared_data):
    num_groups = {name: len(siblings((shared_data / name).read_bytes())) for name in SOURCES}
    for name, count in num_groups.items():
        least = {".mp4": 7, ".mov": 7, ".3gp": 7, ".webm": 5, ".mkv": 5, ".avi": 3}.get(Path(name).suffix, 0)
        assert count >= least, name
    data = (shared_data / "odd" / "minimal.mp4").read_bytes()
    kinds = {data[box.start + 4 : box.start + 8] for group in siblings(data) for box in group}
    assert kinds >= {b"ftyp", b"moov", b"mdat", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"stts", b"stsz"}
