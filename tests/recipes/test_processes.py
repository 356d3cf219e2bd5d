"""Whether the processes of a run begin it or go on with it."""

from __future__ import annotations

import pytest
import torch

from narravid.recipes.processes import joined_run

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("restarts", "begun", "resume", "expected"),
    [
        ("0", False, False, False),
        ("0", True, False, False),  # a run that is in the way is refused later, not gone on with
        ("0", True, True, True),
        ("2", False, False, False),  # a process died before the run had begun
        ("2", True, False, True),
    ],
)
def test_a_run_is_gone_on_with_when_told_or_when_torchrun_started_again(
    tmp_path, monkeypatch, restarts, begun, resume, expected
):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", restarts)
    if begun:
        (tmp_path / "config.json").write_text("{}")
    with joined_run(CPU, tmp_path, resume=resume) as resumed:
        assert resumed is expected
