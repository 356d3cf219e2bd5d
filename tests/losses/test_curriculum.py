"""The curriculum of CPD's text encoder."""

import math

import pytest

from narravid.config import from_dict, to_dict
from narravid.losses import TextEncoderCurriculum


def test_the_published_text_encoder_starts_at_epoch_150():
    curriculum = TextEncoderCurriculum()
    assert [curriculum.is_frozen(epoch) for epoch in (0, 149, 150, 299)] == [True, True, False, False]
    assert [curriculum.learning_rate_at(epoch) for epoch in (0, 149, 150, 299)] == [0, 0, 3e-5, 3e-5]


def test_it_may_train_from_the_start():
    curriculum = TextEncoderCurriculum(frozen_epochs=0, learning_rate=1e-4)
    assert not curriculum.is_frozen(0)
    assert curriculum.learning_rate_at(0) == 1e-4


def test_it_is_saved_and_read_back():
    curriculum = TextEncoderCurriculum(frozen_epochs=7)
    assert from_dict(TextEncoderCurriculum, to_dict(curriculum), source="test") == curriculum


@pytest.mark.parametrize("value", [0.0, -1e-5, math.nan, math.inf])
def test_a_learning_rate_must_be_positive(value):
    with pytest.raises(ValueError, match=f"learning_rate must be positive, got {value}"):
        TextEncoderCurriculum(learning_rate=value)


def test_epochs_are_not_negative():
    with pytest.raises(ValueError, match="frozen_epochs must be at least 0, got -1"):
        TextEncoderCurriculum(frozen_epochs=-1)
