"""Every golden case of sampling is held by a test, and the committed copy is the recorded one."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fidelity import test_clip_sampling, test_text_sampling
from fidelity.sampling_golden import ARRAYS, CASES


def test_every_case_is_held_by_one_test():
    held = [
        case
        for module in (test_clip_sampling, test_text_sampling)
        for test in vars(module).values()
        for mark in getattr(test, "pytestmark", [])
        if mark.name == "parametrize" and mark.args[0] == "case"
        for case in mark.args[1]
    ]
    assert sorted(held) == CASES


@pytest.mark.shared
def test_the_committed_numbers_are_the_recorded_ones(shared_folder):
    with np.load(shared_folder / "fidelity" / "golden" / "sampling.npz", allow_pickle=False) as recorded:
        assert sorted(recorded.files) == sorted(ARRAYS)
        for name in recorded.files:
            np.testing.assert_array_equal(ARRAYS[name], recorded[name])
    described = (shared_folder / "fidelity" / "CASES.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r"^### sampling/(\w+)$", described, flags=re.MULTILINE)) == CASES
