"""Retrieval on real video files whose colours are known, by a model that sees nothing but colour."""

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import nn

from narravid.bad_items import TooManyBadItemsError
from narravid.errors import NarravidError
from narravid.evaluation.embed import EmbeddedPairs, embed_pairs
from narravid.evaluation.pairs import RetrievalPair
from narravid.evaluation.retrieval import evaluate_pairs, evaluate_retrieval, score_pairs
from narravid.inference.embedder import Embedder
from narravid.types import ClipSpec, Span
from narravid.video.encode import write_video
from watched_doubles import DirectDecoder

COLORS = {
    "black": (0, 0, 0),
    "red": (255, 0, 0),
    "green": (0, 255, 0),
    "blue": (0, 0, 255),
    "yellow": (255, 255, 0),
    "white": (255, 255, 255),
}
FPS = 4
PART_SECONDS = 4.0


class ColorModel(nn.Module):
    """Embeds a clip as its mean colour in [-1, 1]³, a sentence as that of the colour it names."""

    similarity = "dot"
    embed_dim = 3
    weights_hash = "colour"
    device = torch.device("cpu")
    clip_spec = ClipSpec(num_frames=4, fps=4.0, size_pixels=16, frame_rule="shown_at")

    def video_features(self, clips: torch.Tensor) -> torch.Tensor:
        return clips.float().mean(dim=(2, 3, 4)) / 127.5 - 1

    def encode_video(self, clips: torch.Tensor) -> torch.Tensor:
        return self.video_features(clips)

    def encode_text(self, sentences: Sequence[str]) -> torch.Tensor:
        rows = [next(COLORS[word] for word in text.split() if word in COLORS) for text in sentences]
        return torch.tensor(rows).float() / 127.5 - 1


class CosineColorModel(ColorModel):
    similarity = "cosine"


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    """One file for each two colours that follow one another, 4 s each."""
    folder = tmp_path_factory.mktemp("videos")
    names = list(COLORS)
    paths = {}
    for first, second in itertools.pairwise(names):
        parts = [np.full((32, 32, 3), COLORS[name], np.uint8) for name in (first, second)]
        frames = [part for part in parts for _ in range(int(PART_SECONDS * FPS))]
        paths[first, second] = str(folder / f"{first}_{second}.mp4")
        write_video(paths[first, second], frames, fps=FPS, crf=1)
    return paths


@pytest.fixture
def decoder():
    return DirectDecoder()


def first_parts(videos):
    return [
        RetrievalPair(path, f"a {first} wall", Span(0.0, PART_SECONDS)) for (first, _), path in videos.items()
    ]


def test_a_model_that_sees_finds_every_clip(videos, decoder):
    result = evaluate_retrieval(CosineColorModel(), first_parts(videos), num_windows=3, decoder=decoder)
    perfect = {"R@1": 1, "R@5": 1, "R@10": 1, "MedR": 1, "MeanR": 1}
    assert result.text_to_video == perfect
    assert result.video_to_text == perfect
    assert (result.gallery_size, result.num_texts, result.missing) == (5, 5, ())
    assert result.chance == pytest.approx({"R@1": 0.2, "R@5": 1, "R@10": 1, "MedR": 3, "MeanR": 3})


def test_the_similarity_of_the_embedder_counts_and_is_on_the_card(videos, decoder):
    embedder = Embedder(CosineColorModel(), similarity="dot")
    result = evaluate_pairs(embedder, first_parts(videos), num_windows=1, decoder=decoder)
    assert result.card["similarity"] == "dot"
    assert result.card["window_mean"] == "of raw embeddings"


def test_a_model_that_is_wrong_shows_it(videos, decoder):
    pairs = first_parts(videos)
    shifted = [
        dataclasses.replace(pair, text=other.text)
        for pair, other in zip(pairs, pairs[1:] + pairs[:1], strict=True)
    ]
    result = evaluate_retrieval(CosineColorModel(), shifted, num_windows=1, decoder=decoder)
    assert result.text_to_video["R@1"] == 0
    assert result.video_to_text["R@1"] == 0
    assert result.text_to_video["MeanR"] > 2


def test_the_similarity_decides():
    pairs = tuple(RetrievalPair(f"{number}.mp4", "") for number in range(2))
    embedded = EmbeddedPairs(
        pairs,
        video=np.array([[0.1, 0.0], [3.0, 4.0]], dtype=np.float32),
        text=np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32),
        clip_of_text=np.arange(2),
        missing=(),
    )
    # The long vector of the second clip wins every dot product.
    assert score_pairs(embedded, similarity="dot", card={}).text_to_video["R@1"] == 0.5
    assert score_pairs(embedded, similarity="cosine", card={}).text_to_video["R@1"] == 1


