"""What of a text query a model can understand at all."""

from __future__ import annotations

from narravid.errors import NarravidError
from narravid.protocols import PixelDualEncoder
from narravid.text.words import WordTokenizer, split_words

__all__ = ["check_query"]


def check_query(model: PixelDualEncoder, text: str) -> list[str]:
    """Make sure that a model with a word list knows something of a query.

    Args:
        model: Any dual encoder; one whose tokenizer is not a list of words (word pieces) knows every text.
        text: The query.

    Returns:
        The words that the model does not know and leaves out, each once, in order.

    Raises:
        NarravidError: If the query has no words, or the model knows none of them: every such query gets the
            same vector, and its hits would mean nothing.
    """
    if not split_words(text, lower_case=False):
        raise NarravidError(f"the query {text!r} has no words")
    tokenizer = getattr(model, "tokenizer", None)
    if not isinstance(tokenizer, WordTokenizer):
        return []
    words = dict.fromkeys(split_words(text, lower_case=tokenizer.lower_case))
    unknown = [word for word in words if word not in tokenizer.vocabulary]
    if len(unknown) == len(words):
        raise NarravidError(
            f"the model knows none of the words of {text!r}; its vocabulary has "
            f"{len(tokenizer.vocabulary):,} words, such as {', '.join(tokenizer.vocabulary.words[:5])}"
        )
    return unknown
