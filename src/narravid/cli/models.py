"""`narravid models`: what is published, and what of it is here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import tyro

from narravid.models.cache import entry_folder, is_cached
from narravid.models.catalogue import Entry
from narravid.models.catalogue_entries import ENTRIES, find_entry

__all__ = ["Models"]

BYTES_PER_UNIT = {"GB": 1_000_000_000, "MB": 1_000_000, "kB": 1_000, "bytes": 1}


@dataclass(frozen=True)
class Models:
    """List what is published: models, word lists, tokenizers, features and annotations.

    None of the addresses is tried. `narravid download NAME` fetches, `--model NAME` uses what is cached.

    Attributes:
        names: Show these only, with their addresses, citation and folder.
        json: Print one JSON array instead of a table.
    """

    names: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="[NAME ...]")] = ()
    json: bool = False

    def run(self) -> int:
        """List."""
        entries = [find_entry(name) for name in self.names] or list(ENTRIES.values())
        if self.json:
            print(json.dumps([_facts(entry) for entry in entries], indent=2, ensure_ascii=False))
        elif self.names:
            print("\n\n".join(_details(entry) for entry in entries))
        else:
            print(_table(entries))
        return 0


def _facts(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "kind": entry.kind,
        "summary": entry.summary,
        "num_bytes": entry.known_bytes,
        "exact_size": entry.exact_size,
        "licence": entry.licence,
        "licence_notice": entry.licence_notice or None,
        "citation": entry.citation,
        "cached": is_cached(entry),
        "known_dead": entry.known_dead,
        "by_hand": entry.by_hand,
        "assets": list(entry.assets),
        "note": entry.note or None,
        "folder": str(entry_folder(entry)),
        "files": [
            {
                "file_name": item.file_name,
                "num_bytes": item.num_bytes,
                "members": list(item.members),
                "addresses": [
                    {"url": address.url, "dead_since": address.dead_since, "note": address.note or None}
                    for address in item.addresses
                ],
            }
            for item in entry.items
        ],
    }


def _table(entries: list[Entry]) -> str:
    """Lines under their kinds, as wide as 80 columns and never cut: names are there to be copied."""
    rows = [("name", "size", "licence", "cached", "addresses")]
    for entry in entries:
        cached = "yes" if is_cached(entry) else "no"
        rows.append((f"  {entry.name}", _size(entry), entry.licence, cached, _addresses(entry)))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    heading, *lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
    table = [heading]
    for kind in dict.fromkeys(entry.kind for entry in entries):
        table.append(f"{kind}:")
        table += [line for line, entry in zip(lines, entries, strict=True) if entry.kind == kind]
    return "\n".join(table)


def _details(entry: Entry) -> str:
    lines = [
        f"{entry.name}: {entry.summary}",
        f"  kind      {entry.kind}",
        f"  size      {_size(entry)}",
        f"  licence   {entry.licence}" + (f": {entry.licence_notice}" if entry.licence_notice else ""),
        f"  cite      {entry.citation}",
        f"  folder    {entry_folder(entry)} ({'cached' if is_cached(entry) else 'nothing there yet'})",
    ]
    lines += [f"  needs     {', '.join(entry.assets)} (downloaded with it)"] if entry.assets else []
    lines += [f"  note      {entry.note}"] if entry.note else []
    for item in entry.items:
        lines.append(f"  file      {item.file_name}")
        for address in item.addresses:
            said = [f"dead since {address.dead_since}"] if address.dead_since else []
            said += [address.note] if address.note else []
            said += [] if address.automatic else ["to be opened in a browser"]
            lines.append(f"              {address.url}" + (f" ({', '.join(said)})" if said else ""))
    return "\n".join(lines)


def _size(entry: Entry) -> str:
    """Size for people; unknown ones stay open rather than guessed."""
    if entry.known_bytes is None:
        return "unknown"
    unit = next(unit for unit, size in BYTES_PER_UNIT.items() if entry.known_bytes >= size)
    return f"{'' if entry.exact_size else '~'}{entry.known_bytes / BYTES_PER_UNIT[unit]:.0f} {unit}"


def _addresses(entry: Entry) -> str:
    if entry.known_dead:
        return "all dead"
    if entry.by_hand:
        return "by browser"
    addresses = [address for item in entry.items for address in item.addresses]
    num_dead = sum(address.dead_since is not None for address in addresses)
    return f"{len(addresses)}, {num_dead} dead" if num_dead else f"{len(addresses)}"
