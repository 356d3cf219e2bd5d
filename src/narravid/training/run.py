"""The folder of a run: what it was asked to do, where it ran, and who may write to it now."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from narravid import distributed
from narravid.errors import ConfigError
from narravid.files import read_json, write_json
from narravid.locks import hold_lock
from narravid.training.checkpoint import CHECKPOINT_FOLDER
from narravid.training.code_version import code_version
from narravid.training.logging import LOG_NAME

__all__ = [
    "CONFIG_NAME",
    "ENVIRONMENT_NAME",
    "MODEL_FOLDER",
    "create_run",
    "lock_run",
    "read_run_config",
    "refuse_existing_run",
]

CONFIG_NAME = "config.json"
ENVIRONMENT_NAME = "environment.json"
MODEL_FOLDER = "model"


def refuse_existing_run(run: Path) -> None:
    """Check, touching nothing, that a new run may begin in a folder; the first of several processes does.

    Raises:
        ConfigError: If it holds a run or what one would overwrite, is a file, or cannot be written.
    """
    if distributed.rank() != 0:
        return
    if run.exists() and not run.is_dir():
        raise ConfigError(f"{run} is a file; the output of a run must be a folder")
    if (run / CONFIG_NAME).exists():
        raise ConfigError(
            f"{run} already holds a run: go on with `narravid resume {run}` or choose another folder"
        )
    overwritten = [name for name in (LOG_NAME, CHECKPOINT_FOLDER, MODEL_FOLDER) if (run / name).exists()]
    if overwritten:
        raise ConfigError(
            f"{run} holds {', '.join(overwritten)}, which a run would overwrite; choose another folder"
        )
    existing = next(folder for folder in (run, *run.absolute().parents) if folder.exists())
    try:
        # Asking for permission says yes to root on file systems that still refuse; a nameless file tells.
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        reason = f"{existing}: {error.strerror or error}"
        raise ConfigError(f"cannot write to {run} ({reason}); choose another output folder") from error


def create_run(run: Path, *, recipe: str, config: Mapping[str, Any]) -> None:
    """Lay down a new run folder; its config.json comes last and marks it as begun.

    Of several processes the first one does it; the others wait until it is there.

    Args:
        run: The folder; made when absent.
        recipe: Name of the recipe, so that the run can be rebuilt from its folder alone.
        config: The recipe's whole configuration in JSON types.

    Raises:
        ConfigError: If the folder holds a run already or cannot be written.
    """
    refuse_existing_run(run)
    if distributed.rank() == 0:
        write_json(run / ENVIRONMENT_NAME, _environment())
        write_json(run / CONFIG_NAME, {"recipe": recipe, "config": dict(config)})
    distributed.barrier()


def read_run_config(run: Path) -> tuple[str, dict[str, Any]]:
    """Recipe name and configuration of a run folder.

    Raises:
        ConfigError: If the folder holds no run.
    """
    path = run / CONFIG_NAME
    if not path.is_file():
        raise ConfigError(f"{run} holds no run (no {CONFIG_NAME}); start one with `narravid train`")
    content = read_json(path)
    if not (
        isinstance(content, dict)
        and isinstance(content.get("recipe"), str)
        and isinstance(content.get("config"), dict)
    ):
        raise ConfigError(f"{path} is not the configuration of a run: it needs 'recipe' and 'config'")
    return content["recipe"], content["config"]


@contextmanager
def lock_run(run: Path) -> Iterator[None]:
    """Hold a run folder for this process while the block runs; the system frees it when the process dies.

    Raises:
        NarravidError: If another process is training in the folder.
    """
    with hold_lock(run, busy=f"{run} is in use: another process is training in it"):
        yield


def _environment() -> dict[str, Any]:
    return {
        "narravid": code_version(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "num_threads": torch.get_num_threads(),
        "num_processes": distributed.world_size(),
        "cuda_devices": [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())],
        "command": sys.argv,
    }
