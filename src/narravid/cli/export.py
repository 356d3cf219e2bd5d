"""`narravid export MODEL --format FORMAT --output DIR`: a model as files that other programs run."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import tyro

from narravid.inference.export import export_model
from narravid.models.hub import load
from narravid.models.tower_files import ExportFormat

__all__ = ["Export"]


@dataclass(frozen=True)
class Export:
    """Write a model as files that other programs run, each checked against the model.

    The folder holds a network for clips and one for sentences (or what the model has), export.json, which
    says what they take and give, and the word list. Clips go in as uint8 pixels; the normalisation is inside.

    Attributes:
        model: Model folder, run folder, published checkpoint or name.
        output: Folder to make; an export that is there is replaced.
        format: What to write: onnx for onnxruntime and most other programs, openvino for OpenVINO,
            torch-export for PyTorch without Narravid.
        json: Print one JSON object instead of lines.
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")]
    output: Path
    format: ExportFormat = "onnx"
    json: bool = False

    def run(self) -> int:
        """Export, and say how close the files are to the model."""
        exported = export_model(load(self.model), self.output, export_format=self.format)
        if self.json:
            facts = {"output": str(self.output), "towers": [asdict(tower) for tower in exported]}
            print(json.dumps(facts, indent=2, ensure_ascii=False))
            return 0
        for tower in exported:
            found = tower.comparison
            print(
                f"{self.output / tower.file}: differs from the model by at most "
                f"{found.largest_difference:.1e}, where the largest number is {found.largest_number:.3g}"
            )
        print(f"what goes in and comes out is described in {self.output / 'export.json'}")
        return 0
