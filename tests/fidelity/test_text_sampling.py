"""Word ids and caption candidates equal the numbers of the published programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from narravid.text.caption_merging import merge_neighbours
from narravid.text.captions import (
    Caption,
    CaptionTrack,
    consecutive_captions,
    first_candidate,
    nearest_captions,
)
from narravid.text.words import Vocabulary, WordTokenizer, split_words
from narravid.types import Span
from narravid.video.sampling import whole_second_span

GOLDEN = Path(__file__).parent / "golden"
WORDS = split_words(
    "add oil pan cut tomato onion knife stir pour water bowl egg whisk butter melt heat oven bake cake flour "
    "sugar salt pepper mix dough roll door open close kettle",
    lower_case=False,
)
"""The words that the merged captions are recorded in, by their position."""


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "sampling.npz", allow_pickle=False) as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return json.loads((GOLDEN / "sentences.json").read_text(encoding="utf-8"))


def read_track(name: str) -> CaptionTrack:
    lists = json.loads((GOLDEN / "captions.json").read_text(encoding="utf-8"))[name]
    rows = zip(lists["text"], lists["start"], lists["end"], strict=True)
    return CaptionTrack(tuple(Caption(text, Span(start, end)) for text, start, end in rows))


@pytest.mark.parametrize(
    ("case", "max_words", "lower_case", "unknown"),
    [
        ("s3d_howto100m_16", 16, True, "drop"),  # the same ids as s3d_howto100m/text
        ("milnce_train_20", 20, False, "drop"),
        ("milnce_eval_30", 30, False, "drop"),
        ("milnce_module_16", 16, False, "drop"),
        ("tan_32", 32, True, "keep"),
    ],
)
def test_token_ids_match(golden, sentences, case, max_words, lower_case, unknown):
    vocabulary = Vocabulary.load(GOLDEN / "vocabulary.json")
    tokenizer = WordTokenizer(vocabulary, max_words=max_words, lower_case=lower_case, unknown=unknown)
    ids = tokenizer(sentences).numpy()
    np.testing.assert_array_equal(ids, golden[f"tokens_{case}/ids"])
    if case == "tan_32":
        np.testing.assert_array_equal((ids != 0).astype(np.int64), golden["tokens_tan_32/attention_mask"])


@pytest.mark.parametrize("name", ["a", "b", "c", "grid"])
def test_caption_candidates_match(golden, name):
    track = read_track(name)
    starts, used = golden[f"milnce_candidates_{name}/start"], golden[f"milnce_candidates_{name}/used"]
    for num_candidates in range(1, starts.shape[0] + 1):
        for index in range(len(track)):
            row = num_candidates - 1
            assert first_candidate(track, index, num_candidates) == starts[row, index]
            expected = used[row, index, :num_candidates].tolist()
            assert nearest_captions(track, index, num_candidates) == expected


@pytest.mark.parametrize(("min_seconds", "min_words"), [(10, 0), (0, 8), (10, 8)])
@pytest.mark.parametrize("name", ["a", "b", "c", "grid"])
def test_merged_captions_match(golden, name, min_seconds, min_words):
    track = read_track(name)
    case = f"howto100m_text_{name}_t{min_seconds}_w{min_words}"
    spans, words, num_words = (golden[f"{case}/{array}"] for array in ("start_end", "words", "num_words"))
    assert len(spans) == len(track)
    for index in range(len(track)):
        merged = merge_neighbours(track, index, min_seconds=min_seconds, min_words=min_words)
        np.testing.assert_allclose(
            [merged.span.start_seconds, merged.span.end_seconds], spans[index], rtol=1e-6
        )
        found = [WORDS.index(word) for word in split_words(merged.text, lower_case=False)]
        assert len(found) == num_words[index]
        assert found == words[index, : len(found)].tolist()
        assert (words[index, len(found) :] == -1).all()


@pytest.mark.parametrize("name", ["a", "b", "c", "grid"])
def test_consecutive_captions_match(golden, name):
    track = read_track(name)
    expected = golden[f"vt_twins_sequence_{name}/start_end"].tolist()
    for first, spans in enumerate(expected):
        found = [whole_second_span(track[index].span) for index in consecutive_captions(track, first, 8)]
        assert [[span.start_seconds, span.end_seconds] for span in found] == spans
    with pytest.raises(ValueError, match=rf"first must be in \[0, {len(expected)}\)"):
        consecutive_captions(track, len(expected), 8)
