"""Reading one command's options, with a mistake reported in a single line."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Protocol, cast

import tyro

from narravid.errors import ConfigError

__all__ = ["Runnable", "parse_options"]

TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
BOX_RULE = re.compile(r"─{3,}")


class Runnable(Protocol):
    """A command with its options filled in."""

    def run(self) -> int:
        """Do the work and return the exit status."""


def parse_options(command: object, words: Sequence[str], *, program: str) -> Runnable | None:
    """Fill in a command's options.

    Args:
        command: A dataclass type; its fields are the options.
        words: The words behind the command's name.
        program: What was typed before them; shown in help and errors.

    Returns:
        The command, or None when its help was asked for and printed.

    Raises:
        ConfigError: If an option is unknown, missing or of the wrong kind.
    """
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return cast(Runnable, tyro.cli(command, args=words, prog=program))  # type: ignore[call-overload]
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        raise ConfigError(f"{_one_line(said.getvalue())} (see `{program} --help`)") from None


def _one_line(message: str) -> str:
    """What tyro draws as a box of several lines, without the frame and the hint at the help."""
    parts: list[list[str]] = [[]]
    for line in TERMINAL_COLOUR.sub("", message).splitlines():
        text = line.strip("│╭╮╰╯ \t")
        if BOX_RULE.search(text):
            parts.append([])
        elif text:
            parts[-1].append(text)
    sections = [" ".join(part) for part in parts if part]
    return "; ".join(section for section in sections if not section.startswith("For full helptext"))
