"""A name for the exact state of a model: the hash of its configuration, its assets and its tensors."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from narravid.config import to_dict

__all__ = ["WeightsHash"]


class WeightsHash:
    """Computes the hash of one model and keeps it until a tensor is replaced or written to.

    A copy of it, such as that of a copied model, starts without what is kept.
    """

    def __init__(self) -> None:
        self._kept: tuple[list[tuple[int, int]], str] | None = None
        self._storages: list[weakref.ref[torch.UntypedStorage]] = []

    def __reduce__(self) -> tuple[type[WeightsHash], tuple[()]]:
        """For copies and pickles: without what is kept."""
        return WeightsHash, ()

    def of(
        self,
        config: Any,  # noqa: ANN401 - any dataclass instance
        assets: Sequence[str] | None,
        tensors: Mapping[str, torch.Tensor],
    ) -> str:
        """The hash in hexadecimal.

        Args:
            config: The model's configuration, a frozen dataclass.
            assets: What else decides its embeddings, such as the words of its vocabulary in order.
            tensors: `state_dict(keep_vars=True)` of the model.

        Returns:
            SHA-256 of all three.
        """
        if any(tensor.is_inference() for tensor in tensors.values()):  # these do not count their versions
            return _hash(config, assets, tensors)
        versions = [(tensor.data_ptr(), tensor._version) for tensor in tensors.values()]
        # Tensors made after others are gone may lie at their addresses and count the same versions.
        replaced = any(storage() is None for storage in self._storages)
        if self._kept is None or replaced or self._kept[0] != versions:
            self._kept = (versions, _hash(config, assets, tensors))
            self._storages = [weakref.ref(tensor.untyped_storage()) for tensor in tensors.values()]
        return self._kept[1]


def _hash(config: Any, assets: Sequence[str] | None, tensors: Mapping[str, torch.Tensor]) -> str:  # noqa: ANN401
    digest = hashlib.sha256(json.dumps(_chosen(config), sort_keys=True).encode())
    if assets is not None:
        digest.update(json.dumps(list(assets)).encode())
    for key, tensor in tensors.items():
        digest.update(f"{key} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _chosen(config: Any) -> dict[str, Any]:  # noqa: ANN401 - any dataclass instance
    """The settings that differ from their defaults, so that a setting added later renames no older model."""
    described = to_dict(config)
    chosen: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
        if value != default:
            nested = dataclasses.is_dataclass(value)
            chosen[field.name] = _chosen(value) if nested else described[field.name]
    return chosen
