from __future__ import annotations

import shutil
import subprocess
from importlib import metadata

import pytest

from narravid.training.code_version import code_version

needs_git = pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
VERSION = metadata.version("narravid")


def git(folder, *arguments):
    identity = ("-c", "user.name=Name", "-c", "user.email=name@example.org", "-c", "commit.gpgsign=false")
    answer = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return answer.stdout.strip()


@pytest.fixture
def package(tmp_path):
    """A package in a checkout with one commit."""
    folder = tmp_path / "checkout" / "src" / "package"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("one")
    git(tmp_path / "checkout", "init", "--quiet")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "one")
    return folder


@needs_git
def test_a_checkout_tells_its_revision_and_whether_the_package_was_changed(package, tmp_path):
    revision = git(package, "rev-parse", "HEAD")
    clean = {"version": VERSION, "git_revision": revision, "git_modified": False}
    assert code_version(package) == clean
    (tmp_path / "checkout" / "output.txt").write_text("outside of the package")
    assert code_version(package) == clean
    (package / "new.py").write_text("untracked")
    assert code_version(package) == {**clean, "git_modified": True}
    (package / "new.py").unlink()
    (package / "__init__.py").write_text("two")
    assert code_version(package) == {**clean, "git_modified": True}


@needs_git
def test_variables_of_git_do_not_send_it_elsewhere(package, tmp_path, monkeypatch):
    expected = code_version(package)
    monkeypatch.setenv("GIT_DIR", str(tmp_path))
    assert code_version(package) == expected


@needs_git
def test_a_package_that_a_strangers_checkout_does_not_know_tells_its_version(package):
    installed = package.parent / "installed"
    installed.mkdir()
    (installed / "__init__.py").write_text("other")
    assert code_version(installed) == {"version": VERSION}


def test_without_a_checkout_or_without_git_the_version_is_told(tmp_path, monkeypatch):
    (tmp_path / "__init__.py").touch()
    assert code_version(tmp_path) == {"version": VERSION}
    monkeypatch.setenv("PATH", str(tmp_path))
    assert code_version() == {"version": VERSION}
