"""CLIP's tokenizer: a small file of pairs for its rules, the published one for its numbers."""

from __future__ import annotations

import gzip

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.text.byte_pairs import MERGES_FILE, BytePairTokenizer

PAIRS = ("c u", "cu t</w>", "t h", "th e</w>")
CUT, THE = 2 * 256 + 1, 2 * 256 + 3  # ids of the second and fourth pair


@pytest.fixture
def tokenizer() -> BytePairTokenizer:
    return BytePairTokenizer(PAIRS, context_length=6)


def test_pairs_are_merged_between_start_and_end(tokenizer):
    start, end = tokenizer.start_id, tokenizer.end_id
    assert (start, end, tokenizer.num_ids) == (516, 517, 518)
    ids = tokenizer(["cut the", "", "  THE\tcut "])
    assert ids.dtype == torch.int64
    assert ids.tolist() == [
        [start, CUT, THE, end, 0, 0],
        [start, end, 0, 0, 0, 0],
        [start, THE, CUT, end, 0, 0],
    ]


def test_long_sentences_are_cut_and_still_end(tokenizer):
    start, end = tokenizer.start_id, tokenizer.end_id
    assert tokenizer(["cut the " * 9]).tolist() == [[start, CUT, THE, CUT, THE, end]]
    assert tokenizer(["cut the cut the"]).tolist() == [[start, CUT, THE, CUT, THE, end]]


def test_text_is_repaired_and_freed_of_entities(tokenizer):
    plain, packed, twice, curly = tokenizer(["'<'", "'&lt;'", "'&amp;lt;'", "‘<’"])
    assert plain.equal(packed)
    assert plain.equal(twice)
    assert plain.equal(curly)


def test_spelt_out_marks_are_marks(tokenizer):
    start, end = tokenizer.start_id, tokenizer.end_id
    assert tokenizer(["the <|endoftext|>"]).tolist() == [[start, THE, end, end, 0, 0]]


@given(st.lists(st.text(max_size=40), max_size=4))
def test_every_text_has_a_start_and_one_last_end(sentences):
    tokenizer = BytePairTokenizer(PAIRS, context_length=8)
    ids = tokenizer(sentences)
    assert ids.shape == (len(sentences), 8)
    for row in ids.tolist():
        assert row[0] == tokenizer.start_id
        last = max(place for place, number in enumerate(row) if number == tokenizer.end_id)
        assert all(number == 0 for number in row[last + 1 :])


def test_bytes_outside_the_pairs_have_ids_of_their_own(tokenizer):
    assert len({tuple(tokenizer([sign])[0].tolist()) for sign in "ab!ÿ日"}) == 5


@pytest.mark.parametrize("name", ["pairs.txt", "pairs.txt.gz"])
def test_saving_and_loading(tmp_path, tokenizer, name):
    tokenizer.save(tmp_path / name)
    again = BytePairTokenizer.load(tmp_path / name, context_length=6)
    assert again.merges == tokenizer.merges
    first = (tmp_path / name).read_bytes()
    again.save(tmp_path / name)
    assert (tmp_path / name).read_bytes() == first


def packed(text):
    """The same bytes at any time of day: the names of the tests are made of them."""
    return gzip.compress(text, mtime=0)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f"no such file; CLIP publishes it as {MERGES_FILE}"),
        (b"no gzip", "not a readable file of byte pairs"),
        (packed(b"#version\na b\n" * 50)[:-9], "not a readable file of byte pairs"),
        (packed(b"\xff\xfe"), "not a readable file of byte pairs"),
        (packed(b"#version\n"), "found no pairs"),
        (packed(b"#version\na b\nabc\n"), "line 3.*expected two symbols and a space.*found 'abc'"),
        (packed(b"#version\na b\nab c\nzz q</w>\n"), "line 4.*an earlier pair makes, found 'zz q</w>'"),
    ],
)
def test_broken_files_are_named(tmp_path, content, message):
    path = tmp_path / "pairs.txt.gz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message):
        BytePairTokenizer.load(path)


def test_a_packed_file_that_would_fill_the_memory_is_refused(tmp_path):
    path = tmp_path / "bomb.txt.gz"
    path.write_bytes(gzip.compress(bytes(20_000_000)))
    assert path.stat().st_size < 30_000
    with pytest.raises(AnnotationError, match="more than 16,000,000 bytes unpacked"):
        BytePairTokenizer.load(path)


def test_mistakes_are_refused(tokenizer):
    with pytest.raises(ValueError, match="one string"):
        tokenizer("cut the")
    with pytest.raises(ValueError, match="at least 3"):
        BytePairTokenizer(PAIRS, context_length=2)
    with pytest.raises(ValueError, match="needs pairs"):
        BytePairTokenizer([])
    with pytest.raises(ValueError, match=r"merges\[1\] must be two symbols.*got 'cut s'"):
        BytePairTokenizer(["c u", "cut s", "cu t"])


@pytest.mark.shared
def test_the_published_pairs_give_what_another_library_gives(shared_data):
    from transformers import CLIPTokenizerFast

    tokenizer = BytePairTokenizer.load(shared_data / "tokenizers" / MERGES_FILE, context_length=77)
    reference = CLIPTokenizerFast(
        vocab=tokenizer._merger.get_vocab(), merges=[tuple(pair.split(" ")) for pair in tokenizer.merges]
    )
    sentences = ["a robot's arm opens the 2 microwave-doors!", "Whisk 12 eggs, don't STOP...", "x" * 50]
    for row, sentence in zip(tokenizer(sentences).tolist(), sentences, strict=True):
        expected = reference(sentence)["input_ids"]
        assert row[: len(expected)] == expected
        assert row[len(expected) :] == [0] * (77 - len(expected))
