"""The table of published names, and opening them from the cache."""

from __future__ import annotations

import dataclasses
import os
import re
from urllib.parse import urlsplit

import pytest
import torch

import narravid
from models.published_files import S3D_FILE, WORDS_FILE, write_published_s3d
from narravid.errors import CheckpointError, ConfigError, DownloadError
from narravid.models.cache import default_cache, entry_folder, is_cached
from narravid.models.catalogue import Address, PublishedItem
from narravid.models.catalogue_entries import ENTRIES, find_entry
from narravid.models.download import download_entry

PUBLISHED = {
    "s3d-howto100m",
    "s3d-vocabulary",
    "milnce-word-vectors",
    "howto100m",
    "howto100m-evaluation-features",
    "howto100m-captions",
    "resnext101-kinetics",
    "resnet152-imagenet",
    "vt-twins",
    "cpd-instagram300k",
    "tan-htm370k",
    "htm-aa",
    "htm-align",
    "htm-sentencified",
    "viclip-b",
    "viclip-l",
    "clip-byte-pairs",
    "bert-word-pieces",
}


def test_every_published_name_is_there():
    assert set(ENTRIES) == PUBLISHED
    assert all(name == entry.name for name, entry in ENTRIES.items())


@pytest.mark.parametrize("entry", ENTRIES.values(), ids=lambda entry: entry.name)
def test_every_entry_is_complete(entry):
    assert entry.summary
    assert entry.licence
    assert re.search(r"\b(19|20)\d\d\b|arXiv", entry.citation)
    assert all(asset in ENTRIES for asset in entry.assets)
    names = [name for item in entry.items for name in item.kept_names]
    names += [name for asset in entry.assets for item in ENTRIES[asset].items for name in item.kept_names]
    assert len(names) == len(set(names))
    for item in entry.items:
        assert item.addresses
        assert not item.known_dead
        assert re.fullmatch(r"[\w.-]+", item.file_name)
        assert re.fullmatch(r"[0-9a-f]*", item.sha256_start)
        for address in item.addresses:
            assert urlsplit(address.url).scheme == "https"
            assert re.fullmatch(r"\d{4}-\d\d", address.dead_since or "2024-06")


def test_the_facts_that_identify_files():
    items = {item.file_name: item for entry in ENTRIES.values() for item in entry.items}
    assert items["s3d_howto100m.pth"].num_bytes == 125_031_128
    assert items["s3d_dict.npy"].num_bytes == 5_830_040
    assert items["resnet152-b121ed2d.pth"].sha256_start == "b121ed2d"
    first, *mirrors = items["s3d_howto100m.pth"].addresses
    assert first.dead_since == "2024-06"
    assert [mirror.kind for mirror in mirrors] == ["web", "drive_file"]
    assert find_entry("vt-twins").by_hand
    assert not find_entry("s3d-howto100m").by_hand


def test_restrictive_licences_come_with_a_notice():
    notices = {name: entry.licence_notice for name, entry in ENTRIES.items() if entry.licence_notice}
    assert set(notices) == {"viclip-b", "viclip-l", "vt-twins"}
    assert "no commercial use" in notices["viclip-l"]
    assert "state no licence" in notices["vt-twins"]


@pytest.mark.shared
def test_the_tokenizers_are_those_in_use(shared_data, tmp_path):
    for name in ("clip-byte-pairs", "bert-word-pieces"):
        entry = find_entry(name)
        path = shared_data / "tokenizers" / entry.items[0].file_name
        (stored,) = download_entry(entry, local_files=[path], cache=tmp_path)
        assert stored.path.read_bytes() == path.read_bytes()


def test_addresses_that_a_person_can_open():
    assert Address("x1", "drive_file").url == "https://drive.google.com/file/d/x1/view"
    assert Address("x1", "drive_folder").url == "https://drive.google.com/drive/folders/x1"
    nested = Address("org/name/folder/file.pth", "hugging_face")
    assert nested.url == "https://huggingface.co/org/name/blob/main/folder/file.pth"
    assert nested.hugging_face_file == ("org/name", "folder/file.pth")


def test_dead_and_by_hand_follow_from_the_addresses():
    dead, alive = Address("https://a.org/x", dead_since="2024-06"), Address("https://b.org/x")
    assert PublishedItem("x", (dead,)).known_dead
    assert not PublishedItem("x", (dead, alive)).known_dead
    assert PublishedItem("x", (Address("id", "drive_folder"),)).by_hand
    assert not PublishedItem("x", (Address("id", "drive_folder"), alive)).by_hand


def test_sizes_add_up_where_they_are_known():
    entry = find_entry("htm-aa")
    assert (entry.known_bytes, entry.exact_size) == (329_000_000, False)
    exact = dataclasses.replace(entry, items=(PublishedItem("a", (), 1), PublishedItem("b", (), 2)))
    assert (exact.known_bytes, exact.exact_size) == (3, True)
    assert find_entry("vt-twins").known_bytes is None


