"""`narravid convert FILE --output DIR`: a published checkpoint becomes a model folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from narravid.cli.fact_lines import fact_lines
from narravid.errors import CheckpointError
from narravid.models.conversion import convert_published
from narravid.models.facts import model_facts

__all__ = ["Convert"]


@dataclass(frozen=True)
class Convert:
    """Turn a published checkpoint into a model folder: safetensors, configuration, word list or tokenizer.

    Says what the file was recognised as. Nothing in the file is run; one that holds more than tensors and
    plain values is refused.

    Attributes:
        file: Published checkpoint, a PyTorch or safetensors file.
        output: Folder to make; a model folder that is there is replaced.
        vocabulary: Its word list or tokenizer file; the published one beside FILE when not given.
        json: Print one JSON object instead of lines.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    output: Path
    vocabulary: Path | None = None
    json: bool = False

    def run(self) -> int:
        """Convert, and say what was found."""
        if self.file.is_dir():
            raise CheckpointError(self.file, "is a folder; name the published checkpoint file in it")
        converted = convert_published(self.file, self.output, vocabulary_path=self.vocabulary)
        facts: dict[str, Any] = {
            "file": str(self.file),
            "recognised_as": converted.source.recognised_as,
            "num_bytes": converted.source.num_bytes,
            "sha256": converted.source.sha256,
            **model_facts(converted.model),
            "output": str(self.output),
        }
        print(json.dumps(facts, indent=2, ensure_ascii=False) if self.json else "\n".join(fact_lines(facts)))
        return 0
