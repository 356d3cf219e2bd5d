"""Fixtures of the comparisons with published numbers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fidelity.sampling_golden import CaseArrays


@pytest.fixture
def arrays(case: str) -> Iterator[CaseArrays]:
    """The arrays of a golden sampling case; a test that leaves one of them unread fails."""
    given = CaseArrays(case)
    yield given
    assert not given.unread, f"{case}: arrays that the test never read: {sorted(given.unread)}"
