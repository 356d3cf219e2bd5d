"""Word pieces: against a plain implementation of the rule, and against the tokenizer of transformers."""

from __future__ import annotations

import copy
import pickle
import sys
import unicodedata
from pathlib import Path

import pytest
import torch

from narravid.errors import AnnotationError, MissingExtraError
from narravid.text.word_pieces import WordPieces, WordPieceTokenizer

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
PIECES = WordPieces((*SPECIAL, "stir", "##ring", "##s", "the", "pan", "cafe", ",", "!", "don", "'", "t"))

SENTENCES = (
    "Hello, World!",
    "",
    "stir-fry the oil, don't burn it",
    "Héllo naïve café Ünïcödé",
    "日本語 text",
    "unbelievably pneumonoultramicroscopicsilicovolcanoconiosis",
    "tabs\tand\nnew lines\r and   spaces",
    "zero\x00width\ufffd control\u200bcharacters",
    "$5.00 & co/op 3½ cups @ 350°F",
    "👍 emoji",
    "x" * 101,
    "word " * 100,
    "a [MASK] and a [SEP] in the text",
)


@pytest.fixture(scope="module")
def published(shared_data: Path) -> WordPieces:
    return WordPieces.load(shared_data / "tokenizers" / "bert-base-uncased-vocab.txt")


def plain_ids(pieces: WordPieces, sentence: str) -> list[int]:
    """Start, longest known piece from the left of each word again and again, end."""
    text = unicodedata.normalize("NFD", sentence.lower())
    text = "".join(character for character in text if unicodedata.category(character) != "Mn")
    ids = []
    for word in "".join(f" {c} " if unicodedata.category(c)[0] == "P" else c for c in text).split():
        found: list[int] = []
        start = 0
        while start < len(word):
            prefix = "##" if start else ""
            ends = [
                end
                for end in range(len(word), start, -1)
                if pieces.id_of(prefix + word[start:end]) is not None
            ]
            if not ends:
                found = [pieces.id_of("[UNK]")]
                break
            found.append(pieces.id_of(prefix + word[start : ends[0]]))
            start = ends[0]
        ids += found
    return [pieces.id_of("[CLS]"), *ids, pieces.id_of("[SEP]")]


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Stirring the pans!", ["[CLS]", "stir", "##ring", "the", "pan", "##s", "!", "[SEP]"]),
        ("Café, zebra", ["[CLS]", "cafe", ",", "[UNK]", "[SEP]"]),
        ("don't", ["[CLS]", "don", "'", "t", "[SEP]"]),
        ("stirzz", ["[CLS]", "[UNK]", "[SEP]"]),
        ("", ["[CLS]", "[SEP]"]),
    ],
)
def test_pieces_of_a_sentence(sentence, expected):
    tokens = WordPieceTokenizer(PIECES, max_tokens=10)([sentence])
    assert tokens.shape == (1, 10)
    assert tokens.dtype == torch.int64
    ids = [PIECES.id_of(piece) for piece in expected]
    assert tokens[0].tolist() == ids + [0] * (10 - len(ids))
    assert plain_ids(PIECES, sentence) == ids


def test_a_long_sentence_loses_its_end():
    tokens = WordPieceTokenizer(PIECES, max_tokens=4)(["the pan the pan", "the pan", "pan"])
    start, end, the, pan = (PIECES.id_of(piece) for piece in ("[CLS]", "[SEP]", "the", "pan"))
    assert tokens.tolist() == [[start, the, pan, the], [start, the, pan, end], [start, pan, end, 0]]


@pytest.mark.shared
def test_the_published_list_as_transformers_reads_it(published, shared_data):
    transformers = pytest.importorskip("transformers")
    reference = transformers.BertTokenizer(
        vocab=str(shared_data / "tokenizers" / "bert-base-uncased-vocab.txt"), do_lower_case=True
    )
    expected = reference(list(SENTENCES), padding="max_length", max_length=64)["input_ids"]
    tokens = WordPieceTokenizer(published)(SENTENCES)
    assert tokens.tolist() == [row[:64] for row in expected]


