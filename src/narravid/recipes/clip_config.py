"""Configuration that CPD's two recipes share: how one clip is drawn of each sample."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from narravid.bad_items import MAX_BAD_SHARE
from narravid.config import check_choices
from narravid.data.span_clips import PUBLISHED_ZOOM, check_zoom
from narravid.types import Crop
from narravid.video.transforms import Augmentation

__all__ = ["ClipDataConfig"]


@dataclass(frozen=True)
class ClipDataConfig:
    """How clips are drawn.

    Attributes:
        batch_size: Clips per batch, those of all processes of a run together.
        zoom: Least and greatest length of the shorter side of the picture before the square is cut out, as
            multiples of the square's; as published 256 to 340 pixels for 224. None takes the largest square.
        crop: Where the largest square is cut out of a frame in training.
        augmentation: Random changes to each clip.
        storage: Decode clips from the files each time, or decode all videos into memory once.
        max_memory_gib: Most memory that the decoded videos may take, in GiB.
        max_bad_share: Share of the videos that may be missing or bad before the run stops; up to it they are
            left out or replaced by others. 1 never stops.

    Raises:
        ValueError: If a value is out of range.
    """

    batch_size: int = 256
    zoom: tuple[float, float] | None = PUBLISHED_ZOOM
    crop: Crop = "random"
    augmentation: Augmentation = field(default_factory=Augmentation)
    storage: Literal["files", "memory"] = "files"
    max_memory_gib: float = 2.0
    max_bad_share: float = MAX_BAD_SHARE

    def __post_init__(self) -> None:
        check_choices(self)
        if self.batch_size < 1:
            raise ValueError(f"batch_size must be at least 1, got {self.batch_size}")
        if self.zoom is not None:
            check_zoom(self.zoom)
            if self.storage == "memory":
                raise ValueError(
                    "storage=memory holds pictures of one size, and zoom needs many: set zoom to None, or"
                    " storage to files"
                )
        if not self.max_memory_gib > 0:
            raise ValueError(f"max_memory_gib must be positive, got {self.max_memory_gib}")
        if not 0 <= self.max_bad_share <= 1:
            raise ValueError(f"max_bad_share must be 0 to 1, got {self.max_bad_share}")
