"""Lists of videos and prompts, in every form that a user may give them."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from narravid.errors import AnnotationError, ConfigError
from narravid.inference.trajectory_lists import (
    ListedPrompt,
    ListedTrajectory,
    read_prompts,
    read_trajectories,
)
from narravid.inference.trajectory_names import short_names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Some files with a video's name, in a folder that is the working folder; nothing looks into them."""
    monkeypatch.chdir(tmp_path)
    for name in ("runs/b.mp4", "runs/a.gif", "runs/notes.md", "runs/.hidden.mp4", "lid.avi"):
        write(tmp_path / name, "x")
    return tmp_path


def write(path: Path, text: str | bytes) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return str(path)


def found(*sources: str) -> list[tuple[str, str, str | None]]:
    return [(item.path, item.name, item.group) for item in read_trajectories(sources)]


# ---------------------------------------------------------------- videos


def test_a_list_beside_its_videos(folder: Path):
    source = write(folder / "runs/list.txt", "b.mp4\r\n\r\n  a.gif  \nlid.avi\n")
    assert found(source) == [
        (str(folder / "runs/b.mp4"), "b", None),
        (str(folder / "runs/a.gif"), "a", None),
        ("lid.avi", "lid", None),  # not beside the list, but in the working folder
    ]


def test_a_list_with_a_byte_order_mark_and_absolute_paths(folder: Path):
    source = write(folder / "list.txt", "\ufeff" + str(folder / "runs/b.mp4") + "\n")
    assert found(source) == [(str(folder / "runs/b.mp4"), "b", None)]


def test_a_table_with_groups_and_returns(folder: Path):
    table = "return,path,group,note\n3.5,runs/b.mp4,pushes,good\n-1e1,runs/a.gif,,\n,lid.avi,pulls,x\n"
    source = write(folder / "table.csv", table)
    assert read_trajectories([source]) == (
        ListedTrajectory(str(folder / "runs/b.mp4"), "b", "pushes", 3.5),
        ListedTrajectory(str(folder / "runs/a.gif"), "a", None, -10.0),
        ListedTrajectory(str(folder / "lid.avi"), "lid", "pulls", None),
    )


def test_a_table_needs_only_paths(folder: Path):
    source = write(folder / "table.csv", 'path\n"runs/b.mp4"\n')
    assert read_trajectories([source]) == (ListedTrajectory(str(folder / "runs/b.mp4"), "b"),)


def test_subfolders_are_groups(folder: Path):
    for name in ("open/2.mp4", "open/1.MP4", "open/late/3.mkv", "closed/1.mp4", ".trash/4.mp4"):
        write(folder / "doors" / name, "x")
    write(folder / "doors/all.mp4", "x")
    assert found("doors") == [
        ("doors/all.mp4", "all", None),
        ("doors/closed/1.mp4", "closed/1", "closed"),
        ("doors/open/1.MP4", "open/1", "open"),
        ("doors/open/2.mp4", "2", "open"),
        ("doors/open/late/3.mkv", "3", "open"),
    ]


def test_folders_beside_other_sources_are_groups(folder: Path):
    write(folder / "walks/c.mp4", "x")
    assert found("runs") == [("runs/a.gif", "a", None), ("runs/b.mp4", "b", None)]
    assert found("runs/", "walks", "lid.avi") == [
        ("runs/a.gif", "a", "runs"),
        ("runs/b.mp4", "b", "runs"),
        ("walks/c.mp4", "c", "walks"),
        ("lid.avi", "lid", None),
    ]


def test_links_that_lead_in_circles_end(folder: Path):
    (folder / "runs/again").symlink_to(folder / "runs")
    assert [item.name for item in read_trajectories(["runs"])] == ["a", "b"]


def test_links_keep_the_folder_that_they_stand_in(folder: Path):
    (folder / "groups/first").mkdir(parents=True)
    (folder / "groups/first/x.mp4").symlink_to(folder / "runs/b.mp4")
    assert found("groups") == [("groups/first/x.mp4", "x", "first")]


def test_patterns(folder: Path):
    assert found("runs/*") == [("runs/a.gif", "a", None), ("runs/b.mp4", "b", None)]
    assert found("**/?.mp4") == [("runs/b.mp4", "b", None)]


