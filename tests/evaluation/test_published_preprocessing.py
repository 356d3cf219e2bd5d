"""On real files of the benchmarks the clips fed to a network are those of the published preprocessing.

The judge is the ffmpeg program with the published filters: seek, fps, square crop and scale for retrieval;
all frames of the file, square crop and scale for probes; all frames, scale of the shorter side and three
crops for fine-tuned classifiers.
"""

from __future__ import annotations

import math
from fractions import Fraction

import av
import numpy as np
import pytest
import torch

from ffmpeg_program import SQUARE, Output, needs_program, run_program, stated_start
from narravid.evaluation.action_windows import NativeRateWindows, TemporalCrops
from narravid.evaluation.windows import WindowItem, encode_windows, spread_windows
from narravid.models.cpd import FINE_TUNING_CLIPS
from narravid.types import ClipSpec
from narravid.video.frame_sampling import crop_frames, crop_start_frame, window_start_frames
from narravid.video.resize import short_side_size, uniform_crop_offset
from narravid.video.watched import WatchedDecoder

pytestmark = [pytest.mark.shared, needs_program]

SIZE = 224
MOST_DIFFERENCE = 2.0  # of 255, mean over a clip
RETRIEVAL = ClipSpec(num_frames=32, fps=10.0, size_pixels=SIZE)
FILES = (
    "hmdb51_RATRACE_wave_f_nm_np1_fr_goo_37.avi",
    "hmdb51_Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi",
    "ucf101_v_ApplyEyeMakeup_g01_c01.avi",
    "msrvtt_video7500.mp4",
)


class Watcher:
    """Takes the place of a network and keeps what it is shown."""

    output, dtype, backend, weights_hash = "feature", "float32", "torch", "none"

    def __init__(self) -> None:
        self.clips: list[torch.Tensor] = []

    def encode(self, clips: torch.Tensor) -> torch.Tensor:
        self.clips += list(clips)
        return torch.zeros(len(clips), 1)


def shown(path, rule):
    """(starts, (S, T, H, W, 3) uint8): the windows of a video as a network gets them."""
    watcher = Watcher()
    with WatchedDecoder() as decoder:
        found = encode_windows(watcher, [WindowItem(str(path))], rule, decoder=decoder)
        assert not found.reasons
        info = decoder.probe(path)
    clips = torch.stack(watcher.clips).movedim(1, -1).numpy()
    return info, found.starts[0], clips


def difference(clip, expected):
    return np.abs(clip.astype(np.int16) - expected.astype(np.int16)).mean()


@pytest.fixture(
    params=[
        pytest.param(name, marks=() if number == 0 else pytest.mark.slow) for number, name in enumerate(FILES)
    ]
)
def path(request, shared_data):
    return shared_data / "videos" / request.param


def test_windows_of_retrieval(path, tmp_path):
    _, starts, clips = shown(path, spread_windows(RETRIEVAL, 4))
    with av.open(str(path), metadata_errors="replace") as container:
        shift = Fraction(container.start_time or 0, av.time_base) - stated_start(path)
        is_avi = container.format.name == "avi"
    filters = f"{SQUARE},scale={SIZE}:{SIZE}"
    outputs = [
        # Sent to the beginning of an AVI file, the program goes to the first key frame after it.
        Output(
            filters,
            SIZE,
            SIZE,
            fps=RETRIEVAL.fps,
            start_seconds=Fraction(start).limit_denominator(10**6) + shift,
            seeks=not (is_avi and start == 0),
            num_frames=RETRIEVAL.num_frames,
        )
        for start in starts
    ]
    judged, _ = run_program(path, outputs, tmp_path)
    assert len(judged) == len(clips)
    for clip, expected in zip(clips, judged, strict=True):
        assert difference(clip[: len(expected)], expected) <= MOST_DIFFERENCE
        # What lies behind the end of the video is black; releases differ in the last frame.
        assert len(clip) - len(expected) <= 1 or not clip[len(expected) + 1 :].any()


def test_windows_of_probes(path, tmp_path):
    rule = NativeRateWindows(RETRIEVAL)
    _, starts, clips = shown(path, rule)
    ((frames,), _) = run_program(path, [Output(f"{SQUARE},scale={SIZE}:{SIZE}", SIZE, SIZE)], tmp_path)
    first_frames = sorted(set(window_start_frames(len(frames), 32, 10)))
    assert len(starts) == len(first_frames) == 10
    for clip, first in zip(clips, first_frames, strict=True):
        assert difference(clip, frames[first : first + 32]) <= MOST_DIFFERENCE


def test_crops_of_fine_tuned_classifiers(path, tmp_path):
    spec = FINE_TUNING_CLIPS
    rule = TemporalCrops(spec, num_crops=3)
    info, _, clips = shown(path, rule)
    height, width = short_side_size(info.height, info.width, size_pixels=spec.size_pixels)
    outputs = []
    for position in (0, 1, 2):
        top, left = uniform_crop_offset((height, width), SIZE, position=position)
        if (height, width) == (info.height, info.width):
            # A picture that needs no scaling is cropped with its colours still subsampled, at even places:
            # up to one pixel beside the published crop.
            left -= left % 2
        outputs.append(Output(f"scale={width}:{height},crop={SIZE}:{SIZE}:{left}:{top}", SIZE, SIZE))
    judged, _ = run_program(path, outputs, tmp_path)
    num_frames = len(judged[0])
    expected = []
    clip_frames = spec.duration_seconds * info.fps
    for number in range(3):
        start = crop_start_frame(num_frames, clip_frames, crop_number=number, num_crops=3)
        chosen = crop_frames(
            math.ceil(start - 1e-3), clip_frames, num_frames=spec.num_frames, num_video_frames=num_frames
        )
        expected += [frames[chosen] for frames in judged]
    counts = rule.counts(WindowItem(str(path)))
    assert counts.sum() == len(expected)
    distinct = [
        place for place, crop in enumerate(expected) if place == 0 or not _is_there(crop, expected[:place])
    ]
    assert len(distinct) == len(clips)
    for clip, place in zip(clips, distinct, strict=True):
        assert difference(clip, expected[place]) <= MOST_DIFFERENCE


def _is_there(crop, others):
    return any(np.array_equal(crop, other) for other in others)
