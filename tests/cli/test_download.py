"""`narravid models` and `narravid download`."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

import narravid
from file_server import FileServer, Served, serve_files
from models.published_files import S3D_FILE, WORDS_FILE, write_published_s3d
from narravid.cli.main import main
from narravid.models.catalogue import Address, PublishedItem
from narravid.models.catalogue_entries import ENTRIES


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def published(tmp_path, monkeypatch):
    """A server that has small files of the family, at the second address of each."""
    path = write_published_s3d(tmp_path / "published")
    with serve_files() as server:
        for name, file in (("s3d-howto100m", S3D_FILE), ("s3d-vocabulary", WORDS_FILE)):
            content = (path.parent / file).read_bytes()
            server.files[f"/{file}"] = Served(content)
            addresses = (
                Address(f"{server.url}/gone/{file}", dead_since="2024-06"),
                Address(f"{server.url}/{file}"),
            )
            items = (PublishedItem(file, addresses, num_bytes=len(content)),)
            monkeypatch.setitem(ENTRIES, name, dataclasses.replace(ENTRIES[name], items=items))
        yield server


def test_the_list_names_everything(capsys):
    assert main(["models"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["name", "size", "licence", "cached", "addresses"]
    assert max(map(len, lines)) <= 80
    rows = {line.split()[0]: line for line in lines if line.startswith("  ")}
    assert set(rows) == set(ENTRIES)
    assert lines.index("word list:") == lines.index(rows["s3d-vocabulary"]) - 1
    assert "125 MB" in rows["s3d-howto100m"]
    assert rows["s3d-howto100m"].endswith("3, 1 dead")
    assert rows["vt-twins"].endswith("by browser")
    assert "~329 MB" in rows["htm-aa"]
    assert "unknown" in rows["viclip-l"]
    assert all("  no  " in row for row in rows.values())


def test_the_list_as_json(capsys):
    assert main(["models", "--json"]) == 0
    facts = {entry["name"]: entry for entry in json.loads(capsys.readouterr().out)}
    assert list(facts) == list(ENTRIES)
    s3d = facts["s3d-howto100m"]
    assert (s3d["num_bytes"], s3d["exact_size"], s3d["cached"]) == (125_031_128, True, False)
    assert s3d["files"][0]["addresses"][0]["dead_since"] == "2024-06"
    assert s3d["assets"] == ["s3d-vocabulary"]
    assert facts["viclip-b"]["licence_notice"]
    assert facts["vt-twins"]["by_hand"]


def test_one_name_in_full(capsys):
    assert main(["models", "s3d-howto100m", "vt-twins"]) == 0
    shown = capsys.readouterr().out
    assert "s3d_howto100m.pth (dead since 2024-06)" in shown
    assert "https://drive.google.com/file/d/1DN8t1feS0t5hYYTfXQfZd596Pu9yXJIr/view (a user's copy)" in shown
    assert "arXiv 1912.06430" in shown
    assert "(to be opened in a browser)" in shown
    assert "state no licence" in shown
    assert main(["models", "s3d-howto"]) == 2
    assert "did you mean 's3d-howto100m'" in capsys.readouterr().err


def test_a_download_says_what_is_dead_and_what_came(published: FileServer, home: Path, capsys):
    assert main(["download", "s3d-howto100m"]) == 0
    said = capsys.readouterr()
    assert (
        f"narravid: {S3D_FILE}: {published.url}/gone/{S3D_FILE} (404 Not Found; known to be dead" in said.err
    )
    first, second = said.out.splitlines()
    assert first.startswith(str(home / "published" / "s3d-howto100m" / S3D_FILE))
    assert f"from {published.url}/{S3D_FILE}" in first
    assert WORDS_FILE in second
    num_requests = len(published.requests)
    assert main(["download", "s3d-howto100m"]) == 0
    assert capsys.readouterr().out.count("was there, unchanged") == 2
    assert len(published.requests) == num_requests
    assert main(["models"]) == 0
    rows = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert "  yes  " in rows["s3d-howto100m"]
    assert main(["info", "s3d-howto100m", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["weights_hash"] == narravid.load("s3d-howto100m").weights_hash


def test_when_nothing_gives_it_one_line_tells_the_way_out(published: FileServer, capsys):
    published.files.clear()
    assert main(["download", "s3d-howto100m"]) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"narravid: no address gives {S3D_FILE} of s3d-howto100m: ")
    assert last.endswith("narravid download s3d-howto100m --from FILE")


def test_a_local_file_and_another_cache(published: FileServer, tmp_path: Path, capsys):
    published.files.clear()
    words = ["download", "s3d-howto100m", "--cache", str(tmp_path / "other")]
    weights = tmp_path / "published" / S3D_FILE
    renamed = weights.rename(tmp_path / "my copy.pth")
    assert main([*words, "--from", str(renamed)]) == 2
    assert "lacks what belongs to it" in capsys.readouterr().err
    assert main([*words, "--from", str(tmp_path / "published" / WORDS_FILE)]) == 0
    assert (tmp_path / "other" / "published" / "s3d-howto100m" / S3D_FILE).exists()
    assert "was there, unchanged" in capsys.readouterr().out
    assert not any(S3D_FILE in path for path in published.paths())


def test_a_notice_comes_before_the_download(home: Path, capsys, tmp_path):
    assert main(["download", "vt-twins"]) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("narravid: note: vt-twins: its authors state no licence")
    assert "https://drive.google.com/drive/folders/16QH4C6Sr6ptGp-wEnVsAwZem-kp-uLkt (cannot be" in said[-1]
    for name in ("pretrained.pth.tar", "dict.npy"):
        (tmp_path / name).write_bytes(b"x")
    assert main(["download", "vt-twins", "--from", str(tmp_path / "pretrained.pth.tar")]) == 0
    assert capsys.readouterr().out.count("from /") == 2


def test_unknown_names_and_models_that_are_not_there(capsys):
    assert main(["download", "viclip"]) == 2
    assert "did you mean 'viclip-" in capsys.readouterr().err
    assert main(["info", "viclip-b"]) == 2
    said = capsys.readouterr().err
    assert "run `narravid download viclip-b` first" in said
    assert said.count("\n") == 1
