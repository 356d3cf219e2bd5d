"""Which videos are scored, and against which prompts: lists, tables, folders, patterns, files and words."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from narravid.annotation_files import read_lines, read_table
from narravid.errors import AnnotationError, ConfigError
from narravid.inference.trajectory_names import short_folder_names, short_names
from narravid.video.suffixes import VIDEO_SUFFIXES

__all__ = ["ListedPrompt", "ListedTrajectory", "read_prompts", "read_trajectories"]

LIST_SUFFIX, TABLE_SUFFIX = ".txt", ".csv"
MAX_NAMED = 5
"""Missing videos that a message names; of the others it says how many there are."""


@dataclass(frozen=True, slots=True)
class ListedTrajectory:
    """A video that is to be scored.

    Attributes:
        path: The file.
        name: A short name, different from those of the others.
        group: The group that it belongs to, if any.
        true_return: What the agent was really given for it, if that is known.
    """

    path: str
    name: str
    group: str | None = None
    true_return: float | None = None


@dataclass(frozen=True, slots=True)
class ListedPrompt:
    """A sentence that videos are scored against.

    Attributes:
        text: The sentence.
        group: The group of paraphrases that it belongs to, if any.
    """

    text: str
    group: str | None = None


@dataclass(frozen=True, slots=True)
class _Found:
    """A video with the place that named it: a list and a line of it, or a source."""

    path: str
    group: str | None = None
    true_return: float | None = None
    listed_in: str | None = None
    line: int | None = None


def read_trajectories(sources: Sequence[str]) -> tuple[ListedTrajectory, ...]:
    """The videos that some sources name; one that is named again counts once.

    A source is a list (.txt: one path a line, blank lines passed over), a table (.csv: the column `path` and,
    if wanted, `group` and `return`), a folder, a pattern with `*`, `?` or `**`, or a video. Paths of lists
    and tables are looked for beside the list, then from the working folder. Of a folder all files with a
    video's suffix are taken, by name; those of its subfolders have the name of the subfolder as their group,
    those that lie in it directly its own if there are several sources, with as much of its path as tells it
    from the other folders that are named. A video that is named again takes the group and the return of the
    second mention where the first has none.

    Args:
        sources: What the user named.

    Returns:
        The videos in the order of the sources.

    Raises:
        AnnotationError: If a list has a fault, names videos that are not there (says which, up to a few), or
            gives one a group or a return that contradicts what was said of it before.
        ConfigError: If another source is not there, holds no video or contradicts what was said of one.
    """
    found: dict[str, _Found] = {}
    own_groups = _own_groups(sources) if len(sources) > 1 else {}
    for source in sources:
        for video in _videos_of(source, own_group=own_groups.get(source)):
            real = os.path.realpath(video.path)
            found[real] = _merged(found[real], video) if real in found else video
    if not found:
        raise ConfigError("no trajectories are named; give lists, folders or videos", key="trajectories")
    names = short_names([video.path for video in found.values()])
    return tuple(
        ListedTrajectory(video.path, name, video.group, video.true_return)
        for video, name in zip(found.values(), names, strict=True)
    )


def read_prompts(sources: Sequence[str]) -> tuple[ListedPrompt, ...]:
    """The prompts that some sources name.

    Args:
        sources: Lists (.txt: one prompt a line, blank lines passed over), tables (.csv: the column `prompt`
            and, if wanted, `group`), or prompts themselves.

    Returns:
        The prompts in the order of the sources.

    Raises:
        AnnotationError: If a list has a fault.
        ConfigError: If a prompt is empty or there twice in a group, or some have groups and others none.
    """
    prompts: list[ListedPrompt] = []
    for source in sources:
        prompts += [replace(prompt, text=" ".join(prompt.text.split())) for prompt in _prompts_of(source)]
    if not prompts:
        raise ConfigError("no prompts are named; give sentences or a list of them", key="prompts")
    without = [prompt.text for prompt in prompts if prompt.group is None]
    if 0 < len(without) < len(prompts):
        reason = f"has no group, others have one: {without[0]!r}; give all prompts a group, or none"
        raise ConfigError(f"a prompt {reason}", key="prompts")
    for number, prompt in enumerate(prompts):
        if prompt in prompts[:number]:
            where = "" if prompt.group is None else f" in the group {prompt.group!r}"
            raise ConfigError(
                f"the prompt {prompt.text!r} is there twice{where}; name it once", key="prompts"
            )
    return tuple(prompts)


def _prompts_of(source: str) -> list[ListedPrompt]:
    suffix = Path(source).suffix.lower()
    if suffix == LIST_SUFFIX:
        prompts = [ListedPrompt(line) for _, line in read_lines(Path(source))]
    elif suffix == TABLE_SUFFIX:
        prompts = []
        for row in read_table(Path(source), ("prompt",)):
            group = row.text("group") if "group" in row else None
            prompts.append(ListedPrompt(row.text("prompt"), group))
    else:
        if not source.strip():
            raise ConfigError("a prompt is empty; give a sentence, or a list of them", key="prompts")
        return [ListedPrompt(source)]
    if not prompts:
        raise AnnotationError(source, "holds no prompt")
    return prompts


def _own_groups(sources: Sequence[str]) -> dict[str, str]:
    """For each source that is a folder, the group of the videos that lie in it directly."""
    folders = {source: os.path.abspath(source) for source in sources if os.path.isdir(source)}
    different = [*dict.fromkeys(folders.values())]
    names = dict(zip(different, short_folder_names(different), strict=True))
    return {source: names[folder] for source, folder in folders.items()}


def _videos_of(source: str, *, own_group: str | None) -> list[_Found]:
    suffix = Path(source).suffix.lower()
    if os.path.isdir(source):
        return _videos_of_folder(source, own_group)
    if suffix in (LIST_SUFFIX, TABLE_SUFFIX):
        return _videos_of_list(source, is_table=suffix == TABLE_SUFFIX)
    if os.path.isfile(source):
        return [_Found(source)]
    if glob.has_magic(source):
        return _videos_of_pattern(source)
    raise ConfigError(
        f"there is no {source!r}; give a list (.txt, .csv), a folder, a pattern or a video",
        key="trajectories",
    )


def _videos_of_list(source: str, *, is_table: bool) -> list[_Found]:
    listed = list(_rows_of_table(source) if is_table else _rows_of_list(source))
    if not listed:
        raise AnnotationError(source, "lists no video")
    folder = os.path.dirname(source)
    videos, missing = [], []
    for row in listed:
        places = dict.fromkeys((os.path.join(folder, row.path), row.path))
        place = next((place for place in places if os.path.isfile(place)), None)
        if place is None:
            missing.append(row)
        else:
            videos.append(replace(row, path=place))
    if missing:
        raise _missing(source, missing)
    return videos


def _rows_of_list(source: str) -> Iterator[_Found]:
    for line, path in read_lines(Path(source)):
        yield _Found(path, listed_in=source, line=line)


def _rows_of_table(source: str) -> Iterator[_Found]:
    for row in read_table(Path(source), ("path",)):
        group = row.text("group", may_be_empty=True) if "group" in row else ""
        true_return = row.text("return", may_be_empty=True) if "return" in row else ""
        yield _Found(
            path=row.text("path"),
            group=group or None,
            true_return=row.number("return") if true_return else None,
            listed_in=source,
            line=row.line,
        )


def _missing(source: str, rows: Sequence[_Found]) -> AnnotationError:
    """The error for videos of a list that are not there."""
    named = ", ".join(f"{row.path} (line {row.line})" for row in rows[:MAX_NAMED])
    more = f" and {len(rows) - MAX_NAMED} more" if len(rows) > MAX_NAMED else ""
    reason = f"no such file beside the list or in the working folder: {named}{more}"
    return AnnotationError(source, reason, line=rows[0].line)


def _videos_of_folder(source: str, own_group: str | None) -> list[_Found]:
    videos: list[_Found] = []
    visited: set[str] = set()
    for folder, subfolders, names in os.walk(source, followlinks=True):
        subfolders[:] = sorted(name for name in subfolders if not name.startswith("."))
        if os.path.realpath(folder) in visited:  # links may lead in circles
            subfolders.clear()
            continue
        visited.add(os.path.realpath(folder))
        below = Path(folder).relative_to(source).parts
        videos += [
            _Found(os.path.join(folder, name), below[0] if below else own_group)
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix.lower() in VIDEO_SUFFIXES
        ]
    if not videos:
        raise ConfigError(f"{source} holds no file with a known video suffix", key="trajectories")
    return videos


def _videos_of_pattern(source: str) -> list[_Found]:
    matches = sorted(glob.glob(source, recursive=True))
    videos = [
        path for path in matches if Path(path).suffix.lower() in VIDEO_SUFFIXES and os.path.isfile(path)
    ]
    if not videos:
        reason = f"fits {len(matches)} names, none of a video" if matches else "fits no file"
        raise ConfigError(f"the pattern {source!r} {reason}", key="trajectories")
    return [_Found(path) for path in videos]


def _merged(first: _Found, second: _Found) -> _Found:
    """What two mentions say of one video together."""
    for known, other, name in (
        (first.group, second.group, "groups"),
        (first.true_return, second.true_return, "returns"),
    ):
        if known is not None and other is not None and known != other:
            reason = f"{second.path} is there twice, with the {name} {known!r} and {other!r}; name it once"
            if second.listed_in is not None:
                raise AnnotationError(second.listed_in, reason, line=second.line)
            raise ConfigError(reason, key="trajectories")
    return replace(
        first,
        group=second.group if first.group is None else first.group,
        true_return=second.true_return if first.true_return is None else first.true_return,
    )
