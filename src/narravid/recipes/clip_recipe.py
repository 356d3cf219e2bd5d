"""What CPD's two recipes share: a list of clips in, one clip of each drawn per epoch, a model out."""

from __future__ import annotations

import json
import logging
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import Field, asdict, replace
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

from narravid.bad_items import BadItems
from narravid.batches import CaptionedBatch, LabelledBatch
from narravid.data.clip_drawing import ClipDataset
from narravid.data.sources import ClipSource
from narravid.errors import ConfigError
from narravid.protocols import PixelDualEncoder
from narravid.recipes.beginning import refuse_large_batch
from narravid.recipes.clip_config import ClipDataConfig
from narravid.recipes.clip_source import open_clip_source
from narravid.recipes.training_recipe import TrainingRecipe
from narravid.types import ClipSpec

__all__ = ["ClipRecipe"]

MAX_NAMED_VIDEOS = 3

_log = logging.getLogger(__name__)


class Sample(Protocol):
    """A clip to learn from: a part of a video, and what is known of it; a dataclass."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def path(self) -> Path:
        """The video."""


class Found(Protocol):
    """What a list of samples gave."""

    @property
    def missing(self) -> Sequence[tuple[str, str]]:
        """(path, reason) of the videos that are not there."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Those to learn from, whose videos are there."""


FoundT = TypeVar("FoundT", bound=Found)
BatchT = TypeVar("BatchT", CaptionedBatch, LabelledBatch)


class ClipRecipe(TrainingRecipe[FoundT, BatchT]):
    """A training run on clips that are drawn one by one."""

    data: ClipDataConfig

    @abstractmethod
    def read_samples(self) -> FoundT:
        """The samples; `NarravidError` where their list has a fault."""

    @abstractmethod
    def open_samples(
        self,
        found: FoundT,
        source: ClipSource,
        *,
        spec: ClipSpec,
        model: Any,  # noqa: ANN401 - each recipe its own kind
    ) -> ClipDataset[Any, BatchT]:
        """The samples as a model wants to see them."""

    def find_data(self, bad: BadItems) -> FoundT:
        """The samples whose videos are there."""
        found = self.read_samples()
        _count_missing(found, bad, max_bad_share=self.data.max_bad_share)
        refuse_large_batch(self.data.batch_size, len(found.samples))
        return found

    def describe_data(self, data: FoundT) -> Mapping[str, object]:
        """What the batches depend on besides the configuration, wherever the videos lie."""
        digest = sha256()
        for sample in data.samples:
            content = {**asdict(sample), "path": sample.path.name}
            digest.update(json.dumps(content, ensure_ascii=False, sort_keys=True).encode() + b"\n")
        return {"num_samples": len(data.samples), "sha256": digest.hexdigest()}

    def open_data(self, data: FoundT, model: PixelDualEncoder) -> ClipDataset[Any, BatchT]:
        """The samples as a model wants to see them."""
        spec = replace(model.clip_spec, crop=self.data.crop)
        paths = (sample.path for sample in data.samples)
        source = open_clip_source(paths, spec, config=self.data, num_workers=self.workers)
        return self.open_samples(data, source, spec=spec, model=model)


def _count_missing(found: Found, bad: BadItems, *, max_bad_share: float) -> None:
    """Say which videos are not there, and stop where they are too many."""
    total = len(found.samples) + len(found.missing)
    for path, reason in found.missing:
        bad.add(path, reason)
    if not found.samples:
        named = "; ".join(f"{path}: {reason}" for path, reason in found.missing[:MAX_NAMED_VIDEOS])
        raise ConfigError(f"there is nothing to learn from: none of {total} videos is there ({named})")
    if found.missing:
        _log.warning("%d of %d videos are not there: %s", len(found.missing), total, bad.summary())
    bad.check_share(total, num_expected=total, max_share=max_bad_share)
