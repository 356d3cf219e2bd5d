"""Extracting the features of a list of videos in one process; others may be at the same list."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from time import sleep

from narravid.bad_items import MAX_BAD_SHARE
from narravid.inference.extract_item import ItemExtractor, Outcome
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import ExtractionReport, Tally
from narravid.progress import progress_bar

__all__ = ["extract_videos"]

LOOK_AGAIN_SECONDS = 2.0
"""How often it is looked whether others are done with what they had claimed."""


def extract_videos(
    items: Sequence[ListedVideo],
    worker: ItemExtractor,
    *,
    report: ExtractionReport,
    num_workers: int = 2,
    max_bad_share: float = MAX_BAD_SHARE,
    stop_decoding: Callable[[], None] = lambda: None,
) -> None:
    """Extract the videos of a list, each once, whoever else is at it; returns when all are done or bad.

    Args:
        items: The videos.
        worker: Does one.
        report: Filled as the work goes on, also where it ends in an error.
        num_workers: Videos that are decoded at once. The features do not depend on it.
        max_bad_share: Share of the videos that may be bad; a long list is judged from its thousandth on.
        stop_decoding: Called when the run breaks off, so that no thread waits for a decoder.

    Raises:
        TooManyBadItemsError: If more are bad.
        NarravidError: If the network gives NaN or infinity.
    """
    with progress_bar("extracting", len(items), unit="videos") as bar:
        tally = Tally(report, bar, num_videos=len(items), max_bad_share=max_bad_share)
        pool = ThreadPoolExecutor(num_workers, thread_name_prefix="extract")
        is_over = False
        try:
            waiting: Sequence[ListedVideo] = items
            while waiting:
                waiting = _once(waiting, worker, pool, tally=tally, num_ahead=num_workers)
                if waiting:
                    sleep(LOOK_AGAIN_SECONDS)
            is_over = True
        finally:
            worker.stop()
            if not is_over:
                stop_decoding()
            pool.shutdown(cancel_futures=True)
            tally.finish(worker.busy_seconds)


def _once(
    items: Iterable[ListedVideo],
    worker: ItemExtractor,
    pool: ThreadPoolExecutor,
    *,
    tally: Tally,
    num_ahead: int,
) -> list[ListedVideo]:
    """Go through the videos once; those that others are at are returned."""
    busy = []

    def submit(item: ListedVideo) -> Future[Outcome]:
        return pool.submit(worker.do, item, on_seconds=tally.read)

    for outcome in _as_done(items, submit, num_ahead=num_ahead):
        tally.note(outcome)
        if outcome.kind == "busy":
            busy.append(outcome.item)
    return busy


def _as_done(
    items: Iterable[ListedVideo], submit: Callable[[ListedVideo], Future[Outcome]], *, num_ahead: int
) -> Iterator[Outcome]:
    """Outcomes in the order in which they come, so that a long video holds up no other."""
    running: set[Future[Outcome]] = set()
    for item in items:
        running.add(submit(item))
        if len(running) > num_ahead:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            yield from (future.result() for future in done)
    for future in as_completed(running):
        yield future.result()
