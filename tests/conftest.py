"""Fixtures that every room's tests share."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import torch
from hypothesis import settings

# The same examples in every run: a failure must be one that the next run shows again.
settings.register_profile("narravid", deadline=None, derandomize=True)
settings.load_profile("narravid")

# A suite started in the background of a script inherits SIGINT as ignored, and so would every process
# that a test starts to press Ctrl-C on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

PROJECT_ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """The folder of real files and golden numbers; the test is skipped where it is absent."""
    folder = Path(os.environ.get("NARRAVID_SHARED", PROJECT_ROOT.parent / "shared")).resolve()
    if not folder.is_dir():
        pytest.skip(f"no shared folder at {folder}; set NARRAVID_SHARED to run this test")
    return folder


@pytest.fixture(scope="session")
def shared_data(shared_folder: Path) -> Path:
    """Its `data` folder: real videos, captions and annotation files."""
    return shared_folder / "data"


@pytest.fixture
def generator() -> torch.Generator:
    """A seeded generator, fresh for each test."""
    return torch.Generator().manual_seed(20261120)
