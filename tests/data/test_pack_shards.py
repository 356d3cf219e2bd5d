"""Shards as others see them: the WebDataset library reads a video, its texts and times for each segment."""

from __future__ import annotations

import gc
import io
import warnings

import av
import webdataset

from narravid.data.corpus import find_narrated_videos
from narravid.data.pack_format import PackSettings
from narravid.data.packing import pack_archive
from packable_archive import CAPTIONS, write_archive


def test_the_webdataset_library_finds_videos_with_their_captions(tmp_path):
    root = write_archive(tmp_path / "archive")
    settings = PackSettings(max_segment_seconds=8.0, videos_per_shard=4)
    pack_archive(find_narrated_videos(root), root, tmp_path / "pack", settings=settings, max_bad_share=1.0)
    urls = str(tmp_path / "pack" / "shard-{000000..000001}.tar")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the library leaves its files open
        shards = webdataset.WebDataset(urls, shardshuffle=False)
        samples = list(shards.decode().to_tuple("__key__", "mp4", "json"))
        del shards
        gc.collect()
    assert [key for key, _, _ in samples] == [
        f"{video:08d}_{part:04d}"
        for video, num_parts in enumerate((0, 2, 2, 1, 1, 1, 1))
        for part in range(num_parts)
    ]
    texts = {}
    for _, video, about in samples:
        with av.open(io.BytesIO(video)) as container:
            frames = [frame.time for frame in container.decode(video=0)]
        assert frames[0] == 0
        assert 0 < frames[-1] <= about["end_seconds"] - about["start_seconds"] + 0.3
        for caption in about["captions"]:
            times = (caption["start_seconds"], caption["end_seconds"], caption["text"])
            texts.setdefault(about["video_id"], []).append(times)
    assert texts.keys() == CAPTIONS.keys()
    for name, (seconds, captions) in CAPTIONS.items():
        assert sorted(set(texts[name])) == [one for one in captions if one[0] < seconds]
