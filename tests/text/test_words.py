"""Word splitting, vocabularies and the word tokenizer."""

from __future__ import annotations

import json
import pickle

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from narravid.errors import AnnotationError
from narravid.text.words import PADDING_ID, Vocabulary, WordTokenizer, split_words


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(["add", "oil", "pan", "don't", "TV"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Don't add OIL!", ["don't", "add", "oil"]),
        ("egg_white, jalapeño 2", ["egg_white", "jalapeño", "2"]),
        ("cut-onion\tnow\n", ["cut", "onion", "now"]),
        ("...!?", []),
        ("", []),
    ],
)
def test_words_are_runs_of_word_characters_and_apostrophes(text, expected):
    assert split_words(text, lower_case=True) == expected


def test_case_is_kept_on_request():
    assert split_words("Add OIL", lower_case=False) == ["Add", "OIL"]


def test_encode_drops_unknown_words_before_cutting(vocabulary):
    ids = vocabulary.encode("the add the the oil pan", max_words=2, lower_case=True)
    assert ids.dtype == torch.int64
    assert ids.tolist() == [1, 2]


def test_encode_keeps_unknown_words_in_place_on_request(vocabulary):
    ids = vocabulary.encode("the add the oil", max_words=6, lower_case=True, unknown="keep")
    assert ids.tolist() == [0, 1, 0, 2, 0, 0]


def test_case_decides_whether_a_word_is_known(vocabulary):
    assert vocabulary.encode("TV tv", max_words=3, lower_case=False).tolist() == [5, 0, 0]
    assert vocabulary.encode("TV tv", max_words=3, lower_case=True).tolist() == [0, 0, 0]


def test_a_repeated_word_takes_its_last_position_as_published():
    vocabulary = Vocabulary(["oil", "pan", "oil"])
    assert vocabulary.id_of("oil") == 3
    assert vocabulary.id_of("whisk") is None
    assert len(vocabulary) == 3
    assert vocabulary.num_embeddings == 4


def test_vocabularies_compare_by_their_words(vocabulary):
    assert vocabulary == Vocabulary(list(vocabulary))
    assert hash(vocabulary) == hash(Vocabulary(vocabulary.words))
    assert vocabulary != Vocabulary(["oil"])
    assert "oil" in vocabulary
    assert "whisk" not in vocabulary
    assert "5 words" in repr(vocabulary)


def test_from_captions_orders_by_count_then_alphabet():
    texts = ["Stir the egg", "stir the pan", "the oil"]
    assert Vocabulary.from_captions(texts).words == ("the", "stir", "egg", "oil", "pan")
    assert Vocabulary.from_captions(texts, min_count=2).words == ("the", "stir")
    assert Vocabulary.from_captions(texts, max_words=3).words == ("the", "stir", "egg")
    assert "Stir" in Vocabulary.from_captions(texts, lower_case=False)


@given(st.lists(st.text(alphabet="ab c'", max_size=8), min_size=1, max_size=8), st.randoms())
def test_from_captions_does_not_depend_on_the_order_of_texts(texts, random):
    shuffled = list(texts)
    random.shuffle(shuffled)
    if any(split_words(text, lower_case=True) for text in texts):
        assert Vocabulary.from_captions(texts) == Vocabulary.from_captions(shuffled)


@pytest.mark.parametrize("limits", [{"min_count": 0}, {"max_words": 0}])
def test_limits_of_from_captions_are_checked(limits):
    with pytest.raises(ValueError, match="at least 1"):
        Vocabulary.from_captions(["a"], **limits)


def test_a_corpus_without_frequent_words_is_refused():
    with pytest.raises(ValueError, match="no word occurs at least 2 times"):
        Vocabulary.from_captions(["one two"], min_count=2)


@pytest.mark.parametrize("words", [[], ["oil", 3], ["oil", None]])
def test_a_bad_word_list_is_refused(words):
    with pytest.raises(ValueError, match=r"at least one word|must be strings"):
        Vocabulary(words)


