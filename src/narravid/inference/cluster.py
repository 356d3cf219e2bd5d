"""Extraction on a Ray cluster: paths go out, actors decode and compute, and write the files themselves.

Each actor is a process with a network and a decoder of its own. It does with a video what one process does,
so its files are the same. When an actor dies, what it was at is done by another.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections import Counter, deque
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import torch

from narravid.bad_items import MAX_BAD_SHARE
from narravid.errors import ConfigError, NarravidError
from narravid.extras import import_extra
from narravid.inference.extract_item import Outcome
from narravid.inference.extract_job import ExtractionJob, open_worker
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import ExtractionReport, Tally
from narravid.progress import progress_bar
from narravid.video.watched import WatchedDecoder

__all__ = ["ClusterConfig", "extract_on_cluster"]

LOCAL = "local"
VIDEOS_AT_ONCE = 2
"""Videos that an actor has in work: while the network computes one, the next is decoded."""

MAX_DEATHS_PER_VIDEO = 3
"""A video at which so many actors died is bad: it may be the cause."""

LOOK_AGAIN_SECONDS = 2.0
CONNECT_SECONDS = 10.0


@dataclass(frozen=True)
class ClusterConfig:
    """Where to compute, and with how much.

    Attributes:
        address: Of the cluster; "auto" for the one this machine belongs to, "local" to start one here.
        num_actors: Processes, each with a network.
        cpus: Processor cores for each; also the threads of its network.
        gpus: GPUs for each; a fraction shares one.

    Raises:
        ConfigError: If a number is out of range.
    """

    address: str
    num_actors: int = 2
    cpus: float = 1.0
    gpus: float = 0.0

    def __post_init__(self) -> None:
        if self.num_actors < 1:
            raise ConfigError(f"must be at least 1, got {self.num_actors}", key="num_actors")
        for name in ("cpus", "gpus"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"must be at least 0, got {value}", key=name)


class _ExtractionActor:
    """One process of the cluster; Ray calls it from `VIDEOS_AT_ONCE` threads."""

    def __init__(self, job: ExtractionJob, num_threads: int) -> None:
        torch.set_num_threads(num_threads)
        opened = ExitStack()
        decoder = opened.enter_context(WatchedDecoder(num_workers=VIDEOS_AT_ONCE))
        self._worker = opened.enter_context(open_worker(job, decoder))
        self._opened = opened

    def ready(self) -> None:
        """Answers when the network is loaded."""

    def do(self, item: ListedVideo) -> Outcome:
        """Extract one video."""
        return self._worker.do(item)

    def finish(self) -> float:
        """Close everything; seconds that the network worked."""
        self._opened.close()
        return self._worker.busy_seconds


def extract_on_cluster(
    items: Sequence[ListedVideo],
    job: ExtractionJob,
    config: ClusterConfig,
    *,
    report: ExtractionReport,
    max_bad_share: float = MAX_BAD_SHARE,
) -> None:
    """Extract the videos of a list, each once; returns when all are done or bad.

    Args:
        items: The videos; all machines must find them, the outputs and the model at the same absolute paths.
        job: What is made.
        config: The cluster.
        report: Filled as the work goes on.
        max_bad_share: Share of the videos that may be bad; a long list is judged from its thousandth on.

    Raises:
        MissingExtraError: If Ray is not installed.
        ConfigError: If there is no such cluster, or it is too small.
        TooManyBadItemsError: If more are bad.
        NarravidError: If an actor does not start, or the network gives NaN or infinity.
    """
    ray = import_extra("ray", extra="cluster", feature="extraction on a cluster")
    _connect(ray, config)
    try:
        report.num_networks = config.num_actors
        crew = _Crew(ray, job, config)
        with progress_bar("extracting", len(items), unit="videos") as bar:
            tally = Tally(report, bar, num_videos=len(items), max_bad_share=max_bad_share)
            busy_seconds = 0.0
            try:
                crew.work(items, tally)
                busy_seconds = crew.finish()
            finally:
                tally.finish(busy_seconds)
    finally:
        ray.shutdown()


def _connect(ray: ModuleType, config: ClusterConfig) -> None:
    needed = {"CPU": config.num_actors * config.cpus, "GPU": config.num_actors * config.gpus}
    common = {"log_to_driver": False, "logging_level": "ERROR"}
    if config.address == LOCAL:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours reports its use to nobody
        num_cpus, num_gpus = math.ceil(needed["CPU"]), math.ceil(needed["GPU"])
        ray.init(num_cpus=max(1, num_cpus), num_gpus=num_gpus, include_dashboard=False, **common)
        return
    try:
        _try_address(config.address)
        ray.init(address=config.address, **common)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"no Ray cluster at {config.address!r}: {reason}", key="ray") from error
    there = ray.cluster_resources()
    for kind, amount in needed.items():
        if amount > there.get(kind, 0.0):
            ray.shutdown()
            has = there.get(kind, 0.0)
            raise ConfigError(
                f"{config.num_actors} actors need {amount:g} {kind}s, the cluster has {has:g}",
                key="ray_actors",
            )


def _try_address(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would go on trying for minutes.

    Raises:
        OSError: If there is no connection to a `host:port`; other kinds of addresses are left to Ray.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()


class _Crew:
    """The actors and what each is at.

    Args:
        ray: The library.
        job: What is made.
        config: How many actors, with how much.
    """

    def __init__(self, ray: ModuleType, job: ExtractionJob, config: ClusterConfig) -> None:
        self._ray = ray
        self._job = job
        self._num_threads = max(1, int(config.cpus))
        self._actor_class = ray.remote(
            num_cpus=config.cpus, num_gpus=config.gpus, max_concurrency=VIDEOS_AT_ONCE
        )(_ExtractionActor)
        self._actors = [self._new_actor() for _ in range(config.num_actors)]
        self._running: dict[Any, tuple[ListedVideo, Any]] = {}
        self._deaths: Counter[ListedVideo] = Counter()
        self._await_first()

    def _await_first(self) -> None:
        """Wait for the first actor; where it does not start, neither will the others."""
        (first, *_), _ = self._ray.wait([actor.ready.remote() for actor in self._actors], num_returns=1)
        try:
            self._ray.get(first)
        except self._ray.exceptions.RayError as error:
            raise NarravidError(f"an actor does not start: {_last_line(error)}") from error

    def work(self, items: Sequence[ListedVideo], tally: Tally) -> None:
        """Do all videos."""
        waiting = deque(items)
        busy: list[ListedVideo] = []
        while waiting or busy or self._running:
            if not waiting and not self._running:  # what is left was claimed by other runs
                time.sleep(LOOK_AGAIN_SECONDS)
                waiting, busy = deque(busy), []
            self._hand_out(waiting)
            (done, *_), _ = self._ray.wait(list(self._running), num_returns=1)
            item, actor = self._running.pop(done)
            outcome = self._outcome(done, item, actor)
            if outcome is None:
                waiting.appendleft(item)
            elif outcome.kind == "busy":
                busy.append(item)
            else:
                tally.read(outcome.video_seconds)
                tally.note(outcome)

    def finish(self) -> float:
        """Close the actors; seconds that the networks of the living ones worked."""
        total = 0.0
        for actor in self._actors:
            try:
                total += self._ray.get(actor.finish.remote(), timeout=60.0)
            except (self._ray.exceptions.RayError, TimeoutError):
                continue  # it died after its last video
        return total

    def _new_actor(self) -> Any:  # noqa: ANN401 - Ray makes the class
        return self._actor_class.remote(self._job, self._num_threads)

    def _hand_out(self, waiting: deque[ListedVideo]) -> None:
        load = Counter(id(actor) for _, actor in self._running.values())
        for actor in self._actors * VIDEOS_AT_ONCE:
            if waiting and load[id(actor)] < VIDEOS_AT_ONCE:
                load[id(actor)] += 1
                item = waiting.popleft()
                self._running[actor.do.remote(item)] = (item, actor)

    def _outcome(self, done: Any, item: ListedVideo, actor: Any) -> Outcome | None:  # noqa: ANN401
        """What became of a video; None if its actor died and it is to be tried again."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(done)
        except errors.RayTaskError as error:
            if isinstance(error.cause, Exception):
                raise error.cause from None
            raise
        except errors.ActorDiedError:
            self._replace(actor)
            self._deaths[item] += 1
            if self._deaths[item] < MAX_DEATHS_PER_VIDEO:
                return None
            return Outcome(item, "bad", f"{MAX_DEATHS_PER_VIDEO} actors died while they were at it")
        except errors.ActorUnavailableError:
            return None
        return outcome

    def _replace(self, actor: Any) -> None:  # noqa: ANN401
        """Start an actor in the place of a dead one; each death is told once for every video in its work."""
        self._actors = [self._new_actor() if other is actor else other for other in self._actors]


def _last_line(error: Exception) -> str:
    return str(error).strip().splitlines()[-1].strip()
