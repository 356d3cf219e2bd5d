"""Short names for files and folders, each different from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

__all__ = ["short_folder_names", "short_names"]


def short_names(paths: Sequence[str]) -> list[str]:
    """Names for files: the bare name, with as much of the rest as tells it from the others.

    Capitals alone do not tell two names apart, which may become names of files.

    Args:
        paths: Different paths.

    Returns:
        One name for each, all different.

    >>> short_names(["runs/a/door.mp4", "runs/b/door.mp4", "lid.gif", "lid.mp4"])
    ['a/door', 'b/door', 'lid.gif', 'lid.mp4']
    """
    names = [""] * len(paths)
    of_stem: defaultdict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        of_stem[Path(path).stem.casefold()].append(number)
    for numbers in of_stem.values():
        for number, name in zip(numbers, _apart([Path(paths[number]) for number in numbers]), strict=True):
            names[number] = name
    return names if _are_different(names) else list(paths)  # a.gif beside a.mp4 and a.gif.mp4, for example


def short_folder_names(paths: Sequence[str]) -> list[str]:
    """Names for folders: the last one, with as many of those above as tell it from others of that name.

    Args:
        paths: Different absolute paths.

    Returns:
        One name for each, all different.

    >>> short_folder_names(["/data/expert/videos", "/data/random/videos", "/data/v1.0"])
    ['expert/videos', 'random/videos', 'v1.0']
    """
    names = [""] * len(paths)
    of_last: defaultdict[str, list[int]] = defaultdict(list)
    for number, path in enumerate(paths):
        of_last[Path(path).name.casefold()].append(number)
    for numbers in of_last.values():
        apart = _apart([Path(paths[number]) for number in numbers], endings=("name",))
        for number, name in zip(numbers, apart, strict=True):
            names[number] = name
    return names


def _are_different(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == len(names)


def _apart(paths: list[Path], *, endings: Sequence[str] = ("stem", "name")) -> list[str]:
    """The shortest kind of name that tells some paths apart."""
    for num_folders in range(max(len(path.parts) for path in paths)):
        for ending in endings:
            names = [_name(path, num_folders, ending) for path in paths]
            if _are_different(names):
                return names
    return [str(path) for path in paths]


def _name(path: Path, num_folders: int, ending: str) -> str:
    """The stem or name of a path behind the last few folders above it."""
    parts = path.parent.parts
    folders = [part for part in parts[max(0, len(parts) - num_folders) :] if part != path.anchor]
    return "/".join((*folders, getattr(path, ending)))
