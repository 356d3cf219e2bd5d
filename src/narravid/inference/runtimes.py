"""Running a tower's file outside the model that it came from: onnxruntime, OpenVINO, an exported program."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
import torch

from narravid.errors import CheckpointError, NarravidError
from narravid.extras import import_extra
from narravid.models.inference_form import InferenceDtype

__all__ = ["Runtime", "TowerRuntime", "check_backend_installed", "open_tower"]

EXTRA = "fast"

Runtime = Literal["onnxruntime", "openvino", "torch-export"]
"""What runs a file."""

Array = npt.NDArray[Any]


class TowerRuntime(Protocol):
    """A tower that is ready to compute."""

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Outputs by name from inputs by name."""


def check_backend_installed(backend: Literal["openvino", "onnxruntime"]) -> None:
    """Make sure that a backend is installed.

    Raises:
        MissingExtraError: If it is not.
    """
    import_extra(backend, extra=EXTRA, feature=f"the backend {backend}")
    for module in ("onnx", "onnxscript"):
        import_extra(module, extra=EXTRA, feature=f"the backend {backend}")


def open_tower(
    path: Path,
    outputs: Sequence[str],
    *,
    runtime: Runtime,
    dtype: InferenceDtype = "float32",
) -> TowerRuntime:
    """Open a tower's file with a program that runs it on the CPU.

    It uses as many threads as PyTorch (`torch.get_num_threads()`).

    Args:
        path: The file: ONNX for onnxruntime, ONNX or OpenVINO's own for OpenVINO, an exported program for
            PyTorch.
        outputs: Names of the outputs that are wanted, for an exported program of all of them in order.
        runtime: What runs it.
        dtype: Arithmetic; "bfloat16" with OpenVINO only, which uses it where the processor has instructions
            for it.

    Returns:
        The tower.

    Raises:
        MissingExtraError: If the program is not installed.
        CheckpointError: If it cannot read the file.
        ValueError: If it cannot compute in that arithmetic.
    """
    if dtype != "float32" and runtime != "openvino":
        raise ValueError(f"{runtime} computes in float32, got {dtype}")
    try:
        if runtime == "onnxruntime":
            return _Onnx(path)
        if runtime == "torch-export":
            return _Exported(path, outputs)
        return _OpenVINO(path, outputs, dtype)
    except NarravidError:
        raise
    except Exception as error:  # each library has errors of its own, which have nothing else in common
        raise CheckpointError(path, f"{runtime} cannot read it: {error}") from error


class _Onnx:
    def __init__(self, path: Path) -> None:
        library = import_extra("onnxruntime", extra=EXTRA, feature="running an ONNX file")
        options = library.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        self._session = library.InferenceSession(
            str(path), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._names = [output.name for output in self._session.get_outputs()]

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        return dict(zip(self._names, self._session.run(None, dict(inputs)), strict=True))


class _OpenVINO:
    def __init__(self, path: Path, outputs: Sequence[str], dtype: InferenceDtype) -> None:
        library = import_extra("openvino", extra=EXTRA, feature="running a tower with OpenVINO")
        settings = {
            "INFERENCE_PRECISION_HINT": "f32" if dtype == "float32" else "bf16",
            "INFERENCE_NUM_THREADS": torch.get_num_threads(),
            "NUM_STREAMS": 1,
        }
        self._compiled = library.Core().compile_model(str(path), "CPU", settings)
        self._outputs = tuple(outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        given = self._compiled(dict(inputs))
        return {name: np.array(given[name]) for name in self._outputs}


class _Exported:
    def __init__(self, path: Path, outputs: Sequence[str]) -> None:
        self._module = torch.export.load(path).module()
        self._outputs = tuple(outputs)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        with torch.no_grad():
            given = self._module(*(torch.from_numpy(array) for array in inputs.values()))
        return {name: output.numpy() for name, output in zip(self._outputs, given, strict=True)}
