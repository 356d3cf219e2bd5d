"""The data of a run on extracted features: found, checked, and told apart from other data."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from narravid.bad_items import BadItems
from narravid.data.feature_clips import FeaturePair
from narravid.data.feature_corpus import FeaturedVideo, FoundFeatures
from narravid.data.feature_files import FeatureTracks
from narravid.data.fingerprint import CorpusFingerprint
from narravid.errors import ConfigError
from narravid.text.captions import Caption
from narravid.text.words import Vocabulary
from narravid.types import Span

__all__ = ["FeatureData", "build_words", "existing", "usable_videos"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FeatureData:
    """What a run is trained on.

    Attributes:
        items: Narrated videos, or clips with one sentence each.
        tracks: Their features.
    """

    items: Sequence[FeaturedVideo] | Sequence[FeaturePair]
    tracks: FeatureTracks

    def captions(self) -> Iterator[tuple[str, tuple[Caption, ...]]]:
        """Name and captions of each item."""
        for item in self.items:
            if isinstance(item, FeaturedVideo):
                yield item.name, item.track.captions
            else:
                yield item.name, (Caption(item.text, item.span or Span(0.0, 0.0)),)

    def describe(self) -> dict[str, object]:
        """What the batches of a run depend on besides its configuration and the features themselves."""
        fingerprint = CorpusFingerprint()
        for name, captions in self.captions():
            fingerprint.add(name, captions)
        return {
            "num_videos": fingerprint.num_videos,
            "num_captions": fingerprint.num_captions,
            "sha256": fingerprint.sha256,
        }


def existing(path: Path | None, key: str) -> Path:
    """A path that must be there.

    Raises:
        ConfigError: If none is given, or nothing lies there.
    """
    if path is None:
        raise ConfigError(f"{key} is needed here and not set", key=key)
    if not path.exists():
        raise ConfigError(f"{key}: {path} does not exist", key=key)
    return path


def usable_videos(found: FoundFeatures, bad: BadItems, *, max_bad_share: float) -> Sequence[FeaturedVideo]:
    """The videos that were found, once it is told what could not be used.

    Args:
        found: What was found.
        bad: Takes what is bad.
        max_bad_share: Share of the videos that may be bad.

    Raises:
        ConfigError: If there is no video.
        TooManyBadItemsError: If too many are bad.
    """
    for path, reason in found.bad:
        bad.add(path, reason)
    _log.info(
        "%d videos; left out: %d bad, %d without captions, %d held out, %d too short or too long",
        len(found.videos),
        len(found.bad),
        found.num_without_captions,
        found.num_held_out,
        found.num_of_other_length,
    )
    if not found.videos:
        first = f" (the first, {found.bad[0][0]}: {found.bad[0][1]})" if found.bad else ""
        raise ConfigError(
            f"no video has features and captions: {len(found.bad)} are bad{first},"
            f" {found.num_without_captions} have no captions, {found.num_held_out} are held out,"
            f" {found.num_of_other_length} too short or too long",
            key="data.captions",
        )
    total = len(found.videos) + len(found.bad)
    faulty = BadItems()
    for path, reason in found.bad:
        faulty.add(path, reason)
    faulty.check_share(total, num_expected=total, max_share=max_bad_share)
    return found.videos


def build_words(path: Path | None, data: FeatureData, *, lower_case: bool, min_count: int = 1) -> Vocabulary:
    """The words of a list, or those of the captions.

    Raises:
        AnnotationError: If the file is no word list.
        ConfigError: If the captions hold no word often enough.
    """
    if path is not None:
        return Vocabulary.load(path)
    texts = (caption.text for _, captions in data.captions() for caption in captions)
    try:
        return Vocabulary.from_captions(texts, min_count=min_count, lower_case=lower_case)
    except ValueError as error:
        raise ConfigError(f"no vocabulary can be built from the captions: {error}") from error
