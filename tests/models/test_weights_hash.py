"""The name of a model's exact state."""

from __future__ import annotations

import copy
import pickle
import struct
from dataclasses import dataclass, field

import torch

from narravid.models.weights_hash import WeightsHash


@dataclass(frozen=True)
class Tower:
    dim: int
    num_heads: int = 4


@dataclass(frozen=True)
class TowerGrown:
    dim: int
    num_heads: int = 4
    dropout: float = 0.0


@dataclass(frozen=True)
class Config:
    tower: Tower | TowerGrown
    text: Tower = field(default_factory=lambda: Tower(2))


def name(config=Config(Tower(3)), words=("cut",), **changes):
    tensors = {"a": torch.zeros(2), "b": torch.ones(3), **changes}
    return WeightsHash().of(config, words, tensors)


def test_everything_that_counts_changes_the_name():
    names = [
        name(),
        name(Config(Tower(4))),
        name(Config(Tower(3, num_heads=5))),
        name(Config(Tower(3), text=Tower(3))),
        name(words=("cut", "stir")),
        name(words=None),
        name(a=torch.ones(2)),
        name(a=torch.zeros(2, 1)),
        name(a=torch.zeros(2, dtype=torch.float64)),
        name(c=torch.zeros(2)),
    ]
    assert len(set(names)) == len(names)
    assert name() == names[0]


def test_a_setting_added_later_renames_no_older_model():
    assert name(Config(TowerGrown(3))) == name(Config(Tower(3)))
    assert name(Config(TowerGrown(3, dropout=0.5))) != name(Config(Tower(3)))


def test_the_name_is_kept_until_a_tensor_changes():
    kept, tensors = WeightsHash(), {"a": torch.zeros(2)}
    first = kept.of(Config(Tower(3)), None, tensors)
    assert kept.of(Config(Tower(3)), None, tensors) is first
    tensors["a"] += 1
    second = kept.of(Config(Tower(3)), None, tensors)
    assert second != first
    tensors["a"] = torch.zeros(2)
    assert kept.of(Config(Tower(3)), None, tensors) == first


def test_tensors_at_the_addresses_of_former_ones_have_their_own_name():
    memory = bytearray(8)  # a place that both lie at, as an allocator may choose it
    kept, tensors = WeightsHash(), {"a": torch.frombuffer(memory, dtype=torch.float32)}
    place, first = tensors["a"].data_ptr(), kept.of(Config(Tower(3)), None, tensors)
    del tensors["a"]
    memory[:] = struct.pack("2f", 1, 2)
    tensors["a"] = torch.frombuffer(memory, dtype=torch.float32)
    assert (tensors["a"].data_ptr(), tensors["a"]._version) == (place, 0)
    assert kept.of(Config(Tower(3)), None, tensors) != first


def test_copies_keep_nothing_of_the_original():
    kept, tensors = WeightsHash(), {"a": torch.zeros(2)}
    first = kept.of(Config(Tower(3)), None, tensors)
    for copied in (copy.deepcopy(kept), copy.copy(kept), pickle.loads(pickle.dumps(kept))):
        assert copied.of(Config(Tower(3)), None, {"a": torch.ones(2)}) != first
    assert kept.of(Config(Tower(3)), None, tensors) is first


def test_tensors_made_in_inference_mode_have_a_name():
    with torch.inference_mode():
        inside = {"a": torch.zeros(2)}
    assert WeightsHash().of(Config(Tower(3)), None, inside) == WeightsHash().of(
        Config(Tower(3)), None, {"a": torch.zeros(2)}
    )
