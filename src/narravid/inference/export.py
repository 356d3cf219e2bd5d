"""A model as a folder that other programs can run: its towers, what they take and give, and its word list.

Every tower is run by the program that its format is for, and compared with the model, before the folder is
there at all.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from narravid.config import to_dict
from narravid.errors import CheckpointError
from narravid.files import read_json, replace_folder, write_json
from narravid.inference.export_checks import TOLERANCE, Comparison, compare_tower
from narravid.inference.runtimes import Runtime
from narravid.models.registry import family_of
from narravid.models.tower_files import ExportFormat, write_tower
from narravid.models.towers import Tower, towers_of
from narravid.protocols import Model

__all__ = ["EXPORT_FILE", "ExportedTower", "export_model"]

EXPORT_FILE = "export.json"
FORMAT = "narravid-export"
FORMAT_VERSION = 1

RUNTIMES: dict[ExportFormat, Runtime] = {
    "onnx": "onnxruntime",
    "openvino": "openvino",
    "torch-export": "torch-export",
}
"""What runs each format."""

LIBRARIES: dict[ExportFormat, tuple[str, ...]] = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "onnx", "onnxscript", "openvino"),
    "torch-export": ("torch",),
}
"""Whose releases are noted."""


@dataclass(frozen=True)
class ExportedTower:
    """A tower that was written.

    Attributes:
        name: Of the tower.
        file: Its file in the folder.
        comparison: How far its numbers are from those of the model.
    """

    name: str
    file: str
    comparison: Comparison


def export_model(model: Model, folder: Path, *, export_format: ExportFormat = "onnx") -> list[ExportedTower]:
    """Write the towers of a model, what they take and give, and its word list, into a folder.

    The folder holds a file for each tower, `export.json` and what the model's tokenizer needs. Pixels go in
    as uint8: the model's own normalisation is part of the tower. Embeddings come out as the model gives them.

    Args:
        model: Any model; set to evaluation mode, otherwise it stays as it is.
        folder: The folder to make, all of it or nothing. An existing one is replaced only if it is such an
            export or empty.
        export_format: What to write.

    Returns:
        What was written.

    Raises:
        NarravidError: If the model is of no kind that can be exported.
        CheckpointError: If a tower's numbers are not those of the model, or its file cannot be read.
        MissingExtraError: If the library that writes or runs the format is not installed.
        ValueError: If there is no such format, or other files are in the way.
    """
    folder = folder.absolute()
    if folder.exists() and not _replaceable(folder):
        raise ValueError(f"{folder} holds other files than those of an export; name another folder")
    if isinstance(model, torch.nn.Module):
        model.eval()
    towers = towers_of(model)
    exported: list[ExportedTower] = []

    def write(fresh: Path) -> None:
        for tower in towers:
            path = write_tower(tower, fresh, export_format=export_format)
            comparison = compare_tower(model, tower, path, runtime=RUNTIMES[export_format])
            if not comparison.is_close:
                raise CheckpointError(
                    folder / path.name,
                    f"its numbers are not those of the model: they differ by up to "
                    f"{comparison.largest_difference:.1e} where the largest is "
                    f"{comparison.largest_number:.1e}, and {TOLERANCE:.0e} of it is allowed; nothing was "
                    "exported",
                )
            exported.append(ExportedTower(tower.name, path.name, comparison))
        model.write_assets(fresh)
        assets = sorted(path.name for path in fresh.iterdir() if not path.name.startswith(_stems(towers)))
        files = {"files": sorted([EXPORT_FILE, *(path.name for path in fresh.iterdir())])}
        description = _description(model, towers, exported, assets)
        write_json(fresh / EXPORT_FILE, description | files | _origin(export_format))

    replace_folder(folder, write)
    return exported


def _replaceable(folder: Path) -> bool:
    """Whether a folder is empty, or an export to which nobody added a file of their own."""
    if not folder.is_dir():
        return False
    there = {path.name for path in folder.iterdir()}
    if EXPORT_FILE not in there:
        return not there
    try:
        said = read_json(folder / EXPORT_FILE)
    except (ValueError, OSError):
        return False
    return isinstance(said, dict) and said.get("format") == FORMAT and there <= set(said.get("files") or ())


def _stems(towers: Sequence[Tower]) -> tuple[str, ...]:
    return tuple(f"{tower.name}." for tower in towers)


def _description(
    model: Model, towers: Sequence[Tower], exported: Sequence[ExportedTower], assets: Sequence[str]
) -> dict[str, Any]:
    family, _ = family_of(model)
    said: dict[str, Any] = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "family": family,
        "weights_hash": model.weights_hash,
        "config": to_dict(model.config),
    }
    for name in ("similarity", "embed_dim", "feature_dim"):
        if hasattr(model, name):
            said[name] = getattr(model, name)
    for name in ("clip_spec", "feature_spec"):
        if hasattr(model, name):
            said[name] = to_dict(getattr(model, name))
    said["assets"] = list(assets)
    said["tolerance"] = TOLERANCE
    said["towers"] = [
        {
            "name": tower.name,
            "file": written.file,
            "inputs": [asdict(spec) for spec in tower.inputs],
            "outputs": [asdict(replace(spec, below=None)) for spec in tower.outputs],
            "largest_sizes": dict(tower.largest),
            **asdict(written.comparison),
        }
        for tower, written in zip(towers, exported, strict=True)
    ]
    return said


def _origin(export_format: ExportFormat) -> dict[str, Any]:
    return {
        "file_format": export_format,
        "versions": {
            "python": platform.python_version(),
            **{library: metadata.version(library) for library in LIBRARIES[export_format]},
        },
    }
