"""Seeded damage to real files: bits flipped, stretches lost, boxes swapped, sizes that lie."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

__all__ = ["MUTATIONS", "Mutated", "mutated_files", "siblings"]

HEADER_BYTES = 4096
MP4_PARENTS = (
    b"moov",
    b"trak",
    b"mdia",
    b"minf",
    b"stbl",
    b"edts",
    b"dinf",
    b"udta",
    b"moof",
    b"traf",
    b"mvex",
)
EBML_PARENTS = {
    bytes.fromhex(name)
    for name in (
        *("1a45dfa3", "18538067", "1549a966", "1654ae6b", "ae", "e0"),  # header, segment, info, tracks
        *("114d9b74", "4dbb", "1f43b675", "a0", "1c53bb6b", "bb", "b7"),  # seek heads, clusters, cues
    )
}
RIFF_PARENTS = (b"RIFF", b"LIST")
EXTREMES = (0, 1, 0x7F, 0xFF, 0x7FFF, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Element:
    """A box, an EBML element or a RIFF chunk: bytes [start, end) of the file, its size field at `size_at`."""

    start: int
    end: int
    size_at: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Mutated:
    """A damaged file."""

    name: str
    data: bytes


def siblings(data: bytes) -> list[list[Element]]:
    """Groups of neighbouring elements, at every depth; empty for a format without any."""
    groups: list[list[Element]] = []
    if data[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        _gather(data, 0, len(data), groups, _mp4_element)
    elif data[:4] == b"\x1a\x45\xdf\xa3":
        _gather(data, 0, len(data), groups, _ebml_element)
    elif data[:4] == b"RIFF":
        _gather(data, 0, len(data), groups, _riff_element)
    return groups


Parsed = tuple[Element, int | None]
"""An element, and where its children begin if it has any."""


def _gather(
    data: bytes,
    start: int,
    end: int,
    groups: list[list[Element]],
    parse: Callable[[bytes, int], Parsed | None],
) -> None:
    group: list[Element] = []
    children: list[tuple[int, int]] = []
    while start < end:
        parsed = parse(data, start)
        if parsed is None or not start < parsed[0].end <= end:
            break
        element, first_child = parsed
        group.append(element)
        if first_child is not None:
            children.append((first_child, element.end))
        start = element.end
    if group:
        groups.append(group)
    for first_child, stop in children:
        _gather(data, first_child, stop, groups, parse)


def _mp4_element(data: bytes, start: int) -> Parsed | None:
    size, kind = int.from_bytes(data[start : start + 4]), data[start + 4 : start + 8]
    if size == 1:
        long_size = int.from_bytes(data[start + 8 : start + 16])
        return Element(start, start + long_size, start + 8, 8), None
    if size < 8:
        return None
    return Element(start, start + size, start, 4), start + 8 if kind in MP4_PARENTS else None


def _ebml_element(data: bytes, start: int) -> Parsed | None:
    id_bytes = 9 - data[start].bit_length()
    size_at = start + id_bytes
    if id_bytes > 4 or size_at >= len(data) or not data[size_at]:
        return None
    size_bytes = 9 - data[size_at].bit_length()
    size = int.from_bytes(data[size_at : size_at + size_bytes]) & ((1 << 7 * size_bytes) - 1)
    content = size_at + size_bytes
    is_open = size == (1 << 7 * size_bytes) - 1  # as live streams are written: up to the end
    end = len(data) if is_open else content + size
    is_parent = data[start:size_at] in EBML_PARENTS
    return Element(start, end, size_at, size_bytes), content if is_parent else None


def _riff_element(data: bytes, start: int) -> Parsed | None:
    kind, size = data[start : start + 4], int.from_bytes(data[start + 4 : start + 8], "little")
    if len(kind) < 4:
        return None
    is_parent = kind in RIFF_PARENTS
    return Element(start, start + 8 + size + size % 2, start + 4, 4), start + 12 if is_parent else None


def _place(data: bytes, rng: random.Random) -> int:
    """Anywhere, but half of the times near the beginning or the end, where indexes lie."""
    near = min(HEADER_BYTES, len(data))
    return rng.choice(
        [
            rng.randrange(len(data)),
            rng.randrange(len(data)),
            rng.randrange(near),
            len(data) - 1 - rng.randrange(near),
        ]
    )


def _stretch(data: bytes, rng: random.Random) -> tuple[int, int]:
    length = max(1, int(len(data) * rng.uniform(0, 1) ** 3))
    start = rng.randrange(len(data))
    return start, min(len(data), start + length)


def _flip_bits(data: bytes, rng: random.Random, other: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(int(2 ** rng.uniform(0, 8))):
        damaged[_place(data, rng)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _flip_in_element(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """Bits of one small element: the headers and tables that lead to everything else."""
    small = [e for group in siblings(data) for e in group if e.end - e.start <= HEADER_BYTES]
    if not small:
        return _flip_bits(data, rng, other)
    damaged, element = bytearray(data), rng.choice(small)
    for _ in range(int(2 ** rng.uniform(0, 5))):
        damaged[rng.randrange(element.start, element.end)] ^= 1 << rng.randrange(8)
    return bytes(damaged)


def _extreme_numbers(data: bytes, rng: random.Random, other: bytes) -> bytes:
    damaged = bytearray(data)
    for _ in range(rng.randint(1, 4)):
        place, size = _place(data, rng), rng.choice([1, 2, 4])
        number = rng.choice(EXTREMES) & ((1 << 8 * size) - 1)
        damaged[place : place + size] = number.to_bytes(size, rng.choice(["big", "little"]))
    return bytes(damaged[: len(data)])


def _truncate(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))]


def _lose_beginning(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[rng.randrange(len(data)) :]


def _lose_stretch(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + data[end:]


def _zero_stretch(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + bytes(end - start) + data[end:]


def _noise_stretch(data: bytes, rng: random.Random, other: bytes) -> bytes:
    start, end = _stretch(data, rng)
    return data[:start] + rng.randbytes(end - start) + data[end:]


def _splice(data: bytes, rng: random.Random, other: bytes) -> bytes:
    return data[: rng.randrange(len(data))] + other[rng.randrange(len(other)) :]


def _chosen_group(data: bytes, rng: random.Random, *, at_least: int) -> list[Element]:
    """Neighbouring elements; of a format without any, four stretches of the file."""
    groups = [group for group in siblings(data) if len(group) >= at_least]
    if groups:
        return rng.choice(groups)
    cuts = [0, *sorted(rng.sample(range(1, len(data)), 3)), len(data)]
    return [Element(start, end, start, min(4, end - start)) for start, end in pairwise(cuts)]


def _swap_elements(data: bytes, rng: random.Random, other: bytes) -> bytes:
    group = _chosen_group(data, rng, at_least=2)
    a, b = sorted(rng.sample(group, 2), key=lambda element: element.start)
    return b"".join(
        (data[: a.start], data[b.start : b.end], data[a.end : b.start], data[a.start : a.end], data[b.end :])
    )


def _repeat_element(data: bytes, rng: random.Random, other: bytes) -> bytes:
    element = rng.choice(_chosen_group(data, rng, at_least=1))
    return data[: element.end] + data[element.start : element.end] * rng.randint(1, 3) + data[element.end :]


def _remove_element(data: bytes, rng: random.Random, other: bytes) -> bytes:
    element = rng.choice(_chosen_group(data, rng, at_least=2))
    return data[: element.start] + data[element.end :]


def _resize_element(data: bytes, rng: random.Random, other: bytes) -> bytes:
    """The size field lies; the content stays."""
    element = rng.choice(_chosen_group(data, rng, at_least=1))
    size = rng.choice([0, 1, 7, 8, 2**31 - 1, 2**32 - 1, rng.randrange(2**16), rng.randrange(len(data))])
    field = (size & ((1 << 8 * element.size_bytes) - 1)).to_bytes(
        element.size_bytes, rng.choice(["big", "little"])
    )
    return data[: element.size_at] + field + data[element.size_at + element.size_bytes :]


MUTATIONS: dict[str, Callable[[bytes, random.Random, bytes], bytes]] = {
    "flip bits": _flip_bits,
    "flip in element": _flip_in_element,
    "extreme numbers": _extreme_numbers,
    "truncate": _truncate,
    "lose beginning": _lose_beginning,
    "lose stretch": _lose_stretch,
    "zero stretch": _zero_stretch,
    "noise stretch": _noise_stretch,
    "splice": _splice,
    "swap elements": _swap_elements,
    "repeat element": _repeat_element,
    "remove element": _remove_element,
    "resize element": _resize_element,
}


def mutated_files(sources: Sequence[Path], *, num_files: int, seed: int) -> Iterator[Mutated]:
    """Damaged copies of real files, each source and each kind of damage about equally often.

    Args:
        sources: The files; each is read once.
        num_files: How many to make.
        seed: The same seed gives the same bytes.

    Yields:
        Files that differ from their source, named by number, damage and source.
    """
    contents = [path.read_bytes() for path in sources]
    kinds = list(MUTATIONS)
    for number in range(num_files):
        rng = random.Random(f"{seed} {number}")
        kind = kinds[number % len(kinds)]
        chosen = rng.randrange(len(sources))
        original = damaged = contents[chosen]
        while damaged == original:
            damaged = MUTATIONS[kind](original, rng, rng.choice(contents))
        name = f"{number:05d}_{kind.replace(' ', '-')}_{sources[chosen].name}"
        yield Mutated(name, damaged)
