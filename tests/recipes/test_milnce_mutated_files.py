"""Acceptance: training on an archive with 3 % damaged copies of real files ends well and reports them."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from mutated_files import mutated_files
from narravid.bad_items import BadItems
from narravid.errors import DecodeError
from narravid.models.hub import load
from narravid.video.watched import WatchedDecoder
from small_corpus import TRANSCRIPT, small_recipe

SOURCES = (
    *("odd/big_buck_bunny_432_433.webm", "odd/realshort.mp4", "odd/sample.3gp", "odd/h264_10bits.mp4"),
    *("actions/point/set1_57_10_3.avi", "actions/point/set1_22_4_3.avi", "trajectories/cart_pole.gif"),
    *("videos/ucf101_v_ApplyEyeMakeup_g01_c01.avi", "narrated/grid/lbax4n.mpg", "odd/transparent.webm"),
)
NUM_VIDEOS = 200
NUM_BAD = 6
NUM_DAMAGED = 12
"""Damaged too, but FFmpeg makes frames of them: such files are trained on."""


def decodes(decoder: WatchedDecoder, path: Path) -> bool:
    try:
        decoder.check(path)
    except DecodeError:
        return False
    return True


def write_archive(folder: Path, sources: list[Path]) -> tuple[set[str], set[str]]:
    """Two hundred narrated videos; gives the names of the bad ones and of those that are merely damaged."""
    folder.mkdir()
    bad: set[str] = set()
    damaged: set[str] = set()
    with WatchedDecoder() as decoder:
        for mutated in mutated_files(sources, num_files=500, seed=3):
            path = folder / mutated.name
            path.write_bytes(mutated.data)
            names, wanted = (damaged, NUM_DAMAGED) if decodes(decoder, path) else (bad, NUM_BAD)
            if len(names) < wanted:
                names.add(mutated.name)
            else:
                path.unlink()
            if len(bad) == NUM_BAD and len(damaged) == NUM_DAMAGED:
                break
    for number in range(NUM_VIDEOS - NUM_BAD - NUM_DAMAGED):
        source = sources[number % len(sources)]
        shutil.copy(source, folder / f"good{number:03}{source.suffix}")
    for path in list(folder.iterdir()):
        path.with_suffix(".vtt").write_text(TRANSCRIPT.format(colour="red"), encoding="utf-8")
    return bad, damaged


@pytest.mark.shared
@pytest.mark.slow
def test_an_archive_with_3_percent_damaged_real_files(shared_data, tmp_path, caplog):
    bad, damaged = write_archive(tmp_path / "videos", [shared_data / name for name in SOURCES])
    assert (len(bad), len(damaged)) == (NUM_BAD, NUM_DAMAGED)
    recipe = small_recipe(tmp_path / "videos", num_steps=16, checkpoint_every_steps=4)
    data = dataclasses.replace(recipe.data, batch_size=25)  # each video twice in 16 steps
    run = tmp_path / "run"
    result = dataclasses.replace(recipe, data=data, workers=2).train(run)
    assert result.step == 16
    table = BadItems.read(run / "bad_items.csv")
    names = {Path(path).name for path in table.reasons}
    assert bad <= names <= bad | damaged, "a good file was called bad, or a bad one was not met"
    assert all(table.times[str(tmp_path / "videos" / name)] >= 2 for name in bad)
    assert all(table.reasons.values())
    assert f"{len(names)} bad videos left out or replaced" in caplog.text
    assert load(run).weights_hash
