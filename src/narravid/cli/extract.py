"""`narravid extract --csv IN.csv --model M`: the features of whole videos."""

from __future__ import annotations

import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from narravid.bad_items import BAD_ITEMS_NAME, MAX_BAD_SHARE, TooManyBadItemsError
from narravid.cli.bad_item_lines import bad_item_lines
from narravid.errors import ConfigError
from narravid.inference.claims import CLAIM_TIMEOUT_SECONDS
from narravid.inference.clip_encoder import Backend, EmbeddingDtype
from narravid.inference.cluster import ClusterConfig, extract_on_cluster
from narravid.inference.extract import extract_videos
from narravid.inference.extract_item import StoredType
from narravid.inference.extract_job import ExtractionJob, load_extractor, open_worker
from narravid.inference.extract_list import FeatureFormat, ListedVideo, list_folder, list_table
from narravid.inference.extract_plan import Layer, as_published
from narravid.inference.extract_report import ExtractionReport
from narravid.protocols import FeatureExtractor, PixelDualEncoder
from narravid.recipes.devices import pick_device
from narravid.video.watched import WatchedDecoder

__all__ = ["Extract"]

EXIT_NOT_ALL = 1
SECONDS_PER_HOUR = 3600.0
MAX_REFUSED_SHOWN = 5


