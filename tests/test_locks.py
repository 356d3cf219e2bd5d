from __future__ import annotations

import subprocess
import sys

import pytest

from narravid.errors import NarravidError
from narravid.locks import hold_lock

HOLD = """
import sys, time
from pathlib import Path
from narravid.locks import hold_lock
with hold_lock(Path(sys.argv[1]), busy=""):
    print("held", flush=True)
    time.sleep(60)
"""


def test_one_process_holds_a_folder_and_its_death_frees_it(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with (
            pytest.raises(NarravidError, match="in use by another"),
            hold_lock(tmp_path, busy="in use by another"),
        ):
            pass
        holder.kill()
    for _ in range(2):
        with hold_lock(tmp_path, busy="in use by another"):
            pass


def test_a_file_system_without_locks_is_named(tmp_path, monkeypatch):
    def cannot(*_, **__):
        raise NotImplementedError("FileSystem does not appear to support flock")

    monkeypatch.setattr("filelock.FileLock.acquire", cannot)
    with (
        pytest.raises(NarravidError, match=r"cannot lock files; choose a folder"),
        hold_lock(tmp_path, busy=""),
    ):
        pass
