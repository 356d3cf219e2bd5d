"""The errors Narravid raises; each names what was wrong, where, and what to do about it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path

__all__ = [
    "AnnotationError",
    "CheckpointError",
    "ConfigError",
    "DecodeError",
    "DownloadError",
    "IndexMismatchError",
    "LogitRangeError",
    "MissingExtraError",
    "NarravidError",
]


class NarravidError(Exception):
    """Base of every error that a user can cause and mend; the command line prints it as one line."""


class DecodeError(NarravidError):
    """A video file, or a span of it, could not be decoded.

    Args:
        path: The file.
        reason: What failed, in one sentence.
        span: The (start, end) that was asked for, in seconds, when there was one.
    """

    def __init__(self, path: str | Path, reason: str, span: tuple[float, float] | None = None) -> None:
        where = "" if span is None else f" at {span[0]:.2f}-{span[1]:.2f} s"
        super().__init__(f"{path}{where}: {reason}")
        self.path = str(path)
        self.reason = reason
        self.span = span

    def __reduce__(self) -> tuple[type[DecodeError], tuple[object, ...]]:
        return type(self), (self.path, self.reason, self.span)


class AnnotationError(NarravidError):
    """An annotation or transcript file has a fault.

    Args:
        path: The file.
        reason: What is wrong and what was expected.
        line: Line number, counted from 1, when known.
        field: Column or key, when known.
    """

    def __init__(
        self, path: str | Path, reason: str, *, line: int | None = None, field: str | None = None
    ) -> None:
        place = "".join([f", line {line}" if line is not None else "", f", field {field!r}" if field else ""])
        super().__init__(f"{path}{place}: {reason}")
        self.path = str(path)
        self.reason = reason
        self.line = line
        self.field = field

    def __reduce__(self) -> tuple[object, ...]:
        return partial(type(self), self.path, self.reason, line=self.line, field=self.field), ()


class CheckpointError(NarravidError):
    """A checkpoint or model folder cannot be used.

    Args:
        path: The file or folder.
        reason: What is wrong.
        missing: Keys the network needs and the file lacks.
        unexpected: Keys the file has and the network does not know.
    """

    def __init__(
        self,
        path: str | Path,
        reason: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
    ) -> None:
        parts = [f"{path}: {reason}"]
        parts += [
            f"{label} ({len(keys)}): {', '.join(keys)}"
            for label, keys in (("missing keys", missing), ("unexpected keys", unexpected))
            if keys
        ]
        super().__init__("; ".join(parts))
        self.path = str(path)
        self.reason = reason
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)

    def __reduce__(self) -> tuple[object, ...]:
        again = partial(type(self), self.path, self.reason, missing=self.missing, unexpected=self.unexpected)
        return again, ()


class ConfigError(NarravidError):
    """A configuration has an unknown key or a value of the wrong kind.

    Args:
        reason: What is wrong.
        key: The offending key, dotted.
        valid: The keys that exist at that place; the nearest is proposed.
    """

    def __init__(self, reason: str, *, key: str | None = None, valid: Iterable[str] = ()) -> None:
        nearest = difflib.get_close_matches((key or "").rsplit(".", 1)[-1], list(valid), n=1)
        hint = f" (did you mean {nearest[0]!r}?)" if nearest else ""
        super().__init__(f"{reason}{hint}")
        self.key = key
        self.nearest = nearest[0] if nearest else None
        self._again = partial(type(self), reason, key=key, valid=tuple(nearest))

    def __reduce__(self) -> tuple[object, ...]:
        return self._again, ()


class DownloadError(NarravidError):
    """A published file could not be fetched, or is not what was published."""


class IndexMismatchError(NarravidError):
    """An index was made by another model than the one in use."""


class LogitRangeError(NarravidError, ValueError):
    """Logits given to a loss are NaN, infinite or too large to mean anything."""


class MissingExtraError(NarravidError):
    """A feature needs a library that is not installed.

    Args:
        feature: What was asked for.
        module: The library it needs.
        extra: The extra of Narravid that brings it; None where the user installs it by its own name.
    """

    def __init__(self, feature: str, module: str, extra: str | None) -> None:
        package = module if extra is None else f"'narravid[{extra}]'"
        super().__init__(f"{feature} needs {module}, which is not installed: pip install {package}")
        self._again = partial(type(self), feature, module, extra)

    def __reduce__(self) -> tuple[object, ...]:
        return self._again, ()
