"""Claims: one owner at a time, and what becomes of the claims of the dead."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest

from narravid.inference.claims import Claims, neighbour

DIES_HOLDING = """
import os, sys
from pathlib import Path
from narravid.inference.claims import Claims
with Claims() as claims, claims.hold(Path(sys.argv[1])) as is_ours:
    assert is_ours
    os.kill(os.getpid(), 9)
"""


@pytest.fixture
def output(tmp_path):
    return tmp_path / "deep" / "a.npy"


def rewrite(claim, **changes):
    claim.write_text(json.dumps({**json.loads(claim.read_text()), **changes}))


def test_one_process_holds_it_until_it_is_done(output):
    with Claims() as ours, Claims() as theirs:
        with ours.hold(output) as is_ours:
            assert is_ours
            assert json.loads(neighbour(output, "claim").read_text())["pid"] == os.getpid()
            with theirs.hold(output) as is_theirs:
                assert not is_theirs
            with theirs.hold(output.with_name("b.npy")) as is_theirs:
                assert is_theirs
        with theirs.hold(output) as is_theirs:
            assert is_theirs
    assert os.listdir(output.parent) == []


def test_an_error_gives_it_back(output):
    with Claims() as ours:
        with pytest.raises(RuntimeError), ours.hold(output):
            raise RuntimeError
        assert os.listdir(output.parent) == []


def test_the_claim_of_a_killed_process_of_this_machine_is_taken_over_at_once(output):
    subprocess.run([sys.executable, "-c", DIES_HOLDING, str(output)], check=False)
    assert neighbour(output, "claim").exists()
    with Claims() as ours, ours.hold(output) as is_ours:
        assert is_ours
    assert os.listdir(output.parent) == []


def test_a_later_process_with_the_same_id_is_another(output):
    with Claims() as claims, claims.hold(output):
        rewrite(neighbour(output, "claim"), began="1", token="other")
        with Claims() as ours, ours.hold(output) as is_ours:
            assert is_ours


def test_a_living_owner_on_this_machine_keeps_its_claim_however_old_it_is(output):
    with Claims(3600) as theirs, Claims(0.01) as ours, theirs.hold(output):
        claim = neighbour(output, "claim")
        os.utime(claim, (1, 1))
        with ours.hold(output) as is_ours:
            assert not is_ours
        ours.forget(output)
        assert claim.exists()


def test_a_claim_is_judged_by_the_timeout_of_its_owner(output):
    with Claims(3600) as theirs, Claims(10) as ours, theirs.hold(output):
        claim = neighbour(output, "claim")
        rewrite(claim, host="elsewhere", token="other")
        for seconds, is_free in ((3500, False), (3700, True)):
            old = claim.stat().st_mtime - seconds
            os.utime(claim, (old, old))
            with ours.hold(output) as is_ours:
                assert is_ours == is_free


@pytest.mark.parametrize("content", [None, "", "[1]"])
def test_a_claim_from_elsewhere_is_taken_over_when_it_is_old(output, content):
    with Claims() as ours, Claims() as claims, claims.hold(output):
        claim = neighbour(output, "claim")
        if content is None:
            rewrite(claim, host="elsewhere", token="other")
        else:
            claim.write_text(content)
        with ours.hold(output) as is_ours:
            assert not is_ours
        old = claim.stat().st_mtime - 601
        os.utime(claim, (old, old))
        with ours.hold(output) as is_ours:
            assert is_ours
            assert json.loads(claim.read_text())["pid"] == os.getpid()
        assert not claim.exists()


def test_of_many_that_take_over_one_succeeds(output):
    with Claims() as dead, dead.hold(output):
        claim = neighbour(output, "claim")
        rewrite(claim, began="1", token="other")
        results = []
        start, done = threading.Barrier(8), threading.Barrier(8)

        def take():
            with Claims() as mine:
                start.wait()
                with mine.hold(output) as is_ours:
                    results.append(is_ours)
                    done.wait()

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(results) == [False] * 7 + [True]
    assert os.listdir(output.parent) == []


def test_a_take_over_that_was_cut_off_does_not_last(output):
    with Claims() as dead, dead.hold(output):
        claim = neighbour(output, "claim")
        rewrite(claim, began="1", token="other")
        marker = claim.with_name(f"{claim.name}.other")
        with Claims() as taker, taker.hold(output.with_name("b.npy")):  # alive, or so it seems
            marker.write_text(neighbour(output.with_name("b.npy"), "claim").read_text())
        with Claims() as ours:
            with ours.hold(output) as is_ours:
                assert not is_ours
            rewrite(marker, began="1")
            with ours.hold(output) as is_ours:
                assert not is_ours  # but the marker is gone
            with ours.hold(output) as is_ours:
                assert is_ours
    assert os.listdir(output.parent) == []


def test_what_a_dead_process_left_can_be_tidied_up(output):
    tidied = []
    with Claims() as dead, dead.hold(output):
        with Claims() as ours, ours.hold(output, tidy_up=lambda: tidied.append(1)):
            assert tidied == []
        rewrite(neighbour(output, "claim"), began="1", token="other")
        with Claims() as ours, ours.hold(output, tidy_up=lambda: tidied.append(1)):
            assert tidied == [1]


def test_claims_of_the_dead_on_what_is_complete_are_forgotten(output):
    with Claims() as theirs, Claims() as ours, theirs.hold(output):
        claim = neighbour(output, "claim")
        ours.forget(output)
        assert claim.exists()
        rewrite(claim, began="1", token="other")
        ours.forget(output)
        assert not claim.exists()
        ours.forget(output)


def test_claims_need_no_hard_links(output, monkeypatch):
    def refuse(source, target):
        raise PermissionError

    monkeypatch.setattr(os, "link", refuse)
    with Claims() as ours, Claims() as theirs:
        with ours.hold(output) as is_ours, theirs.hold(output) as is_theirs:
            assert (is_ours, is_theirs) == (True, False)
        assert os.listdir(output.parent) == []


def test_a_link_that_was_made_although_an_error_says_no_counts(output, monkeypatch):
    """A network file system may ask its server twice; the second answer is that the name is there."""
    link = os.link

    def answer_twice(source, target):
        link(source, target)
        raise FileExistsError

    monkeypatch.setattr(os, "link", answer_twice)
    with Claims() as ours, ours.hold(output) as is_ours:
        assert is_ours
    assert os.listdir(output.parent) == []


def test_litter_of_the_dead_is_removed_and_that_of_the_living_stays(output):
    with Claims() as theirs, theirs.hold(output):
        claim = neighbour(output, "claim")
        living = claim.read_text()
        dead = json.dumps({**json.loads(living), "began": "1"})
        mine = json.loads(living)
        place, pid, began = mine["token"][:8], mine["pid"], mine["began"]
        drafts = [f"{claim.name}.{place}{letter * 8}-{pid}" for letter in "ab"]
        stay = {f"{drafts[0]}-{began}.draft", f"{claim.name}.{'0' * 16}-1-1.draft", ".b.npy.failed"}
        go = {f"{drafts[1]}-1.draft", f".b.npy.claim.{'c' * 16}", ".b.npy.claim.unnamed"}
        go |= {f".b.npy.claim.{'c' * 16}.{place}{'d' * 8}-{pid}-1.draft"}
        for name in stay | go:
            claim.with_name(name).write_text("" if name.endswith(".draft") else dead)
        with Claims() as ours, ours.hold(output.with_name("c.npy")):
            left = set(os.listdir(output.parent)) - {claim.name, ".c.npy.claim"}
        assert left == stay
        elsewhere = claim.with_name(f"{claim.name}.{'0' * 16}-1-1.draft")
        os.utime(elsewhere, (1, 1))
        with Claims() as ours, ours.hold(output.with_name("c.npy")):
            assert not elsewhere.exists()


def test_claims_are_touched_while_the_work_goes_on(output):
    with Claims(timeout_seconds=0.2) as ours, ours.hold(output):
        claim = neighbour(output, "claim")
        os.utime(claim, (1, 1))
        touched = threading.Event()
        for _ in range(500):
            if claim.stat().st_mtime > 1:
                touched.set()
                break
            threading.Event().wait(0.01)
        assert touched.is_set()


def test_a_claim_that_was_taken_over_is_left_to_its_new_owner(output):
    with Claims() as ours:
        with ours.hold(output):
            rewrite(neighbour(output, "claim"), token="other")
        assert neighbour(output, "claim").exists()


def test_long_names_are_claimed_too(tmp_path):
    output = tmp_path / ("動" * 80 + ".npy")  # 244 bytes of 255
    with Claims() as claims, claims.hold(output) as is_ours:
        assert is_ours
        with Claims() as others, others.hold(output) as is_theirs:
            assert not is_theirs
    assert list(tmp_path.iterdir()) == []


def test_a_timeout_must_be_positive():
    with pytest.raises(ValueError, match="must be positive"):
        Claims(0)