def test_a_video_whose_name_looks_like_a_pattern(folder: Path):
    write(folder / "take[1].mp4", "x")
    assert found("take[1].mp4") == [("take[1].mp4", "take[1]", None)]


def test_a_video_counts_once(folder: Path):
    source = write(folder / "list.txt", "runs/b.mp4\nlid.avi\nruns/../runs/b.mp4\n")
    assert [item.name for item in read_trajectories([source, "lid.avi", "runs/*.mp4"])] == ["b", "lid"]


def test_mentions_of_a_video_add_up(folder: Path):
    source = write(folder / "table.csv", "path,group,return\nruns/b.mp4,,2.5\nlid.avi,lids,\n")
    expected = (
        ListedTrajectory(str(folder / "runs/b.mp4"), "b", "runs", 2.5),
        ListedTrajectory(str(folder / "lid.avi"), "lid", "lids"),
        ListedTrajectory("runs/a.gif", "a", "runs"),
    )
    assert read_trajectories([source, "runs", "lid.avi", "runs/b.mp4"]) == expected


@pytest.mark.parametrize(
    ("column", "first", "second", "message"),
    [("group", "a", "b", "the groups 'a' and 'b'"), ("return", "1", "2", "the returns 1.0 and 2.0")],
)
def test_mentions_that_contradict_each_other_are_refused(
    column: str, first: str, second: str, message: str, folder: Path
):
    rows = f"path,{column}\nlid.avi,{first}\nlid.avi,{second}\n"
    with pytest.raises(AnnotationError, match=f"table.csv, line 3: .*lid.avi is there twice, with {message}"):
        read_trajectories([write(folder / "table.csv", rows)])


def test_a_folder_that_contradicts_a_table_is_refused(folder: Path):
    source = write(folder / "table.csv", "path,group\nruns/b.mp4,pushes\n")
    with pytest.raises(
        ConfigError, match="is there twice, with the groups 'pushes' and 'runs'; name it once"
    ):
        read_trajectories([source, "runs"])


def test_folders_of_one_name_are_different_groups(folder: Path):
    for name in ("expert/videos/a.mp4", "random/videos/b.mp4"):
        write(folder / name, "x")
    sources = ["expert/videos", "random/videos/", "runs", str(folder / "expert/videos")]
    groups = [item.group for item in read_trajectories(sources)]
    assert groups == ["expert/videos", "random/videos", "runs", "runs"]


def test_all_missing_videos_are_named_at_once(folder: Path):
    source = write(folder / "list.txt", "no.mp4\nlid.avi\n\nnone.mp4\n")
    with pytest.raises(AnnotationError) as caught:
        read_trajectories([source])
    assert str(caught.value) == (
        f"{source}, line 1: no such file beside the list or in the working folder: no.mp4 (line 1), "
        "none.mp4 (line 4)"
    )
    source = write(folder / "list.txt", "".join(f"no{number}.mp4\n" for number in range(20)))
    with pytest.raises(AnnotationError, match=r"no4.mp4 \(line 5\) and 15 more$"):
        read_trajectories([source])


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no trajectories are named"),
        (["nothing.mp4"], "there is no 'nothing.mp4'; give a list"),
        (["*.webm"], r"the pattern '\*.webm' fits no file"),
        (["runs/n*"], "the pattern 'runs/n\\*' fits 1 names, none of a video"),
        (["empty"], "empty holds no file with a known video suffix"),
    ],
)
def test_sources_without_videos_are_refused(sources: list[str], message: str, folder: Path):
    (folder / "empty").mkdir()
    with pytest.raises(ConfigError, match=message):
        read_trajectories(sources)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "gone.txt: cannot be opened: No such file"),
        ("blank.txt", "\n \n", "blank.txt: lists no video"),
        ("latin.txt", b"lid.avi\nt\xfcr.mp4\n", "latin.txt, line 2: not UTF-8 text .byte 0xfc"),
        ("bare.csv", "lid.avi\n", "bare.csv, line 1, field 'path': column missing"),
        ("head.csv", "path,group\n", "head.csv: lists no video"),
        (
            "word.csv",
            "path,return\nlid.avi,much\n",
            "word.csv, line 2, field 'return': must be a finite number",
        ),
        ("nan.csv", "path,return\nlid.avi,nan\n", "nan.csv, line 2, field 'return': must be a finite number"),
        ("hole.csv", "path,return\n,3\n", "hole.csv, line 2, field 'path': is empty"),
    ],
)
def test_faults_of_lists_are_named(name: str, content: str | bytes | None, message: str, folder: Path):
    if content is not None:
        write(folder / name, content)
    with pytest.raises(AnnotationError, match=message):
        read_trajectories([name])


