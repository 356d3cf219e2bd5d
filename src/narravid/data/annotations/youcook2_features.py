"""YouCook2 as HowTo100M's repository has it: pickles of captions with features of their clips.

Miech et al. 2019, arXiv 1906.03327: `youcook_val.pkl` and `youcook_train.pkl` are lists of dictionaries with
`2d` and `3d` (one vector each, the maximum over the clip), `caption` and `id`. The pickles are read as plain
data; nothing that they name is run.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from narravid.annotation_fields import Fields
from narravid.data.annotations.pickled_arrays import PickledArray
from narravid.data.annotations.safe_pickle import read_plain_pickle
from narravid.errors import AnnotationError

__all__ = ["FeaturedClip", "read_youcook2_features"]


@dataclass(frozen=True, slots=True, eq=False)
class FeaturedClip:
    """A clip as features, and the sentence that finds it.

    Attributes:
        clip_id: Name of the clip.
        text: The sentence.
        features_2d: (D2,) float32 of an image network, 2,048 as published, not normalised.
        features_3d: (D3,) float32 of a video network, 2,048 as published, not normalised.
    """

    clip_id: str
    text: str
    features_2d: npt.NDArray[np.float32]
    features_3d: npt.NDArray[np.float32]


def read_youcook2_features(path: Path) -> tuple[FeaturedClip, ...]:
    """Read a pickle of clips with features.

    Args:
        path: `youcook_val.pkl` or `youcook_train.pkl`.

    Returns:
        The clips in order.

    Raises:
        AnnotationError: If the file is no pickle of plain data, is no list of dictionaries, or an entry has a
            fault (named as `[position].key`), such as features of another size than those of the first.
    """
    entries = read_plain_pickle(path)
    if not isinstance(entries, list):
        raise AnnotationError(path, f"must hold a list of clips, got a {type(entries).__name__}")
    clips: list[FeaturedClip] = []
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict):
            reason = f"must be a dictionary, got a {type(entry).__name__}"
            raise AnnotationError(path, reason, field=f"[{position}]")
        clip = _read_clip(Fields(path, entry, place=f"[{position}]"))
        first = clips[0] if clips else clip
        for name, own, wanted in (
            ("2d", clip.features_2d, first.features_2d),
            ("3d", clip.features_3d, first.features_3d),
        ):
            if own.size != wanted.size:
                reason = f"must have {wanted.size} values as that of the first clip, got {own.size}"
                raise AnnotationError(path, reason, field=f"[{position}].{name}")
        clips.append(clip)
    return tuple(clips)


def _read_clip(entry: Fields) -> FeaturedClip:
    named = Fields(entry.path, {key: _plain(entry, key) for key in ("id", "caption")}, place=entry.place)
    return FeaturedClip(
        clip_id=named.text("id"),
        text=named.text("caption"),
        features_2d=_read_features(entry, "2d"),
        features_3d=_read_features(entry, "3d"),
    )


def _plain(entry: Fields, key: str) -> Any:  # noqa: ANN401 - checked by whoever looks at it
    """A text of Python 2 and a whole number as text."""
    value = entry.value(key)
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise entry.fault("is not UTF-8 text", key) from error
    return str(value) if type(value) is int and abs(value) < 2**63 else value


def _read_features(entry: Fields, key: str) -> npt.NDArray[np.float32]:
    value = entry.value(key)
    if not isinstance(value, PickledArray):
        raise entry.fault(f"must be an array of numbers, got a {type(value).__name__}", key)
    try:
        with np.errstate(over="ignore"):  # what becomes infinite is refused below
            features = np.array(value.to_list(), dtype=np.float32)
    except (TypeError, ValueError, OverflowError) as error:
        raise entry.fault(f"must be an array of numbers: {error}", key) from error
    if features.ndim != 1 or features.size == 0 or not np.isfinite(features).all():
        raise entry.fault("must be a vector of finite numbers", key)
    return features
