"""`narravid info FILE_OR_MODEL`: what a video, a model, an index or a pack is."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from narravid.cli.fact_lines import fact_lines
from narravid.config import to_dict
from narravid.data.pack_facts import pack_facts
from narravid.data.packs import is_pack
from narravid.errors import NarravidError
from narravid.inference.index import VideoIndex
from narravid.inference.index_folder import has_info
from narravid.models.catalogue_entries import ENTRIES
from narravid.models.facts import model_facts
from narravid.models.hub import load
from narravid.models.hugging_face import HUGGING_FACE_PREFIX
from narravid.video.watched import WatchedDecoder

__all__ = ["Info"]

MODEL_SUFFIXES = {".bin", ".ckpt", ".pt", ".pth", ".safetensors", ".tar"}


@dataclass(frozen=True)
class Info:
    """Say what a video file, a model (folder, run or checkpoint), an index or a pack is.

    Attributes:
        target: Video file, model folder, run folder, published checkpoint or name, hf:organisation/name,
            index folder, or folder or address of a pack, also of one in the making.
        json: Print one JSON object instead of lines.
    """

    target: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="FILE_OR_MODEL")]
    json: bool = False

    def run(self) -> int:
        """Look, and print."""
        facts = _facts(self.target)
        if self.json:
            print(json.dumps(facts, indent=2, ensure_ascii=False))
        else:
            print("\n".join(fact_lines(facts)))
        return 0


def _facts(target: str) -> dict[str, Any]:
    if is_pack(target):
        return {"kind": "pack", **pack_facts(target)}
    path = Path(target)
    if not path.exists() and (target in ENTRIES or target.startswith(HUGGING_FACE_PREFIX)):
        return {"kind": "model", **model_facts(load(target))}
    if not path.exists():
        raise NarravidError(
            f"{path}: no such file or folder; name a video, a model, a run folder, an index or a pack"
        )
    if path.is_file() and path.suffix.lower() not in MODEL_SUFFIXES:
        return _video_facts(path)
    if has_info(path):
        return _index_facts(path)
    return {"kind": "model", **model_facts(load(path))}


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
