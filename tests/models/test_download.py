"""Published files on their way into the cache: mirrors, local files, records, archives, several processes."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from file_server import FileServer, Served, serve_files
from narravid.errors import ConfigError, DownloadError
from narravid.models import transfer
from narravid.models.cache import check_stored, entry_folder, read_records
from narravid.models.catalogue import Address, Entry, PublishedItem
from narravid.models.download import download, download_entry

WEIGHTS = np.random.default_rng(5).bytes(400_000)
WORDS = b"add oil pan"


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(transfer, "PAUSE_SECONDS", 0.01)


@pytest.fixture
def server():
    with serve_files({"/weights.pth": Served(WEIGHTS), "/words.npy": Served(WORDS)}) as running:
        yield running


def item(server: FileServer, *paths: str, name: str = "weights.pth", **facts: object) -> PublishedItem:
    addresses = tuple(Address(f"{server.url}{path}") for path in paths or (f"/{name}",))
    return PublishedItem(name, addresses, **facts)


def entry(*items: PublishedItem, name: str = "toy", **facts: object) -> Entry:
    return Entry(name, "model", "a toy", items, "MIT", "nobody", **facts)


def test_a_file_comes_under_its_name_and_is_recorded(server, tmp_path):
    toy = entry(item(server, num_bytes=len(WEIGHTS)))
    (stored,) = download_entry(toy, cache=tmp_path)
    assert stored.path == tmp_path / "published" / "toy" / "weights.pth"
    assert stored.path.read_bytes() == WEIGHTS
    assert stored.is_new
    assert stored.record.sha256 == sha256(WEIGHTS)
    assert stored.record.origin == f"{server.url}/weights.pth"
    assert read_records(stored.path.parent) == {"weights.pth": stored.record}
    assert sorted(path.name for path in stored.path.parent.iterdir()) == [
        ".lock",
        "files.json",
        "weights.pth",
    ]
    (again,) = download_entry(toy, cache=tmp_path)
    assert not again.is_new
    assert again.record == stored.record
    assert len(server.requests) == 1


def test_a_dead_address_is_named_and_the_next_is_tried(server, tmp_path):
    dead = Address(f"{server.url}/gone.pth", dead_since="2024-06")
    toy = entry(PublishedItem("weights.pth", (dead, Address(f"{server.url}/weights.pth"))))
    said: list[str] = []
    (stored,) = download_entry(toy, cache=tmp_path, notify=said.append)
    assert stored.record.origin.endswith("/weights.pth")
    assert len(said) == 1
    assert "gone.pth (404 Not Found; known to be dead since 2024-06)" in said[0]


def test_when_nothing_helps_every_address_is_named_and_the_way_out(server, tmp_path):
    addresses = (
        Address(f"{server.url}/gone.pth", dead_since="2024-06"),
        Address(f"{server.url}/words.npy"),
        Address("folder-id", "drive_folder"),
        Address("https://example.org/list.html", "page"),
    )
    toy = entry(PublishedItem("weights.pth", addresses, num_bytes=400_000))
    with pytest.raises(DownloadError) as caught:
        download_entry(toy, cache=tmp_path)
    said = str(caught.value)
    assert "no address gives weights.pth of toy" in said
    assert "gone.pth (404 Not Found; known to be dead since 2024-06)" in said
    assert "words.npy (gives a file of 11 bytes, the published one has 400,000)" in said
    assert "https://drive.google.com/drive/folders/folder-id (cannot be fetched by a program: open it" in said
    assert "https://example.org/list.html (cannot be fetched by a program" in said
    assert said.endswith("if you have a copy of 400,000 bytes: narravid download toy --from FILE")
    assert not (entry_folder(toy, tmp_path) / "weights.pth").exists()


@pytest.mark.parametrize("facts", [{"num_bytes": 400_001}, {"sha256_start": "b121ed2d"}])
def test_what_comes_must_be_what_was_published(server, tmp_path, facts):
    server.files["/weights.pth"].says_length = False  # so that the size shows at the end only
    toy = entry(item(server, **facts))
    with pytest.raises(DownloadError, match=r"what came is not the published weights\.pth: it has"):
        download_entry(toy, cache=tmp_path)
    assert [path.name for path in entry_folder(toy, tmp_path).iterdir()] == [".lock"]
    good = entry(item(server, num_bytes=len(WEIGHTS), sha256_start=sha256(WEIGHTS)[:8]))
    assert download_entry(good, cache=tmp_path)[0].path.read_bytes() == WEIGHTS


def test_the_hash_of_the_first_time_is_the_measure_of_later_ones(server, tmp_path):
    toy = entry(item(server))
    (stored,) = download_entry(toy, cache=tmp_path)
    stored.path.unlink()
    server.files["/weights.pth"].content = WEIGHTS[::-1]
    with pytest.raises(DownloadError, match=rf"expected|first came from .* had {sha256(WEIGHTS)}; to accept"):
        download_entry(toy, cache=tmp_path)
    assert not stored.path.exists()
    server.files["/weights.pth"].content = WEIGHTS
    assert download_entry(toy, cache=tmp_path)[0].record.sha256 == sha256(WEIGHTS)


def test_a_stored_file_that_changes_is_noticed(server, tmp_path):
    toy = entry(item(server))
    (stored,) = download_entry(toy, cache=tmp_path)
    status = stored.path.stat()
    changed = bytearray(WEIGHTS)
    changed[1000] ^= 1
    stored.path.write_bytes(changed)
    for check in (
        lambda: check_stored(stored.path, thorough=False),
        lambda: download_entry(toy, cache=tmp_path),
    ):
        with pytest.raises(DownloadError, match="is not what was stored: .*delete it and download it again"):
            check()
    os.utime(stored.path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert check_stored(stored.path, thorough=False) == stored.record  # the quick look trusts the time
    with pytest.raises(DownloadError, match="is not what was stored"):
        check_stored(stored.path)
    stored.path.write_bytes(WEIGHTS)  # the same content, at another time
    assert check_stored(stored.path, thorough=False).sha256 == stored.record.sha256
    assert read_records(stored.path.parent)["weights.pth"].modified_ns == stored.path.stat().st_mtime_ns


def test_damaged_records_are_named(server, tmp_path):
    toy = entry(item(server))
    (stored,) = download_entry(toy, cache=tmp_path)
    for text in ("{", "[]", '{"weights.pth": {"sha": 1}}', '{"weights.pth": 3}'):
        (stored.path.parent / "files.json").write_text(text)
        with pytest.raises(DownloadError, match=r"files\.json is damaged; delete"):
            download_entry(toy, cache=tmp_path)


# ---------------------------------------------------------------- files that the user has


@pytest.fixture
def have(tmp_path) -> Path:
    folder = tmp_path / "have"
    folder.mkdir()
    (folder / "weights.pth").write_bytes(WEIGHTS)
    (folder / "words.npy").write_bytes(WORDS)
    return folder


def model_and_words(server: FileServer) -> tuple[Entry, Entry]:
    toy = entry(item(server, "/gone", num_bytes=len(WEIGHTS)), assets=("toy-words",))
    words = entry(item(server, "/gone", name="words.npy", num_bytes=len(WORDS)), name="toy-words")
    return toy, words


@pytest.mark.parametrize("name", ["weights.pth", "renamed by its owner.bin"])
def test_a_local_file_stands_in_and_what_belongs_to_it_is_found_beside_it(server, tmp_path, have, name):
    toy, words = model_and_words(server)
    path = have / name
    (have / "weights.pth").rename(path)
    stored = download_entry(toy, assets=[words], local_files=[path], cache=tmp_path)
    assert [file.path.name for file in stored] == ["weights.pth", "words.npy"]
    assert stored[0].record.origin == str(path)
    folder = entry_folder(toy, tmp_path)
    assert (folder / "weights.pth").read_bytes() == WEIGHTS
    assert (folder / "words.npy").read_bytes() == WORDS
    assert (folder / "words.npy").samefile(entry_folder(words, tmp_path) / "words.npy")
    assert path.read_bytes() == WEIGHTS
    assert server.requests == []


def test_where_files_cannot_have_two_names_they_are_copied(server, tmp_path, have, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr(os, "link", refuse)
    toy, words = model_and_words(server)
    download_entry(toy, assets=[words], local_files=[have / "weights.pth"], cache=tmp_path)
    copied = entry_folder(toy, tmp_path) / "words.npy"
    assert copied.read_bytes() == WORDS
    assert not copied.samefile(entry_folder(words, tmp_path) / "words.npy")


def test_local_files_may_lie_in_different_places(server, tmp_path, have):
    toy, words = model_and_words(server)
    elsewhere = tmp_path / "elsewhere" / "words.npy"
    elsewhere.parent.mkdir()
    (have / "words.npy").rename(elsewhere)
    with pytest.raises(DownloadError, match=r"toy is in .*, but lacks what belongs to it: no address gives"):
        download_entry(toy, assets=[words], local_files=[have / "weights.pth"], cache=tmp_path)
    stored = download_entry(toy, assets=[words], local_files=[elsewhere], cache=tmp_path)
    assert [file.is_new for file in stored] == [False, True]


def test_a_local_file_must_be_the_published_one(server, tmp_path, have):
    toy, words = model_and_words(server)
    (have / "weights.pth").write_bytes(WEIGHTS[:1000])
    with pytest.raises(
        DownloadError,
        match=r"have/weights\.pth: not the published weights\.pth: it has 1,000 bytes, expected 4",
    ):
        download_entry(toy, assets=[words], local_files=[have / "weights.pth"], cache=tmp_path)
    assert not (entry_folder(toy, tmp_path) / "weights.pth").exists()


def test_unclear_local_files_are_refused(server, tmp_path, have):
    toy, words = model_and_words(server)
    for name in ("a.bin", "b.bin"):
        (have / name).write_bytes(WEIGHTS)
    for paths in ([have / "a.bin", have / "b.bin"], [have / "weights.pth", have / "a.bin"]):
        with pytest.raises(
            DownloadError, match=r"a\.bin.* stands for; toy has files called weights\.pth, words"
        ):
            download_entry(toy, assets=[words], local_files=paths, cache=tmp_path)
    with pytest.raises(DownloadError, match="is a folder; name the file"):
        download_entry(toy, assets=[words], local_files=[have], cache=tmp_path)
    with pytest.raises(DownloadError, match="no such file"):
        download_entry(toy, assets=[words], local_files=[have / "absent"], cache=tmp_path)


def test_a_file_put_into_the_cache_by_hand_is_taken_as_it_is(server, tmp_path):
    toy = entry(item(server, "/gone", num_bytes=len(WEIGHTS)))
    folder = entry_folder(toy, tmp_path)
    folder.mkdir(parents=True)
    (folder / "weights.pth").write_bytes(WEIGHTS)
    (stored,) = download_entry(toy, cache=tmp_path)
    assert stored.path.read_bytes() == WEIGHTS
    assert stored.record.sha256 == sha256(WEIGHTS)
    assert server.requests == []


def test_the_licence_is_said_before_anything_comes(server, tmp_path):
    said: list[str] = []
    toy = entry(item(server, "/gone"), licence_notice="no commercial use")
    with pytest.raises(DownloadError):
        download_entry(toy, cache=tmp_path, notify=said.append)
    assert said[0] == "note: toy: no commercial use"


# ---------------------------------------------------------------- archives


def write_zip(path: Path, members: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def test_only_the_named_members_are_taken_out_of_an_archive(server, tmp_path):
    archive = write_zip(
        tmp_path / "a.zip",
        {
            "data/word2vec.pth": WEIGHTS,
            "data/dict.npy": WORDS,
            "../../escaped.txt": b"x",
            "/etc/cron.d/evil": b"x",
            "__MACOSX/data/dict.npy": b"shadow",
        },
    )
    server.files["/a.zip"] = Served(archive.read_bytes())
    toy = entry(item(server, "/a.zip", name="word2vec.zip", members=("word2vec.pth", "dict.npy")))
    stored = download_entry(toy, cache=tmp_path / "cache")
    folder = entry_folder(toy, tmp_path / "cache")
    assert [file.path.read_bytes() for file in stored] == [WEIGHTS, WORDS]
    assert sorted(path.name for path in folder.iterdir()) == [
        ".lock",
        "dict.npy",
        "files.json",
        "word2vec.pth",
    ]
    assert read_records(folder)["word2vec.zip"].sha256 == sha256(archive.read_bytes())
    assert not list(tmp_path.rglob("escaped.txt"))
    (folder / "dict.npy").unlink()
    assert [file.is_new for file in download_entry(toy, cache=tmp_path / "cache")] == [True, True]
    assert len(server.requests) == 2


def test_members_of_an_archive_may_be_given_by_themselves(server, tmp_path, have):
    toy = entry(item(server, "/gone", name="all.zip", members=("weights.pth", "words.npy")))
    stored = download_entry(toy, local_files=[have / "words.npy"], cache=tmp_path)
    assert [file.path.read_bytes() for file in stored] == [WEIGHTS, WORDS]
    stored[1].path.unlink()
    (have / "words.npy").write_bytes(WORDS[::-1])
    with pytest.raises(DownloadError, match=r"not the words\.npy of before: it has SHA-256"):
        download_entry(toy, local_files=[have / "words.npy"], cache=tmp_path)


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ({"dict.npy": WORDS}, r"has 0 files called word2vec\.pth, expected one; it has: dict\.npy"),
        ({"a/word2vec.pth": b"1", "b/word2vec.pth": b"2"}, r"has 2 files called word2vec\.pth"),
    ],
)
def test_other_archives_are_refused(server, tmp_path, members, said):
    toy = entry(item(server, "/a.zip", name="word2vec.zip", members=("word2vec.pth", "dict.npy")))
    server.files["/a.zip"] = Served(write_zip(tmp_path / "a.zip", members).read_bytes())
    with pytest.raises(DownloadError, match=said):
        download_entry(toy, cache=tmp_path / "cache")


def test_damaged_and_lying_archives_are_refused(server, tmp_path):
    toy = entry(item(server, "/a.zip", name="a.zip", members=("word2vec.pth",)))
    whole = write_zip(tmp_path / "a.zip", {"word2vec.pth": WEIGHTS}).read_bytes()
    flipped = bytearray(whole)
    flipped[5000] ^= 0xFF
    lying = whole.replace((400_000).to_bytes(4, "little"), (2**32 - 2).to_bytes(4, "little"))
    assert lying != whole
    for content in (whole[:1000], bytes(flipped), lying, b"not a zip"):
        server.files["/a.zip"] = Served(content)
        with pytest.raises(DownloadError, match="not a readable zip archive|claims 4,294,967,294 bytes"):
            download_entry(toy, cache=tmp_path / "cache")
        assert not (entry_folder(toy, tmp_path / "cache") / "word2vec.pth").exists()


# ---------------------------------------------------------------- several processes, and Ctrl-C

DOWNLOADER = """
import sys
from pathlib import Path
from narravid.models.catalogue import Address, Entry, PublishedItem
from narravid.models.download import download_entry
item = PublishedItem("weights.pth", (Address(sys.argv[1]),))
entry = Entry("toy", "model", "a toy", (item,), "MIT", "nobody")
notify = lambda line: print(line, flush=True)
(stored,) = download_entry(entry, cache=Path(sys.argv[2]), notify=notify)
print("new" if stored.is_new else "found", stored.record.sha256)
"""


def start_downloader(server: FileServer, cache: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", DOWNLOADER, f"{server.url}/weights.pth", str(cache)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={key: value for key, value in os.environ.items() if "proxy" not in key.lower()},
    )


def test_two_processes_at_once_fetch_it_once(server, tmp_path):
    server.files["/weights.pth"] = Served(WEIGHTS, chunk_pause_seconds=0.3)
    both = [start_downloader(server, tmp_path) for _ in range(2)]
    said = sorted(process.communicate(timeout=60)[0] for process in both)
    assert [process.returncode for process in both] == [0, 0]
    assert f"new {sha256(WEIGHTS)}\n" in said
    assert any(line.endswith(f"found {sha256(WEIGHTS)}\n") for line in said)
    assert server.ranges() == [None]


@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_goes_on_where_it_was(server, tmp_path, signal_number):
    server.files["/weights.pth"] = Served(WEIGHTS, headers={"ETag": '"one"'}, chunk_pause_seconds=0.3)
    process = start_downloader(server, tmp_path)
    folder = tmp_path / "published" / "toy"
    deadline = time.monotonic() + 60
    while not any(path.stat().st_size for path in folder.glob(".*.part")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal_number)
    process.communicate(timeout=60)
    assert process.returncode != 0
    (part,) = folder.glob(".*.part")
    kept = part.stat().st_size
    assert 0 < kept < len(WEIGHTS)
    assert not (folder / "weights.pth").exists()
    server.files["/weights.pth"].chunk_pause_seconds = 0.0
    toy = entry(item(server))
    (stored,) = download_entry(toy, cache=tmp_path)
    assert stored.path.read_bytes() == WEIGHTS
    assert server.ranges()[-1] == f"bytes={kept}-"
    assert not list(folder.glob(".*part*"))


def test_an_unknown_name_proposes_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 's3d-howto100m'"):
        download("s3d-howto100")


def test_records_are_plain_json(server, tmp_path):
    (stored,) = download_entry(entry(item(server)), cache=tmp_path)
    said = json.loads((stored.path.parent / "files.json").read_text())
    assert said["weights.pth"]["sha256"] == sha256(WEIGHTS)
    assert said["weights.pth"]["num_bytes"] == len(WEIGHTS)
