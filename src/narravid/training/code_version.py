"""Which code a run was made with."""

from __future__ import annotations

import os
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

__all__ = ["code_version"]

PACKAGE = Path(__file__).resolve().parent.parent
TIMEOUT_SECONDS = 10.0


def code_version(package: Path = PACKAGE) -> dict[str, Any]:
    """What tells later which code ran.

    Args:
        package: The folder of the code; that of Narravid itself unless said otherwise.

    Returns:
        "version" of the installed package, None where it only lies on the path; and where the folder is kept
        by git and git is there, "git_revision" and "git_modified": whether files of the package differ from
        it.
    """
    try:
        version = metadata.version("narravid")
    except metadata.PackageNotFoundError:
        version = None
    # An installed package may lie below a stranger's checkout, which does not know its files.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return {"version": version}
    revision = _git(package, "rev-parse", "--verify", "HEAD")
    changes = _git(package, "status", "--porcelain", "--", ".")
    if revision is None or changes is None:
        return {"version": version}
    return {"version": version, "git_revision": revision, "git_modified": changes != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    """What git answers about a folder; None where there is no git or it knows nothing."""
    # Variables such as GIT_DIR would answer for another place; the lock is for who may write.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    try:
        answer = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            timeout=TIMEOUT_SECONDS,
            check=True,
            encoding="utf-8",
            errors="replace",
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()
