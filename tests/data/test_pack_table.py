"""The table of a pack: rows come back as written, one at a time; damage gives an error and nothing else."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.data import pack_table
from narravid.data.pack_format import PackedSegment, PackedVideo, PackError
from narravid.data.pack_table import read_videos, write_videos
from narravid.text.captions import Caption
from narravid.types import Span

seconds = st.floats(0, 1e6)
texts = st.text(st.characters(codec="utf-8"), max_size=20)
ticks = st.integers(-(2**62), 2**62)


@st.composite
def captions(draw):
    start, end = sorted(draw(st.tuples(seconds, seconds)))
    return Caption(draw(texts), Span(start, end))


segments = st.builds(
    PackedSegment,
    shard=st.integers(0, 2**31 - 1),
    offset=st.integers(0, 2**62),
    size=st.integers(0, 2**62),
    crc32=st.integers(0, 2**32 - 1),
    start_seconds=seconds,
    end_seconds=seconds,
    shift_ticks=ticks,
)
videos = st.builds(
    PackedVideo,
    video_id=texts,
    path=texts,
    captions=st.lists(captions(), max_size=4).map(tuple),
    bad=st.none() | texts,
    duration_seconds=seconds,
    time_base=st.builds(Fraction, st.integers(1, 1001), st.integers(1, 90_000)),
    origin_microseconds=ticks,
    frame_ticks=st.integers(1, 2**62),
    segments=st.lists(segments, max_size=4).map(tuple),
)


def example(number, **fields):
    track = tuple(Caption(f"step {n} of {number}", Span(4.0 * n, 4.0 * n + 3)) for n in range(number % 5))
    parts = tuple(PackedSegment(number, 512 * n, 700, 5, 30.0 * n, 30.0 * n + 30, n) for n in range(2))
    row = PackedVideo(f"id{number}", f"sub/{number}.mp4", track, segments=parts, duration_seconds=60.5)
    return row if not fields else PackedVideo(**{**{n: getattr(row, n) for n in row.__slots__}, **fields})


@given(st.lists(videos, max_size=6), st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_rows_come_back_as_written(tmp_path_factory, rows, rows_per_batch):
    path = tmp_path_factory.getbasetemp() / "table.arrow"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pack_table, "ROWS_PER_BATCH", rows_per_batch)
        write_videos(path, iter(rows))
    read = read_videos(path)
    assert list(read) == rows
    assert [read[n] for n in range(-len(rows), 0)] == rows
    assert read[1:3] == rows[1:3]
    for row in rows:
        assert rows[read.find(row.path)].path == row.path


def test_the_same_rows_give_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        write_videos(tmp_path / name, (example(n) for n in range(600)))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_rows_can_be_read_without_captions_and_found_by_path(tmp_path):
    path = tmp_path / "table.arrow"
    write_videos(path, [example(n, bad="no" if n == 4 else None) for n in range(600)])
    read = read_videos(path)
    assert len(read) == 600
    assert read.find("sub/411.mp4") == 411
    assert read.find("411.mp4") is None
    assert read.row(413, with_captions=False) == example(413, captions=())
    assert read[4].bad == "no"
    with pytest.raises(IndexError):
        read[600]
    with pytest.raises(IndexError):
        read[-601]


def test_several_threads_may_read(tmp_path):
    path = tmp_path / "table.arrow"
    write_videos(path, [example(n) for n in range(600)])
    read = read_videos(path)

    def look(number):
        return read.find(f"sub/{number}.mp4"), read[number].video_id

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(look, range(600))) == [(n, f"id{n}") for n in range(600)]


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    path = tmp_path_factory.mktemp("table") / "table.arrow"
    write_videos(path, [example(n) for n in range(8)])
    return path.read_bytes()


@pytest.mark.parametrize("size", [0, 5, 100, 2000, -9, -1])
def test_a_truncated_table_is_refused(tmp_path, content, size):
    path = tmp_path / "table.arrow"
    path.write_bytes(content[:size])
    with pytest.raises(PackError, match="damaged.*copy the pack again|cannot be opened") as caught:
        read_videos(path)
    assert caught.value.path == str(path)


def test_a_table_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(PackError, match=r"nothing\.arrow: cannot be opened .*copy the pack again"):
        read_videos(tmp_path / "nothing.arrow")


def write_table(path, table):
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def test_a_table_of_another_kind_or_version_is_refused(tmp_path, content):
    path = tmp_path / "table.arrow"
    write_table(path, pa.table({"video_id": ["a"]}))
    with pytest.raises(PackError, match="a table of no pack"):
        read_videos(path)
    good = pa.ipc.open_file(pa.py_buffer(content)).read_all()
    write_table(path, good.replace_schema_metadata({"narravid_pack_version": "9"}))
    with pytest.raises(PackError, match=r"a table of version 9, this Narravid reads version 1; pack"):
        read_videos(path)
    write_table(path, good.drop_columns(["path"]))
    with pytest.raises(PackError, match=r"field 'path': expected string, found none"):
        read_videos(path)


def test_no_damage_leads_out_of_the_file(tmp_path, content):
    """Bytes at random places: the rows, changed ones perhaps, or an error."""
    path = tmp_path / "table.arrow"
    generator = np.random.default_rng(0)
    num_refused = 0
    for _ in range(150):
        damaged = np.frombuffer(content, np.uint8).copy()
        damaged[generator.integers(0, len(damaged), 8)] = generator.integers(0, 256, 8)
        path.write_bytes(damaged.tobytes())
        try:
            read = read_videos(path)
            list(read)
            read.find("sub/3.mp4")
        except PackError:
            num_refused += 1
    assert num_refused > 50
