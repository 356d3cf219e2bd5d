"""Finding a benchmark's annotation files by the names under which they are published."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from narravid.errors import AnnotationError

__all__ = ["find_annotations"]


def find_annotations(
    given: Path | None, names: Sequence[str], *, videos: Path | None, option: str = "--annotations"
) -> Path:
    """The annotation file of a benchmark.

    Args:
        given: What the user named; taken as it is.
        names: Published names (files or folders), the best first; each is looked for in the videos' folder
            and beside it.
        videos: The videos' folder; None where there is none.
        option: How to name the file on the command line, for the error.

    Returns:
        A path that exists.

    Raises:
        AnnotationError: If there is no such file; says what was looked for, where, and how to name it.
    """
    if given is not None:
        if not given.exists():
            raise AnnotationError(given, f"there is no such file; {option} has to name one that is there")
        return given
    folders = () if videos is None else (videos, videos.absolute().parent)
    for folder in folders:
        for name in names:
            if (folder / name).exists():
                return folder / name
    wanted = " or ".join(names)
    if not folders:
        raise AnnotationError(names[0], f"name it with {option} ({wanted}), as there is no folder of videos")
    raise AnnotationError(
        folders[0], f"there is no {wanted} in this folder or beside it; name the file with {option}"
    )
