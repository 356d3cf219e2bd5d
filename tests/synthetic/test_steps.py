"""Steps and their wordings."""

import numpy as np
import pytest

from narravid.synthetic.steps import COLOURS, MOTION_WORDINGS, MOTIONS, SHAPES, Step, StepSpace


def test_full_space_has_every_combination_once() -> None:
    space = StepSpace(relations=("alone", "behind"))
    steps = space.steps()
    assert len(steps) == len(COLOURS) * len(SHAPES) * len(MOTIONS) * 2
    assert len(set(steps)) == len(steps)
    assert len({step.sentence for step in steps}) == len(steps)


def test_related_step_names_another_object() -> None:
    steps = StepSpace(relations=("behind",)).steps()
    assert all((step.reference_colour, step.reference_shape) != (step.colour, step.shape) for step in steps)
    assert "a red circle slides left behind the green square" in {step.sentence for step in steps}


def test_sentence_uses_the_right_article() -> None:
    assert Step("orange", "star", "spin").sentence == "an orange star spins"
    assert Step("red", "star", "spin").sentence == "a red star spins"


@pytest.mark.parametrize("motion", MOTIONS)
def test_paraphrases_keep_the_meaning_and_vary(motion: str) -> None:
    generator = np.random.default_rng(0)
    step = Step("red", "square", motion)
    told = {step.paraphrase(generator) for _ in range(200)}
    assert len(told) > 20
    wordings = MOTION_WORDINGS[step.motion]
    assert all(any(wording in sentence for wording in wordings) for sentence in told)
    assert all(any(word in sentence for word in ("red", "crimson")) for sentence in told)


def test_canonical_share_one_keeps_the_canonical_words() -> None:
    generator = np.random.default_rng(0)
    step = Step("green", "circle", "up")
    told = {step.paraphrase(generator, canonical_share=1.0) for _ in range(20)}
    assert told == {"a green circle rises", "the green circle rises"}


def test_relation_and_reference_must_fit() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        Step("red", "square", "left", "behind")
    with pytest.raises(ValueError, match="does not fit"):
        Step("red", "square", "left", "alone", "blue", "circle")


@pytest.mark.parametrize(
    ("field", "value"), [("colours", ()), ("shapes", ("circle", "circle")), ("motions", ())]
)
def test_bad_space_names_the_field(field: str, value: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=field):
        StepSpace(**{field: value})
