"""Reading one command's options, with a mistake reported in a single line."""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from typing import Any, Protocol, cast

import tyro

from narravid.errors import ConfigError

__all__ = ["Runnable", "parse_options"]

TERMINAL_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
FRAME_OR_RULE = re.compile(r"[╭╰]─|[─-]{3,}$")
"""A line that holds no message; where the terminal is not UTF-8, tyro draws rules of hyphens and no frame."""


class Runnable(Protocol):
    """A command with its options filled in."""

    def run(self) -> int:
        """Do the work and return the exit status."""


def parse_options(command: object, words: Sequence[str], *, program: str) -> Runnable | None:
    """Fill in a command's options.

    Args:
        command: A dataclass type; its fields are the options. It may offer `chosen_defaults(words)`, an
            instance (or None) whose values are the defaults, and `help_text()`.
        words: The words behind the command's name.
        program: What was typed before them; shown in help and errors.

    Returns:
        The command, or None when its help was asked for and printed.

    Raises:
        ConfigError: If an option is unknown, missing or of the wrong kind.
    """
    settings: dict[str, Any] = {}
    if hasattr(command, "chosen_defaults"):
        defaults = command.chosen_defaults(words)
        settings = {"description": command.help_text()}  # type: ignore[attr-defined]
        if defaults is not None:
            settings["default"] = defaults
    said = io.StringIO()
    try:
        with redirect_stderr(said):
            return cast(Runnable, tyro.cli(command, args=words, prog=program, **settings))  # type: ignore[call-overload]
    except SystemExit as stop:
        if stop.code in (0, None):
            return None
        raise ConfigError(f"{_one_line(said.getvalue())} (see `{program} --help`)") from None


def _one_line(message: str) -> str:
    """What tyro draws as a box of several lines, without the frame, the title and the hint at the help."""
    sections: list[list[str]] = [[]]
    lines = TERMINAL_COLOUR.sub("", message).strip().splitlines()
    for line in lines:
        text = line.strip(" │")
        if FRAME_OR_RULE.match(text):
            sections.append([])
        elif text:
            sections[-1].append(text)
    if lines and not lines[0].startswith("╭"):
        del sections[0]  # without a frame, the title is a section of its own
    joined = [" ".join(section) for section in sections if section]
    return "; ".join(section for section in joined if not section.startswith("For full helptext"))
