"""Extraction of a list: resumed, shared, stopped, and what becomes of bad videos and of other features."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import killed_extraction
from extraction_doubles import (
    TextDecoder,
    expected_features,
    files_of,
    small_encoder,
    small_worker,
    text_list,
    write_text_video,
)
from narravid.bad_items import TooManyBadItemsError
from narravid.data.feature_files import FeatureFolder
from narravid.data.feature_storage import read_facts
from narravid.errors import NarravidError
from narravid.inference import extract
from narravid.inference.claims import Claims
from narravid.inference.extract import extract_videos
from narravid.inference.extract_report import ExtractionReport


def run(items, decoder=None, *, num_workers=2, max_bad_share=1.0, **settings):
    report = ExtractionReport()
    with small_worker(decoder, **settings) as worker:
        extract_videos(items, worker, report=report, num_workers=num_workers, max_bad_share=max_bad_share)
    return report


def decoded(log):
    """How often each video was decoded."""
    return Counter(Path(line).name for line in log.read_text().split()) if log.exists() else Counter()


@pytest.mark.parametrize("num_workers", [1, 3])
def test_every_video_gets_its_features(tmp_path, num_workers):
    items = text_list(tmp_path)
    report = run(items, num_workers=num_workers)
    assert (report.num_done, report.num_skipped, len(report.bad), report.refused) == (12, 0, 0, [])
    windows = [-(-(3 + number % 17) // 4) for number in range(12)]
    assert report.video_seconds == sum(windows)
    assert 0 < report.busy_share <= 1
    assert report.hours_per_hour > 0
    for item, count in zip(items, windows, strict=True):
        features = np.load(item.output)
        assert np.array_equal(features, expected_features(item.video))
        assert len(features) == count


def test_what_is_known_lies_beside_the_features(tmp_path):
    (item,) = text_list(tmp_path, count=1)
    run([item])
    facts = read_facts(item.output)
    state = item.video.stat()
    assert facts["video"] == str(item.video)
    assert (facts["video_size_bytes"], facts["video_modified_ns"]) == (state.st_size, state.st_mtime_ns)
    assert (facts["model"], facts["weights_hash"]) == ("small", small_encoder().weights_hash)
    assert (facts["layer"], facts["dtype"], facts["normalised"]) == ("embedding", "float32", False)
    assert (facts["features_per_second"], facts["start_seconds"]) == (1.0, [0.0])
    assert (facts["num_features"], facts["dim"]) == (1, 6)
    assert facts["windows"]["num_frames"] == 4
    assert facts["windows"]["mean"] == [0.0, 0.0, 0.0]


def test_feature_files_are_read_back(tmp_path):
    items = text_list(tmp_path)
    run(items)
    folder = FeatureFolder(tmp_path / "features", dim=6, steps_per_second=7.0)
    assert folder.names() == [item.video.stem for item in items]
    track = folder.read("005")
    assert track.steps_per_second == 1.0  # the file says so
    assert folder.num_seconds("005") == len(track.steps) == 2
    assert np.array_equal(track.steps.numpy(), expected_features(items[5].video))


def test_what_is_complete_is_left_alone(tmp_path):
    items = text_list(tmp_path)
    run(items[:5])
    before = files_of(tmp_path / "features")
    log = tmp_path / "log"
    report = run(items, TextDecoder(log))
    assert (report.num_done, report.num_skipped) == (7, 5)
    assert set(decoded(log)) == {item.video.name for item in items[5:]}
    after = files_of(tmp_path / "features")
    assert {name: after[name] for name in before} == before


def test_a_video_that_changed_is_extracted_again(tmp_path):
    items = text_list(tmp_path, count=3)
    run(items)
    write_text_video(items[1].video, frames=40, seed=99)
    report = run(items)
    assert (report.num_done, report.num_skipped) == (1, 2)
    assert np.array_equal(np.load(items[1].output), expected_features(items[1].video))


def test_features_of_another_model_are_refused_or_replaced(tmp_path):
    items = text_list(tmp_path, count=4)
    run(items)
    before = files_of(tmp_path / "features")
    other = small_encoder(seed=1)
    report = run(items, encoder=other)
    assert (report.num_done, len(report.refused)) == (0, 4)
    assert all("made with another weights_hash" in reason for _, reason in report.refused)
    assert files_of(tmp_path / "features") == before
    report = run(items, encoder=other, overwrite=True)
    assert (report.num_done, report.refused) == (4, [])
    assert np.array_equal(np.load(items[2].output), expected_features(items[2].video, other))
    report = run(items, encoder=other, overwrite=True)
    assert (report.num_done, report.num_skipped) == (0, 4)


def test_features_of_others_are_not_overwritten(tmp_path):
    (item,) = text_list(tmp_path, count=1)
    item.output.parent.mkdir()
    item.output.write_text("published")
    report = run([item])
    assert [reason for _, reason in report.refused] == [
        f"{item.output} is there already, and nothing says what made it"
    ]
    assert item.output.read_text() == "published"
    assert run([item], overwrite=True).num_done == 1


@pytest.mark.parametrize("overwrite", [False, True])
@pytest.mark.parametrize("content", ['{"title": "of a download program"}', "[1", ""])
def test_a_json_of_others_is_never_overwritten(tmp_path, content, overwrite):
    (item,) = text_list(tmp_path, count=1)
    there = item.output.with_suffix(".json")
    there.parent.mkdir()
    there.write_text(content)
    report = run([item], overwrite=overwrite)
    ((_, reason),) = report.refused
    assert reason.startswith(f"{there} is there and does not describe features")
    assert there.read_text() == content
    assert not item.output.exists()


def test_an_array_without_its_facts_is_made_anew_after_a_kill(tmp_path):
    """The facts are written first, so what a kill leaves is facts without an array."""
    (item,) = text_list(tmp_path, count=1)
    run([item])
    item.output.unlink()
    assert run([item]).num_done == 1


# ---------------------------------------------------------------- bad videos


def test_bad_videos_are_named_and_the_rest_goes_on(tmp_path):
    items = text_list(tmp_path)
    items[3].video.write_text("no video")
    items[7].video.unlink()
    report = run(items)
    assert report.num_done == 10
    assert report.bad.reasons == {
        str(items[3].video): "not a video",
        str(items[7].video): "no such file or directory",
    }
    write_text_video(items[3].video, frames=5)
    report = run(items)  # a new run tries again
    assert (report.num_done, report.num_skipped, len(report.bad)) == (1, 10, 1)
    assert not list((tmp_path / "features").glob(".*"))


def test_a_run_of_which_too_much_is_bad_stops(tmp_path):
    items = text_list(tmp_path)
    for item in items[:4]:
        item.video.write_text("no video")
    with pytest.raises(TooManyBadItemsError, match="not a video"):
        run(items, max_bad_share=0.25, num_workers=1)
    assert run(items, max_bad_share=0.5).num_done > 0


def test_a_failure_that_another_process_found_in_this_run_is_not_tried_again(tmp_path):
    items = text_list(tmp_path, count=2)
    items[1].video.write_text("no video")
    log = tmp_path / "log"
    with small_worker(TextDecoder(log)) as ours, small_worker(TextDecoder(log)) as theirs:
        assert ours.do(items[0]).kind == "done"  # both have begun
        assert theirs.do(items[0]).kind == "skipped"
        assert theirs.do(items[1]).kind == "bad"
        outcome = ours.do(items[1])
    assert (outcome.kind, outcome.reason) == ("bad", "not a video")
    assert decoded(log)["001.mp4"] == 1


def test_a_file_that_changes_while_it_is_read_is_bad(tmp_path):
    (item,) = text_list(tmp_path, count=1)
    report = run([item], TextDecoder(on_chunk=lambda: item.video.write_text(item.video.read_text() + " ")))
    assert list(report.bad.reasons.values()) == ["the file changed while it was being read"]


# ---------------------------------------------------------------- stopping


def test_a_broken_network_stops_the_run(tmp_path):
    encoder = small_encoder()
    encoder.model.weight.data.fill_(float("inf"))
    with pytest.raises(NarravidError, match="NaN or infinity"):
        run(text_list(tmp_path), encoder=encoder)
    assert files_of(tmp_path / "features") == {}


def test_an_interrupted_run_leaves_no_claims_and_goes_on_later(tmp_path):
    items = text_list(tmp_path)
    stopped = []

    def interrupt(tally, outcome):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch, small_worker(TextDecoder(chunk_seconds=0.01)) as worker:
        patch.setattr(extract.Tally, "note", interrupt)
        with pytest.raises(KeyboardInterrupt):
            extract_videos(items, worker, report=ExtractionReport(), stop_decoding=lambda: stopped.append(1))
    assert stopped == [1]
    assert not list((tmp_path / "features").glob(".*.claim"))
    assert not list((tmp_path / "features").glob(".*.failed"))
    num_done = len(list((tmp_path / "features").glob("*.npy")))
    assert 0 < num_done < 12
    report = run(items)
    assert (report.num_done, report.num_skipped) == (12 - num_done, num_done)


# ---------------------------------------------------------------- several processes


def test_what_another_is_at_is_waited_for(tmp_path, monkeypatch):
    """The other one finishes one video, and dies at the second."""
    items = text_list(tmp_path, count=3)
    looks = []
    with Claims() as others:
        holds = [others.hold(item.output) for item in items[:2]]
        assert all(hold.__enter__() for hold in holds)

        def look(seconds):
            looks.append(seconds)
            if len(looks) == 2:
                holds[0].__exit__(None, None, None)
                with small_worker() as worker:
                    assert worker.do(items[0]).kind == "done"
            if len(looks) == 4:
                claim = items[1].output.with_name(f".{items[1].output.name}.claim")
                claim.write_text(json.dumps({**json.loads(claim.read_text()), "host": "gone"}))
                os.utime(claim, (1, 1))

        monkeypatch.setattr(extract, "sleep", look)
        report = run(items)
    assert (report.num_done, report.num_skipped) == (2, 1)
    assert looks == [extract.LOOK_AGAIN_SECONDS] * 4


def extract_in_processes(folder, *arguments):
    command = [sys.executable, killed_extraction.__file__, str(folder), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_killed_runs(tmp_path, *, count, seed, num_kills):
    complete = extract_in_processes(tmp_path, count, seed, num_kills)
    for before, after in pairwise(complete):
        assert set(before) <= set(after)
    items = text_list(tmp_path / "undisturbed", count=count)
    run(items)
    for item in items:
        assert np.array_equal(np.load(tmp_path / "features" / item.output.name), np.load(item.output))
    assert not list((tmp_path / "features").glob(".*"))  # no claim, draft, clock, half of a file or failure
    times = decoded(tmp_path / "log")
    assert set(times) == {item.video.name for item in items}
    # Two videos are in work when a run is killed: no others are decoded twice.
    assert sum(times.values()) <= count + 2 * num_kills
    return complete


def test_two_processes_share_a_list_without_double_work(tmp_path):
    check_killed_runs(tmp_path, count=40, seed=0, num_kills=0)


def test_killed_runs_are_gone_on_with(tmp_path):
    complete = check_killed_runs(tmp_path, count=150, seed=1, num_kills=4)
    assert len(complete[0]) < 150


@pytest.mark.slow
@pytest.mark.parametrize("seed", [2, 3])
def test_many_killed_runs(tmp_path, seed):
    check_killed_runs(tmp_path, count=250, seed=seed, num_kills=20)
