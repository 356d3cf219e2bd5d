"""The actors of an extraction on a Ray cluster: started, placed, watched, replaced.

An actor gets no video before it is ready. So what keeps it from starting is never laid to a video, and one
that the cluster has no place for holds nothing up.
"""

from __future__ import annotations

import math
import socket
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from narravid.errors import ConfigError, NarravidError
from narravid.inference.extract_item import Outcome
from narravid.inference.extract_job import ExtractionJob, open_worker
from narravid.inference.extract_list import ListedVideo
from narravid.progress import ProgressBar
from narravid.video.watched import WatchedDecoder

__all__ = ["ClusterConfig", "Crew", "ExtractionActor", "Member", "last_line"]

MAX_FAILED_STARTS = 3
"""So many actors in a row that do not start end a run."""

LOAD_SECONDS = 1800.0
"""An actor that has not loaded its network within this time did not start."""

REST_SECONDS = 10.0
MAX_UNANSWERED = 5
"""An actor that does not answer is left out for a time; after so many times in a row it is replaced."""

SEE_SECONDS = 5.0
"""How long a new file may take to show on all machines."""

FINISH_SECONDS = 60.0


@dataclass(frozen=True)
class ClusterConfig:
    """Where to compute, and with how much.

    Attributes:
        address: Of the cluster; "auto" for the one this machine belongs to, "local" to start one here.
        num_actors: Processes, each with a network.
        cpus: Processor cores for each; also the threads of its network.
        gpus: GPUs for each; a fraction shares one.
        videos_at_once: Videos that each has in work: while the network computes one, the next is decoded.
        place_seconds: The run ends in an error when the cluster had no place for any actor for so long.

    Raises:
        ConfigError: If a number is out of range.
    """

    address: str
    num_actors: int = 2
    cpus: float = 1.0
    gpus: float = 0.0
    videos_at_once: int = 2
    place_seconds: float = 300.0

    def __post_init__(self) -> None:
        for name in ("num_actors", "videos_at_once"):
            if getattr(self, name) < 1:
                raise ConfigError(f"must be at least 1, got {getattr(self, name)}", key=name)
        for name in ("cpus", "gpus", "place_seconds"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"must be at least 0, got {value}", key=name)


class ExtractionActor:
    """One process of the cluster; Ray calls it from several threads.

    Args:
        job: What is made.
        seen_by_all: A file that this machine must see.
        num_threads: Of the network.
        videos_at_once: Videos in work.
    """

    def __init__(
        self, job: ExtractionJob, *, seen_by_all: Path, num_threads: int, videos_at_once: int
    ) -> None:
        torch.set_num_threads(num_threads)
        self._job = job
        self._seen_by_all = seen_by_all
        self._videos_at_once = videos_at_once
        self._opened = ExitStack()

    def place(self) -> str:
        """Name of the machine; answers as soon as the process runs."""
        return socket.gethostname()

    def open(self) -> None:
        """Load the network.

        Raises:
            NarravidError: If this machine has another file system, or the model is not there.
        """
        deadline = time.monotonic() + SEE_SECONDS
        while not self._seen_by_all.exists():
            if time.monotonic() > deadline:
                folder = self._seen_by_all.parent
                raise NarravidError(
                    f"the machine {socket.gethostname()} does not see {folder} as it is where the run was "
                    "started; all machines need one file system under the same absolute paths"
                )
            time.sleep(0.1)
        decoder = self._opened.enter_context(WatchedDecoder(num_workers=self._videos_at_once))
        self._worker = self._opened.enter_context(open_worker(self._job, decoder))

    def do(self, item: ListedVideo) -> Outcome:
        """Extract one video."""
        return self._worker.do(item)

    def finish(self) -> float:
        """Close everything; seconds that the network worked."""
        self._opened.close()
        return self._worker.busy_seconds


@dataclass(eq=False, slots=True)
class Member:
    """One actor, as the run sees it.

    Attributes:
        actor: Its handle.
        starting: What it is being started with; None once it is ready.
        host: The machine it was placed on; empty before.
        began: When it was asked for, or placed.
        num_videos: How many it has in work.
        is_alone: Whether it has one in work that may have killed others, and gets no more.
        rests_until: It gets nothing before.
        num_unanswered: How often in a row it did not answer.
        is_given_up: Whether the run itself ended it; what becomes of its videos then is no fault of theirs.
    """

    actor: Any
    starting: Any
    host: str = ""
    began: float = field(default_factory=time.monotonic)
    num_videos: int = 0
    is_alone: bool = False
    rests_until: float = 0.0
    num_unanswered: int = 0
    is_given_up: bool = False


