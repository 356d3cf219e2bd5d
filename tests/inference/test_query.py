"""What a model understands of a query."""

from __future__ import annotations

import pytest

from inference_doubles import LinearDualEncoder
from narravid.errors import NarravidError
from narravid.inference.query import check_query
from narravid.text.words import Vocabulary, WordTokenizer


def model_with_words(*words: str, lower_case: bool = True) -> LinearDualEncoder:
    model = LinearDualEncoder()
    model.tokenizer = WordTokenizer(Vocabulary(words), max_words=8, lower_case=lower_case)
    return model


def test_unknown_words_are_named_once_in_order():
    model = model_with_words("cut", "the", "onion")
    assert check_query(model, "Zest the lime, cut the zest!") == ["zest", "lime"]
    assert check_query(model, "CUT the onion") == []


def test_case_counts_for_a_model_that_keeps_it():
    assert check_query(model_with_words("cut", "it", lower_case=False), "Cut it") == ["Cut"]


def test_a_query_without_a_known_word_is_refused():
    with pytest.raises(NarravidError, match=r"knows none of the words of 'zest lime'.* 3 words, such as cut"):
        check_query(model_with_words("cut", "the", "onion"), "zest lime")


@pytest.mark.parametrize("text", ["", "  ", "?!"])
def test_a_query_without_words_is_refused(text: str):
    with pytest.raises(NarravidError, match="has no words"):
        check_query(model_with_words("cut"), text)


def test_a_model_without_a_word_list_knows_every_text():
    assert check_query(LinearDualEncoder(), "anything at all") == []