@pytest.mark.parametrize(("similarity", "best"), [("dot", 0.0), ("cosine", 1.0)])
def test_of_several_sentences_the_best_by_that_similarity_counts(similarity, best):
    pairs = tuple(RetrievalPair(f"{number // 2}.mp4", "") for number in range(4))
    embedded = EmbeddedPairs(
        pairs,
        video=np.array([[1.0, 0.0], [0.0, 1.0]], dtype=np.float32),
        # Clip 0 scores its own long sentence 2 and its short one 0.5, but 3 a rival; by cosine its short one
        # is perfect. Clip 1 scores its own 1 and 1.5, but 2 a rival; by cosine its second one is ahead.
        text=np.array([[2.0, 2.0], [0.5, 0.0], [3.0, 1.0], [1.0, 1.5]], dtype=np.float32),
        clip_of_text=np.array([0, 0, 1, 1]),
        missing=(),
    )
    result = score_pairs(embedded, similarity=similarity, card={})
    assert result.video_to_text["R@1"] == best
    assert result.num_texts == 4
    assert result.gallery_size == 2


def test_the_embedding_of_a_clip_is_the_mean_over_its_windows(videos, decoder):
    # Windows start at 0 and at 8 - 1 - 0.4 = 6.6 s: one sees red, one sees green.
    pairs = [RetrievalPair(videos["red", "green"], "red", None)]
    embedded = embed_pairs(Embedder(ColorModel()), pairs, windows=2, decoder=decoder)
    [(_, starts)] = decoder.requests
    assert starts == pytest.approx([0, 6.6])
    assert embedded.video.dtype == np.float32
    np.testing.assert_allclose(embedded.video, [[0, 0, -1]], atol=0.03)
    np.testing.assert_allclose(embedded.text, [[1, -1, -1]])


def test_a_mean_over_unit_vectors_for_cosine(videos, decoder):
    pairs = [RetrievalPair(videos["red", "green"], "red", None)]
    embedded = embed_pairs(Embedder(CosineColorModel()), pairs, windows=2, decoder=decoder)
    np.testing.assert_allclose(embedded.video, [[0, 0, -1 / 3**0.5]], atol=0.03)


def test_windows_that_would_be_the_same_are_decoded_once(videos, decoder):
    pairs = [RetrievalPair(videos["red", "green"], "red", Span(1.0, 2.2))]
    embedded = embed_pairs(Embedder(ColorModel()), pairs, windows=10, decoder=decoder)
    assert decoder.requests == [(videos["red", "green"], [1.0])]
    np.testing.assert_allclose(embedded.video, [[1, -1, -1]], atol=0.03)


def test_sentences_of_one_clip_share_its_embedding(videos, decoder):
    path = videos["red", "green"]
    pairs = [
        RetrievalPair(path, "green", Span(4.0, 8.0)),
        RetrievalPair(path, "a red wall", Span(0.0, 4.0)),
        RetrievalPair(path, "a wall of blue paint, no", Span(4.0, 8.0)),
    ]
    embedded = embed_pairs(Embedder(ColorModel()), pairs, windows=1, decoder=decoder)
    assert len(decoder.requests) == 2
    assert embedded.video.shape == (2, 3)
    assert embedded.clip_of_text.tolist() == [0, 1, 0]
    assert embedded.pairs == tuple(pairs)
    result = evaluate_retrieval(CosineColorModel(), pairs, num_windows=1, decoder=decoder)
    assert (result.gallery_size, result.num_texts) == (2, 3)
    # "blue" fits neither clip: both score -1/3 against it, a tie of two.
    assert result.text_to_video["R@1"] == pytest.approx((1 + 1 + 0.5) / 3, abs=0.17)
    # Each clip finds its best own sentence first, whatever its other sentence says.
    assert result.video_to_text["R@1"] == 1


