"""The corpus of a run on narrated videos: a folder of videos, or a pack in a folder or at an address."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from narravid.bad_items import BadItems
from narravid.data.corpus import FoundVideos, NarratedVideo, find_narrated_videos
from narravid.data.fingerprint import CorpusFingerprint
from narravid.data.narrated import ClipSampling
from narravid.data.packs import Pack, PackVideos, is_pack, open_pack
from narravid.errors import ConfigError
from narravid.files import read_json
from narravid.recipes.narrated_config import NarratedDataConfig
from narravid.types import ClipSpec

__all__ = [
    "CORPUS_NAME",
    "describe_corpus",
    "find_corpus",
    "refuse_another_corpus",
    "refuse_clips_not_packed",
]

CORPUS_NAME = "corpus.json"
"""What a run was begun on, in its folder."""

MAX_NAMED_VIDEOS = 3

_log = logging.getLogger(__name__)


def find_corpus(config: NarratedDataConfig, *, bad: BadItems | None = None) -> Sequence[NarratedVideo]:
    """The narrated videos of a run; those that cannot be used are named in the log.

    Args:
        config: Where they are.
        bad: Takes those that cannot be used, with a reason each.

    Returns:
        The videos, in one order for files and for a pack of them.

    Raises:
        ConfigError: If a folder or file does not exist, no video is narrated, or they do not fill one batch;
            or if an option has no meaning for a pack.
        AnnotationError: If the list of videos, or the file of captions as a whole, has a fault.
        PackError: If the pack is not complete, damaged, or of another version.
        TooManyBadItemsError: If more of them than are borne have captions that are faulty or empty, or are
            listed and not there.
    """
    videos: Sequence[NarratedVideo]
    if is_pack(config.root):
        videos = _packed_videos(config)
    else:
        videos = _found_videos(config, BadItems() if bad is None else bad)
    if config.batch_size > len(videos):
        raise ConfigError(
            f"data.batch_size is {config.batch_size} videos, but {config.root} has only {len(videos)}"
            f" narrated ones; set --data.batch-size to {len(videos)} or less"
            " (--data.sampling.clips-per-video takes several clips of each)",
            key="data.batch_size",
        )
    return videos


def _packed_videos(config: NarratedDataConfig) -> PackVideos:
    for name in ("captions", "video_list"):
        if getattr(config, name) is not None:
            raise ConfigError(
                f"data.{name} has no meaning for a pack, which brings its videos and captions: leave it out,"
                " or pack the archive again with it",
                key=f"data.{name}",
            )
    if config.storage == "memory":
        raise ConfigError(
            "data.storage=memory decodes whole videos, and a pack holds stretches of them; set --data.storage"
            " files to read its clips when they are drawn, or name the folder of the videos",
            key="data.storage",
        )
    pack = open_pack(config.root)
    if pack.info.num_bad_videos:
        _log.warning(
            "%d of the %d videos of %s could not be packed; those drawn are replaced by others",
            pack.info.num_bad_videos,
            pack.info.num_videos,
            pack.root,
        )
    return pack.videos


def _found_videos(config: NarratedDataConfig, bad: BadItems) -> Sequence[NarratedVideo]:
    root = Path(config.root)
    if not root.is_dir():
        raise ConfigError(f"data.root: {root} is not a folder", key="data.root")
    for name, path in (("captions", config.captions), ("video_list", config.video_list)):
        if path is not None and not path.exists():
            raise ConfigError(f"data.{name}: {path} does not exist", key=f"data.{name}")
    found = find_narrated_videos(root, captions=config.captions, video_list=config.video_list)
    _report_unusable(config, found, bad)
    if found.num_unused:
        _log.info("%s: captions of %d videos are not used", config.captions, found.num_unused)
    return found.videos


def _report_unusable(config: NarratedDataConfig, found: FoundVideos, bad: BadItems) -> None:
    """Say which videos cannot be used, and stop where they are too many."""
    named = "; ".join(f"{path}: {reason}" for path, reason in found.bad[:MAX_NAMED_VIDEOS])
    more = f"; and {len(found.bad) - MAX_NAMED_VIDEOS} more" if len(found.bad) > MAX_NAMED_VIDEOS else ""
    if not found.videos:
        seen = f"{len(found.bad)} videos, none of them usable ({named}{more})" if found.bad else "no video"
        raise ConfigError(f"data.root: {config.root} has no narrated video: found {seen}", key="data.root")
    total = len(found.bad) + len(found.videos)
    if found.bad:
        _log.warning("%d of %d videos are left out: %s%s", len(found.bad), total, named, more)
    for path, reason in found.bad:
        bad.add(path, reason)
    faulty = BadItems()
    for path, reason in found.faulty:
        faulty.add(path, reason)
    faulty.check_share(total, num_expected=total, max_share=config.max_bad_share)


def refuse_clips_not_packed(pack: Pack, spec: ClipSpec, sampling: ClipSampling) -> None:
    """Stop before the work begins if a pack was made for shorter clips, or for captions widened less.

    Raises:
        ConfigError: If so; names what to pack again with.
    """
    settings = pack.info.settings
    if spec.duration_seconds > settings.clip_seconds:
        raise ConfigError(
            f"model.clip_spec: clips of {spec.duration_seconds:g} s, and {pack.root} is made for clips of up"
            f" to {settings.clip_seconds:g} s; pack the archive again with --clip-seconds"
            f" {spec.duration_seconds:g}",
            key="model.clip_spec",
        )
    if sampling.min_caption_seconds > settings.min_caption_seconds:
        raise ConfigError(
            f"data.sampling.min_caption_seconds is {sampling.min_caption_seconds:g}, and {pack.root} is made"
            f" for captions widened to {settings.min_caption_seconds:g} s; lower it, or pack it again"
            f" with --min-caption-seconds {sampling.min_caption_seconds:g}",
            key="data.sampling.min_caption_seconds",
        )
    if settings.short_side_pixels is not None and spec.size_pixels > settings.short_side_pixels:
        _log.warning(
            "clips of %d pixels are enlarged: %s has frames of %d on the shorter side",
            spec.size_pixels,
            pack.root,
            settings.short_side_pixels,
        )


def describe_corpus(videos: Sequence[NarratedVideo]) -> dict[str, object]:
    """What the batches of a run depend on besides its configuration: its videos and their captions.

    It is the same for the files of an archive and for a pack of them, so that a run goes on with either.
    """
    if isinstance(videos, PackVideos):
        info = videos.pack.info
        return {
            "num_videos": info.num_videos,
            "num_captions": info.num_captions,
            "sha256": info.corpus_sha256,
        }
    fingerprint = CorpusFingerprint()
    for video in videos:
        fingerprint.add(video.video_id, video.track)
    return {
        "num_videos": fingerprint.num_videos,
        "num_captions": fingerprint.num_captions,
        "sha256": fingerprint.sha256,
    }


def refuse_another_corpus(run: Path, now: Mapping[str, object]) -> None:
    """Make sure that a run goes on with what it began with.

    Args:
        run: The run folder.
        now: What is there, as the recipe describes it.

    Raises:
        ConfigError: If it has changed, or nothing is known of what it was.
    """
    path = run / CORPUS_NAME
    if not path.is_file():
        raise ConfigError(f"{path}, which says what the run is trained on, is gone; put it back")
    begun = read_json(path)
    if begun != now:
        raise ConfigError(
            f"what the run is trained on has changed since {run} began ({_counts(begun)} then, {_counts(now)}"
            " now); put them back, or start a new run"
        )


def _counts(described: Mapping[str, object]) -> str:
    """18 videos, 54 captions."""
    return ", ".join(
        f"{value} {name.removeprefix('num_')}" for name, value in described.items() if name.startswith("num_")
    )
