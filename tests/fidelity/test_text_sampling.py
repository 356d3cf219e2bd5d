"""Word ids and caption candidates equal the numbers of the published programs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from narravid.text.captions import Caption, CaptionTrack, first_candidate, nearest_captions
from narravid.text.words import Vocabulary, WordTokenizer
from narravid.types import Span

GOLDEN = Path(__file__).parent / "golden"


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
