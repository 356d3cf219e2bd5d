"""The draws of captions on real transcripts: automatic captions overlap, roll and stop before their video."""

from __future__ import annotations

import pytest

from narravid.text.caption_merging import draw_merged_captions
from narravid.text.captions import draw_captions, draw_consecutive_captions, nearest_captions
from narravid.text.sentence_windows import draw_sentence_window
from narravid.text.transcripts import read_transcript
from narravid.video.sampling import clip_start_range, draw_clip_start, whole_second_span, widen_span


@pytest.mark.shared
def test_every_rule_takes_the_captions_of_howto100m(shared_data, generator):
    files = sorted((shared_data / "captions" / "howto100m").glob("*.csv"))
    files = [path for path in files if path.name != "small_val_captions.csv"]  # one list of many videos
    assert files
    found_sentences = 0
    for path in files:
        track = read_transcript(path)
        num_seconds = int(track.span.end_seconds) + 2
        for _ in range(5):
            (index,) = draw_captions(len(track), 1, generator=generator)
            candidates = nearest_captions(track, index, 4)
            assert index in candidates
            span = whole_second_span(widen_span(track[index].span, 5.0))
            lowest, highest = clip_start_range(span, 3.2)
            assert lowest <= draw_clip_start(span, 3.2, generator=generator) <= highest
            sequence = draw_consecutive_captions(track, 8, generator=generator)
            assert sequence == sorted(sequence)
            for merged in draw_merged_captions(track, 8, min_seconds=10, min_words=8, generator=generator):
                assert merged.span.duration_seconds >= 10
                assert len(merged.text.split()) >= 8
            window = draw_sentence_window(track, num_seconds, generator=generator, rule="complete")
            assert window.span.end_seconds <= max(num_seconds, 64)
            found_sentences += len(window.positions)
    assert found_sentences > 5 * len(files)
