"""No decoding process outlives its program, however that ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

SECONDS_TO_END = 40.0


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_gone(pid):
    deadline = time.monotonic() + SECONDS_TO_END
    while is_alive(pid):
        assert time.monotonic() < deadline, f"process {pid} still runs"
        time.sleep(0.02)


# A script without a main guard: a library that imported it anew in the child would start over for ever.
SCRIPT = """
import os, signal, sys, time
from narravid.types import ClipSpec
from narravid.video.watched import WatchedDecoder
decoder = WatchedDecoder()
clips = decoder.clips(sys.argv[1], [0.01 * n for n in range(3000)], ClipSpec(32, 10.0, 112))
next(clips)
print(*decoder.worker_pids, flush=True)
{ending}
"""

ENDINGS = {
    "end": ("", 0),
    "exit": ("sys.exit(3)", 3),
    "exception": ("raise RuntimeError('a fault of the program')", 1),
    "interrupt": ("time.sleep(60)", -signal.SIGINT),
    "interrupt at work": ("for clip in clips: pass\ntime.sleep(60)", -signal.SIGINT),
    "terminate": ("time.sleep(60)", -signal.SIGTERM),
    "kill": ("time.sleep(60)", -signal.SIGKILL),
    "hard exit": ("os._exit(4)", 4),
}


def start_script(video, ending, *, as_file=None):
    code = SCRIPT.format(ending=ENDINGS[ending][0])
    command = [sys.executable, "-c", code, str(video)]
    if as_file is not None:
        as_file.write_text(code)
        command = [sys.executable, str(as_file), str(video)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, process_group=0
    )


def check_script(process, ending):
    (worker,) = map(int, process.stdout.readline().split())
    if ENDINGS[ending][1] < 0:
        os.killpg(process.pid, -ENDINGS[ending][1])  # as a terminal does: the whole group of the program
    errors = process.communicate(timeout=SECONDS_TO_END)[1]
    assert process.returncode == ENDINGS[ending][1], errors
    wait_until_gone(worker)
    return errors


def test_a_script_without_a_main_guard_interrupted_at_work(video, tmp_path):
    process = start_script(video, "interrupt at work", as_file=tmp_path / "script.py")
    errors = check_script(process, "interrupt at work")
    assert errors.count("KeyboardInterrupt") == 1  # the program's own, none of the decoding process


@pytest.mark.slow
@pytest.mark.parametrize("ending", list(ENDINGS))
def test_no_process_outlives_the_program(video, ending):
    check_script(start_script(video, ending), ending)


@pytest.mark.slow
def test_a_forked_copy_of_the_program_gets_its_own_process(video):
    code = """
import os, sys
from narravid.video.watched import WatchedDecoder
with WatchedDecoder() as decoder:
    decoder.probe(sys.argv[1])
    before = decoder.worker_pids
    child = os.fork()
    if child == 0:
        decoder.probe(sys.argv[1])
        os._exit(0 if set(decoder.worker_pids).isdisjoint(before) else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    decoder.probe(sys.argv[1])
    assert decoder.worker_pids == before
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code, str(video)], check=True, timeout=120)
