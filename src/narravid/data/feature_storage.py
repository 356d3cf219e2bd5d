"""How the features of one video lie on disk, with what is known of them.

Two forms: `NAME.npy` as HowTo100M keeps them, with `NAME.json` beside it, and one `NAME.safetensors` that
holds both. What is known are the start of each feature, the rate, the model and its settings. An array by
itself, as others publish them, can be read as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from narravid.errors import DecodeError
from narravid.files import read_json, write_atomically, write_json

__all__ = [
    "FEATURE_SUFFIXES",
    "facts_path",
    "features_per_second",
    "open_features",
    "read_facts",
    "write_features",
]

NUMPY_SUFFIX = ".npy"
SAFETENSORS_SUFFIX = ".safetensors"
FEATURE_SUFFIXES = (NUMPY_SUFFIX, SAFETENSORS_SUFFIX)

FORMAT = "narravid-features"
FORMAT_VERSION = 1
ARRAY_NAME = "features"
FACTS_NAME = "narravid"

Array = npt.NDArray[np.floating]


def facts_path(path: Path) -> Path:
    """Where the JSON beside an array lies: `a.json` for `a.npy`, `a.mp4.json` for `a.mp4.npy`."""
    return path.with_suffix(".json")


def write_features(path: Path, features: Array, facts: Mapping[str, Any]) -> None:
    """Write the features of a video and what is known of them; the array appears last, whole.

    A kill at any moment leaves the old features, or none, or the new ones, and never an array with the facts
    of another.

    Args:
        path: `NAME.npy` or `NAME.safetensors`; its folder is created.
        features: (n, F), in the type in which they are kept.
        facts: JSON values.
    """
    facts = {"format": FORMAT, "version": FORMAT_VERSION, **facts}
    if path.suffix == SAFETENSORS_SUFFIX:
        metadata = {FACTS_NAME: json.dumps(facts, allow_nan=False)}
        write_atomically(path, lambda at: save_file({ARRAY_NAME: features}, at, metadata=metadata))
        return
    path.unlink(missing_ok=True)
    write_json(facts_path(path), facts)

    def write(at: Path) -> None:
        with at.open("wb") as file:
            np.save(file, features, allow_pickle=False)

    write_atomically(path, write)


def read_facts(path: Path) -> dict[str, Any] | None:
    """What is known of the features in a file.

    Returns:
        The facts as they were written; None where Narravid did not write the file, or no facts can be read.
    """
    try:
        if path.suffix == SAFETENSORS_SUFFIX:
            with safe_open(path, framework="numpy") as file:
                facts = json.loads((file.metadata() or {}).get(FACTS_NAME, "null"))
        else:
            facts = read_json(facts_path(path))
    except (OSError, ValueError, SafetensorError):
        return None
    return facts if isinstance(facts, dict) and facts.get("format") == FORMAT else None


def features_per_second(path: Path) -> float | None:
    """The rate that the facts of a file state; None where they state none."""
    facts = read_facts(path)
    rate = None if facts is None else facts.get("features_per_second")
    return float(rate) if isinstance(rate, int | float) and 0 < rate < float("inf") else None


def open_features(path: Path) -> Array:
    """The array of a file; of `.npy` nothing is read yet, and a head that claims too much is refused.

    Raises:
        DecodeError: If there is no such file, or it is damaged.
    """
    try:
        if path.suffix == SAFETENSORS_SUFFIX:
            with safe_open(path, framework="numpy") as file:
                array: Array = file.get_tensor(ARRAY_NAME)
            return array
        return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]
    except FileNotFoundError as error:
        raise DecodeError(path, "there is no such feature file") from error
    except (OSError, ValueError, EOFError, SafetensorError) as error:
        kind = "safetensors file of features" if path.suffix == SAFETENSORS_SUFFIX else ".npy array"
        raise DecodeError(path, f"not a whole {kind}: {error}".split("\n")[0]) from error
