"""The structure of the project: who may import whom, what has one home, how large things grow, what loads.

The tables below are the law of docs/architecture.md in executable form.
"""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "src" / "narravid"

ROWS = (
    {
        "annotation_fields",
        "annotation_files",
        "bad_items",
        "batches",
        "config",
        "distributed",
        "errors",
        "extras",
        "files",
        "locks",
        "progress",
        "protocols",
        "types",
    },
    {"losses", "metrics"},
    {"video", "text"},
    {"models"},
    {"data", "tasks", "synthetic"},
    {"training", "inference"},
    {"evaluation"},
    {"recipes"},
    {"cli", "web"},
    {"__main__"},
)
ROW_OF = {folder: number for number, row in enumerate(ROWS) for folder in row}

MAX_FILE_LINES = 300
MAX_FUNCTION_LINES = 60
MAX_PARAMETERS = 7
MAX_POSITIONAL = 3
"""Two by the law; a third where the three are one thought, such as (path, start, what to read)."""

FILES = sorted(SOURCE.rglob("*.py"))


def name_of(path: Path) -> str:
    """`narravid.video.decode` for its file, `narravid.video` for its `__init__.py`."""
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything a file imports, inside functions too; relative ones made absolute."""
    package = name_of(path) if path.name == "__init__.py" else name_of(path).rpartition(".")[0]
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*above, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def folder_of(dotted: str) -> str | None:
    """The entry of ROWS that a name inside narravid belongs to; None for the package itself and others."""
    parts = dotted.split(".")
    return parts[1] if parts[0] == "narravid" and len(parts) > 1 else None


def within(dotted: str, *modules: str) -> bool:
    return any(dotted == module or dotted.startswith(f"{module}.") for module in modules)


def places(paths: list[Path], matches: re.Pattern[str]) -> list[str]:
    """file:line of every code line that matches; comments and texts do not count."""
    found = []
    for path in paths:
        code = _code_without_texts(path)
        found += [f"{name_of(path)}: {line.strip()}" for line in code.splitlines() if matches.search(line)]
    return found


@cache
def _code_without_texts(path: Path) -> str:
    class Blank(ast.NodeTransformer):
        def visit_Constant(self, node: ast.Constant) -> ast.Constant:
            return ast.Constant("") if isinstance(node.value, str) else node

        def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.Constant:
            return ast.Constant("")

    tree = ast.parse(ast.unparse(tree_of(path)))  # a copy, as the visitor changes what it visits
    return ast.unparse(ast.fix_missing_locations(Blank().visit(tree)))


# ---------------------------------------------------------------- who may import whom


def test_every_file_stands_in_a_row():
    folders = {folder_of(name_of(path)) for path in FILES} - {None}
    assert folders <= ROW_OF.keys(), f"not in the table of rows: {folders - ROW_OF.keys()}"


def test_imports_go_down_the_rows_only():
    wrong = []
    for path in FILES:
        own = folder_of(name_of(path))
        if own is None:
            continue  # narravid/__init__.py, the face of the whole; see the test of what importing loads
        for line, dotted in imports_of(path):
            other = folder_of(dotted)
            if other is None or other == own:
                continue
            if ROW_OF[own] == 0 == ROW_OF[other]:
                continue  # the ground floor is one room; circles within it are found below
            if ROW_OF.get(other, len(ROWS)) >= ROW_OF[own]:
                wrong.append(f"{path.relative_to(ROOT)}:{line} imports {dotted}")
    assert not wrong, "\n".join(wrong)


def test_no_circles_between_files():
    modules = {name_of(path): path for path in FILES}

    def nearest(dotted: str) -> str | None:
        while dotted and dotted not in modules:
            dotted = dotted.rpartition(".")[0]
        return dotted or None

    edges: dict[str, set[str]] = {}
    for name, path in modules.items():
        targets = {nearest(dotted) for _, dotted in imports_of(path)}
        # A package that re-exports its own files is no circle: nobody inside imports the package itself.
        edges[name] = {target for target in targets if target and target not in (name, "narravid")}

    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join([*trail[trail.index(name) :], name])
        if name not in done:
            for target in sorted(edges[name]):
                visit(target, (*trail, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


def test_nobody_imports_the_face_of_the_package_or_by_star():
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {dotted}"
        for path in FILES
        for line, dotted in imports_of(path)
        if dotted.endswith(".*") or (dotted == "narravid" and name_of(path) != "narravid")
    ]
    assert not wrong, "\n".join(wrong)


# ---------------------------------------------------------------- single homes


@pytest.mark.parametrize(
    ("library", "homes"),
    [
        # encode writes files; decode is the only reader, which the next test holds it to.
        ("av", ("narravid.video.decode", "narravid.video.encode")),
        ("torch.distributed", ("narravid.distributed",)),
        ("torch.multiprocessing", ()),
        ("tyro", ("narravid.cli",)),
        ("argparse", ()),
        ("click", ()),
        ("optparse", ()),
    ],
)
def test_a_library_with_one_home_is_imported_there_only(library, homes):
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {dotted}"
        for path in FILES
        for line, dotted in imports_of(path)
        if within(dotted, library) and not _at_home(name_of(path), homes)
    ]
    assert not wrong, "\n".join(wrong)


def _at_home(name: str, homes: tuple[str, ...]) -> bool:
    # decode may be split into decode_*.py beside it.
    return within(name, *homes) or any(name.startswith(f"{home}_") for home in homes)


def elsewhere(*homes: str) -> list[Path]:
    return [path for path in FILES if not _at_home(name_of(path), homes)]


def test_only_decode_opens_videos():
    reading = re.compile(r"\b(VideoCapture|decord|torchcodec|read_video|imageio)\b")
    found = places(FILES, reading)
    for path in elsewhere("narravid.video.decode"):
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "av.open":
                named = [keyword.value for keyword in node.keywords if keyword.arg == "mode"]
                mode = [ast.unparse(value) for value in (*node.args[1:2], *named)]
                if mode != ["'w'"]:
                    found.append(f"{path.relative_to(ROOT)}:{node.lineno} {ast.unparse(node)}")
    assert not found, "\n".join(found)


def test_no_video_goes_through_an_outside_program():
    found = places(FILES, re.compile(r"\bos\.system\b|\bshell=True\b"))
    found += [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in ("ffmpeg", "ffprobe")
    ]
    assert not found, "\n".join(found)


def test_only_transforms_divides_pixels_by_255():
    scaling = re.compile(r"/\s*255\b|\*\s*\(?1(\.0)?\s*/\s*255|\bdiv_?\(255|0\.00392")
    found = places(elsewhere("narravid.video.transforms"), scaling)
    assert not found, "\n".join(found)
    assert places([SOURCE / "video" / "transforms.py"], re.compile("255")), (
        "the pattern no longer sees its home"
    )


def test_only_words_splits_sentences():
    patterns = {"[\\w']+", "\\w+", "\\b\\w+\\b"}
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
        for path in elsewhere("narravid.text.words")
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Constant) and node.value in patterns
    ]
    assert not found, "\n".join(found)


def test_only_checkpoints_knows_published_key_names():
    published = re.compile(r"word_embd|text_module\.|^module\.|conv1\.conv1\.weight|mixed_\d\w\.|s3d_dict")
    found = []
    # The catalogue names published files, as the checkpoints do that look for them beside a file.
    for path in elsewhere("narravid.models.checkpoints", "narravid.models.catalogue"):
        docstrings = _docstring_nodes(tree_of(path))
        found += [
            f"{path.relative_to(ROOT)}:{node.lineno} {node.value!r}"
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.Constant)
            and isinstance(node.value, str)
            and id(node) not in docstrings
            and published.search(node.value)
        ]
    assert not found, "\n".join(found)


def _docstring_nodes(tree: ast.Module) -> set[int]:
    # A text that stands alone as a statement: the docstring of a module, class, function or attribute.
    return {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}


def test_nothing_downloaded_is_unpickled():
    found = places(
        FILES,
        re.compile(r"weights_only=False|allow_pickle=True|\bpickle\.loads?\b|\bdill\b|\bjoblib\.load\b"),
    )
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.Call):
                continue
            needed = {"torch.load": "weights_only", "np.load": "allow_pickle"}.get(ast.unparse(node.func))
            if needed and needed not in {keyword.arg for keyword in node.keywords}:
                found.append(f"{path.relative_to(ROOT)}:{node.lineno} {needed} is not said")
    assert not found, "\n".join(found)


def test_devices_come_from_tensors_and_randomness_from_generators():
    state = re.compile(
        r"\.cuda\(|\bnp\.random\.(seed|rand|randn|randint|choice|shuffle|permutation|uniform|normal)\b"
        r"|\brandom\.(seed|random|randint|choice|shuffle|uniform)\("
    )
    found = [line for line in places(FILES, state) if "torch.random" not in line]
    assert not found, "\n".join(found)


def test_module_level_holds_constants_only():
    """No list, dict or set at module level is changed by a function, and nothing is declared `global`."""
    found = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in FILES
        for node in ast.walk(tree_of(path))
        if isinstance(node, ast.Global)
    ]
    assert not found, "\n".join(found)


def test_no_error_is_swallowed():
    found = []
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, ast.ExceptHandler):
                continue
            silent = all(isinstance(line, ast.Pass) for line in node.body)
            broad = node.type is None or ast.unparse(node.type) in ("Exception", "BaseException")
            if node.type is None or (broad and silent):
                found.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert not found, "\n".join(found)


# ---------------------------------------------------------------- size


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_stay_small(path):
    num_lines = len(path.read_text(encoding="utf-8").splitlines())
    assert num_lines <= MAX_FILE_LINES, f"{path.relative_to(ROOT)} has {num_lines} lines"
    for node in ast.walk(tree_of(path)):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        where = f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        num_lines = (node.end_lineno or node.lineno) - node.lineno + 1
        assert num_lines <= MAX_FUNCTION_LINES, f"{where} has {num_lines} lines"
        positional = [
            a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")
        ]
        total = len(positional) + len(node.args.kwonlyargs)
        assert total <= MAX_PARAMETERS, f"{where} has {total} parameters"


def test_public_functions_take_keywords_after_the_first_few():
    wrong = []
    for path in FILES:
        for node in _public_functions(tree_of(path)):
            positional = [
                a.arg for a in (*node.args.posonlyargs, *node.args.args) if a.arg not in ("self", "cls")
            ]
            if len(positional) > MAX_POSITIONAL:
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno} {node.name}({', '.join(positional)})")
    assert not wrong, "\n".join(wrong)


def _public_functions(tree: ast.Module) -> Iterator[ast.FunctionDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        elif isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from (
                item
                for item in node.body
                if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")
            )


def test_no_unfinished_or_grab_bag_files():
    names = {"utils", "util", "helpers", "common", "misc"}
    assert not [name_of(path) for path in FILES if path.stem in names]
    marks = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")
    found = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in [
            *FILES,
            *sorted((ROOT / "tests").rglob("*.py")),
            *sorted((ROOT / "benchmarks").rglob("*.py")),
        ]
        if path != Path(__file__).resolve()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if marks.search(line)
    ]
    assert not found, "\n".join(found)


def test_tests_mirror_the_source():
    folders = {folder_of(name_of(path)) for path in FILES if path.parent != SOURCE} - {None}
    tested = {path.parent.name for path in (ROOT / "tests").rglob("test_*.py")}
    assert folders <= tested, f"no tests for {folders - tested}"


# ---------------------------------------------------------------- what importing costs

IMPORT_PROBE = """
import json, sys
import torch
before = set(sys.modules)
import narravid
print(json.dumps(sorted(set(sys.modules) - before)))
"""

MAX_MODULES = 250
HEAVY = {
    "lancedb",
    "matplotlib",
    "sklearn",
    "pandas",
    "pyarrow",
    "transformers",
    "tensorboard",
    "tyro",
    "jinja2",
}


def test_importing_narravid_adds_little_to_torch():
    environment = os.environ | {"PYTHONPATH": str(SOURCE.parent)}
    result = subprocess.run(
        [sys.executable, "-c", IMPORT_PROBE], capture_output=True, text=True, check=True, env=environment
    )
    loaded = json.loads(result.stdout)
    assert not {name.split(".")[0] for name in loaded} & HEAVY
    assert len(loaded) <= MAX_MODULES
