"""The `narravid` command: finds the subcommand, reads its options, and turns errors into one clear line."""

from __future__ import annotations

import importlib
import logging
import os
import sys
import traceback
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TextIO

from narravid.cli.options import parse_options
from narravid.errors import ConfigError, NarravidError

__all__ = ["COMMANDS", "Command", "main"]

EXIT_OK = 0
EXIT_FAILURE = 1
EXIT_MISTAKE = 2
EXIT_INTERRUPTED = 130

OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "Cannot allocate memory")
"""What PyTorch and the system say when there is too little, on a GPU and on a CPU."""


@dataclass(frozen=True)
class Command:
    """Where a command lives; its module is imported only when it is used.

    Attributes:
        module: Module that holds it.
        name: Attribute of the module: a dataclass with `run()`, or a dictionary of such by subcommand.
        summary: One line for the overview.
    """

    module: str
    name: str
    summary: str


COMMANDS: dict[str, Command] = {
    "demo": Command("narravid.cli.demo", "Demo", "all of it on a toy world, with a report"),
    "train": Command("narravid.cli.train", "TRAIN_COMMANDS", "train a model with a recipe"),
    "resume": Command("narravid.cli.resume", "Resume", "go on with an interrupted training run"),
    "evaluate": Command("narravid.cli.evaluate", "EVALUATE_COMMANDS", "measure a model"),
    "compare-results": Command(
        "narravid.cli.compare_results", "CompareResults", "results side by side, with a paired test"
    ),
    "check": Command("narravid.cli.check", "Check", "find the bad files of an archive before a run does"),
    "pack": Command("narravid.cli.pack", "Pack", "cut a narrated archive into small shards to train from"),
    "index": Command("narravid.cli.index", "Index", "cut videos into clips and make them searchable"),
    "extract": Command("narravid.cli.extract", "Extract", "turn whole videos into files of features"),
    "search": Command("narravid.cli.search", "Search", "find the moments of indexed videos that fit a text"),
    "score": Command("narravid.cli.score", "Score", "compare whole videos with prompts: heat map and page"),
    "models": Command("narravid.cli.models", "Models", "list what is published, and what of it is here"),
    "download": Command("narravid.cli.download", "Download", "fetch a published model, word list or data"),
    "convert": Command("narravid.cli.convert", "Convert", "turn a published checkpoint into a model folder"),
    "export": Command("narravid.cli.export", "Export", "write a model as files that other programs run"),
    "info": Command("narravid.cli.info", "Info", "say what a video, a model or an index is"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: Words of the command line without the program's name; None takes those of this process.

    Returns:
        Exit status: what the command returned, 1 after a failure in mid-work such as too little memory, 2
        after a mistake of the user, 130 after Ctrl-C.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    logging.basicConfig(level=logging.WARNING, format="narravid: %(message)s")
    with warnings.catch_warnings():
        warnings.showwarning = _show_warning
        try:
            status = _dispatch([word for word in words if word != "--debug"])
            sys.stdout.flush()
            return status
        except KeyboardInterrupt:
            print("narravid: interrupted", file=sys.stderr)
            return EXIT_INTERRUPTED
        except (NarravidError, ValueError, OSError, RuntimeError, MemoryError) as error:
            if isinstance(error, BrokenPipeError) and _reader_has_gone():
                return EXIT_OK
            if debug:
                traceback.print_exc()
            else:
                print(f"narravid: {_describe(error)}", file=sys.stderr)
            return EXIT_FAILURE if isinstance(error, RuntimeError | MemoryError) else EXIT_MISTAKE


def _reader_has_gone() -> bool:
    """Whether the broken pipe is that to the reader of our output (head, less), not one within."""
    try:
        print(flush=True)  # something to say, since what broke the pipe may not be kept for a second try
    except BrokenPipeError:
        # What is still to be said goes nowhere, or Python would complain of it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _describe(error: Exception) -> str:
    """One line; a failure that is no mistake of the user says what kind it is and how to see more."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError) or any(sign in said for sign in OUT_OF_MEMORY):
        return f"out of memory; try a smaller batch, smaller clips or fewer workers ({said or 'no details'})"
    if isinstance(error, RuntimeError):
        return f"{type(error).__name__}: {said} (--debug shows where)"
    return said


def _dispatch(words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        print(_overview("narravid", {name: command.summary for name, command in COMMANDS.items()}))
        return EXIT_OK if words else EXIT_MISTAKE
    name, *rest = words
    if name not in COMMANDS:
        raise ConfigError(f"unknown command {name!r}; see `narravid --help`", key=name, valid=COMMANDS)
    command = COMMANDS[name]
    target = getattr(importlib.import_module(command.module), command.name)
    if isinstance(target, Mapping):
        return _dispatch_subcommand(name, target, rest)
    return _run(target, rest, program=f"narravid {name}")


def _dispatch_subcommand(name: str, targets: Mapping[str, object], words: Sequence[str]) -> int:
    if not words or words[0] in ("-h", "--help"):
        summaries = {key: (target.__doc__ or "").split("\n")[0] for key, target in targets.items()}
        print(_overview(f"narravid {name}", summaries))
        return EXIT_OK if words else EXIT_MISTAKE
    subcommand, *rest = words
    if subcommand not in targets:
        known = ", ".join(targets)
        raise ConfigError(
            f"unknown: `narravid {name} {subcommand}`; there is: {known}", key=subcommand, valid=targets
        )
    return _run(targets[subcommand], rest, program=f"narravid {name} {subcommand}")


def _run(target: object, words: Sequence[str], *, program: str) -> int:
    command = parse_options(target, words, program=program)
    return EXIT_OK if command is None else command.run()


def _overview(program: str, summaries: Mapping[str, str]) -> str:
    width = max(map(len, summaries))
    lines = [f"  {name:<{width}}  {summary}" for name, summary in summaries.items()]
    hint = (
        f"`{program} COMMAND --help` shows every option with its unit and default;\n"
        "--debug, anywhere, shows the whole traceback of an error."
    )
    return "\n".join([f"usage: {program} COMMAND [OPTIONS]", "", *lines, "", hint])


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    print(f"narravid: warning: {message}", file=sys.stderr if file is None else file)


if __name__ == "__main__":
    sys.exit(main())
