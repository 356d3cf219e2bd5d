"""What measurements of action recognition share: checks of places and of protocols, in any order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from narravid.evaluation.benchmarks.action_measurement import ActionMeasurement, ThreeSplits
from narravid.evaluation.benchmarks.classifier_protocol import ClassifierProtocol
from narravid.evaluation.benchmarks.probe_protocol import ProbeProtocol
from narravid.evaluation.benchmarks.zero_shot_protocol import ZeroShotProtocol

PROTOCOLS = {
    ProbeProtocol: {"num_windows": 0},
    ZeroShotProtocol: {"num_windows": 0},
    ClassifierProtocol: {"temporal_crops": 0},
}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("place_is_first", [True, False])
def test_places_and_protocols_are_both_checked(protocol: type[ActionMeasurement], place_is_first: bool):
    bases = (ThreeSplits, protocol) if place_is_first else (protocol, ThreeSplits)
    both = dataclass(frozen=True, kw_only=True)(type("Both", bases, {"judge": lambda *_, **__: None}))
    assert both(videos=Path("videos")).splits == (1, 2, 3)
    with pytest.raises(ValueError, match="splits"):
        both(videos=Path("videos"), splits=(1, 4))
    with pytest.raises(ValueError, match="must be at least 1, got 0"):
        both(videos=Path("videos"), **PROTOCOLS[protocol])
