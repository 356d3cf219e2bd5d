from __future__ import annotations

import json
import multiprocessing
from pathlib import Path

import pytest

from narravid.errors import ConfigError, NarravidError
from narravid.training.run import create_run, lock_run, read_run_config, refuse_existing_run


def test_a_created_run_gives_its_recipe_and_configuration_back(tmp_path):
    run = tmp_path / "deep" / "run"
    create_run(run, recipe="milnce", config={"seed": 3, "data": {"root": "/videos"}})
    assert read_run_config(run) == ("milnce", {"seed": 3, "data": {"root": "/videos"}})
    environment = json.loads((run / "environment.json").read_text())
    assert {"narravid", "torch", "python", "num_threads"} <= environment.keys()


def test_a_second_run_in_the_folder_is_refused_and_told_of_resume(tmp_path):
    create_run(tmp_path / "run", recipe="milnce", config={})
    with pytest.raises(ConfigError, match=r"already holds a run.*narravid resume"):
        create_run(tmp_path / "run", recipe="milnce", config={})


@pytest.mark.parametrize("name", ["log.jsonl", "checkpoints", "model"])
def test_a_folder_with_files_that_a_run_would_overwrite_is_refused(tmp_path, name):
    (tmp_path / name).mkdir()
    with pytest.raises(ConfigError, match=f"holds {name}, which a run would overwrite"):
        refuse_existing_run(tmp_path)


def test_checking_makes_nothing_and_other_files_do_not_matter(tmp_path):
    (tmp_path / "notes.txt").touch()
    refuse_existing_run(tmp_path)
    refuse_existing_run(tmp_path / "new" / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_file_in_the_place_of_the_folder_or_above_it_is_refused(tmp_path):
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="must be a folder"):
        refuse_existing_run(file)
    with pytest.raises(ConfigError, match="cannot write to"):
        refuse_existing_run(file / "run")


def test_a_folder_that_cannot_be_written_is_refused():
    # /proc takes no new folders, whoever asks; a read-only folder would not stop the root user.
    with pytest.raises(ConfigError, match="cannot write to /proc/run"):
        refuse_existing_run(Path("/proc/run"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "holds no run"),
        ("{}", "not the configuration of a run"),
        ('{"recipe": 3, "config": {}}', "not the configuration of a run"),
        ("[]", "not the configuration of a run"),
    ],
)
def test_folders_without_a_proper_configuration_are_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "config.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        read_run_config(tmp_path)


def _hold(run, ready, release):
    with lock_run(run):
        ready.set()
        release.wait(30)


def test_only_one_process_may_hold_a_run_and_death_frees_it(tmp_path):
    context = multiprocessing.get_context("fork")
    ready, release = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(tmp_path, ready, release))
    holder.start()
    assert ready.wait(30)
    with pytest.raises(NarravidError, match="another process is training in it"), lock_run(tmp_path):
        pass
    holder.kill()
    holder.join()
    with lock_run(tmp_path):
        pass
    with lock_run(tmp_path):
        pass
