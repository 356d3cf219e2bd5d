from __future__ import annotations

import os
import stat

import pytest

from narravid.files import remove_leftovers, replace_folder, set_aside, write_atomically, write_text


def write_one(content):
    return lambda folder: (folder / "content").write_text(content)


def permissions(path):
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.skipif(os.name != "posix", reason="needs a umask")
@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_who_may_read_a_file_follows_from_the_umask_whatever_the_writer_does(tmp_path, umask, expected):
    def write_privately(path):
        other = path.with_name("other")
        other.write_text("x")
        other.chmod(0o600)
        other.replace(path)

    before = os.umask(umask)
    try:
        write_text(tmp_path / "plain", "x")
        write_atomically(tmp_path / "private", write_privately)
    finally:
        os.umask(before)
    assert permissions(tmp_path / "plain") == permissions(tmp_path / "private") == expected


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    write_text(tmp_path / "file", "old")

    def fail(path):
        path.write_text("half")
        raise OSError("no space left on device")

    with pytest.raises(OSError, match="no space"):
        write_atomically(tmp_path / "file", fail)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("file", "old")]


def test_a_folder_is_replaced_whole(tmp_path):
    folder = tmp_path / "deep" / "folder"
    replace_folder(folder, lambda fresh: (fresh / "first").touch())
    replace_folder(folder, write_one("second"))
    assert [path.name for path in folder.parent.rglob("*")] == ["folder", "content"]


@pytest.mark.parametrize("moment", ["before", "between", "after"])
def test_a_kill_during_the_exchange_loses_no_folder(tmp_path, monkeypatch, moment):
    """The process dies before the first rename, between the two, or after the second."""
    folder = tmp_path / "folder"
    replace_folder(folder, write_one("old"))
    calls = {"rename": 0}
    rename = type(folder).rename
    last = {"before": 0, "between": 1, "after": 2}[moment]

    def rename_until_killed(path, target):
        if calls["rename"] == last:
            pytest.exit("killed")
        calls["rename"] += 1
        return rename(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(type(folder), "rename", rename_until_killed)
        patched.setattr("narravid.files.shutil.rmtree", lambda *_, **__: None)  # the dead tidy nothing up
        if moment == "after":
            replace_folder(folder, write_one("new"))
        else:
            with pytest.raises(BaseException, match="killed"):
                replace_folder(folder, write_one("new"))
    assert (set_aside(folder) is not None) == (moment == "between")
    remove_leftovers(tmp_path)
    assert set_aside(folder) is None
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "content").read_text() == ("new" if moment == "after" else "old")


def test_a_folder_can_be_replaced_after_a_kill_of_the_same_process_number(tmp_path):
    """In a container every program may be process 1, so leftovers can bear one's own number."""
    folder = tmp_path / "folder"
    used = []
    replace_folder(folder, used.append)
    (fresh,) = used
    previous = fresh.with_suffix(".previous")
    folder.rmdir()
    for leftover in (fresh, previous):
        leftover.mkdir()
        (leftover / "content").write_text("left over")
    replace_folder(folder, write_one("first"))
    previous.mkdir()
    (previous / "content").write_text("left over")
    replace_folder(folder, write_one("second"))
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (folder / "content").read_text() == "second"


def test_processes_of_one_number_on_two_machines_do_not_share_a_name(tmp_path, monkeypatch):
    names = set()
    for host in ("first", "second"):
        monkeypatch.setattr("socket.gethostname", lambda host=host: host)
        with pytest.raises(RuntimeError):
            write_atomically(tmp_path / "file", lambda path: names.add(path.name) or fail())
    assert len(names) == 2
    for name in names:
        (tmp_path / name).touch()
    remove_leftovers(tmp_path, of=("file",))
    assert list(tmp_path.iterdir()) == []


def fail():
    raise RuntimeError


def test_tidying_up_after_some_files_leaves_those_of_others(tmp_path):
    for name in ("mine", "yours"):
        (tmp_path / f".{name}.12.partial").touch()
    remove_leftovers(tmp_path, of=("mine", "absent"))
    assert [path.name for path in tmp_path.iterdir()] == [".yours.12.partial"]


def test_tidying_up_touches_only_leftovers(tmp_path):
    for name in (".hidden", "x.partial", ".x.partial", ".x.12.other"):
        (tmp_path / name).touch()
    (tmp_path / ".x.12.partial").touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "absent")
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        ".hidden",
        ".x.12.other",
        ".x.partial",
        "x.partial",
    ]
