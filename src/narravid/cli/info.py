"""`narravid info FILE_OR_MODEL`: what a video, a model or an index is."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from torch import nn

from narravid.config import to_dict
from narravid.errors import NarravidError
from narravid.inference.index import VideoIndex
from narravid.inference.index_folder import has_info
from narravid.models.hub import load
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.text.words import WordTokenizer
from narravid.video.watched import WatchedDecoder

__all__ = ["Info"]

MODEL_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar"}


@dataclass(frozen=True)
class Info:
    """Say what a video file, a model (folder, run or checkpoint) or an index is.

    Attributes:
        target: Video file, model folder, run folder, published checkpoint or index folder.
        json: Print one JSON object instead of lines.
    """

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_MODEL")]
    json: bool = False

    def run(self) -> int:
        """Look, and print."""
        facts = _facts(Path(self.target))
        if self.json:
            print(json.dumps(facts, indent=2, ensure_ascii=False))
        else:
            print("\n".join(_lines(facts)))
        return 0


def _facts(path: Path) -> dict[str, Any]:
    if not path.exists():
        raise NarravidError(
            f"{path}: no such file or folder; name a video, a model, a run folder or an index"
        )
    if path.is_file() and path.suffix.lower() not in MODEL_SUFFIXES:
        return _video_facts(path)
    if has_info(path):
        return _index_facts(path)
    return _model_facts(str(path))


def _video_facts(path: Path) -> dict[str, Any]:
    with WatchedDecoder() as decoder:
        return {"kind": "video", **dataclasses.asdict(decoder.probe(str(path)))}


def _index_facts(folder: Path) -> dict[str, Any]:
    index = VideoIndex.open(folder)
    files = index.files()
    return {
        "kind": "index",
        **to_dict(index.info),
        "num_videos": len(files),
        "num_clips": index.num_clips,
        "videos_indexed_in_part": [
            path for path, indexed in files.items() if indexed.num_clips < indexed.num_windows
        ],
    }


def _model_facts(path: str) -> dict[str, Any]:
    model = load(path)
    facts: dict[str, Any] = {
        "kind": "model",
        "class": type(model).__name__,
        "weights_hash": model.weights_hash,
    }
    for name in ("embed_dim", "feature_dim", "similarity"):  # not every kind of model has each
        if hasattr(model, name):
            facts[name] = getattr(model, name)
    for name in ("clip_spec", "feature_spec"):
        if hasattr(model, name):
            facts[name] = to_dict(getattr(model, name))
    if isinstance(model, PixelDualEncoder | FeatureExtractor):
        facts["clip_seconds"] = model.clip_spec.duration_seconds
    if isinstance(model, nn.Module):
        facts["num_parameters"] = sum(parameter.numel() for parameter in model.parameters())
    tokenizer = getattr(model, "tokenizer", None)
    if isinstance(tokenizer, WordTokenizer):
        facts["num_words"] = len(tokenizer.vocabulary)
        facts["max_words"] = tokenizer.max_words
        facts["lower_case"] = tokenizer.lower_case
    return facts


def _lines(facts: dict[str, Any]) -> list[str]:
    flat: dict[str, Any] = {}
    for key, value in facts.items():
        flat.update(
            {f"{key}.{inner}": item for inner, item in value.items()}
            if isinstance(value, dict)
            else {key: value}
        )
    width = max(map(len, flat))
    return [f"{key:<{width}}  {_text(value)}" for key, value in flat.items()]


def _text(value: Any) -> str:  # noqa: ANN401 - any JSON value
    if value is None:
        return "not stated"
    if isinstance(value, list):
        return ", ".join(map(str, value)) if value else "none"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
