"""The table of a pack's videos: an Arrow file that is mapped into memory, its rows made when asked for.

HowTo100M has 136 million captions; as Python objects they would not fit into the memory of a machine, let
alone that of each process.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from narravid.data.pack_format import FORMAT_VERSION, PackedSegment, PackedVideo, PackError
from narravid.files import write_atomically
from narravid.text.captions import Caption
from narravid.types import Span

__all__ = ["SCHEMA", "PackedVideos", "read_videos", "write_videos"]

ROWS_PER_BATCH = 256
REMEDY = "copy the pack again, or pack the archive again"

CAPTION = pa.struct(
    [
        pa.field("start_seconds", pa.float64(), nullable=False),
        pa.field("end_seconds", pa.float64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
    ]
)
SEGMENT = pa.struct(
    [
        pa.field("shard", pa.int32(), nullable=False),
        pa.field("offset", pa.int64(), nullable=False),
        pa.field("size", pa.int64(), nullable=False),
        pa.field("crc32", pa.uint32(), nullable=False),
        pa.field("start_seconds", pa.float64(), nullable=False),
        pa.field("end_seconds", pa.float64(), nullable=False),
        pa.field("shift_ticks", pa.int64(), nullable=False),
    ]
)
SCHEMA = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("bad", pa.string()),
        pa.field("duration_seconds", pa.float64(), nullable=False),
        pa.field("time_base_numerator", pa.int64(), nullable=False),
        pa.field("time_base_denominator", pa.int64(), nullable=False),
        pa.field("origin_microseconds", pa.int64(), nullable=False),
        pa.field("frame_ticks", pa.int64(), nullable=False),
        pa.field("captions", pa.list_(pa.field("item", CAPTION, nullable=False)), nullable=False),
        pa.field("segments", pa.list_(pa.field("item", SEGMENT, nullable=False)), nullable=False),
    ],
    metadata={"narravid_pack_version": str(FORMAT_VERSION)},
)

PLAIN_COLUMNS = ("video_id", "path", "bad", "duration_seconds", "origin_microseconds", "frame_ticks")


def write_videos(path: Path, rows: Iterable[PackedVideo]) -> None:
    """Write the table, atomically; the same rows give the same bytes.

    Args:
        path: The file to make or replace.
        rows: The videos in the order of the corpus; taken as needed.
    """

    def write(temporary: Path) -> None:
        remaining = iter(rows)
        with pa.OSFile(str(temporary), "wb") as file, pa.ipc.new_file(file, SCHEMA) as writer:
            while some := list(itertools.islice(remaining, ROWS_PER_BATCH)):
                writer.write_batch(_to_batch(some))

    write_atomically(path, write)


def _to_batch(videos: Sequence[PackedVideo]) -> pa.RecordBatch:
    """Rows as columns: one array of the captions of all rows, one of their segments."""
    columns: dict[str, list[Any]] = {
        name: [getattr(video, name) for video in videos] for name in PLAIN_COLUMNS
    }
    columns["time_base_numerator"] = [video.time_base.numerator for video in videos]
    columns["time_base_denominator"] = [video.time_base.denominator for video in videos]
    arrays = {name: pa.array(values, SCHEMA.field(name).type) for name, values in columns.items()}
    captions = [caption for video in videos for caption in video.captions]
    parts: list[list[Any]] = [
        [caption.span.start_seconds for caption in captions],
        [caption.span.end_seconds for caption in captions],
        [caption.text for caption in captions],
    ]
    arrays["captions"] = _lists(CAPTION, [len(video.captions) for video in videos], parts)
    segments = [segment for video in videos for segment in video.segments]
    parts = [[getattr(segment, name) for segment in segments] for name in PackedSegment.__slots__]
    arrays["segments"] = _lists(SEGMENT, [len(video.segments) for video in videos], parts)
    return pa.RecordBatch.from_arrays([arrays[name] for name in SCHEMA.names], schema=SCHEMA)


def _lists(item: pa.StructType, lengths: list[int], columns: list[list[Any]]) -> pa.ListArray:
    """Lists of the given lengths, cut from columns of their items' fields."""
    fields = list(item)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, fields, strict=True)]
    offsets = pa.array([0, *itertools.accumulate(lengths)], pa.int32())
    return pa.ListArray.from_arrays(
        offsets,
        pa.StructArray.from_arrays(arrays, fields=fields),
        type=pa.list_(pa.field("item", item, nullable=False)),
    )


def read_videos(path: Path) -> PackedVideos:
    """Open a table; nothing is read before it is asked for.

    Raises:
        PackError: If the file cannot be opened, is damaged, or is no table of this version.
    """
    try:
        file = pa.memory_map(str(path))
        table = pa.ipc.open_file(file).read_all()
        table.validate()
        _check_schema(path, table.schema)
    except OSError as error:
        raise PackError(path, f"cannot be opened ({error}); {REMEDY}") from error
    except (pa.ArrowException, UnicodeDecodeError) as error:
        raise PackError(path, f"is no Arrow file, or a damaged one ({error}); {REMEDY}") from error
    return PackedVideos(path, table)


