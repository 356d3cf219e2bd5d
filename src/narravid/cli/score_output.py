"""Where the scores of videos go: looked at before the work, so that none of it is lost."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

from narravid.errors import ConfigError

__all__ = ["check_experiment", "check_output"]

MAX_NAME_BYTES = 180
"""Of an experiment: file systems allow 255, of which suffixes and temporary names take some."""

NAME = re.compile(r"[^./\\\0][^/\\\0]*")


def check_experiment(name: str) -> None:
    """Refuse what cannot be the name of files.

    Raises:
        ConfigError: If it is empty, too long, hidden or leads to another folder.
    """
    if not NAME.fullmatch(name) or len(os.fsencode(name)) > MAX_NAME_BYTES:
        raise ConfigError(
            "--experiment (-e) must be a name for files, without slashes, not beginning with a dot and of at "
            f"most {MAX_NAME_BYTES} bytes, got {name!r}; --output (-o) says in which folder",
            key="experiment",
        )


def check_output(folder: Path, experiment: str) -> None:
    """Find out that results can be written; nothing is made.

    Args:
        folder: Where they shall go; need not be there.
        experiment: Name of the heat map, and of the folder of all the rest.

    Raises:
        ConfigError: If something else lies in their place, or nothing can be written there.
    """
    results, picture = folder / experiment, folder / f"{experiment}.png"
    for path, is_other, kind in (
        (folder, folder.exists() and not folder.is_dir(), "a file"),
        (results, results.exists() and not results.is_dir(), "a file"),
        (picture, picture.is_dir(), "a folder"),
    ):
        if is_other:
            raise ConfigError(
                f"{path} is {kind}, and a result would go there; choose another --output or --experiment",
                key="output",
            )
    existing = next(path for path in (results, *results.absolute().parents) if path.exists())
    try:
        # Asking for permission says yes to root on file systems that still refuse; a nameless file tells.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise ConfigError(
            f"nothing can be written to {existing} ({reason}); choose another folder with --output",
            key="output",
        ) from error
