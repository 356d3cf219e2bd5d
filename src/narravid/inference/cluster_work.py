"""Which actor of a cluster does which video, and what becomes of a video whose actor died."""

from __future__ import annotations

import errno
import os
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from narravid.errors import NarravidError
from narravid.inference.cluster_crew import Crew, Member, last_line
from narravid.inference.extract_item import Outcome
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import Tally
from narravid.progress import ProgressBar

__all__ = ["ClusterWork"]

MAX_DEATHS_PER_VIDEO = 3
"""A video at which so many actors died is bad. After the first death it is alone with its actor."""

MAX_INTERRUPTIONS = 50
"""So many calls in a row that no actor answered end a run."""

LOOK_AGAIN_SECONDS = 2.0
"""How often it is looked whether others are done with their claims, and whether actors were placed."""

NOT_FOUND = os.strerror(errno.ENOENT).lower()


@dataclass(eq=False, slots=True)
class _Task:
    """A video that is to be done.

    Attributes:
        item: The video.
        num_deaths: How many actors died while they were at it.
        not_found_by: The actor that did not find the file.
    """

    item: ListedVideo
    num_deaths: int = 0
    not_found_by: Member | None = None

    def suits(self, member: Member, *, is_only_one: bool) -> bool:
        """Whether this actor may do it now."""
        if self.num_deaths and member.num_videos:
            return False
        return is_only_one or member is not self.not_found_by


class ClusterWork:
    """The videos of a run, handed out to a crew.

    Args:
        ray: The library.
        crew: The actors.
        items: The videos.
        videos_at_once: Videos that each actor has in work.
    """

    def __init__(
        self, ray: ModuleType, crew: Crew, items: Sequence[ListedVideo], *, videos_at_once: int
    ) -> None:
        self._ray = ray
        self._crew = crew
        self._videos_at_once = videos_at_once
        self._waiting = deque(_Task(item) for item in items)
        self._again: list[_Task] = []
        self._busy: list[_Task] = []
        self._running: dict[Any, tuple[_Task, Member]] = {}
        self._num_interruptions = 0

    def do_all(self, tally: Tally, bar: ProgressBar) -> None:
        """Do all videos.

        Raises:
            TooManyBadItemsError: If too many are bad.
            NarravidError: If the network gives NaN or infinity, or the cluster fails.
        """
        while self._waiting or self._again or self._running or self._busy:
            if not (self._waiting or self._again or self._running):  # what is left was claimed by other runs
                time.sleep(LOOK_AGAIN_SECONDS)
                self._waiting, self._busy = deque(self._busy), []
            self._hand_out()
            for ref in self._await_one():
                if ref in self._running:
                    self._take(ref, tally)
                else:
                    self._crew.go_on_starting(ref)
            self._crew.check(bar)

    def _await_one(self) -> list[Any]:
        refs = [*self._running, *self._crew.starting]
        if not refs:  # all actors rest
            time.sleep(LOOK_AGAIN_SECONDS)
            return []
        done: list[Any] = self._ray.wait(refs, num_returns=1, timeout=LOOK_AGAIN_SECONDS)[0]
        return done

    def _hand_out(self) -> None:
        """Give videos to actors, first to those with the fewest."""
        handed = True
        while handed:
            ready = self._crew.ready
            free = [
                member for member in ready if member.num_videos < self._videos_at_once and not member.is_alone
            ]
            free.sort(key=lambda member: member.num_videos)
            handed = any(self._hand_to(member, free=free, is_only_one=len(ready) == 1) for member in free)

    def _hand_to(self, member: Member, *, free: list[Member], is_only_one: bool) -> bool:
        """Give one video to an actor; whether there was one for it."""
        task = next((task for task in self._again if task.suits(member, is_only_one=is_only_one)), None)
        if task is not None:
            self._again.remove(task)
        elif self._waiting and not (member is free[0] and self._has_suspect):
            task = self._waiting.popleft()
        if task is None:
            return False
        member.num_videos += 1
        member.is_alone = task.num_deaths > 0
        self._running[member.actor.do.remote(task.item)] = (task, member)
        return True

    @property
    def _has_suspect(self) -> bool:
        """Whether a video waits for an actor with no other in work; the first free one is kept for it."""
        return any(task.num_deaths for task in self._again)

    def _take(self, ref: Any, tally: Tally) -> None:  # noqa: ANN401 - Ray's types
        """Take what became of a video."""
        task, member = self._running.pop(ref)
        member.num_videos -= 1
        member.is_alone = False
        outcome = self._outcome(ref, task, member)
        if outcome is None:
            self._again.append(task)
        elif outcome.kind == "busy":
            self._busy.append(task)
        elif outcome.reason == NOT_FOUND and task.not_found_by is None:
            task.not_found_by = member  # another machine may see it
            self._again.append(task)
        else:
            tally.read(outcome.video_seconds)
            tally.note(outcome)

    def _outcome(self, ref: Any, task: _Task, member: Member) -> Outcome | None:  # noqa: ANN401
        """What became of a video; None if it is to be tried again."""
        errors = self._ray.exceptions
        try:
            outcome: Outcome = self._ray.get(ref)
        except errors.ActorUnavailableError as error:
            self._crew.leave_out(member)
            self._num_interruptions += 1
            if self._num_interruptions >= MAX_INTERRUPTIONS:
                raise NarravidError(f"no actor of the cluster answers: {last_line(error)}") from error
            return None
        except errors.RayActorError:
            if member.is_given_up:
                return None
            self._crew.replace(member)
            task.num_deaths += 1
            if task.num_deaths < MAX_DEATHS_PER_VIDEO:
                return None
            reason = f"{MAX_DEATHS_PER_VIDEO} actors died while they were at it"
            return Outcome(task.item, "bad", reason)
        except errors.RayError as error:
            cause = getattr(error, "cause", None)
            if isinstance(cause, Exception):
                raise cause from None
            raise NarravidError(f"the cluster failed: {last_line(error)}") from error
        member.num_unanswered = 0
        self._num_interruptions = 0
        return outcome
