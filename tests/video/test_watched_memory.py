"""A decoding process takes no more memory than real files need, whatever a header claims."""

from __future__ import annotations

import resource
import struct

import pytest
from PIL import Image

from narravid.errors import DecodeError
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder
from narravid.video.watched_child import MAX_MEMORY_BYTES

SPEC = ClipSpec(4, 5.0, 48)


@pytest.fixture
def vast(tmp_path):
    """A file of some hundred bytes that claims pictures of 8000 x 8000 pixels."""
    path = tmp_path / "vast.gif"
    pictures = [Image.new("L", (8, 8), level) for level in (0, 90, 180)]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=100)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 8000, 8000)
    path.write_bytes(data)
    return path


def address_space(pid):
    return resource.prlimit(pid, resource.RLIMIT_AS)


@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="looks at another process with prlimit")
class TestMemory:
    def test_the_limit_is_that_of_the_request(self, video):
        with WatchedDecoder() as watched:
            watched.probe(video)
            (pid,) = watched.worker_pids
            assert address_space(pid)[0] == MAX_MEMORY_BYTES
            watched.video(video, fps=1.0, short_side_pixels=48, max_bytes=2**30)
            assert address_space(pid)[0] == MAX_MEMORY_BYTES + 3 * 2**30
            list(watched.clips(video, [0.0], SPEC))
            assert address_space(pid)[0] == MAX_MEMORY_BYTES
        with WatchedDecoder(num_threads=0) as watched:
            list(watched.clips(video, [0.0], SPEC))
            assert address_space(watched.worker_pids[0])[0] == 2 * MAX_MEMORY_BYTES

    def test_a_file_that_asks_for_more_costs_itself_only(self, video, vast):
        with WatchedDecoder() as watched:
            watched.probe(video)
            (pid,) = watched.worker_pids
            with open(f"/proc/{pid}/statm", encoding="ascii") as file:
                in_use = int(file.read().split()[0]) * resource.getpagesize()
            limit = in_use + 2**27
            resource.prlimit(pid, resource.RLIMIT_AS, (limit, limit))
            for attempt in (
                watched.probe,
                watched.check,
                lambda path: list(watched.clips(path, [0.0], SPEC)),
                lambda path: watched.video(path, fps=5.0, short_side_pixels=None),
            ):
                with pytest.raises(DecodeError, match="[Cc]annot allocate memory|needs more memory than"):
                    attempt(vast)
            with pytest.raises(DecodeError, match=r"needs more memory than the 0\.\d GiB"):
                list(watched.clips(video, [0.0], ClipSpec(4000, 100.0, 224)))
            assert watched.worker_pids == [pid]
            assert len(list(watched.clips(video, [0.0, 20.0], SPEC))) == 2
            assert watched.worker_pids == [pid]
            assert address_space(pid) == (limit, limit)
