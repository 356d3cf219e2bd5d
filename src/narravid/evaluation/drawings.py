"""Pictures of a result that are drawn when they are asked for: a result that is only printed draws none."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

__all__ = ["Drawings"]


class Drawings(Mapping[str, bytes]):
    """Name → picture, each drawn at its first use and then kept.

    Args:
        draw: What draws each picture.
    """

    def __init__(self, draw: Mapping[str, Callable[[], bytes]]) -> None:
        self._draw = dict(draw)
        self._drawn: dict[str, bytes] = {}

    def __getitem__(self, name: str) -> bytes:
        if name not in self._drawn:
            self._drawn[name] = self._draw[name]()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._draw)

    def __len__(self) -> int:
        return len(self._draw)
