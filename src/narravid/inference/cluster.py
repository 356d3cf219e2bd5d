"""Extraction on a Ray cluster: paths go out, actors decode and compute, and write the files themselves.

Each actor is a process with a network and a decoder of its own. It does with a video what one process does,
so its files are the same. When an actor dies, what it was at is done by another.
"""

from __future__ import annotations

import math
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import torch

from narravid.bad_items import MAX_BAD_SHARE
from narravid.errors import ConfigError
from narravid.extras import import_extra
from narravid.inference.claims import Claims, neighbour
from narravid.inference.cluster_crew import ClusterConfig, Crew
from narravid.inference.cluster_work import ClusterWork
from narravid.inference.extract_job import ExtractionJob
from narravid.inference.extract_list import ListedVideo
from narravid.inference.extract_report import ExtractionReport, Tally
from narravid.progress import progress_bar

__all__ = ["ClusterConfig", "extract_on_cluster"]

LOCAL = "local"
CONNECT_SECONDS = 10.0
LITTLE = 1e-6
"""Ray counts in ten-thousandths; three times 0.1 GPU fits into 0.3."""


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
        NarravidError: If actors do not start, do not see the files or get no place, or the network gives NaN
            or infinity.
    """
    ray = import_extra("ray", extra="cluster", feature="extraction on a cluster")
    if not items:
        return
    _connect(ray, config)
    try:
        report.num_networks = config.num_actors
        with (
            _file_for_all(job.output_folder or items[0].output.parent) as seen_by_all,
            progress_bar("extracting", len(items), unit="videos") as bar,
        ):
            crew = Crew(ray, job, config, seen_by_all=seen_by_all)
            crew.await_first(bar)
            tally = Tally(report, bar, num_videos=len(items), max_bad_share=max_bad_share)
            busy_seconds = 0.0
            try:
                ClusterWork(ray, crew, items, videos_at_once=config.videos_at_once).do_all(tally, bar)
                busy_seconds = crew.finish()
            finally:
                tally.finish(busy_seconds)
    finally:
        ray.shutdown()


@contextmanager
def _file_for_all(folder: Path) -> Iterator[Path]:
    """A file beside the outputs, by which actors see that theirs is the same file system.

    It is a claim, so that what a killed run left can be told from the file of a run that lives.
    """
    name = "cluster-run"
    with Claims() as claims:
        folder.mkdir(parents=True, exist_ok=True)
        for left in folder.glob(f".{name}.*.claim"):
            claims.forget(folder / left.name.removeprefix(".").removesuffix(".claim"))
        mark = folder / f"{name}.{secrets.token_hex(8)}"
        with claims.hold(mark):
            yield neighbour(mark, "claim")


def _connect(ray: ModuleType, config: ClusterConfig) -> None:
    common = {"log_to_driver": False, "logging_level": "ERROR"}
    if config.address == LOCAL:
        num_gpus = math.ceil(config.num_actors * config.gpus)
        if num_gpus > torch.cuda.device_count():
            raise ConfigError(
                f"{config.num_actors} actors with {config.gpus:g} GPUs each do not fit: this machine has "
                f"{torch.cuda.device_count()}",
                key="ray_actors",
            )
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # a cluster of ours reports its use to nobody
        ray.init(
            address=LOCAL,  # not the one that RAY_ADDRESS names, nor one that runs here already
            num_cpus=max(1, math.ceil(config.num_actors * config.cpus)),
            num_gpus=num_gpus,
            include_dashboard=False,
            **common,
        )
        return
    try:
        _try_address(config.address)
        ray.init(address=config.address, **common)
    except (OSError, ValueError, RuntimeError) as error:
        reason = str(error).split("\n")[0]
        raise ConfigError(f"no Ray cluster at {config.address!r}: {reason}", key="ray") from error
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    num_fitting = sum(_num_fitting(machine, config) for machine in machines)
    if num_fitting < config.num_actors:
        ray.shutdown()
        cpus, gpus = (sum(machine.get(kind, 0.0) for machine in machines) for kind in ("CPU", "GPU"))
        raise ConfigError(
            f"{config.num_actors} actors, each with {config.cpus:g} CPUs and {config.gpus:g} GPUs "
            f"of one machine, do not fit: the cluster has {cpus:g} CPUs and {gpus:g} GPUs "
            f"on {len(machines)} machines, room for {num_fitting:g} such actors",
            key="ray_actors",
        )


def _num_fitting(machine: dict[str, float], config: ClusterConfig) -> float:
    """How many actors a machine has room for; infinity where they need nothing."""
    rooms = [
        math.floor(machine.get(kind, 0.0) / amount + LITTLE)
        for kind, amount in (("CPU", config.cpus), ("GPU", config.gpus))
        if amount
    ]
    return min(rooms, default=math.inf)


def _try_address(address: str) -> None:
    """Fail at once where nobody listens: Ray itself would go on trying for minutes.

    Raises:
        OSError: If there is no connection to a `host:port` or `[IPv6]:port`; other kinds are left to Ray.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=CONNECT_SECONDS).close()
