"""A narrator who behaves like the speech recognised in how-to videos.

Sentences are paraphrased, come early or late by seconds, leave steps out, talk about things that are not
visible, and are cut in mid-sentence where the recogniser starts a new caption. Proportions are parameters;
the TAN paper (Han et al., 2022, arXiv 2204.02968, section 1) measured them on HowTo100M.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from narravid.synthetic.steps import Step
from narravid.types import Span

__all__ = ["NarrationConfig", "TimedStep", "ToldCaption", "narrate"]

CHAT = (
    "hey guys welcome back to my channel",
    "please like and subscribe",
    "i hope you are having a great day",
    "let me know in the comments below",
    "this is my favourite part",
    "my grandmother taught me this many years ago",
    "you can find the link in the description",
    "don't worry if it does not work the first time",
    "thanks for watching and see you next week",
    "just take your time with it",
    "it really depends on what you like",
    "a quick word about our sponsor",
)
SECONDS_PER_WORD = 0.35


@dataclass(frozen=True, slots=True)
class NarrationConfig:
    """How a narrator talks.

    Attributes:
        alignable_share: Share of the sentences, in [0, 1], that tell a step of their video.
        told_share: Share of the steps, in [0, 1], that are told at all.
        timing_std_seconds: Standard deviation of a sentence's centre around the centre of its step.
        misleading_share: Share of the other sentences that describe a step which their video does not show.
        cut_share: Share of the sentences that are cut into two captions.
        canonical_share: Share of the words that are the canonical ones rather than any synonym.
    """

    alignable_share: float = 0.7
    told_share: float = 0.9
    timing_std_seconds: float = 2.0
    misleading_share: float = 0.25
    cut_share: float = 0.1
    canonical_share: float = 0.4

    def __post_init__(self) -> None:
        for name in (
            "alignable_share",
            "told_share",
            "misleading_share",
            "cut_share",
            "canonical_share",
        ):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise ValueError(f"{name} must lie in [0, 1], got {value}")
        if self.alignable_share == 0 and self.told_share > 0:
            raise ValueError("alignable_share 0 needs told_share 0: told steps are alignable")
        if self.timing_std_seconds < 0:
            raise ValueError(f"timing_std_seconds must not be negative, got {self.timing_std_seconds}")


@dataclass(frozen=True, slots=True)
class TimedStep:
    """A step and when it happens in its video."""

    step: Step
    span: Span


@dataclass(frozen=True, slots=True)
class ToldCaption:
    """A caption as the transcript has it, with the truth about it.

    Attributes:
        text: The words.
        span: When the transcript says they were spoken.
        step_index: Which step of the video they tell; None when they tell none.
        sentence_index: Captions cut from one sentence share this number.
    """

    text: str
    span: Span
    step_index: int | None
    sentence_index: int

    def is_well_timed(self, steps: Sequence[TimedStep]) -> bool:
        """Whether the middle of the caption falls into the step it tells."""
        if self.step_index is None:
            return False
        span = steps[self.step_index].span
        return span.start_seconds <= self.span.center_seconds < span.end_seconds


def narrate(
    steps: Sequence[TimedStep],
    config: NarrationConfig,
    *,
    duration_seconds: float,
    all_steps: Sequence[Step],
    generator: np.random.Generator,
) -> tuple[ToldCaption, ...]:
    """Tell a video.

    Args:
        steps: What happens in it, and when.
        config: How the narrator talks.
        duration_seconds: Length of the video.
        all_steps: Every step of the world; misleading sentences are drawn from those the video lacks.
        generator: Source of the choices.

    Returns:
        The captions by their start.
    """
    told = [(index, timed) for index, timed in enumerate(steps) if generator.random() < config.told_share]
    sentences: list[tuple[str, float, int | None]] = []
    for index, timed in told:
        text = timed.step.paraphrase(generator, canonical_share=config.canonical_share)
        sentences.append(
            (text, timed.span.center_seconds + generator.normal(0, config.timing_std_seconds), index)
        )
    shown = {timed.step for timed in steps}
    absent = [step for step in all_steps if step not in shown]
    num_other = _num_other_sentences(len(told), config, generator)
    for _ in range(num_other):
        text = _talk_about_nothing(absent, config, generator)
        sentences.append((text, generator.uniform(0, duration_seconds), None))
    captions: list[ToldCaption] = []
    for number, (text, center_seconds, step_index) in enumerate(sentences):
        for part, span in _speak(text, center_seconds, duration_seconds, config, generator):
            captions.append(ToldCaption(part, span, step_index, number))
    return tuple(sorted(captions, key=lambda caption: (caption.span.start_seconds, caption.sentence_index)))


def _num_other_sentences(num_told: int, config: NarrationConfig, generator: np.random.Generator) -> int:
    """As many as bring the alignable share about; the fraction left over is drawn to keep the mean exact."""
    if config.alignable_share == 0:
        return 10
    wanted = num_told * (1 - config.alignable_share) / config.alignable_share
    return int(wanted) + int(generator.random() < wanted - int(wanted))


def _talk_about_nothing(
    absent: Sequence[Step], config: NarrationConfig, generator: np.random.Generator
) -> str:
    if absent and generator.random() < config.misleading_share:
        step = absent[int(generator.integers(len(absent)))]
        return f"last time {step.paraphrase(generator, canonical_share=config.canonical_share)}"
    return CHAT[int(generator.integers(len(CHAT)))]


def _speak(
    text: str,
    center_seconds: float,
    duration_seconds: float,
    config: NarrationConfig,
    generator: np.random.Generator,
) -> list[tuple[str, Span]]:
    """The sentence as one caption or two, inside the video."""
    words = text.split()
    length = min(len(words) * SECONDS_PER_WORD, duration_seconds)
    start = min(max(center_seconds - length / 2, 0.0), duration_seconds - length)
    if len(words) < 4 or generator.random() >= config.cut_share:
        return [(text, _milliseconds(start, start + length))]
    cut = int(generator.integers(2, len(words) - 1))
    middle = start + length * cut / len(words)
    return [
        (" ".join(words[:cut]), _milliseconds(start, middle)),
        (" ".join(words[cut:]), _milliseconds(middle, start + length)),
    ]


def _milliseconds(start_seconds: float, end_seconds: float) -> Span:
    """A span in whole milliseconds, which is what transcript files can hold."""
    return Span(round(start_seconds, 3), round(end_seconds, 3))