@dataclass(frozen=True)
class Extract:
    """Extract the features of whole videos, window by window, as the published programs do.

    Run it again at any time, also after it was killed: what is complete is left alone. Several processes,
    also on several machines with one file system, may work on one list; each video is done once. Videos that
    cannot be read are listed with the reason in bad_items.csv in `--output`; with `--csv part1.csv` in
    part1.bad_items.csv, in `--output` if it is given, else beside the table. Exit status: 0, or 1 when
    something else lies where features would go, or no video could be read.

    Attributes:
        model: resnet-152, resnext-101, s3d (see `narravid models` for more), or a model folder, run folder or
            published checkpoint.
        csv: The videos: a table with the columns video_path and feature_path. Paths that are not absolute are
            taken from the working folder; those of features from `--output` where it is given.
        videos: In place of a table, a folder that is searched to the bottom for videos.
        output: Folder of the features; with `--videos` the tree of folders is kept below it. Needed with
            `--videos` and with `--format lance`.
        layer: feature is the trunk's (mixed_5c of S3D), embedding the vector that is compared with sentences.
            As published when not given: the feature of extractors and S3D, the embedding of other models.
        num_frames: Frames per window. As published when not given, as the next three.
        fps: Frames per second.
        stride_seconds: From the start of one window to the next; end to end when not given.
        features_per_second: The same as a rate, in place of stride_seconds.
        format: npy (with a JSON beside each file), safetensors, or lance (one table in `--output`).
        keep: In which type features are kept.
        overwrite: Replace features of other settings, or of unknown ones.
        device: Where to compute: cpu, cuda, cuda:1, or auto for a GPU when there is one. On a cluster
            ray_gpus decides.
        dtype: Arithmetic of the network.
        backend: What computes the network.
        batch_size: Windows per forward pass. The features of a video can differ in the last bit with it.
        workers: Videos that are decoded at once, each in a process of its own; on a cluster, by each actor.
        claim_timeout: Seconds after which a video that a process on another machine has claimed, and then
            given no sign of life, is done by another.
        max_bad_share: Stop when a larger share of the videos is bad; a long list is judged from its
            thousandth on. 1 never stops.
        ray: Address of a Ray cluster whose machines see the same paths (auto for the one this machine is part
            of); local starts one on this machine.
        ray_actors: Processes on the cluster, each with a network of its own.
        ray_cpus: Processor cores for each of them.
        ray_gpus: GPUs for each of them; a part of one shares it.
    """

    model: str
    csv: Path | None = None
    videos: Path | None = None
    output: Path | None = None
    layer: Layer | None = None
    num_frames: int | None = None
    fps: float | None = None
    stride_seconds: float | None = None
    features_per_second: float | None = None
    format: FeatureFormat = "npy"
    keep: StoredType = "float16"
    overwrite: bool = False
    device: str = "cpu"
    dtype: EmbeddingDtype = "float32"
    backend: Backend = "torch"
    batch_size: int = 8
    workers: int = 2
    claim_timeout: float = CLAIM_TIMEOUT_SECONDS
    max_bad_share: float = MAX_BAD_SHARE
    ray: str | None = None
    ray_actors: int = 2
    ray_cpus: float = 1.0
    ray_gpus: float = 0.0

    def run(self) -> int:
        """Extract, and say what was done."""
        self._check()
        report = ExtractionReport()
        items = self._items(report)
        model = load_extractor(self.model, device="cpu")
        job = self._job(model)
        self._check_bad_items_path()
        try:
            if self.ray is None:
                self._extract_here(items, job, model=model, report=report)
            else:
                self._extract_on_cluster(items, job, report=report)
        except TooManyBadItemsError as error:
            raise TooManyBadItemsError(
                f"{error}. All are listed in {self._bad_items_path}; mend them, or let more be bad "
                "(--max-bad-share). What is finished stays"
            ) from error
        finally:
            report.bad.write(self._bad_items_path)
        self._print_report(report)
        is_useful = bool(report.num_done or report.num_skipped)
        return 0 if is_useful and not report.refused else EXIT_NOT_ALL

    def _check(self) -> None:
        if (self.csv is None) == (self.videos is None):
            raise ConfigError("name the videos by --csv or by --videos, one of them", key="csv")
        if self.output is None and (self.videos is not None or self.format == "lance"):
            raise ConfigError("--output must name the folder of the features", key="output")
        if self.stride_seconds is not None and self.features_per_second is not None:
            raise ConfigError(
                "give --stride-seconds or --features-per-second, not both", key="features_per_second"
            )
        if self.features_per_second is not None and not self.features_per_second > 0:
            raise ConfigError(f"must be positive, got {self.features_per_second}", key="features_per_second")
        if not 0 <= self.max_bad_share <= 1:
            raise ConfigError(f"must be from 0 to 1, got {self.max_bad_share}", key="max_bad_share")
        for name in ("batch_size", "workers", "ray_actors"):
            if getattr(self, name) < 1:
                raise ConfigError(f"must be at least 1, got {getattr(self, name)}", key=name)

    def _items(self, report: ExtractionReport) -> list[ListedVideo]:
        if self.videos is not None:
            assert self.output is not None  # checked before
            return list_folder(self.videos, self.output, bad=report.bad, file_format=self.format)
        assert self.csv is not None  # checked before
        return list_table(self.csv, output=self.output, file_format=self.format)

    @property
    def _bad_items_path(self) -> Path:
        """One for each list, so that runs over the parts of a long one keep theirs apart."""
        if self.csv is None:
            return (self.output or Path()) / BAD_ITEMS_NAME
        folder = self.csv.parent if self.output is None else self.output
        return folder / f"{self.csv.stem}.{BAD_ITEMS_NAME}"

    def _check_bad_items_path(self) -> None:
        """Find out before the work that the list of bad videos cannot be written after it."""
        path = self._bad_items_path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=path.parent).close()
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise ConfigError(
                f"videos that cannot be read are to be listed in {path}, where nothing can be written "
                f"({reason}); name a folder for it with --output",
                key="output",
            ) from error

    def _job(self, model: PixelDualEncoder | FeatureExtractor) -> ExtractionJob:
        stride = self.stride_seconds
        if self.features_per_second is not None:
            stride = 1.0 / self.features_per_second
        plan = as_published(
            model, layer=self.layer, num_frames=self.num_frames, fps=self.fps, stride_seconds=stride
        )
        there = Path(self.model).expanduser()
        folder = None
        if self.output is not None and self.format == "lance":
            folder = Path(os.path.abspath(self.output))
        return ExtractionJob(
            model=os.path.abspath(there) if there.exists() else self.model,
            plan=plan,
            output_folder=folder,
            stored=self.keep,
            dtype=self.dtype,
            backend=self.backend,
            batch_size=self.batch_size,
            overwrite=self.overwrite,
            claim_timeout_seconds=self.claim_timeout,
            weights_hash=model.weights_hash,
        )

    def _extract_here(
        self,
        items: list[ListedVideo],
        job: ExtractionJob,
        *,
        model: PixelDualEncoder | FeatureExtractor,
        report: ExtractionReport,
    ) -> None:
        job = replace(job, device=str(pick_device(self.device)))
        with (
            WatchedDecoder(num_workers=self.workers) as decoder,
            open_worker(job, decoder, model=model) as worker,
        ):
            extract_videos(
                items,
                worker,
                report=report,
                num_workers=self.workers,
                max_bad_share=self.max_bad_share,
                stop_decoding=decoder.close,
            )

    def _extract_on_cluster(
        self, items: list[ListedVideo], job: ExtractionJob, *, report: ExtractionReport
    ) -> None:
        assert self.ray is not None  # asked before
        job = replace(job, device="cuda" if self.ray_gpus > 0 else "cpu")
        config = ClusterConfig(
            address=self.ray,
            num_actors=self.ray_actors,
            cpus=self.ray_cpus,
            gpus=self.ray_gpus,
            videos_at_once=self.workers,
        )
        extract_on_cluster(items, job, config, report=report, max_bad_share=self.max_bad_share)

    def _print_report(self, report: ExtractionReport) -> None:
        for line in bad_item_lines(report.bad, "not extracted", table=self._bad_items_path):
            print(line)
        for video, reason in report.refused[:MAX_REFUSED_SHOWN]:
            print(f"not extracted: {video}: {reason}")
        if report.refused:
            print(
                f"{len(report.refused):,} videos have something else in the place of their features; "
                "--overwrite replaces other features, and nothing else"
            )
        print(
            f"{report.num_done:,} videos extracted, {report.num_skipped:,} there already, "
            f"{len(report.bad):,} bad"
        )
        if report.num_done:
            print(
                f"{report.video_seconds / SECONDS_PER_HOUR:.3g} hours of video, "
                f"{report.hours_per_hour:.1f} hours per hour; "
                f"the network was busy {report.busy_share:.0%} of the time"
            )
