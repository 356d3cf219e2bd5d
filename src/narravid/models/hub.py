"""Opening and saving models: the one function behind `narravid.load`, and the model folder.

A model folder holds `config.json` (format, family, configuration, hash of the weights), `model.safetensors`
and what the family needs besides, such as `vocabulary.json`. A run folder holds one as `model/`.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from narravid.config import to_dict
from narravid.errors import CheckpointError
from narravid.files import read_json, replace_folder, set_aside, write_atomically, write_json, write_text
from narravid.models.catalogue_entries import ENTRIES
from narravid.models.checkpoints import load_published
from narravid.models.checkpoints_files import load_tensors_strictly
from narravid.models.download import published_checkpoint
from narravid.models.hugging_face import HUGGING_FACE_PREFIX, fetch_model_folder
from narravid.models.registry import FAMILIES, family_of
from narravid.protocols import Model

__all__ = ["Source", "load", "save_model"]

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
README_FILE = "README.md"
RUN_MODEL_FOLDER = "model"
FORMAT = "narravid-model"
FORMAT_VERSION = 1


def load(name_or_path: str | Path, *, device: torch.device | str = "cpu", download: bool = False) -> Model:
    """Open a model of any kind.

    Args:
        name_or_path: A model folder, a run folder (its exported model), a published checkpoint file with its
            word list or tokenizer file beside it, a model folder on Hugging Face as
            `hf:organisation/name[@revision]`, or a published name such as "s3d-howto100m" (see `narravid
            models`). What lies at that path goes before a published name.
        device: Where to put the weights.
        download: Fetch a published name that is not in the cache; without this, that is an error.

    Returns:
        The model in evaluation mode.

    Raises:
        CheckpointError: If there is nothing of these at that path, or it is damaged or incomplete.
        DownloadError: If a published name cannot be had, or has changed in the cache.
        AnnotationError: If its word list is unreadable.
        ConfigError: If its configuration has unknown or wrong entries.
    """
    name = str(name_or_path)
    if name.startswith(HUGGING_FACE_PREFIX):
        return _on_device(_load_fetched(name), device)
    path = Path(name_or_path).expanduser()
    if name in ENTRIES and not path.exists():
        path = published_checkpoint(name, fetch=download)
    if path.is_file():
        if path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file():
            return _on_device(_load_folder(path.parent), device)
        return _on_device(load_published(path), device)
    for folder in (path, path / RUN_MODEL_FOLDER):
        previous = set_aside(folder)
        if previous is not None:
            raise CheckpointError(
                folder,
                "a save was killed while it replaced this model; resume the run, or rename the former model, "
                f"{previous.name}, to {folder.name}",
            )
    if not path.is_dir():
        nearest = difflib.get_close_matches(name, ENTRIES, n=1)
        hint = f" (did you mean the published name {nearest[0]!r}?)" if nearest else ""
        raise CheckpointError(
            path,
            "no such file or folder; a model folder, run folder, published checkpoint or published name is "
            f"needed{hint}",
        )
    for folder in (path, path / RUN_MODEL_FOLDER):
        if (folder / WEIGHTS_FILE).is_file():
            return _on_device(_load_folder(folder), device)
    raise CheckpointError(
        path,
        f"neither a model folder (no {WEIGHTS_FILE} in it) nor a run folder with a finished model "
        f"(no {RUN_MODEL_FOLDER}/{WEIGHTS_FILE})",
    )


def _load_fetched(reference: str) -> nn.Module:
    folder = fetch_model_folder(reference)
    if not (folder / WEIGHTS_FILE).is_file():
        raise CheckpointError(
            reference,
            f"holds no model folder of Narravid (no {WEIGHTS_FILE}); published checkpoints are fetched by "
            "name, see `narravid models`",
        )
    return _load_folder(folder)


@dataclass(frozen=True)
class Source:
    """Which published file a model folder was made from.

    Attributes:
        file_name: Its name.
        num_bytes: Its size.
        sha256: Hash of its content, in hexadecimal.
        recognised_as: The family of published checkpoints.
    """

    file_name: str
    num_bytes: int
    sha256: str
    recognised_as: str


def save_model(
    model: Model, folder: Path, *, source: Source | None = None, readme: str | None = None
) -> None:
    """Write a model folder, all of it or nothing; one that is there is replaced.

    Args:
        model: The model; its tensors may be on any device.
        folder: The folder to make. An existing one is replaced only if it is a model folder or empty.
        source: The published file that the model comes from; noted in the configuration.
        readme: Text of a README.md to put in.

    Raises:
        ValueError: If the model is of no known family or an inference form, or other files are in the way.
    """
    name, _ = family_of(model)
    if getattr(model, "is_inference_form", False):
        raise ValueError("an inference form cannot be saved; save the model that it was made of")
    if folder.exists() and not _replaceable(folder):
        raise ValueError(f"{folder} exists and is no model folder; choose another place for the model")

    def write(fresh: Path) -> None:
        tensors = {key: tensor.detach().cpu().contiguous() for key, tensor in model.state_dict().items()}
        write_atomically(fresh / WEIGHTS_FILE, lambda temporary: save_file(tensors, temporary))
        model.write_assets(fresh)
        described = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "family": name,
            "config": to_dict(model.config),
            "weights_hash": model.weights_hash,
            **({} if source is None else {"source": asdict(source)}),
        }
        if readme is not None:
            write_text(fresh / README_FILE, readme)
        write_json(fresh / CONFIG_FILE, described)

    replace_folder(folder, write)


def _replaceable(folder: Path) -> bool:
    return folder.is_dir() and ((folder / WEIGHTS_FILE).is_file() or not any(folder.iterdir()))


def _on_device(model: nn.Module, device: torch.device | str) -> Model:
    moved: Any = model.to(device)  # every family builds a module that is a Model
    opened: Model = moved
    return opened


def _load_folder(folder: Path) -> nn.Module:
    described = _read_config(folder)
    family = FAMILIES[described["family"]]
    weights = folder / WEIGHTS_FILE
    try:
        tensors = load_file(weights)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(weights, f"unreadable; was it cut short? ({error})") from error
    _check_sizes(folder, described["config"], num_tensors=len(tensors), num_bytes=weights.stat().st_size)
    with torch.device("meta"):  # no time spent on initial values that are replaced at once
        model = family.build(described["config"], folder)
    load_tensors_strictly(model, tensors, path=weights, keep_precision=True)
    if model.weights_hash != described["weights_hash"]:
        raise CheckpointError(
            folder,
            "its files do not belong together: weights, words and configuration have another hash than "
            f"{CONFIG_FILE} says; copy or save the model again",
        )
    return model.eval()


def _check_sizes(folder: Path, config: Mapping[str, Any], *, num_tensors: int, num_bytes: int) -> None:
    """Refuse numbers that no network of these weights can have, before somebody's folder has one built.

    Layers and blocks have a tensor each at least, all other sizes a byte for each of what they count.
    """
    for key, value in config.items():
        if isinstance(value, Mapping):
            _check_sizes(folder, value, num_tensors=num_tensors, num_bytes=num_bytes)
        most = num_tensors if key.endswith(("_layers", "_blocks")) else num_bytes
        numbers = value if isinstance(value, list) else [value]
        if any(isinstance(number, int | float) and number > most for number in numbers):
            raise CheckpointError(
                folder / CONFIG_FILE,
                f"{key} is {value}, and {WEIGHTS_FILE} has {num_tensors} tensors in {num_bytes:,} bytes",
            )


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / CONFIG_FILE
    try:
        described = read_json(path)
    except FileNotFoundError as error:
        raise CheckpointError(folder, f"the model folder has no {CONFIG_FILE}") from error
    except ValueError as error:
        raise CheckpointError(folder, str(error)) from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise CheckpointError(path, f"not the configuration of a model folder (expected format {FORMAT!r})")
    if described.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            path,
            f"written in format version {described.get('format_version')!r}, this program reads "
            f"{FORMAT_VERSION}; update narravid",
        )
    if described.get("family") not in list(FAMILIES):  # a list, for what cannot be hashed
        raise CheckpointError(
            path, f"unknown family {described.get('family')!r}; known are: {', '.join(FAMILIES)}"
        )
    absent = [key for key in ("config", "weights_hash") if key not in described]
    if absent:
        raise CheckpointError(path, "entries are missing", missing=absent)
    if not isinstance(described["config"], dict):
        raise CheckpointError(path, f"config must be an object, got {described['config']!r}")
    return described
