"""`narravid download NAME`: fetch what is published, or take it from a file."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from narravid.models.download import download

__all__ = ["Download"]


@dataclass(frozen=True)
class Download:
    """Bring a published name into the cache, with the word list or tokenizer that belongs to it.

    Addresses are tried in order; one that is dead is named. A broken download goes on where it broke when the
    same command is run again. The SHA-256 of every file is recorded at first and checked afterwards.

    Attributes:
        name: Published name; `narravid models` lists them.
        local_files: A file that you have, taken in place of a download; the rest is looked for beside it.
        cache: Folder to use in place of $NARRAVID_HOME or ~/.cache/narravid.
    """

    name: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    local_files: Annotated[
        tuple[Path, ...], tyro.conf.UseAppendAction, tyro.conf.arg(name="from", metavar="FILE")
    ] = ()
    cache: Path | None = None

    def run(self) -> int:
        """Download, and say what lies where."""
        try:
            stored = download(self.name, local_files=self.local_files, cache=self.cache, notify=_say)
        except KeyboardInterrupt:
            _say("what came is kept; the same command goes on from there")
            raise
        for file in stored:
            state = f"from {file.record.origin}" if file.is_new else "was there, unchanged"
            print(f"{file.path}  {file.record.num_bytes:,} bytes  sha256 {file.record.sha256}  {state}")
        return 0


def _say(line: str) -> None:
    print(f"narravid: {line}", file=sys.stderr)
