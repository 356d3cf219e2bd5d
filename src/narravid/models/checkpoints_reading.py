"""Reading the files that PyTorch and safetensors write, without running anything that a file holds.

A PyTorch file is a pickle, and a pickle may name any function to be called with any arguments. Only tensors
and plain values are read here. Names beyond PyTorch's own list occur in honest checkpoints too, for a NumPy
number among the notes ("best_acc"): stand-ins of pure Python make a plain number of it. NumPy's own functions
stay out, because they take the file's word for what its bytes mean. Everything else is refused.
"""

from __future__ import annotations

import pickle
import pickletools
import re
import struct
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from narravid.errors import CheckpointError

__all__ = ["check_plain_tensor", "read_checkpoint"]

ZIP_START = b"PK\x03\x04"
PICKLE_START = b"\x80"
MAX_SEARCHED_BYTES = 1 << 20
"""Beyond these, a refused pickle is not searched for what it wanted."""

NUMBER_FORMATS = {
    "f2": "e",
    "f4": "f",
    "f8": "d",
    "i1": "b",
    "i2": "h",
    "i4": "i",
    "i8": "q",
    "u1": "B",
    "u2": "H",
    "u4": "I",
    "u8": "Q",
    "b1": "?",
}
"""NumPy's name of a number type -> its format in `struct`."""

REMEDY = (
    "if you trust where it comes from, read it there and write only its tensors: torch.save({'state_dict': "
    "state_dict}, file)"
)


class _NumberType:
    """Stands in for `numpy.dtype`: knows a name and a byte order, and nothing can be done with it."""

    def __init__(self, name: str, *_: object) -> None:
        self.name = name
        self.order = "="

    def __setstate__(self, state: tuple[object, ...]) -> None:
        if len(state) > 1 and state[1] in ("<", ">", "|"):
            self.order = "=" if state[1] == "|" else str(state[1])


def _number(kind: object, content: object = None) -> float | int | bool:
    """Stands in for `numpy.core.multiarray.scalar`: the plain number that the bytes mean."""
    code = NUMBER_FORMATS.get(kind.name) if isinstance(kind, _NumberType) else None
    if code is None or not isinstance(content, bytes) or not isinstance(kind, _NumberType):
        raise pickle.UnpicklingError("a NumPy object that is no single number")
    if len(content) != struct.calcsize(f"={code}"):
        raise pickle.UnpicklingError(f"{len(content)} bytes for a NumPy number of type {kind.name}")
    value: float | int | bool = struct.unpack(f"{kind.order}{code}", content)[0]
    return value


STAND_INS: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    (_NumberType, "numpy.dtype"),
    (_number, "numpy.core.multiarray.scalar"),
    (_number, "numpy._core.multiarray.scalar"),
]


def read_checkpoint(path: Path) -> dict[str, object]:
    """The dictionary in a PyTorch or safetensors file, read without running any code from it.

    Files of today's format are mapped, not read: what nobody asks for, such as the state of an optimizer,
    costs no memory.

    Raises:
        CheckpointError: If the file is missing, broken, or holds anything but tensors and plain values; says
            which global name it wanted.
    """
    if not path.is_file():
        raise CheckpointError(path, "is a folder" if path.is_dir() else "there is no such file")
    try:
        with path.open("rb") as file:
            start = file.read(4)
    except OSError as error:
        raise CheckpointError(path, f"cannot be read: {error.strerror}") from error
    content: object
    if path.suffix == ".safetensors":
        content = _read_safetensors(path)
    else:
        content = _read_pytorch(path, mapped=start == ZIP_START)
    if not isinstance(content, dict):
        raise CheckpointError(path, f"expected a dictionary of tensors, found a {type(content).__name__}")
    return content