@pytest.mark.shared
def test_the_published_list_by_the_plain_rule(published):
    sentences = [SENTENCES[0], SENTENCES[2], SENTENCES[3], SENTENCES[5], "put the marinated chicken in"]
    tokens = WordPieceTokenizer(published)(sentences)
    for row, sentence in zip(tokens.tolist(), sentences, strict=True):
        ids = plain_ids(published, sentence)
        assert row == ids + [0] * (64 - len(ids))


@pytest.mark.shared
def test_the_published_list_comes_back_from_a_file(published, tmp_path, shared_data):
    assert len(published) == 30522
    published.save(tmp_path / "vocab.txt")
    original = shared_data / "tokenizers" / "bert-base-uncased-vocab.txt"
    assert (tmp_path / "vocab.txt").read_bytes() == original.read_bytes()
    assert WordPieces.load(tmp_path / "vocab.txt") == published


def test_no_sentences_and_a_string():
    tokenizer = WordPieceTokenizer(PIECES, max_tokens=5)
    assert tokenizer([]).shape == (0, 5)
    with pytest.raises(ValueError, match="wrap it"):
        tokenizer("the pan")


def test_a_tokenizer_can_be_copied_and_sent_to_a_worker():
    tokenizer = WordPieceTokenizer(PIECES, max_tokens=7)
    for again in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert torch.equal(again(["stirring pans"]), tokenizer(["stirring pans"]))
        assert again.pieces == PIECES


def test_a_file_with_windows_line_ends(tmp_path):
    path = tmp_path / "vocab.txt"
    path.write_bytes("\r\n".join(PIECES.pieces).encode())
    assert WordPieces.load(path) == PIECES


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[PAD]\n[UNK]\nthe\n", r"needs \[CLS\], \[SEP\]"),
        (b"[UNK]\n[PAD]\n[CLS]\n[SEP]\n", r"begins with \[PAD\], got '\[UNK\]'"),
        (b"[PAD]\n[UNK]\n[CLS]\n[SEP]\nthe\nthe\n", "'the' occurs twice"),
        (b"", r"needs \[PAD\]"),
        (b"\xff\xfe\x00", "not a readable list"),
    ],
)
def test_a_file_that_is_no_list_is_refused(tmp_path, content, message):
    path = tmp_path / "vocab.txt"
    path.write_bytes(content)
    with pytest.raises(AnnotationError, match=message) as caught:
        WordPieces.load(path)
    assert "vocab.txt" in str(caught.value)


def test_a_missing_file(tmp_path):
    with pytest.raises(AnnotationError, match="there is no such list"):
        WordPieces.load(tmp_path / "absent.txt")


def test_wrong_settings_are_refused():
    with pytest.raises(ValueError, match="max_tokens"):
        WordPieceTokenizer(PIECES, max_tokens=0)


def test_an_absent_library_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(MissingExtraError, match=r"word pieces needs tokenizers.*narravid\[text\]"):
        WordPieceTokenizer(PIECES)


def test_lists_are_compared_by_their_pieces():
    assert WordPieces(PIECES.pieces) == PIECES
    assert hash(WordPieces(PIECES.pieces)) == hash(PIECES)
    assert WordPieces((*PIECES.pieces, "more")) != PIECES
    assert PIECES.id_of("zebra") is None
    assert repr(PIECES) == "WordPieces(15 pieces)"


def test_the_words_of_texts_become_pieces_the_most_frequent_first():
    pieces = WordPieces.from_texts(["A red ball, a RED box", "[PAD] two red boxes"], min_count=1)
    assert pieces.pieces[:5] == ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
    assert pieces.pieces[5:7] == ("red", "a")
    assert pieces.pieces[7:] == (",", "[", "]", "ball", "box", "boxes", "pad", "two")
    fewer = WordPieces.from_texts(["a red ball", "a red box"], min_count=2)
    assert fewer.pieces[5:] == ("a", "red")
    tokens = WordPieceTokenizer(fewer, max_tokens=6)(["a red ball"])
    assert tokens.tolist() == [[2, 5, 6, 1, 3, 0]]
