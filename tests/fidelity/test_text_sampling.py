"""Word ids and caption candidates equal the numbers of the published programs."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest

from fidelity.fill import GOLDEN
from fidelity.sampling_golden import each_case, read_track
from narravid.text.caption_merging import merge_neighbours
from narravid.text.captions import consecutive_captions, first_candidate, nearest_captions
from narravid.text.words import Vocabulary, WordTokenizer, split_words
from narravid.video.sampling import whole_second_span

WORDS = split_words(
    "add oil pan cut tomato onion knife stir pour water bowl egg whisk butter melt heat oven bake cake flour "
    "sugar salt pepper mix dough roll door open close kettle",
    lower_case=False,
)
"""The words that the merged captions are recorded in, by their position."""
TOKENIZERS = {
    "tokens_s3d_howto100m_16": (16, True, "drop"),  # the same ids as s3d_howto100m/text
    "tokens_milnce_train_20": (20, False, "drop"),
    "tokens_milnce_eval_30": (30, False, "drop"),
    "tokens_milnce_module_16": (16, False, "drop"),
    "tokens_tan_32": (32, True, "keep"),
}
"""Number of words, whether they are lower-cased, and what becomes of unknown ones."""


@each_case(r"tokens_\w+")
def test_token_ids_match(arrays, case):
    max_words, lower_case, unknown = TOKENIZERS[case]
    vocabulary = Vocabulary.load(GOLDEN / "vocabulary.json")
    sentences = json.loads((GOLDEN / "sentences.json").read_text(encoding="utf-8"))
    tokenizer = WordTokenizer(vocabulary, max_words=max_words, lower_case=lower_case, unknown=unknown)
    ids = tokenizer(sentences).numpy()
    np.testing.assert_array_equal(ids, arrays["ids"])
    if "attention_mask" in arrays:
        np.testing.assert_array_equal((ids != 0).astype(np.int64), arrays["attention_mask"])


@each_case(r"milnce_candidates_\w+")
def test_caption_candidates_match(arrays, case):
    track = read_track(case.removeprefix("milnce_candidates_"))
    starts, used = arrays["start"], arrays["used"]
    for num_candidates in range(1, starts.shape[0] + 1):
        for index in range(len(track)):
            row = num_candidates - 1
            assert first_candidate(track, index, num_candidates) == starts[row, index]
            expected = used[row, index, :num_candidates].tolist()
            assert nearest_captions(track, index, num_candidates) == expected


@each_case(r"howto100m_text_\w+")
def test_merged_captions_match(arrays, case):
    name, min_seconds, min_words = re.fullmatch(r"howto100m_text_(\w+)_t(\d+)_w(\d+)", case).groups()
    track = read_track(name)
    spans, words, num_words = arrays["start_end"], arrays["words"], arrays["num_words"]
    assert len(spans) == len(track)
    for index in range(len(track)):
        merged = merge_neighbours(track, index, min_seconds=float(min_seconds), min_words=int(min_words))
        np.testing.assert_allclose(
            [merged.span.start_seconds, merged.span.end_seconds], spans[index], rtol=1e-6
        )
        found = [WORDS.index(word) for word in split_words(merged.text, lower_case=False)]
        assert len(found) == num_words[index]
        assert found == words[index, : len(found)].tolist()
        assert (words[index, len(found) :] == -1).all()


@each_case(r"vt_twins_sequence_\w+")
def test_consecutive_captions_match(arrays, case):
    track = read_track(case.removeprefix("vt_twins_sequence_"))
    expected = arrays["start_end"].tolist()
    for first, spans in enumerate(expected):
        found = [whole_second_span(track[index].span) for index in consecutive_captions(track, first, 8)]
        assert [[span.start_seconds, span.end_seconds] for span in found] == spans
    with pytest.raises(ValueError, match=rf"first must be in \[0, {len(expected)}\)"):
        consecutive_captions(track, len(expected), 8)
