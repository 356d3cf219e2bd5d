"""The frame around all commands: overview, help, mistakes in one line, exit statuses."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import types

import pytest
import torch

from narravid.cli.main import COMMANDS, Command, main
from narravid.cli.train import TRAIN_COMMANDS

SUBCOMMANDS = {"train": "milnce", "evaluate": "retrieval"}


def test_the_overview_names_every_command(capsys):
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for name, command in COMMANDS.items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", shown, re.MULTILINE)
    assert main([]) == 2
    assert capsys.readouterr().out == shown


def described_options(shown: str) -> dict[str, str]:
    """What a help page says of each option, its kind of value left out."""
    found: dict[str, str] = {}
    shown = re.sub(r",[ │]*\n[ │]*(?=--)", ", ", shown)  # two long names of one option take a line each
    for line in shown.splitlines():
        inner = line.strip("│").rstrip()
        if re.match(r" +--?[a-z]", inner):
            # Kind of value and text stand two spaces apart where they share a line.
            name, _, text = inner.strip().partition("  ")
            found[name] = text.strip()
        elif inner.startswith("     ") and found:
            found[list(found)[-1]] += " " + inner.strip()
    return found


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in COMMANDS if name not in SUBCOMMANDS),
        *map(list, SUBCOMMANDS.items()),
        *(["train", name] for name in TRAIN_COMMANDS if name != SUBCOMMANDS["train"]),
    ],
    ids=" ".join,
)
def test_every_option_of_every_command_has_a_text_and_a_default(words, capsys):
    assert main([*words, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"usage: narravid {' '.join(words)}")
    options = described_options(shown)
    assert len(options) >= 2
    for name, text in options.items():
        if not name.startswith("-h"):
            assert re.match(r"\S.{10,}\((default: .*|required|repeatable.*)\)$", text.strip()), (name, text)


@pytest.mark.parametrize("name", SUBCOMMANDS)
def test_commands_with_subcommands_list_them(name, capsys):
    assert main([name, "--help"]) == 0
    assert f"usage: narravid {name} COMMAND" in capsys.readouterr().out
    assert main([name]) == 2


MISTAKES = [
    (["serch"], r"unknown command 'serch'.*did you mean 'search'"),
    (["train", "milnse"], r"unknown: `narravid train milnse`; there is: milnce.*did you mean 'milnce'"),
    (["train", "milnce"], r"--output.*--data\.root.*see `narravid train milnce --help`"),
    (["resume", "/nowhere"], r"/nowhere holds no run"),
    (["resume", "run", "--wrokers", "2"], r"[Uu]nrecognized options: --wrokers.*--workers"),
    (["resume", "run", "--workers", "two"], r"--workers.*two"),
    (["train", "milnce", "--output", "o", "--data.root", "r", "--optim.lr", "-1"], r"lr must be a positive"),
    (["train", "milnce", "--output", "o", "--data.root", "r", "--dtype", "int8"], r"int8.*float32.*bfloat16"),
    (["train", "milnce", "--output", "/proc/run", "--data.root", "r"], r"cannot write to /proc/run"),
    (
        ["train", "milnce", "--output", "o", "--data.root", "/nowhere"],
        r"data\.root: /nowhere is not a folder",
    ),
]


@pytest.mark.parametrize(("words", "message"), MISTAKES, ids=lambda value: None)
def test_a_mistake_gives_one_line_and_status_2(words, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(words) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert said.err.startswith("narravid: ")
    assert re.search(message, said.err)
    assert not re.search(r"[─│╭╰\x1b]|---|\|$|For full helptext", said.err)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_mistake_reads_the_same_on_every_terminal(encoding, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding=encoding))
    assert main(["train", "milnce", "--output", "o", "--data.root", "r", "--dtype", "int8"]) == 2
    assert capsys.readouterr().err == (
        "narravid: invalid choice 'int8' for argument '--dtype'. Expected one of"
        " ('float32', 'bfloat16', 'float16'). (see `narravid train milnce --help`)\n"
    )


def test_debug_shows_the_traceback(capsys):
    assert main(["resume", "--debug", "/nowhere"]) == 2
    said = capsys.readouterr().err
    assert "Traceback (most recent call last)" in said
    assert "ConfigError" in said


@dataclasses.dataclass(frozen=True)
class Fails:
    """Fail as the environment says."""

    def run(self):
        raise FAILURES[os.environ["FAILURE"]]


FAILURES = {
    "GPU": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nMore advice"),
    "CPU": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    "NumPy": MemoryError("Unable to allocate 7 PiB"),
    "bare": MemoryError(),
    "other": RuntimeError("size of tensor a (3)\nmust match"),
    "pipe": BrokenPipeError(32, "Broken pipe"),
}


@pytest.mark.parametrize(
    ("failure", "status", "message"),
    [
        ("GPU", 1, "out of memory; try a smaller batch, .* [(]CUDA out of memory"),
        ("CPU", 1, "out of memory; .*you tried to allocate 9 bytes"),
        ("NumPy", 1, "out of memory; .*Unable to allocate 7 PiB"),
        ("bare", 1, "out of memory; .*no details"),
        ("other", 1, r"RuntimeError: size of tensor a \(3\) must match \(--debug shows where\)"),
        ("pipe", 2, "Broken pipe"),  # within the program: the reader of the output is still there
    ],
)
def test_a_failure_in_mid_work_is_one_line_and_debug_shows_all(failure, status, message, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "fails", types.SimpleNamespace(Fails=Fails))
    monkeypatch.setitem(COMMANDS, "fails", Command("fails", "Fails", "fail"))
    monkeypatch.setenv("FAILURE", failure)
    assert main(["fails"]) == status
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.match(f"narravid: .*{message}", said)
    assert main(["fails", "--debug"]) == status
    assert "Traceback (most recent call last)" in capsys.readouterr().err


def test_warnings_are_one_line_too():
    script = (
        "import warnings; from narravid.cli import main as cli; from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\n"
        "class Warns:\n"
        "    'Warn.'\n"
        "    def run(self):\n"
        "        warnings.warn('mind the step', stacklevel=2)\n"
        "        return 3\n"
        "import sys, types; sys.modules['warns'] = types.SimpleNamespace(Warns=Warns)\n"
        "cli.COMMANDS['warns'] = cli.Command('warns', 'Warns', 'warn')\n"
        "sys.exit(cli.main(['warns']))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (3, "narravid: warning: mind the step\n")


def test_help_and_mistakes_load_no_heavy_room():
    script = (
        "import json, sys; from narravid.cli.main import main\n"
        "main(['--help']); main(['serch'])\n"
        "print(json.dumps([m for m in ('lancedb', 'matplotlib', 'sklearn', 'jinja2') if m in sys.modules]))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert json.loads(done.stdout.splitlines()[-1]) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_reader_that_leaves_early_is_no_error():
    command = [sys.executable, "-m", "narravid.cli.main", "train", "milnce", "--help"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        said = process.stderr.read().decode()
        assert process.wait(60) == 0
    assert said == ""


@pytest.mark.parametrize(
    "words",
    [
        ["search", "red", "--index", "i"],
        ["index", ".", "--model", "m", "--index", "i"],
        ["evaluate", "retrieval", "--pairs", "p.csv", "--model", "m"],
    ],
)
def test_a_device_that_is_not_there_is_a_mistake_like_any_other(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "video.mp4").write_bytes(b"x")
    assert main([*words, "--device", "cuda:999"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("narravid: device 'cuda:999' cannot be used: ")
    assert error.count("\n") == 1