class Crew:
    """The actors of a run.

    Args:
        ray: The library.
        job: What is made.
        config: How many actors, with how much.
        seen_by_all: A file that all machines must see.
    """

    def __init__(
        self, ray: ModuleType, job: ExtractionJob, config: ClusterConfig, *, seen_by_all: Path
    ) -> None:
        self._ray = ray
        self._job = job
        self._config = config
        self._seen_by_all = seen_by_all
        self._actor_class = ray.remote(
            num_cpus=config.cpus, num_gpus=config.gpus, max_concurrency=config.videos_at_once
        )(ExtractionActor)
        self._members = [self._new_member() for _ in range(config.num_actors)]
        self._num_failed = 0
        self._has_started = False
        self._last_placed = time.monotonic()

    @property
    def starting(self) -> list[Any]:
        """What is under way to start actors; see `go_on_starting`."""
        return [member.starting for member in self._members if member.starting is not None]

    @property
    def ready(self) -> list[Member]:
        """Those that can be given videos."""
        now = time.monotonic()
        return [member for member in self._members if member.starting is None and member.rests_until <= now]

    def await_first(self, bar: ProgressBar) -> None:
        """Wait until one actor is ready.

        Raises:
            NarravidError: As `check` and `go_on_starting`.
        """
        while not self.ready:
            for ref in self._ray.wait(self.starting, num_returns=1, timeout=1.0)[0]:
                self.go_on_starting(ref)
            self.check(bar)

    def go_on_starting(self, ref: Any) -> None:  # noqa: ANN401 - Ray's types
        """Take note that something of `starting` came to its end.

        Raises:
            NarravidError: If too many actors did not start.
        """
        member = next((member for member in self._members if member.starting == ref), None)
        if member is None:  # of an actor that was given up meanwhile
            return
        try:
            answer = self._ray.get(ref)
        except self._ray.exceptions.RayError as error:
            self._start_failed(member, last_line(error))
            return
        if member.host:
            member.starting = None
            self._has_started = True
            self._num_failed = 0
        else:
            member.host, member.began = answer, time.monotonic()
            member.starting = member.actor.open.remote()

    def check(self, bar: ProgressBar) -> None:
        """Say how many actors have a place, and give up on what takes too long.

        Raises:
            NarravidError: If none has had a place for too long, or too many did not start.
        """
        now = time.monotonic()
        num_actors, num_placed = len(self._members), sum(bool(member.host) for member in self._members)
        if num_placed:
            self._last_placed = now
        if num_placed < num_actors:
            bar.advance(0.0, note=f"{num_placed} of {num_actors} actors have been placed")
        if now - self._last_placed > self._config.place_seconds:
            raise NarravidError(
                f"0 of {num_actors} actors have been placed in {self._config.place_seconds:g} s: the cluster "
                f"has had no machine with {self._config.cpus:g} CPUs and {self._config.gpus:g} GPUs free; "
                "wait until others are done with it, or ask for less for each actor"
            )
        for member in self._members.copy():
            if member.host and member.starting is not None and now - member.began > LOAD_SECONDS:
                reason = f"the network was not loaded on {member.host} within {LOAD_SECONDS:g} s"
                self._start_failed(member, reason)

    def replace(self, member: Member) -> None:
        """Start an actor in the place of one that is dead; told once for every video in its work."""
        if member in self._members:
            self._members[self._members.index(member)] = self._new_member()

    def leave_out(self, member: Member) -> None:
        """Give an actor that did not answer nothing for a time; replace it after some times in a row."""
        member.num_unanswered += 1
        member.rests_until = time.monotonic() + REST_SECONDS
        if member.num_unanswered >= MAX_UNANSWERED and member in self._members:
            member.is_given_up = True
            self._ray.kill(member.actor)
            self.replace(member)

    def finish(self) -> float:
        """Close the actors; seconds that the networks of the living ones worked."""
        closing = [member.actor.finish.remote() for member in self._members if member.starting is None]
        total = 0.0
        deadline = time.monotonic() + FINISH_SECONDS
        for ref in closing:
            try:
                total += self._ray.get(ref, timeout=max(0.0, deadline - time.monotonic()))
            except (self._ray.exceptions.RayError, TimeoutError):
                continue  # it died after its last video
        return total

    def _new_member(self) -> Member:
        actor = self._actor_class.remote(
            self._job,
            seen_by_all=self._seen_by_all,
            num_threads=max(1, int(self._config.cpus)),
            videos_at_once=self._config.videos_at_once,
        )
        return Member(actor, starting=actor.place.remote())

    def _start_failed(self, member: Member, reason: str) -> None:
        self._num_failed += 1
        self._ray.kill(member.actor)  # one that could not load its network still has its place
        is_all = not self._has_started and self._num_failed >= self._config.num_actors
        if is_all or self._num_failed >= MAX_FAILED_STARTS:
            raise NarravidError(f"actors do not start ({self._num_failed} in a row); the last one: {reason}")
        self.replace(member)


def last_line(error: Exception) -> str:
    """What is wrong, without the stack of another process."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, NarravidError):
        return str(cause)
    lines = str(error).strip().splitlines()
    return lines[-1].strip() if lines else type(error).__name__
