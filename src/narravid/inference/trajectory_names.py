"""Short names for files, each different from the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

__all__ = ["short_names"]


def short_names(paths: Sequence[str]) -> list[str]:
    """Names for files: the bare name, with as much of the rest as tells it from the others.

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
        of_stem[Path(path).stem].append(number)
    for numbers in of_stem.values():
        for number, name in zip(numbers, _apart([Path(paths[number]) for number in numbers]), strict=True):
            names[number] = name
    if len(set(names)) == len(names):
        return names
    return list(paths)  # such as a.gif beside a.mp4 and a.gif.mp4


def _apart(paths: list[Path]) -> list[str]:
    """The shortest kind of name that tells some paths apart."""
    levels = zip(*(_candidates(path, max(len(path.parts) for path in paths)) for path in paths), strict=True)
    for names in levels:
        if len(set(names)) == len(names):
            return list(names)
    return [str(path) for path in paths]


def _candidates(path: Path, depth: int) -> Iterator[str]:
    """The stem, the name, then both with ever more of the folders above."""
    for number in range(depth):
        folders = path.parent.parts[len(path.parent.parts) - number :] if number else ()
        yield "/".join((*folders, path.stem))
        yield "/".join((*folders, path.name))
