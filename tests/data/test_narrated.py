"""Finding narrated videos, and drawing clips with caption candidates from them."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from narravid.data.corpus import NarratedVideo, find_narrated_videos
from narravid.data.drawing import DrawingStoppedError
from narravid.data.narrated import ClipSampling, NarratedDataset
from narravid.data.sources import FileClips, MemoryClips
from narravid.errors import NarravidError
from narravid.text.captions import Caption, CaptionTrack, nearest_captions
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import ClipSpec, Span
from narravid.video.encode import write_video
from narravid.video.transforms import Augmentation
from written_clips import SPEC, TOKENIZER, WrittenClips, make_dataset, make_videos


def items_equal(first, second) -> bool:
    return (
        torch.equal(first.clips, second.clips)
        and torch.equal(first.tokens, second.tokens)
        and torch.equal(first.start_seconds, second.start_seconds)
        and (first.video_id, first.replaced) == (second.video_id, second.replaced)
    )


def test_an_item_has_the_promised_shapes():
    item = make_dataset(clips_per_video=3, num_candidates=2)[0, 0, 1]
    assert item.clips.shape == (3, 3, 4, 8, 8)
    assert item.clips.dtype == torch.uint8
    assert item.clips.permute(0, 2, 3, 4, 1).is_contiguous()
    assert item.tokens.shape == (3, 2, 3)
    assert item.tokens.dtype == torch.int64
    assert item.start_seconds.shape == (3,)
    assert item.start_seconds.dtype == torch.float64
    assert item.video_id == "v1"
    assert item.num_padded_clips == 0
    assert item.replaced == ()


def test_pixels_and_captions_belong_to_the_start():
    dataset = make_dataset(clips_per_video=4, num_candidates=1)
    for epoch in range(10):
        item = dataset[7, epoch, 2]
        for clip, tokens, start in zip(item.clips, item.tokens, item.start_seconds.tolist(), strict=True):
            assert (clip[0] == 2).all()
            assert (clip[1] == int(start * 4)).all()
            caption = int(tokens[0, 0]) - 1
            # 4.5 s are widened to 5 s around the centre, cut to whole seconds, and hold the clip of 2 s
            lowest = max(0.0, 8 * caption - 0.25)
            assert int(lowest) <= start <= int(lowest + 5) - 2
            assert start == int(start)


def test_candidates_are_the_nearest_captions():
    dataset = make_dataset(clips_per_video=7, num_candidates=3)
    track = dataset.videos[0].track
    item = dataset[0, 0, 0]
    rows = {tuple(row) for row in item.tokens[:, :, 0].tolist()}
    expected = {tuple(n + 1 for n in nearest_captions(track, index, 3)) for index in range(7)}
    assert rows == expected


def test_no_caption_is_drawn_twice_before_all_are():
    item = make_dataset(clips_per_video=10, num_candidates=1)[3, 1, 0]
    drawn = item.tokens[:, 0, 0].tolist()
    assert sorted(drawn[:7]) == [1, 2, 3, 4, 5, 6, 7]
    assert len(set(drawn[7:])) == 3


def test_starts_spread_over_the_span_and_reach_both_ends():
    videos = [NarratedVideo(Path("v0.mp4"), CaptionTrack((Caption("word1", Span(10.0, 20.0)),)), "v0")]
    for whole_seconds in (True, False):
        dataset = make_dataset(videos=videos, whole_seconds=whole_seconds)
        starts = torch.cat([dataset[0, epoch, 0].start_seconds for epoch in range(300)])
        assert starts.min() >= 10
        assert starts.max() <= 18
        if whole_seconds:
            assert set(starts.tolist()) == set(map(float, range(10, 19)))
        else:
            assert starts.min() < 10.2
            assert starts.max() > 17.8
            assert len(set(starts.tolist())) == 300


@pytest.mark.parametrize("whole_seconds", [True, False])
def test_a_short_caption_is_widened_around_its_centre_as_far_as_is_asked(whole_seconds):
    videos = [NarratedVideo(Path("v0.mp4"), CaptionTrack((Caption("word1", Span(20.0, 22.0)),)), "v0")]
    for seconds, lowest, highest in ((0.0, 20, 20), (6.0, 18, 22), (10.0, 16, 24)):
        dataset = make_dataset(videos=videos, whole_seconds=whole_seconds, min_caption_seconds=seconds)
        starts = torch.cat([dataset[0, epoch, 0].start_seconds for epoch in range(100)])
        assert starts.min() == pytest.approx(lowest, abs=0.3)
        assert starts.max() == pytest.approx(highest, abs=0.3)


@pytest.mark.parametrize("whole_seconds", [True, False])
def test_a_clip_is_moved_to_end_with_the_video(whole_seconds):
    captions = CaptionTrack((Caption("word1", Span(9.0, 30.0)),))
    dataset = make_dataset(
        WrittenClips(seconds=10.5),
        videos=[NarratedVideo(Path("v0.mp4"), captions, "v0")],
        whole_seconds=whole_seconds,
    )
    item = dataset[0, 0, 0]
    assert item.start_seconds.tolist() == [8.0 if whole_seconds else 8.5]
    assert item.num_padded_clips == 0


def test_a_video_shorter_than_the_clip_is_padded_and_counted():
    dataset = make_dataset(WrittenClips(seconds=1.2), clips_per_video=2)
    item = dataset[0, 0, 0]
    assert item.start_seconds.tolist() == [0.0, 0.0]
    assert item.num_padded_clips == 2


def test_an_item_depends_on_seed_epoch_and_index_only(generator):
    augmentation = Augmentation(flip_probability=0.5, brightness=0.3, shift_pixels=2)
    options = {"clips_per_video": 2, "augmentation": augmentation}
    first, second = make_dataset(**options), make_dataset(**options)
    reference = {key: first[key] for key in [(0, 0, 0), (0, 0, 1), (0, 1, 0), (1, 0, 0)]}
    torch.manual_seed(1)
    for key in reversed(reference):
        assert items_equal(second[key], reference[key])
    drawn = [(item.start_seconds.tolist(), item.tokens.tolist()) for item in reference.values()]
    assert all(drawn.count(one) == 1 for one in drawn)


def test_loading_leaves_the_global_random_state_alone():
    before = torch.get_rng_state()
    make_dataset(augmentation=Augmentation(brightness=0.2))[0, 0, 0]
    assert torch.equal(torch.get_rng_state(), before)


def test_augmentation_is_applied_and_the_source_is_not_written_to(tmp_path):
    frames = np.random.default_rng(0).integers(0, 256, (40, 24, 32, 3), np.uint8)
    write_video(tmp_path / "v0.mp4", iter(frames), fps=4)
    video = NarratedVideo(tmp_path / "v0.mp4", CaptionTrack((Caption("word1", Span(0, 9)),)), "v0")
    memory = MemoryClips([video.path], SPEC)
    held = memory.read(video.path, 0.0, SPEC).frames.clone()
    plain = make_dataset(memory, videos=[video])
    flipped = make_dataset(memory, videos=[video], augmentation=Augmentation(flip_probability=1.0))
    varied = make_dataset(memory, videos=[video], augmentation=Augmentation(brightness=0.5, shift_pixels=2))
    num_changed = 0
    for epoch in range(8):
        assert torch.equal(flipped[0, epoch, 0].clips, plain[0, epoch, 0].clips.flip(-1))
        num_changed += not torch.equal(varied[0, epoch, 0].clips, plain[0, epoch, 0].clips)
    assert num_changed == 8
    assert torch.equal(memory.read(video.path, 0.0, SPEC).frames, held)


def test_a_bad_video_is_replaced_by_the_same_other_one_each_time():
    dataset = make_dataset(WrittenClips(bad=("v1", "v3")), clips_per_video=2)
    seen = set()
    for epoch in range(30):
        item = dataset[0, epoch, 1]
        assert items_equal(item, dataset[0, epoch, 1])
        assert item.video_id in ("v0", "v2")
        assert item.replaced[0] == ("v1.mp4", "made to fail")
        tried = [path for path, _ in item.replaced]
        assert set(tried) <= {"v1.mp4", "v3.mp4"}
        assert all(one != following for one, following in pairwise(tried))  # not the same again at once
        seen.add(item.video_id)
    assert seen == {"v0", "v2"}


@pytest.mark.parametrize("num_videos", [1, 3])
def test_an_item_gives_up_when_nothing_can_be_decoded(num_videos):
    dataset = make_dataset(WrittenClips(bad=("v0", "v1", "v2")), videos=make_videos(num_videos))
    with pytest.raises(NarravidError, match=r"can be decoded; the last, v\d\.mp4: made to fail"):
        dataset[0, 0, 0]


@pytest.mark.parametrize("name", ["clips_per_video", "num_candidates", "min_caption_seconds"])
def test_sampling_settings_are_checked(name):
    with pytest.raises(ValueError, match=name):
        ClipSampling(**{name: -1})


def test_a_dataset_needs_videos():
    with pytest.raises(ValueError, match="at least one video"):
        make_dataset(videos=[])


def test_a_video_without_captions_is_replaced_with_its_reason():
    videos = [*make_videos(1), NarratedVideo(Path("mute.mp4"), CaptionTrack(), "mute")]
    item = make_dataset(videos=videos)[0, 0, 1]
    assert item.video_id == "v0"
    assert item.replaced == (("mute.mp4", "it has no captions"),)


def test_frames_go_to_the_memory_that_is_given():
    dataset = make_dataset(clips_per_video=2)
    frames = np.full(dataset.frames_shape, 99, np.uint8)
    item = dataset.draw((0, 0, 1), frames=frames)
    assert item.clips.data_ptr() == frames.ctypes.data
    assert torch.equal(item.clips, dataset[0, 0, 1].clips)


def test_an_item_that_is_not_wanted_any_more_tries_no_other_video():
    source = WrittenClips(bad=("v0", "v1", "v2", "v3"))
    with pytest.raises(DrawingStoppedError):
        make_dataset(source).draw((0, 0, 0), is_wanted=lambda: len(source.starts) < 2)
    assert len(source.starts) == 2


@pytest.mark.shared
def test_the_real_corpus_gives_clips_of_every_video(shared_data):
    found = find_narrated_videos(shared_data / "narrated")
    videos, bad = found.videos, found.bad
    assert bad == []
    assert [video.video_id for video in videos][:2] == ["manifesto", "grid/bbaf2n"]
    assert len(videos) == 12
    spec = ClipSpec(num_frames=8, fps=5.0, size_pixels=32)
    texts = [text for video in videos for text in video.track.texts]
    tokenizer = WordTokenizer(Vocabulary.from_captions(texts), max_words=20, lower_case=True)
    sampling = ClipSampling(num_candidates=3)
    for source in (FileClips(), MemoryClips([video.path for video in videos], spec, num_threads=2)):
        dataset = NarratedDataset(videos, source, spec=spec, tokenizer=tokenizer, sampling=sampling)
        items = [dataset[0, 0, index] for index in range(len(videos))]
        assert all(item.replaced == () for item in items)
        assert [item.video_id for item in items] == [video.video_id for video in videos]
        assert all(item.clips.float().std() > 5 for item in items)
        assert all((item.tokens[0] != 0).any() for item in items)


@pytest.mark.shared
def test_odd_files_are_replaced_with_their_reason(shared_data, tmp_path):
    for name in ("odd/corrupted.mp4", "odd/sine-3s-xhe-aac-44khz-mono.mp4", "narrated/grid/bbaf2n.mpg"):
        copy = Path(shutil.copy(shared_data / name, tmp_path))
        copy.with_suffix(".vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nhello\n", encoding="utf-8")
    videos = find_narrated_videos(tmp_path).videos
    dataset = NarratedDataset(
        videos, FileClips(), spec=SPEC, tokenizer=TOKENIZER, sampling=ClipSampling(num_candidates=1)
    )
    silent = [video.video_id for video in videos].index("sine-3s-xhe-aac-44khz-mono")
    item = dataset[0, 0, silent]
    assert item.video_id != "sine-3s-xhe-aac-44khz-mono"
    assert item.replaced[0][0].endswith("sine-3s-xhe-aac-44khz-mono.mp4")
