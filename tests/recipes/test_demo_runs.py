"""Training side by side: errors come through, and no training process outlives what started it."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from narravid.errors import ConfigError, NarravidError
from narravid.recipes.demo_runs import read_losses, train_side_by_side
from narravid.recipes.demo_training import demo_training
from narravid.recipes.milnce import MILNCERecipe
from narravid.synthetic.camera import SceneConfig
from narravid.synthetic.files import write_world
from narravid.synthetic.world import ToyWorld, preset
from narravid.training.run import lock_run

NUM_STEPS = 10_000  # hours of work: whatever ends early was ended

STARTER = """
import signal, sys
from pathlib import Path
# a shell's background job ignores Ctrl-C, and what it starts inherits that
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.path.insert(0, sys.argv[1])
from test_demo_runs import endless_runs
from narravid.recipes.demo_runs import train_side_by_side
recipes, runs = endless_runs(Path(sys.argv[2]))
train_side_by_side(recipes, runs, num_steps=10_000)
"""


def endless_runs(folder: Path) -> tuple[dict[str, MILNCERecipe], dict[str, Path]]:
    recipe = demo_training(folder / "world" / "train", captions=None, num_steps=NUM_STEPS, seed=0)
    names = ("first", "second")
    return {name: recipe for name in names}, {name: folder / "runs" / name for name in names}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    scene = SceneConfig(width=64, height=48, min_step_seconds=2.0, max_step_seconds=2.5)
    config = replace(
        preset("demo"), num_train_videos=16, num_test_repetitions=0, steps_per_video=2, scene=scene
    )
    write_world(ToyWorld(config, seed=0), folder / "world")
    return folder


@pytest.mark.slow
def test_an_error_of_one_training_comes_through_and_ends_the_other(world: Path) -> None:
    recipes, runs = endless_runs(world)
    recipes["second"] = replace(recipes["second"], data=replace(recipes["second"].data, batch_size=1000))
    with pytest.raises(ConfigError, match="batch_size is 1000"):
        train_side_by_side(
            recipes, {name: run / "failing" for name, run in runs.items()}, num_steps=NUM_STEPS
        )


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGINT, signal.SIGKILL])
def test_stopping_the_starter_alone_leaves_no_training_process(world: Path, stop: signal.Signals) -> None:
    folder = world / stop.name
    folder.mkdir()
    (folder / "world").symlink_to(world / "world")
    starter = subprocess.Popen([sys.executable, "-c", STARTER, str(Path(__file__).parent), str(folder)])
    runs = list(endless_runs(folder)[1].values())
    try:
        _await(lambda: all(map(read_losses, runs)) or starter.poll() is not None, seconds=100)
        assert starter.poll() is None
        assert all(map(_is_in_use, runs))
        starter.send_signal(stop)
        assert starter.wait(timeout=60) != 0
        _await(lambda: not any(map(_is_in_use, runs)), seconds=60)
    finally:
        starter.kill()


def _is_in_use(run: Path) -> bool:
    """Whether a living process trains in the run folder."""
    try:
        with lock_run(run):
            return False
    except NarravidError:
        return True


def _await(is_so: Callable[[], bool], *, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < end, f"not so after {seconds:g} s"
        time.sleep(0.2)
