"""The narrator's habits, in numbers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.synthetic.narration import NarrationConfig, TimedStep, narrate
from narravid.synthetic.steps import StepSpace
from narravid.types import Span

SPACE = StepSpace().steps()


def tell(config: NarrationConfig, *, seed: int = 0, num_steps: int = 300) -> tuple:
    steps = [TimedStep(SPACE[i % len(SPACE)], Span(5.0 * i, 5.0 * i + 4.0)) for i in range(num_steps)]
    generator = np.random.default_rng(seed)
    told = narrate(steps, config, duration_seconds=5.0 * num_steps, all_steps=SPACE, generator=generator)
    return steps, told


def sentences_of(captions: tuple) -> dict[int, bool]:
    return {caption.sentence_index: caption.step_index is not None for caption in captions}


@pytest.mark.parametrize("share", [0.3, 0.7, 1.0])
def test_alignable_share_of_the_sentences_is_met(share: float) -> None:
    _, captions = tell(NarrationConfig(alignable_share=share))
    sentences = sentences_of(captions)
    assert np.mean(list(sentences.values())) == pytest.approx(share, abs=0.005)


def test_told_share_leaves_steps_out() -> None:
    _, captions = tell(NarrationConfig(told_share=0.6))
    told = {caption.step_index for caption in captions} - {None}
    assert len(told) / 300 == pytest.approx(0.6, abs=0.09)  # three deviations of a binomial share


def test_timing_deviation_is_the_one_asked_for() -> None:
    config = NarrationConfig(timing_std_seconds=2.0, cut_share=0.0, told_share=1.0, alignable_share=1.0)
    steps, captions = tell(config, num_steps=600)
    errors = [
        caption.span.center_seconds - steps[caption.step_index].span.center_seconds for caption in captions
    ]
    assert np.std(errors) == pytest.approx(2.0, rel=0.1)
    assert np.mean(errors) == pytest.approx(0.0, abs=0.3)


def test_cut_sentences_become_two_captions_that_follow_each_other() -> None:
    _, captions = tell(NarrationConfig(cut_share=1.0))
    parts: dict[int, list] = {}
    for caption in captions:
        parts.setdefault(caption.sentence_index, []).append(caption)
    assert np.mean([len(group) == 2 for group in parts.values()]) > 0.9
    for first, second in (group for group in parts.values() if len(group) == 2):
        assert first.span.end_seconds == pytest.approx(second.span.start_seconds)
        assert first.step_index == second.step_index


def test_misleading_sentences_tell_steps_that_the_video_lacks() -> None:
    config = NarrationConfig(misleading_share=1.0, alignable_share=0.5, cut_share=0.0)
    _, captions = tell(config, num_steps=20)
    nothing = [caption.text for caption in captions if caption.step_index is None]
    assert nothing
    assert all(text.startswith("last time") for text in nothing)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    std=st.floats(0, 20),
    cut=st.floats(0, 1),
    num_steps=st.integers(1, 15),
)
def test_captions_lie_inside_the_video_in_order(seed: int, std: float, cut: float, num_steps: int) -> None:
    config = NarrationConfig(timing_std_seconds=std, cut_share=cut)
    _, captions = tell(config, seed=seed, num_steps=num_steps)
    starts = [caption.span.start_seconds for caption in captions]
    assert starts == sorted(starts)
    assert all(0 <= c.span.start_seconds <= c.span.end_seconds <= 5.0 * num_steps + 1e-6 for c in captions)


def test_without_misalignment_every_told_step_is_well_timed() -> None:
    config = NarrationConfig(timing_std_seconds=0.0, cut_share=0.0)
    steps, captions = tell(config)
    assert all(caption.is_well_timed(steps) == (caption.step_index is not None) for caption in captions)


@pytest.mark.parametrize(
    ("field", "value"), [("alignable_share", 1.2), ("told_share", -0.1), ("timing_std_seconds", -1.0)]
)
def test_bad_config_names_the_field(field: str, value: float) -> None:
    with pytest.raises(ValueError, match=field):
        NarrationConfig(**{field: value})
