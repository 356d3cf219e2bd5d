"""The rule by which the weights and inputs behind the golden numbers are made from names alone.

Anyone can rebuild them: a name is hashed to a seed of NumPy's frozen legacy generator, the last part of a key
says which distribution its entry gets. Nothing of the published weights is needed.
"""

from __future__ import annotations

import json
import math
import zlib
from pathlib import Path
from typing import Literal

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"
S3D_CONV3D_GAIN = 1.2
"""Extra factor on the 3-D convolutions of S3D, without which its gates would damp the input away."""
CONV3D_GAIN = {
    "tan_e2e": S3D_CONV3D_GAIN,
    "tan_e2e_batchnorm": S3D_CONV3D_GAIN,
    "videocnn_resnext101": 0.6,  # its 33 residual blocks would double the variance each
}
"""The same for the families whose keys lie in golden/keys; 1 for those not named."""

Entries = list[tuple[str, tuple[int, ...], str]]

Kind = Literal["normal", "uniform", "uint8"]


def legacy_generator(name: str, *, salt: int = 0) -> np.random.RandomState:
    return np.random.RandomState(zlib.crc32(f"{salt}:{name}".encode()))


def filled_input(name: str, shape: tuple[int, ...], kind: Kind) -> np.ndarray:
    """The input called `family/case/name`: float32, or uint8 in [0, 255]."""
    generator = legacy_generator(name)
    if kind == "uint8":
        return generator.randint(0, 256, size=shape).astype(np.uint8)
    draw = {"normal": generator.standard_normal, "uniform": generator.random_sample}[kind]
    return draw(shape).astype(np.float32)


def filled_weight(key: str, shape: tuple[int, ...], dtype: str, *, conv3d_gain: float = 1.0) -> np.ndarray:
    """One entry of a state dict; the key counts with its prefix."""
    if not dtype.startswith("float"):
        return np.zeros(shape, dtype=np.int64)
    generator = legacy_generator(key)
    last = key.split(".")[-1]
    if last == "running_var":
        values = 0.5 + generator.random_sample(shape)
    elif last in ("running_mean", "bias", "in_proj_bias") or not shape:
        values = 0.1 * generator.standard_normal(shape)
    elif len(shape) == 1:
        values = 1.0 + 0.1 * generator.standard_normal(shape)
    else:
        gain = conv3d_gain if len(shape) == 5 else 1.0
        values = gain * math.sqrt(2.0 / math.prod(shape[1:])) * generator.standard_normal(shape)
    return values.astype(np.float32)


def golden_arrays(file: str, case: str) -> dict[str, np.ndarray]:
    """The arrays of one case of golden/<file>.npz, by the part of their name behind the case."""
    with np.load(GOLDEN / f"{file}.npz", allow_pickle=False) as arrays:
        start = f"{case}/"
        found = {key.removeprefix(start): arrays[key] for key in arrays.files if key.startswith(start)}
    if not found:
        raise ValueError(f"golden/{file}.npz has no case {case!r}")
    return found


def published_entries(family: str) -> Entries:
    """(key, shape, dtype) of a published state dict of golden/keys, in the published order."""
    entries = json.loads((GOLDEN / "keys" / f"{family}.json").read_text(encoding="utf-8"))
    return [(key, tuple(shape), dtype) for key, shape, dtype in entries]


def published_state_dict(family: str) -> dict[str, torch.Tensor]:
    """All weights of a family of golden/keys, filled; the published names, prefixes included."""
    gain = CONV3D_GAIN.get(family, 1.0)
    return {
        key: torch.from_numpy(filled_weight(key, shape, dtype, conv3d_gain=gain))
        for key, shape, dtype in published_entries(family)
    }


def s3d_entries(family: str) -> Entries:
    """(key, shape, dtype) of a published S3D state dict, in the published order.

    The families share one list; MIL-NCE puts `module.` before each key and may have the 3×7×7 stem.
    """
    entries = json.loads((GOLDEN / "s3d_keys.json").read_text(encoding="utf-8"))
    prefix = "" if family == "s3d_howto100m" else "module."
    plain = (64, 3, 3, 7, 7)
    stems: dict[str, tuple[int, ...]] = {"milnce_s3d": plain, "vt_twins_s3d": plain}
    first_key = entries[0][0]
    return [
        (prefix + key, stems.get(family, tuple(shape)) if key == first_key else tuple(shape), dtype)
        for key, shape, dtype in entries
    ]


def s3d_state_dict(family: str) -> dict[str, torch.Tensor]:
    """All weights of a published S3D family, filled."""
    return {
        key: torch.from_numpy(filled_weight(key, shape, dtype, conv3d_gain=S3D_CONV3D_GAIN))
        for key, shape, dtype in s3d_entries(family)
    }