@pytest.mark.parametrize("name", ["vocabulary.json", "vocabulary.npy"])
def test_save_and_load_give_the_same_vocabulary(tmp_path, name):
    vocabulary = Vocabulary(["jalapeño", "don't", "crème"])
    vocabulary.save(tmp_path / name)
    assert Vocabulary.load(tmp_path / name) == vocabulary
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_other_file_names_are_refused(tmp_path, vocabulary):
    with pytest.raises(ValueError, match=r"vocabulary\.txt"):
        vocabulary.save(tmp_path / "vocabulary.txt")
    with pytest.raises(ValueError, match=r"vocabulary\.pkl"):
        Vocabulary.load(tmp_path / "vocabulary.pkl")


def test_a_pickled_array_is_never_opened(tmp_path):
    path = tmp_path / "dict.npy"
    np.save(path, np.array(["oil", None], dtype=object), allow_pickle=True)
    with pytest.raises(AnnotationError, match=r"dict\.npy"):
        Vocabulary.load(path)
    path.write_bytes(pickle.dumps(["oil"]))
    with pytest.raises(AnnotationError, match=r"dict\.npy"):
        Vocabulary.load(path)


@pytest.mark.parametrize("content", ["{}", "[]", '["oil", 1]', "[", '"oil"'])
def test_a_faulty_json_list_is_named(tmp_path, content):
    path = tmp_path / "vocabulary.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(AnnotationError, match=r"vocabulary\.json"):
        Vocabulary.load(path)


def test_arrays_that_are_no_word_lists_are_named(tmp_path):
    np.save(tmp_path / "numbers.npy", np.arange(3))
    np.save(tmp_path / "table.npy", np.array([["a", "b"]]))
    for name in ("numbers.npy", "table.npy"):
        with pytest.raises(AnnotationError, match="1-D array of strings"):
            Vocabulary.load(tmp_path / name)
    with pytest.raises(AnnotationError, match="no such"):
        Vocabulary.load(tmp_path / "absent.npy")


def test_the_tokenizer_stacks_rows_and_finds_sentences_without_known_words(vocabulary):
    tokenizer = WordTokenizer(vocabulary, max_words=3, lower_case=True)
    sentences = ["add oil", "xyzzy", "", "oil oil oil pan"]
    assert tokenizer(sentences).tolist() == [[1, 2, 0], [0, 0, 0], [0, 0, 0], [2, 2, 2]]
    assert tokenizer.unknown_only(sentences) == [1, 2]
    assert tokenizer([]).shape == (0, 3)
    assert tokenizer.unknown_only([]) == []


def test_the_tokenizer_checks_its_arguments(vocabulary):
    with pytest.raises(ValueError, match="max_words"):
        WordTokenizer(vocabulary, max_words=0, lower_case=True)
    with pytest.raises(ValueError, match="'drop' or 'keep', got 'skip'"):
        WordTokenizer(vocabulary, max_words=3, lower_case=True, unknown="skip")
    with pytest.raises(ValueError, match="list of sentences"):
        WordTokenizer(vocabulary, max_words=3, lower_case=True)("add oil")


@given(st.text(max_size=60), st.integers(1, 8), st.booleans(), st.sampled_from(["drop", "keep"]))
def test_ids_are_in_range_and_padding_comes_last(text, max_words, lower_case, unknown):
    vocabulary = Vocabulary(["a", "b", "1"])
    ids = vocabulary.encode(text, max_words=max_words, lower_case=lower_case, unknown=unknown).tolist()
    assert len(ids) == max_words
    assert all(0 <= word_id <= len(vocabulary) for word_id in ids)
    if unknown == "drop":
        known = [word_id for word_id in ids if word_id != PADDING_ID]
        assert ids == known + [PADDING_ID] * (max_words - len(known))


def test_the_json_form_is_a_plain_list_of_words(tmp_path, vocabulary):
    vocabulary.save(tmp_path / "vocabulary.json")
    assert json.loads((tmp_path / "vocabulary.json").read_text(encoding="utf-8")) == list(vocabulary.words)
