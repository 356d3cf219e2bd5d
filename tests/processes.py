"""Running one function in several gloo processes; used by the tests of whatever gathers over processes."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing as mp


def run_in_processes(function: Callable[[], Any], folder: Path, *, num_processes: int = 2) -> list[Any]:
    """What `function` returns in each process, by rank.

    Args:
        function: Importable by name; called without arguments inside the process group.
        folder: An empty folder for the results.
        num_processes: Size of the group.
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.start_processes(
        _join_and_run, (function, folder, num_processes, port), nprocs=num_processes, start_method="spawn"
    )
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(num_processes)]


def _join_and_run(
    rank: int, function: Callable[[], Any], folder: Path, num_processes: int, port: int
) -> None:
    from narravid import distributed

    torch.set_num_threads(1)
    os.environ |= {
        "RANK": str(rank),
        "WORLD_SIZE": str(num_processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    joined = distributed.init_from_torchrun("cpu")
    assert joined
    torch.save(function(), folder / f"{rank}.pt")
    distributed.shutdown()
    assert not distributed.is_initialised()
