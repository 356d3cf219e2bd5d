"""Which process is which, and whether it runs."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from narravid.inference.process_identity import began, is_alive, place, place_digits


@pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="needs a system that says when processes began"
)
def test_a_process_lives_until_it_ends_and_a_later_one_of_its_number_is_another():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    beginning = began(process.pid)
    assert int(beginning) >= int(began(os.getpid())) > 0
    assert is_alive(process.pid, beginning) is True
    assert is_alive(process.pid, str(int(beginning) - 1)) is False
    process.communicate()
    assert is_alive(process.pid, beginning) is False
    assert began(process.pid) == ""


@pytest.mark.skipif(
    not os.path.exists("/proc/self/stat"), reason="needs a system that says when processes began"
)
def test_a_killed_process_whose_end_nobody_asked_for_does_not_run():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    beginning = began(process.pid)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # it has ended and is still in the list
    assert is_alive(process.pid, beginning) is False
    process.communicate()


def test_without_a_beginning_a_number_says_little(monkeypatch):
    monkeypatch.setattr("narravid.inference.process_identity.began", lambda pid: "")
    assert is_alive(os.getpid(), "") is None


def test_the_digits_stand_for_machine_and_place(monkeypatch):
    here = place_digits()
    assert (len(here), here) == (8, place_digits())
    assert place() == place()
    monkeypatch.setattr("socket.gethostname", lambda: "elsewhere")
    assert place_digits() != here
