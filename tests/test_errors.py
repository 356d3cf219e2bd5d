"""Errors cross process borders unchanged, since workers raise them."""

import pickle

import pytest

from narravid.errors import (
    AnnotationError,
    CheckpointError,
    ConfigError,
    DecodeError,
    IndexMismatchError,
    LogitRangeError,
    MissingExtraError,
    NarravidError,
)

ERRORS = [
    DecodeError("a.mp4", "no frame", (1.0, 2.0)),
    AnnotationError("a.csv", "not a number", line=3, field="start"),
    CheckpointError("a.pth", "does not fit", missing=["fc.weight"], unexpected=["x"]),
    ConfigError("unknown key 'lrr'", key="optim.lrr", valid=["lr", "name"]),
    IndexMismatchError("another model"),
    LogitRangeError("scores must lie within ±10000, got nan"),
    MissingExtraError("CPD", "transformers", "text"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_survive_pickling(error: NarravidError) -> None:
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert {key: value for key, value in vars(again).items() if key != "_again"} == {
        key: value for key, value in vars(error).items() if key != "_again"
    }


def test_messages_name_place_and_remedy() -> None:
    decode, annotation, checkpoint, config, _, _, extra = map(str, ERRORS)
    assert decode == "a.mp4 at 1.00-2.00 s: no frame"
    assert annotation == "a.csv, line 3, field 'start': not a number"
    assert "missing keys (1): fc.weight" in checkpoint
    assert "did you mean 'lr'" in config
    assert extra == "CPD needs transformers, which is not installed: pip install 'narravid[text]'"
