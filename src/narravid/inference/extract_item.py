"""One video of a list: claimed, extracted and kept, or left alone with a reason."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from narravid.errors import DecodeError
from narravid.files import read_json, write_json
from narravid.inference.claims import Claims, file_system_now, neighbour
from narravid.inference.clip_encoder import ClipEncoder
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_plan import ExtractionPlan
from narravid.inference.extract_store import FeatureStore, standing_of
from narravid.inference.extract_video import VideoExtractor, as_stored
from narravid.inference.video_files import FileState

__all__ = ["ItemExtractor", "Outcome", "StoredType", "settings_of"]

StoredType = Literal["float16", "float32"]
"""In which type features are kept; published ones are float16."""

FAILED_KIND = "failed"

OutcomeKind = Literal["done", "skipped", "bad", "refused", "busy"]
"""Extracted now; was there already; the video is bad; something else is there; another process is at it."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one video.

    Attributes:
        item: The video.
        kind: See `OutcomeKind`.
        reason: Why not, for those that are bad or refused.
        video_seconds: How much of it was extracted now.
    """

    item: ListedVideo
    kind: OutcomeKind
    reason: str = ""
    video_seconds: float = 0.0


def settings_of(encoder: ClipEncoder, plan: ExtractionPlan, stored: StoredType) -> dict[str, Any]:
    """What decides the numbers, as JSON values; features with other settings are other features."""
    spec = encoder.clip_spec
    return {
        "weights_hash": encoder.weights_hash,
        "layer": plan.layer,
        "windows": {**plan.to_dict(), "mean": list(spec.mean), "std": list(spec.std)},
        "features_per_second": plan.features_per_second,
        "normalised": plan.is_normalised,
        "dtype": stored,
        "computed_in": encoder.dtype,
        "backend": encoder.backend,
    }


class ItemExtractor:
    """Does the videos of a list, one call each; several threads may.

    Args:
        extractor: Turns a video into vectors.
        store: Where they go.
        claims: Of this process.
        settings: What decides the numbers; see `settings_of`.
        model_name: What the user calls the model, written beside the features.
        overwrite: Whether features of other settings give way.
    """

    def __init__(
        self,
        extractor: VideoExtractor,
        store: FeatureStore,
        claims: Claims,
        *,
        settings: Mapping[str, Any],
        model_name: str,
        overwrite: bool = False,
    ) -> None:
        self._extractor = extractor
        self._store = store
        self._claims = claims
        self._settings = dict(settings)
        self._model_name = model_name
        self._overwrite = overwrite
        self._stopped = threading.Event()
        self._began: float | None = None
        self._lock = threading.Lock()

    @property
    def busy_seconds(self) -> float:
        """How long the network has worked."""
        return self._extractor.busy_seconds

    def stop(self) -> None:
        """Let the videos in work end at their next batch, with a `CancelledError`."""
        self._stopped.set()

    def do(self, item: ListedVideo, *, on_seconds: Callable[[float], None] = lambda seconds: None) -> Outcome:
        """Extract a video, unless it is done, claimed by another process, or known to be bad in this run.

        Args:
            item: The video.
            on_seconds: Called as the work goes on with the seconds of video that were read since.

        Raises:
            NarravidError: If the network gives NaN or infinity, or numbers that cannot be kept.
        """
        try:
            state = FileState.of(item.video)
        except OSError as error:
            return Outcome(item, "bad", (error.strerror or str(error)).lower())
        outcome = self._without_work(item, state)
        if outcome is not None:
            return outcome
        mark = self._store.mark(item)
        with self._claims.hold(mark, tidy_up=lambda: self._store.tidy_up(item)) as is_ours:
            if not is_ours:
                return Outcome(item, "busy")
            outcome = self._without_work(item, state)  # another process may have come to its end just now
            return outcome or self._extract(item, state, on_seconds=on_seconds)

    def _without_work(self, item: ListedVideo, state: FileState) -> Outcome | None:
        standing, instead = standing_of(self._store, item, settings=self._settings, state=state)
        if standing == "done":
            self._claims.forget(self._store.mark(item))
            return Outcome(item, "skipped")
        if standing == "blocked" or (standing == "foreign" and not self._overwrite):
            return Outcome(item, "refused", instead)
        reason = self._failure_in_this_run(self._store.mark(item))
        return None if reason is None else Outcome(item, "bad", reason)

    def _extract(
        self, item: ListedVideo, state: FileState, *, on_seconds: Callable[[float], None]
    ) -> Outcome:
        stride_seconds = self._extractor.plan.stride_seconds

        def on_batch(num_windows: int) -> None:
            if self._stopped.is_set():
                raise CancelledError
            on_seconds(num_windows * stride_seconds)

        failed = neighbour(self._store.mark(item), FAILED_KIND)
        try:
            features = self._extractor.extract(item.video, on_batch=on_batch)
            if FileState.of(item.video) != state:
                raise DecodeError(item.video, "the file changed while it was being read")
        except (DecodeError, OSError) as error:
            if self._stopped.is_set():
                raise CancelledError from None
            reason = error.reason if isinstance(error, DecodeError) else str(error)
            write_json(failed, {"reason": reason})
            return Outcome(item, "bad", reason)
        stored = as_stored(features, str(self._settings["dtype"]))
        self._store.write(item, stored, self._facts(item, state, stored))
        failed.unlink(missing_ok=True)
        return Outcome(item, "done", video_seconds=len(features) * stride_seconds)

    def _facts(
        self, item: ListedVideo, state: FileState, features: npt.NDArray[np.floating]
    ) -> dict[str, Any]:
        plan = self._extractor.plan
        return {
            "video": str(item.video),
            "video_size_bytes": state.size_bytes,
            "video_modified_ns": state.modified_ns,
            "model": self._model_name,
            **self._settings,
            "num_features": len(features),
            "dim": features.shape[1],
            "start_seconds": [round(plan.start_seconds(number), 6) for number in range(len(features))],
            "narravid": version("narravid"),
        }

    def _failure_in_this_run(self, mark: Path) -> str | None:
        """Why another process of this run could not read the video; failures of earlier runs are tried again.

        A run is taken to begin for this process with its first video.
        """
        with self._lock:
            if self._began is None:
                mark.parent.mkdir(parents=True, exist_ok=True)
                self._began = file_system_now(mark.parent)
        failed = neighbour(mark, FAILED_KIND)
        with suppress(OSError, ValueError, TypeError, KeyError):
            if failed.stat().st_mtime >= self._began:
                return str(read_json(failed)["reason"])
        return None
