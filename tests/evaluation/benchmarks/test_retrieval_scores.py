"""Measures of a retrieval benchmark and the examples that it shows, from embeddings alone."""

from __future__ import annotations

import numpy as np
import pytest

from narravid.evaluation.benchmarks.retrieval_scores import examples, measures, rank_pairs
from narravid.evaluation.embed import EmbeddedPairs
from narravid.evaluation.pairs import RetrievalPair


def values(measures) -> dict[str, float]:
    return {measure.name: measure.value for measure in measures}


def random_pairs(count: int, *, sentences_per_clip: int = 1, seed: int = 0) -> EmbeddedPairs:
    generator = np.random.default_rng(seed)
    return EmbeddedPairs(
        pairs=tuple(
            RetrievalPair(f"{number // sentences_per_clip}.mp4", f"sentence {number}")
            for number in range(count)
        ),
        video=generator.standard_normal((count // sentences_per_clip, 8)).astype(np.float32),
        text=generator.standard_normal((count, 8)).astype(np.float32),
        clip_of_text=np.arange(count) // sentences_per_clip,
        missing=(),
    )


def test_a_random_model_is_at_chance():
    num_pairs = 400
    forth, back = measures(rank_pairs(random_pairs(num_pairs), "dot"), seed=0)
    for found in (*forth, *back):
        # Four standard errors: of a share, and of the mean of ranks drawn evenly from 1 to N.
        share_error = (found.chance * (1 - found.chance) / num_pairs) ** 0.5 if found.chance < 1 else 0
        error = share_error if found.kind == "share" else num_pairs / 12**0.5 / num_pairs**0.5
        assert found.value == pytest.approx(found.chance, abs=4 * error)
        assert found.low <= found.value <= found.high
    assert values(forth) != values(back)


def test_sentences_of_one_clip_are_drawn_together():
    single, _ = measures(rank_pairs(random_pairs(100), "dot"), seed=0)
    shared, back = measures(rank_pairs(random_pairs(100, sentences_per_clip=4), "dot"), seed=0)
    assert len(set(single[0].outcomes.units)) == 100
    assert len(set(shared[0].outcomes.units)) == 25
    assert len(back[0].outcomes.values) == 25
    assert back[0].chance is None


def ranked_by_hand():
    # Sentence 0 finds its clip by far, sentence 1 barely; 2 takes clip 0 for its own, 3 even more so.
    text = np.array([[5, 0, 0, 0], [0.9, 1, 0, 0], [1, 0, 0.5, 0], [3, 0, 0, 0.5]], np.float32)
    pairs = tuple(RetrievalPair(f"{number}.mp4", f"sentence {number}") for number in range(4))
    embedded = EmbeddedPairs(pairs, np.eye(4, dtype=np.float32), text, np.arange(4), ())
    return rank_pairs(embedded, "dot")


def test_best_and_worst_examples_by_rank_then_by_how_far_ahead():
    best, worst = examples(ranked_by_hand(), count=2)
    assert [example.title for example in best] == ["sentence 0", "sentence 1"]
    assert [example.title for example in worst] == ["sentence 3", "sentence 2"]
    assert [shown.path for shown in worst[0].shown[:2]] == ["0.mp4", "3.mp4"]
    assert worst[0].shown[0].note == "place 1, 3.000"
    assert worst[0].shown[1].note == "its clip, place 2, 0.500"
    assert worst[0].note == "its clip has rank 2 of 4"
    assert [shown.is_right for shown in worst[0].shown[:2]] == [False, True]


def test_examples_of_a_single_pair_and_of_few():
    embedded = random_pairs(1)
    best, worst = examples(rank_pairs(embedded, "cosine"), count=3)
    assert [example.title for example in (*best, *worst)] == ["sentence 0"]
    best, worst = examples(rank_pairs(random_pairs(5), "cosine"), count=8)
    assert len(best) == 2
    assert not {example.title for example in best} & {example.title for example in worst}


def test_a_clip_far_behind_is_shown_behind_what_was_found():
    embedded = random_pairs(50)
    embedded.text[7] = -20 * embedded.video[7]
    _, [worst] = examples(rank_pairs(embedded, "cosine"), count=1)
    assert worst.title == "sentence 7"
    assert [shown.is_right for shown in worst.shown] == [False] * 4 + [True]
    assert worst.shown[-1].path == "7.mp4"
    assert worst.shown[-1].note == "its clip, place 50, -1.000"
