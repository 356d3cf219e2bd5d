"""Word vectors: what is read from tables and from word2vec's files, and how anything else is refused."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
import torch

from narravid.errors import CheckpointError
from narravid.text.word_vectors import WordVectors, load_word_vectors, read_word2vec
from narravid.text.words import Vocabulary

WORDS = Vocabulary(["a", "b", "c"])
TABLE = torch.arange(12, dtype=torch.float32).reshape(4, 3)


def test_tables_with_and_without_a_padding_row_are_read_from_both_kinds_of_file(tmp_path):
    np.save(tmp_path / "with.npy", TABLE.numpy())
    torch.save(TABLE.double(), tmp_path / "with.pth")
    torch.save(TABLE[1:], tmp_path / "without.pth", _use_new_zipfile_serialization=False)
    for name in ("with.npy", "with.pth"):
        table = load_word_vectors(tmp_path / name, WORDS)
        assert table.dtype == torch.float32
        assert torch.equal(table, TABLE)
    table = load_word_vectors(tmp_path / "without.pth", WORDS)
    assert torch.equal(table[1:], TABLE[1:])
    assert not table[0].any()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (TABLE[:2], "2 word vectors do not fit a vocabulary of 3 words"),
        (TABLE.long(), "2-D table of floats"),
        (TABLE[0], "2-D table of floats"),
        (TABLE / 0, "NaN or infinity"),
        ({"weight": TABLE}, "one tensor, got dict"),
    ],
    ids=["rows", "integers", "one row", "infinite", "dictionary"],
)
def test_tables_that_do_not_fit_are_refused(tmp_path, content, message):
    torch.save(content, tmp_path / "vectors.pth")
    with pytest.raises(CheckpointError, match=message):
        load_word_vectors(tmp_path / "vectors.pth", WORDS)


@pytest.mark.parametrize("name", ["vectors.npy", "vectors.pth"])
def test_absent_damaged_and_malicious_files_are_refused(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(CheckpointError, match="no such file"):
        load_word_vectors(path, WORDS)
    for junk in (b"", b"junk", bytes(range(256)) * 4):
        path.write_bytes(junk)
        with pytest.raises(CheckpointError, match="not a file of word vectors"):
            load_word_vectors(path, WORDS)
    np.save(tmp_path / "objects.npy", np.array([object()], dtype=object), allow_pickle=True)
    with pytest.raises(CheckpointError, match="not a file of word vectors"):
        load_word_vectors(tmp_path / "objects.npy", WORDS)


def word2vec_bytes(words: list[bytes], rows: np.ndarray, *, line_ends: bool = True) -> bytes:
    """The binary format, as its C program writes it (with line ends) and as GoogleNews was written."""
    end = b"\n" if line_ends else b""
    entries = [word + b" " + row.astype("<f4").tobytes() + end for word, row in zip(words, rows, strict=True)]
    return f"{len(words)} {rows.shape[1]}\n".encode() + b"".join(entries)


ENTRIES = [b"the", b"Caf\xc3\xa9", b"in_the", b"oil"]
# Row 1 holds the bytes of a space and of a line end, which a careless reader takes for the next word.
ROWS = np.array([[1, 2, 3], [0, 0, 0], [7, 8, 9], [-1, 0.5, 2e-30]], dtype=np.float32)
ROWS[1] = np.frombuffer(b"   \x20\n\n\n\n \n \n", dtype="<f4")


@pytest.mark.parametrize("line_ends", [False, True])
@pytest.mark.parametrize("packed", [False, True])
def test_word2vec_files_are_read_bit_for_bit(tmp_path, line_ends, packed):
    content = word2vec_bytes(ENTRIES, ROWS, line_ends=line_ends)
    path = tmp_path / ("vectors.bin.gz" if packed else "vectors.bin")
    path.write_bytes(gzip.compress(content) if packed else content)
    vectors = read_word2vec(path)
    assert vectors.vocabulary.words == ("the", "Café", "in_the", "oil")
    assert vectors.table.dtype == torch.float32
    np.testing.assert_array_equal(vectors.table[1:].numpy(), ROWS)
    assert not vectors.table[0].any()


def test_a_vocabulary_restricts_what_is_kept(tmp_path):
    (tmp_path / "vectors.bin").write_bytes(word2vec_bytes(ENTRIES, ROWS))
    vectors = read_word2vec(tmp_path / "vectors.bin", Vocabulary(["oil", "pan", "the"]))
    assert vectors.vocabulary.words == ("the", "oil")
    np.testing.assert_array_equal(vectors.table[1:].numpy(), ROWS[[0, 3]])
    with pytest.raises(CheckpointError, match="none of the words"):
        read_word2vec(tmp_path / "vectors.bin", {"pan"})


def test_the_first_of_two_vectors_of_one_word_counts(tmp_path):
    (tmp_path / "vectors.bin").write_bytes(word2vec_bytes([b"a", b"b", b"a"], ROWS[[0, 2, 3]]))
    vectors = read_word2vec(tmp_path / "vectors.bin")
    assert vectors.vocabulary.words == ("a", "b")
    np.testing.assert_array_equal(vectors.table[1:].numpy(), ROWS[[0, 2]])


def test_files_longer_than_a_chunk(tmp_path, monkeypatch):
    words = [f"word{number}".encode() for number in range(200)]
    rows = np.random.RandomState(0).standard_normal((200, 7)).astype(np.float32)
    (tmp_path / "vectors.bin").write_bytes(word2vec_bytes(words, rows))
    for chunk_bytes in (1, 5, 28, 64, 1000):
        monkeypatch.setattr("narravid.text.word_vectors.CHUNK_BYTES", chunk_bytes)
        vectors = read_word2vec(tmp_path / "vectors.bin")
        assert vectors.vocabulary.words == tuple(word.decode() for word in words)
        np.testing.assert_array_equal(vectors.table[1:].numpy(), rows)


@pytest.mark.parametrize("packed", [False, True])
def test_every_cut_of_a_word2vec_file_is_refused(tmp_path, packed):
    content = word2vec_bytes(ENTRIES, ROWS, line_ends=False)
    whole = gzip.compress(content) if packed else content
    path = tmp_path / ("vectors.bin.gz" if packed else "vectors.bin")
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match="not a whole file of word2vec"):
            read_word2vec(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"3\n", "expected a first line"),
        (b"three 3\n", "expected a first line"),
        (b"\x80\x02}q\x00." * 20, "expected a first line"),
        (b"0 3\n", "0 words of dimension 3"),
        (b"1 999999999\n", "dimension 999999999"),
        (b"1 3\n" + b"x" * 5000, "word 1 of 1 has no end"),
        (b"1 1\n \x00\x00\x00\x00", "word 1 of 1 is empty"),
        (b"1 1\n\xff \x00\x00\x00\x00", "can't decode byte 0xff"),
        (b"1 1\na \x00\x00\x00\x00b \x00\x00\x00\x00", "it goes on after its 1 words"),
        (b"1 1\na \x00\x00\x80\x7f", "NaN or infinity"),
    ],
)
def test_files_that_are_no_word2vec_are_refused(tmp_path, content, message):
    path = tmp_path / "vectors.bin"
    with pytest.raises(CheckpointError, match="no such file"):
        read_word2vec(path)
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=message):
        read_word2vec(path)


@pytest.mark.parametrize("table", [TABLE[:3], TABLE[0], TABLE.double()], ids=["rows", "vector", "double"])
def test_words_and_vectors_belong_together(table):
    with pytest.raises(ValueError, match="table must"):
        WordVectors(WORDS, table)


@pytest.mark.parametrize("table", [torch.zeros(1).expand(4, 10**14), torch.eye(4).to_sparse()])
def test_a_table_whose_numbers_are_not_in_the_file_is_refused(tmp_path, table):
    torch.save(table, tmp_path / "word2vec.pth")
    with pytest.raises(CheckpointError, match="are in the file"):
        load_word_vectors(tmp_path / "word2vec.pth", Vocabulary(["add", "oil", "pan"]))