def test_where_the_cache_is(monkeypatch, tmp_path):
    for name in ("NARRAVID_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_cache() == tmp_path / ".cache" / "narravid"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert default_cache() == tmp_path / "xdg" / "narravid"
    monkeypatch.setenv("NARRAVID_HOME", "~/mine")
    assert default_cache() == tmp_path / "mine"


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch):
    for name in ("NARRAVID_HOME", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)  # in no list of users
    with pytest.raises(ConfigError, match="set NARRAVID_HOME"):
        default_cache()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("NARRAVID_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def small_s3d(tmp_path, monkeypatch):
    """A small file of the family in place of the published one, whose size it has not."""
    path = write_published_s3d(tmp_path / "have")
    for name, file in (("s3d-howto100m", S3D_FILE), ("s3d-vocabulary", WORDS_FILE)):
        entry = ENTRIES[name]
        items = (dataclasses.replace(entry.items[0], num_bytes=(path.parent / file).stat().st_size),)
        monkeypatch.setitem(ENTRIES, name, dataclasses.replace(entry, items=items))
    return path


def test_a_published_name_opens_from_the_cache(cache, small_s3d, tmp_path, monkeypatch):
    entry = ENTRIES["s3d-howto100m"]
    with pytest.raises(
        CheckpointError, match="not in the cache .* run `narravid download s3d-howto100m` first"
    ):
        narravid.load("s3d-howto100m")
    assert not is_cached(entry)
    assets = [ENTRIES[name] for name in entry.assets]
    download_entry(entry, assets=assets, local_files=[small_s3d])
    assert is_cached(entry)
    assert entry_folder(entry).is_relative_to(cache)
    model = narravid.load("s3d-howto100m")
    assert model.weights_hash == narravid.load(small_s3d).weights_hash
    assert narravid.load("s3d-howto100m", download=True).weights_hash == model.weights_hash
    (entry_folder(entry) / WORDS_FILE).unlink()  # it is taken from its own name's folder again
    assert narravid.load("s3d-howto100m").weights_hash == model.weights_hash
    changed = bytearray((entry_folder(entry) / S3D_FILE).read_bytes())
    changed[-100] ^= 1
    (entry_folder(entry) / S3D_FILE).write_bytes(changed)
    with pytest.raises(DownloadError, match="is not what was stored"):
        narravid.load("s3d-howto100m")


def test_what_belongs_to_a_model_is_held_against_its_record_too(cache, small_s3d):
    entry, words = ENTRIES["s3d-howto100m"], ENTRIES["s3d-vocabulary"]
    download_entry(entry, assets=[words], local_files=[small_s3d])
    stored, beside = entry_folder(words) / WORDS_FILE, entry_folder(entry) / WORDS_FILE
    whole = stored.read_bytes()
    changed = whole.replace("oil".encode("utf-32-le"), "lio".encode("utf-32-le"))
    assert changed != whole
    beside.unlink()
    beside.write_bytes(changed)  # a copy of its own, of the same size: the recorded one takes its place
    narravid.load("s3d-howto100m")
    assert beside.read_bytes() == whole
    stored.write_bytes(changed)
    with pytest.raises(DownloadError, match=rf"{WORDS_FILE} is not what was stored"):
        narravid.load("s3d-howto100m")


def test_a_cache_that_is_whole_is_only_read(cache, small_s3d):
    entry = ENTRIES["s3d-howto100m"]
    download_entry(entry, assets=[ENTRIES[name] for name in entry.assets], local_files=[small_s3d])
    for lock in cache.rglob(".lock"):
        lock.unlink()
    assert narravid.load("s3d-howto100m", download=True)
    assert not list(cache.rglob(".lock"))


def test_what_lies_at_the_path_goes_before_a_name(cache, small_s3d, tmp_path, monkeypatch, model):
    monkeypatch.chdir(tmp_path)
    narravid.save_pretrained(model, "s3d-howto100m")
    assert narravid.load("s3d-howto100m").weights_hash == model.weights_hash


def test_names_that_are_no_models(cache):
    with pytest.raises(CheckpointError, match="stands for word list, not for a model"):
        narravid.load("s3d-vocabulary")
    with pytest.raises(CheckpointError, match="did you mean the published name 'viclip-b'"):
        narravid.load("viclip-bb")
    with pytest.raises(ConfigError, match="unknown published name 'viclip'"):
        find_entry("viclip")


def test_a_safetensors_file_of_a_model_folder_opens_as_that_folder(tmp_path, model):
    narravid.save_pretrained(model, tmp_path / "model")
    assert narravid.load(tmp_path / "model" / "model.safetensors").weights_hash == model.weights_hash
    torch.save({}, tmp_path / "empty.pth")
    with pytest.raises(CheckpointError, match="no tensors in it"):
        narravid.load(tmp_path / "empty.pth")