def check_plain_tensor(path: Path, key: str, tensor: torch.Tensor) -> torch.Tensor:
    """The tensor without a gradient's history, if all of its numbers are in the file.

    A few bytes can claim to be a tensor of any size, by repeating themselves; a copy would take all memory.

    Raises:
        CheckpointError: If the tensor is sparse, quantised, without data, empty, or larger than its storage.
    """
    plain = tensor.layout == torch.strided and not tensor.is_quantized and not tensor.is_meta
    if not plain or tensor.is_nested:
        raise CheckpointError(
            path, f"{key} is no ordinary tensor (sparse, quantised, nested or without data)"
        )
    if tensor.numel() == 0:  # its other sizes would be believed, and cost nothing to write
        raise CheckpointError(path, f"{key} is {tuple(tensor.shape)}: there are no numbers in it")
    if tensor.nbytes > tensor.untyped_storage().nbytes():
        held = tensor.untyped_storage().nbytes()
        raise CheckpointError(path, f"{key} claims {tensor.nbytes:,} bytes, the file holds {held:,} of them")
    return tensor.detach()


def _read_safetensors(path: Path) -> dict[str, torch.Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(path, f"unreadable; was it cut short? ({error})") from error


def _read_pytorch(path: Path, *, mapped: bool) -> object:
    if mapped:
        _refuse_compressed(path)
    try:
        with torch.serialization.safe_globals(STAND_INS), warnings.catch_warnings():
            # Whether an odd pickle can be read shows in a moment; a warning before it tells nothing.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        _refuse(path, error)
    except Exception as error:  # arbitrary bytes make the reader fail in arbitrary ways
        kind = next((kind for kind in ("TorchScript", "legacy .tar") if kind in str(error)), None)
        if kind is not None:
            raise CheckpointError(
                path,
                f"refused: a {kind} file can only be read by running what is in it, so nothing was; {REMEDY}",
            ) from error
        raise CheckpointError(
            path,
            "not a readable PyTorch file; was the download cut short? "
            f"({path.stat().st_size} bytes; {type(error).__name__}: {_first_line(error)})",
        ) from error


def _refuse_compressed(path: Path) -> None:
    """PyTorch compresses no tensors: such parts cannot be mapped, and a few bytes may fill the memory."""
    try:
        with zipfile.ZipFile(path) as archive:
            # TorchScript compresses its programs, and is told to be TorchScript.
            parts = [part for part in archive.infolist() if "/code/" not in part.filename]
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return  # cut short or damaged, which PyTorch's own reader says
    compressed = [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]
    if compressed:
        raise CheckpointError(
            path,
            f"refused: a zip archive with compressed parts ({compressed[0]}), which PyTorch does not write; "
            "unpack it if the checkpoint is within, or zip its parts again without compression (zip -0)",
        )


def _refuse(path: Path, error: pickle.UnpicklingError) -> NoReturn:
    wanted = _wanted_global(path, error)
    if wanted is None:
        raise CheckpointError(
            path,
            "refused: it holds more than tensors and plain values, or is no PyTorch file; nothing in it was "
            f"run ({_first_line(error)})",
        ) from error
    raise CheckpointError(
        path,
        f"refused: it holds more than tensors and plain values: it wants {wanted}; nothing in it was run; "
        f"{REMEDY}",
    ) from error


def _wanted_global(path: Path, error: pickle.UnpicklingError) -> str | None:
    """What a refused file wanted: as PyTorch says, or else as its pickle says, which is not run."""
    named = re.search(r"GLOBAL (\S+) (?:was|whose)", str(error))
    if named:
        return named[1]
    with path.open("rb") as file:
        start = file.read(MAX_SEARCHED_BYTES)
    return ", ".join(_globals_of(start)) or None if start.startswith(PICKLE_START) else None


def _globals_of(content: bytes) -> list[str]:
    """Names of the functions and classes that the beginning of a pickle asks for."""
    found: list[str] = []
    texts: list[str] = []
    try:
        for opcode, argument, _ in pickletools.genops(content):
            if opcode.name == "GLOBAL":
                found.append(str(argument).replace(" ", "."))
            elif opcode.name == "STACK_GLOBAL":
                found.append(".".join(texts[-2:]))
            elif isinstance(argument, str):
                texts.append(argument)
    except ValueError:  # the end of what was read, or of what makes sense
        return found
    return found


def _first_line(error: Exception) -> str:
    # PyTorch's advice to read the file without protection is not repeated.
    lines = [line.strip() for line in str(error).splitlines()]
    telling = [line for line in lines if line and "weights_only" not in line]
    return telling[0][:200] if telling else type(error).__name__