def test_what_cannot_be_read_is_listed_and_left_out(videos, decoder, tmp_path):
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    good = first_parts(videos)
    bad = [
        RetrievalPair(str(tmp_path / "none.mp4"), "red"),
        RetrievalPair(str(broken), "red"),
        RetrievalPair(videos["red", "green"], "red", Span(90.0, 95.0)),
    ]
    pairs = [bad[0], *good[:2], bad[1], *good[2:], bad[2]]
    result = evaluate_retrieval(CosineColorModel(), pairs, num_windows=2, decoder=decoder)
    assert result.text_to_video["R@1"] == 1
    assert (result.gallery_size, result.num_texts) == (5, 5)
    assert [item.pair for item in result.missing] == bad
    assert all(item.reason for item in result.missing)
    assert result.share_of_pairs == 5 / 8

    without = evaluate_retrieval(CosineColorModel(), good, num_windows=2, decoder=decoder)
    assert without.share_of_pairs == 1
    for name in ("text_to_video", "video_to_text", "chance", "card"):
        assert getattr(without, name) == getattr(result, name)


@pytest.mark.parametrize(("max_bad_share", "stops"), [(0.25, True), (0.375, False), (1.0, False)])
def test_too_many_missing_clips_stop_the_evaluation(videos, decoder, tmp_path, max_bad_share, stops):
    late = [RetrievalPair(videos["red", "green"], text, Span(90.0, 95.0)) for text in ("red", "green")]
    gone = [RetrievalPair(str(tmp_path / f"{number}.mp4"), "red") for number in range(2)]
    pairs = [
        *first_parts(videos),
        *late,
        *gone,
    ]  # 8 clips, of which 3 are bad; one of these has two sentences

    def evaluate():
        embedder = Embedder(CosineColorModel())
        return evaluate_pairs(embedder, pairs, num_windows=1, decoder=decoder, max_bad_share=max_bad_share)

    if stops:
        with pytest.raises(TooManyBadItemsError, match="3 of 8 items met so far are bad, more than 25%"):
            evaluate()
    else:
        assert evaluate().share_of_pairs == 5 / 9


def test_a_model_of_random_crops_is_judged_on_the_centre(videos, decoder):
    model = CosineColorModel()
    model.clip_spec = dataclasses.replace(model.clip_spec, crop="random")
    result = evaluate_retrieval(model, first_parts(videos), num_windows=2, decoder=decoder)
    assert result.text_to_video["R@1"] == 1
    assert result.card["clip"]["crop"] == "center"


def test_nothing_readable_is_an_error(decoder, tmp_path):
    with pytest.raises(NarravidError, match=r"none of 1 pairs could be read; .*none\.mp4: "):
        evaluate_retrieval(ColorModel(), [RetrievalPair(str(tmp_path / "none.mp4"), "red")], decoder=decoder)


def test_mistakes_in_the_call_are_named(videos, decoder):
    with pytest.raises(ValueError, match="there are no pairs to evaluate"):
        evaluate_retrieval(ColorModel(), [], decoder=decoder)
    with pytest.raises(ValueError, match="num_windows must be at least 1, got 0"):
        evaluate_retrieval(ColorModel(), first_parts(videos), num_windows=0, decoder=decoder)


def test_many_sentences_are_embedded_in_parts(videos, decoder, monkeypatch):
    monkeypatch.setattr("narravid.evaluation.sentences.SENTENCES_PER_BATCH", 2)
    sizes = []

    class Counting(ColorModel):
        def encode_text(self, sentences):
            sizes.append(len(sentences))
            return super().encode_text(sentences)

    embedded = embed_pairs(Embedder(Counting()), first_parts(videos), windows=1, decoder=decoder)
    assert sizes == [2, 2, 1]
    colors = np.array([COLORS[first] for first, _ in videos]) / 127.5 - 1
    np.testing.assert_allclose(embedded.text, colors)


def test_watched_decoding_gives_the_same_numbers(videos, decoder):
    pairs = first_parts(videos)
    watched = evaluate_retrieval(CosineColorModel(), pairs, num_windows=2)
    direct = evaluate_retrieval(CosineColorModel(), pairs, num_windows=2, decoder=decoder)
    assert watched.to_dict() == direct.to_dict()


def test_the_card_says_how_it_was_measured(videos, decoder):
    result = evaluate_retrieval(ColorModel(), first_parts(videos), num_windows=3, decoder=decoder)
    card = result.card
    assert (card["weights_hash"], card["model_class"]) == ("colour", "ColorModel")
    assert card["num_windows"] == 3
    assert card["clip"]["num_frames"] == 4
    assert card["clip"]["frame_rule"] == "shown_at"
    assert card["clip"]["duration_seconds"] == 1
    assert card["dtype"] == "float32"
    assert card["test_time_tricks"].startswith("none (")
