"""The page of a benchmark's result: numbers, pictures, and the best and worst examples as contact sheets."""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from PIL import Image

from narravid.errors import DecodeError
from narravid.evaluation.page import Card, Picture, Section, Table, write_page
from narravid.evaluation.pictures import frame_strip
from narravid.evaluation.result import BenchmarkResult, Example, Shown
from narravid.evaluation.result_text import TextTable, card_lines, coverage_lines, further_tables, main_table
from narravid.evaluation.window_plans import WindowItem
from narravid.types import ClipSpec, Span
from narravid.video.watched import WatchedDecoder

__all__ = ["write_examples"]

NUM_FRAMES = 4
HEIGHT_PIXELS = 84
FRAME = ClipSpec(num_frames=1, fps=25.0, size_pixels=2 * HEIGHT_PIXELS, frame_rule="shown_at")
ABSENT_COLOUR = (221, 224, 229)

Strip = bytes | DecodeError


def write_examples(result: BenchmarkResult, path: Path, *, decoder: WatchedDecoder) -> None:
    """Write one self-contained page; every clip is shown by four frames of it, its centre square.

    Args:
        result: What to show.
        path: The HTML file.
        decoder: Reads the frames; a clip that cannot be read says why.
    """
    examples = (*result.best, *result.worst)
    items = dict.fromkeys(_item(shown) for example in examples for shown in example.shown)
    strips: dict[WindowItem, Strip] = dict(decoder.map_jobs(items, lambda item: _strip(item, decoder)))
    sections = [
        Section(
            "Numbers", tables=[_page_table(main_table(result)), *map(_page_table, further_tables(result))]
        )
    ]
    if result.plots:
        pictures = [Picture(data, name.replace("_", " ")) for name, data in result.plots.items()]
        sections.append(Section("Pictures", pictures=pictures))
    for title, chosen in (("What went best", result.best), ("What went worst", result.worst)):
        if chosen:
            sections.append(Section(title, cards=[_card(example, strips) for example in chosen]))
    sections += [
        Section("Coverage", paragraphs=coverage_lines(result.coverage)),
        Section("Protocol", tables=[_card_table(result)]),
    ]
    summary = "Green frames: what should have been found. Intervals are 95 % bootstrap intervals."
    write_page(path, f"{result.title}: {result.card.get('model', 'results')}", sections, summary=summary)


def _item(shown: Shown) -> WindowItem:
    return WindowItem(shown.path, shown.span)


def _strip(item: WindowItem, decoder: WatchedDecoder) -> bytes:
    """Frames from the middles of equal parts of a clip."""
    span = item.span or Span(0.0, decoder.probe(item.path).duration_seconds)
    starts = [
        span.start_seconds + span.duration_seconds * (number + 0.5) / NUM_FRAMES
        for number in range(NUM_FRAMES)
    ]
    frames = torch.cat([clip.frames for clip in decoder.clips(item.path, starts, FRAME)])
    return frame_strip(frames, num_shown=NUM_FRAMES, height_pixels=HEIGHT_PIXELS)


def _card(example: Example, strips: Mapping[WindowItem, Strip]) -> Card:
    return Card(
        example.title,
        note=example.note,
        good=example.good,
        pictures=[_picture(shown, strips[_item(shown)]) for shown in example.shown],
        right=frozenset(place for place, shown in enumerate(example.shown) if shown.is_right),
    )


def _picture(shown: Shown, strip: Strip) -> Picture:
    where = Path(shown.path).name
    if shown.span is not None:
        where += f" {shown.span.start_seconds:.1f}–{shown.span.end_seconds:.1f} s"
    caption = f"{shown.note} · {where}" if shown.note else where
    if isinstance(strip, DecodeError):
        return Picture(_absent(), f"{caption} · cannot be shown: {strip.reason}")
    return Picture(strip, caption)


def _absent() -> bytes:
    """An empty strip."""
    buffer = io.BytesIO()
    Image.new("RGB", (NUM_FRAMES * (HEIGHT_PIXELS + 2) - 2, HEIGHT_PIXELS), ABSENT_COLOUR).save(buffer, "PNG")
    return buffer.getvalue()


def _page_table(table: TextTable) -> Table:
    return Table(table.header, table.rows, caption=table.title)


def _card_table(result: BenchmarkResult) -> Table:
    lines: Iterable[tuple[str, str, str]] = (line.partition(": ") for line in card_lines(result.card))
    return Table(("", "value"), [(key, value) for key, _, value in lines], numeric=False)