def _check_schema(path: Path, schema: pa.Schema) -> None:
    said = (schema.metadata or {}).get(b"narravid_pack_version")
    if said != SCHEMA.metadata[b"narravid_pack_version"]:
        version = "no pack" if said is None else f"version {said.decode(errors='replace')}"
        raise PackError(
            path,
            f"is a table of {version}, this Narravid reads version {FORMAT_VERSION}; pack the archive again,"
            " or use the Narravid that made it",
        )
    for expected in SCHEMA:
        if expected.name not in schema.names or not schema.field(expected.name).equals(expected):
            found = schema.field(expected.name).type if expected.name in schema.names else "none"
            raise PackError(
                path, f"field {expected.name!r}: expected {expected.type}, found {found}; {REMEDY}"
            )


class PackedVideos(Sequence[PackedVideo]):
    """The rows of a table, each made when asked for; reading from several threads is safe.

    Args:
        path: The file; named in errors.
        table: Its content, of the right schema.
    """

    def __init__(self, path: Path, table: pa.Table) -> None:
        self._path = path
        self._batches: list[pa.RecordBatch] = table.to_batches()
        lengths = (batch.num_rows for batch in self._batches)
        self._firsts: list[int] = [0, *itertools.accumulate(lengths)]
        self._columns: dict[tuple[int, str], pa.Array] = {}
        self._by_path: tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]] | None = None

    def __len__(self) -> int:
        return self._firsts[-1]

    @overload
    def __getitem__(self, index: int) -> PackedVideo: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[PackedVideo]: ...

    def __getitem__(self, index: int | slice) -> PackedVideo | Sequence[PackedVideo]:
        """The row, or the rows, with their captions.

        Raises:
            PackError: If this part of the file is damaged.
        """
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        return self.row(index)

    def row(self, index: int, *, with_captions: bool = True) -> PackedVideo:
        """One row.

        Args:
            index: Which; negative ones count from the end.
            with_captions: Whether to make its captions; what reads clips does not need them.

        Raises:
            IndexError: If there is no such row.
            PackError: If this part of the file is damaged.
        """
        position = range(len(self))[index]
        number, place = self._locate(position)
        names = [name for name in SCHEMA.names if with_captions or name != "captions"]
        row = {name: self._column(number, name).slice(place, 1) for name in names}
        try:
            return _from_row(row)
        except (ValueError, ZeroDivisionError, OverflowError) as error:
            raise PackError(self._path, f"row {position} is damaged ({error}); {REMEDY}") from error

    def __iter__(self) -> Iterator[PackedVideo]:
        return (self.row(index) for index in range(len(self)))

    def find(self, path: str) -> int | None:
        """The row of a file, by its path below the root of the archive; None if it has none.

        Raises:
            PackError: If the file is damaged.
        """
        hashes, order = self._path_hashes()
        wanted = hash(path)
        place = int(np.searchsorted(hashes, wanted))
        while place < len(hashes) and hashes[place] == wanted:
            index = int(order[place])
            number, row = self._locate(index)
            if self._column(number, "path")[row].as_py() == path:
                return index
            place += 1
        return None

    def _locate(self, position: int) -> tuple[int, int]:
        """Number of the batch of a row, and the row's place in it."""
        number = bisect_right(self._firsts, position) - 1
        return number, position - self._firsts[number]

    def _path_hashes(self) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Hashes of all paths, sorted, with their rows: 16 bytes a video, where a dictionary takes 200."""
        if self._by_path is None:
            columns = (self._column(number, "path") for number in range(len(self._batches)))
            hashes = np.fromiter(
                (hash(path) for column in columns for path in column.to_pylist()), np.int64, count=len(self)
            )
            order = np.argsort(hashes, kind="stable")
            self._by_path = (hashes[order], order)
        return self._by_path

    def _column(self, number: int, name: str) -> pa.Array:
        """A column of a batch; held against its own lengths once, so that no damage leads out of the file."""
        if (number, name) not in self._columns:
            column = self._batches[number].column(name)
            try:
                column.validate(full=True)
            except pa.ArrowException as error:
                raise PackError(self._path, f"field {name!r} is damaged ({error}); {REMEDY}") from error
            self._columns[number, name] = column
        return self._columns[number, name]


def _from_row(row: dict[str, pa.Array]) -> PackedVideo:
    """The columns of one row; without captions if they are not among them."""
    plain = {name: row[name][0].as_py() for name in PLAIN_COLUMNS}
    base = (row["time_base_numerator"][0].as_py(), row["time_base_denominator"][0].as_py())
    captions: tuple[Caption, ...] = ()
    if "captions" in row:
        starts, ends, texts = (part.to_pylist() for part in row["captions"].flatten().flatten())
        captions = tuple(
            Caption(text, Span(start, end)) for start, end, text in zip(starts, ends, texts, strict=True)
        )
    columns = [part.to_pylist() for part in row["segments"].flatten().flatten()]
    return PackedVideo(
        captions=captions,
        time_base=Fraction(*base),
        segments=tuple(PackedSegment(*values) for values in zip(*columns, strict=True)),
        **plain,
    )