# ---------------------------------------------------------------- names


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["a/x.mp4", "b/y.mp4"], ["x", "y"]),
        (["a/x.mp4", "b/x.mp4", "y.mp4"], ["a/x", "b/x", "y"]),
        (["x.gif", "x.mp4"], ["x.gif", "x.mp4"]),
        (["a/1/x.mp4", "b/1/x.mp4"], ["a/1/x", "b/1/x"]),
        (["/a/x.mp4", "/a/x.gif", "/b/x.gif"], ["a/x.mp4", "a/x.gif", "b/x.gif"]),
        (["x.mp4", "/x.mp4"], ["x.mp4", "/x.mp4"]),
        (["a/X.mp4", "b/x.MP4"], ["a/X", "b/x"]),
        (["a.gif", "a.mp4", "a.gif.mp4"], ["a.gif", "a.mp4", "a.gif.mp4"]),
    ],
)
def test_names_are_short_and_different(paths: list[str], names: list[str]):
    assert short_names(paths) == names


PATHS = st.lists(
    st.tuples(
        st.lists(st.sampled_from("ab"), max_size=3), st.sampled_from("xy"), st.sampled_from([".mp4", ".gif"])
    ),
    unique_by=str,
    max_size=12,
)


@settings(max_examples=40)
@given(PATHS)
def test_names_never_repeat(parts: list[tuple[list[str], str, str]]):
    paths = ["/".join([*folders, stem + suffix]) for folders, stem, suffix in parts]
    names = short_names(paths)
    assert len(set(names)) == len(names) == len(paths)


# ---------------------------------------------------------------- prompts


def test_prompts_from_words_lists_and_tables(folder: Path):
    listed = write(folder / "prompts.txt", "\ufeffopen the door\r\n\r\n close it \n")
    assert read_prompts([listed, "push, then pull"]) == (
        ListedPrompt("open the door"),
        ListedPrompt("close it"),
        ListedPrompt("push, then pull"),
    )
    table = write(folder / "prompts.csv", 'group,prompt\nopen,"open it, please"\nopen,pull\nshut,pull\n')
    assert read_prompts([table]) == (
        ListedPrompt("open it, please", "open"),
        ListedPrompt("pull", "open"),
        ListedPrompt("pull", "shut"),
    )
    assert read_prompts([write(folder / "bare.csv", "prompt\npull\n")]) == (ListedPrompt("pull"),)


@pytest.mark.parametrize(
    ("sources", "message"),
    [
        ([], "no prompts are named"),
        (["pull", "  "], "a prompt is empty"),
        (["pull", " pull "], "the prompt 'pull' is there twice; name it once"),
        (["pull\nit", "pull  it"], "the prompt 'pull it' is there twice; name it once"),
        (["grouped.csv", "push"], "a prompt has no group, others have one: 'push'; give all prompts a group"),
        (["twice.csv"], "the prompt 'pull' is there twice in the group 'a'; name it once"),
    ],
)
def test_prompts_that_cannot_be_are_refused(sources: list[str], message: str, folder: Path):
    write(folder / "grouped.csv", "prompt,group\npull,a\n")
    write(folder / "twice.csv", "prompt,group\npull,a\npull,a\n")
    with pytest.raises(ConfigError, match=message):
        read_prompts(sources)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.txt", None, "gone.txt: cannot be opened"),
        ("blank.txt", " \n", "blank.txt: holds no prompt"),
        ("hole.csv", "prompt\npull\n \n", "hole.csv, line 3, field 'prompt': is empty"),
        ("mixed.csv", "prompt,group\npull,a\npush,\n", "mixed.csv, line 3, field 'group': is empty"),
        ("bare.csv", "pull\n", "bare.csv, line 1, field 'prompt': column missing"),
    ],
)
def test_faults_of_lists_of_prompts_are_named(name: str, content: str | None, message: str, folder: Path):
    if content is not None:
        write(folder / name, content)
    with pytest.raises(AnnotationError, match=message):
        read_prompts([name])
