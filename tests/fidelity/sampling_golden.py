"""The golden numbers of sampling, handed out case by case, so that none can be forgotten."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

import numpy as np
import pytest

from fidelity.fill import GOLDEN
from narravid.text.captions import Caption, CaptionTrack
from narravid.types import Span

with np.load(GOLDEN / "sampling.npz", allow_pickle=False) as archive:
    ARRAYS = dict(archive)
CASES = sorted({name.split("/")[0] for name in ARRAYS})


def each_case(pattern: str) -> pytest.MarkDecorator:
    """Run a test for every case whose whole name matches; it takes `case` or `arrays`, or both."""
    return pytest.mark.parametrize("case", [case for case in CASES if re.fullmatch(pattern, case)])


class CaseArrays(Mapping[str, np.ndarray]):
    """The arrays of one case, and which of them were looked at."""

    def __init__(self, case: str) -> None:
        self._arrays = {name.split("/")[1]: ARRAYS[name] for name in ARRAYS if name.split("/")[0] == case}
        self.unread = set(self._arrays)

    def __getitem__(self, name: str) -> np.ndarray:
        array = self._arrays[name]
        self.unread.discard(name)
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)


def read_track(name: str) -> CaptionTrack:
    """One of the caption lists that the cases were recorded with."""
    lists = json.loads((GOLDEN / "captions.json").read_text(encoding="utf-8"))[name]
    rows = zip(lists["text"], lists["start"], lists["end"], strict=True)
    return CaptionTrack(tuple(Caption(text, Span(start, end)) for text, start, end in rows))
