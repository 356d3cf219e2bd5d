"""`narravid search "text" --index DIR`: find moments by meaning."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from narravid.errors import NarravidError
from narravid.inference.embedder import Embedder
from narravid.inference.index import VideoIndex
from narravid.inference.query import check_query
from narravid.models.kinds import load_pixel_dual_encoder
from narravid.recipes.devices import pick_device
from narravid.types import Hit

__all__ = ["Search"]


@dataclass(frozen=True)
class Search:
    """Find the moments of indexed videos that fit a text best.

    Neighbouring clips that are found together are shown as one moment, with the best of their scores.

    Attributes:
        text: What to look for, in words.
        index: Folder of the index.
        top: How many moments to show.
        json: Print one JSON array of {path, start_seconds, end_seconds, score} instead of a table.
        model: The model that made the index, when it has moved since.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one.
    """

    text: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="TEXT")]
    index: Path
    top: int = 10
    json: bool = False
    model: str | None = None
    device: str = "cpu"

    def run(self) -> int:
        """Search, and print what was found."""
        device = pick_device(self.device)
        index = VideoIndex.open(self.index)
        model = load_pixel_dual_encoder(self.model or _recorded_model(index), device=device)
        index.check_model(model)
        unknown = check_query(model, self.text)
        if unknown:
            print(f"left out, not in the model's vocabulary: {', '.join(unknown)}", file=sys.stderr)
        query = Embedder(model, device=device).embed_text([self.text])[0]
        hits = index.search(query, top=self.top)
        print(_as_json(hits) if self.json else _as_table(hits))
        return 0


def _recorded_model(index: VideoIndex) -> str:
    place = index.info.model_path
    if Path(place).is_absolute() and not Path(place).exists():
        raise NarravidError(
            f"the index was made by the model {place}, which is gone; say where it is: --model"
        )
    return place


def _as_json(hits: Sequence[Hit]) -> str:
    rows = [
        {
            "path": hit.path,
            "start_seconds": round(hit.span.start_seconds, 3),
            "end_seconds": round(hit.span.end_seconds, 3),
            "score": hit.score,
        }
        for hit in hits
    ]
    return json.dumps(rows, indent=2, ensure_ascii=False)


def _as_table(hits: Sequence[Hit]) -> str:
    lines = [f"{'':>4}  {'score':>8}  {'from':>10}  {'to':>10}  video"]
    for rank, hit in enumerate(hits, start=1):
        start, end = _clock(hit.span.start_seconds), _clock(hit.span.end_seconds)
        lines.append(f"{rank:>4}  {hit.score:>8.3f}  {start:>10}  {end:>10}  {hit.path}")
    return "\n".join(lines)


def _clock(seconds: float) -> str:
    """Seconds as a player shows them: 1:02:03.4, hours only when there are any."""
    tenths = round(seconds * 10)
    minutes, rest = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{rest // 10:02}.{rest % 10}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"
